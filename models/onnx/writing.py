"""Writes a network, and the tokenizer's decoder, as files of ONNX (docs/onnx.md)."""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.errors import UserError, reason_of
from ..refhcm.config import PATCH
from ..refhcm.network import Network
from ..vqgan import VQTokenizer
from ..vqgan.config import NUM_CODES
from .files import MAPS, OPSET, PARTS, path_of
from .graphs import EncoderGraph, MapGraph, PictureGraph, StepGraph, plain

ANY = torch.export.Dim.DYNAMIC
PICTURES, QUESTIONS, ANSWERS, BEFORE, SYMBOLS, POSITIONS = 2, 3, 5, (4, 6), 7, 9  # of the example; all may vary
OLDEST_TORCH = "2.7"  # whose exporter can write batch norms
SMALL = 2**31  # bytes that protobuf can hold in one file


@dataclass(frozen=True)
class _Graph:
    """A module with an example of its inputs. sizes: which of their dimensions may vary."""

    module: nn.Module
    example: tuple[Any, ...]
    sizes: tuple[Any, ...]
    inputs: list[str]
    outputs: list[str]


@torch.no_grad()
def write_graphs(
    network: Network,
    tokenizer: VQTokenizer | None,
    folder: Path,
    *,
    canvas_px: int,
    dtype: str,
    mark: Mapping[str, str],
) -> None:
    """Writes the files into `folder`. dtype: one of `files.DTYPES`. mark: see `files.mark`.

    UserError without the packages, with an older torch, and for a network too large for one file.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise UserError(f"--format onnx: needs {error.name}: pip install onnx onnxruntime onnxscript") from error
    if torch.__version__ < OLDEST_TORCH:  # compared as versions
        raise UserError(f"--format onnx: needs torch {OLDEST_TORCH} or later, this is {torch.__version__}")
    network = plain(network)
    graphs = dict(
        zip(PARTS, (_picture(network, canvas_px), _encoder(network, canvas_px), _decoder(network)), strict=True)
    )
    if tokenizer is not None:
        codes = torch.zeros(PICTURES, NUM_CODES, dtype=torch.long)
        graphs[MAPS] = _Graph(MapGraph(tokenizer), (codes,), ({0: ANY},), ["codes"], ["label_map", "overlaps"])
    for part, graph in graphs.items():
        path = path_of(folder, part)
        if sum(one.nbytes for one in graph.module.state_dict().values()) >= SMALL:
            raise UserError(f"{path}: would be larger than the 2 GiB that an ONNX file may have")
        _write(graph, path)
        if dtype != "float32":
            _shrink(path, dtype)
        model = onnx.load(path)
        onnx.helper.set_model_props(model, dict(mark))
        onnx.save(model, path)


def _write(graph: _Graph, path: Path) -> None:
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own packages
            program = torch.onnx.export(
                graph.module.eval(),
                graph.example,
                dynamo=True,
                input_names=graph.inputs,
                output_names=graph.outputs,
                dynamic_shapes=graph.sizes,
                opset_version=OPSET,
                verbose=False,
            )
            assert program is not None
            program.save(str(path), external_data=False)
    except torch.onnx.errors.OnnxExporterError as error:
        raise UserError(f"{path}: this torch cannot write the network as ONNX ({reason_of(error)})") from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _shrink(path: Path, dtype: str) -> None:
    """float16: all weights; int8: those of matrix products, column by column. Inputs and outputs stay as they are."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.float16 import convert_float_to_float16

    if dtype == "float16":
        onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
        return
    part = path.with_suffix(".part")
    logging.getLogger().addFilter(_quiet)
    try:
        quantize_dynamic(path, part, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8)
    finally:
        logging.getLogger().removeFilter(_quiet)
    part.replace(path)


def _quiet(record: logging.LogRecord) -> bool:
    """onnxruntime recommends a step of its own, which would undo the names."""
    return "pre-processing" not in record.getMessage()


def _grid(canvas_px: int) -> tuple[int, int]:
    side = -(-canvas_px // PATCH)
    return side, side


def _picture(network: Network, canvas_px: int) -> _Graph:
    pictures = torch.zeros(PICTURES, 3, canvas_px, canvas_px)
    return _Graph(PictureGraph(network), (pictures,), ({0: ANY},), ["patch_images"], ["patches"])


def _encoder(network: Network, canvas_px: int) -> _Graph:
    grid, width = _grid(canvas_px), network.config.encoder_embed_dim
    example = torch.zeros(QUESTIONS, grid[0] * grid[1], width), torch.full((QUESTIONS, SYMBOLS), 4)
    outputs = ["mask", "positions", *(f"memory_{name}" for name in _names(network))]
    return _Graph(
        EncoderGraph(network, grid), example, ({0: ANY}, {0: ANY, 1: ANY}), ["patches", "src_tokens"], outputs
    )


def _decoder(network: Network) -> _Graph:
    names, config = _names(network), network.config
    heads = config.decoder_attention_heads
    width = config.encoder_embed_dim // heads
    states = POSITIONS + SYMBOLS

    def several(*shape: int) -> list[Tensor]:
        return [torch.zeros(shape) for _ in names]

    example = (
        torch.full((QUESTIONS, ANSWERS), 4),
        torch.zeros(QUESTIONS, ANSWERS, dtype=torch.long),
        torch.zeros(QUESTIONS, 1, 1, states),
        torch.zeros(1, heads, states, width),
        several(QUESTIONS, heads, states, width),
        several(*BEFORE, heads, POSITIONS, width),
    )
    sizes = (
        {0: ANY, 1: ANY},
        {0: ANY, 1: ANY},
        {0: ANY, 3: ANY},
        {2: ANY},
        [{0: ANY, 2: ANY}] * len(names),
        [{0: ANY, 1: ANY, 3: ANY}] * len(names),
    )
    given = ["tokens", "rows", "mask", "positions"]
    inputs = given + [f"memory_{name}" for name in names] + [f"past_{name}" for name in names]
    return _Graph(StepGraph(network), example, sizes, inputs, ["logits", *names])


def _names(network: Network) -> list[str]:
    return [f"{what}_{k}" for k in range(network.config.decoder_layers) for what in ("keys", "values")]
