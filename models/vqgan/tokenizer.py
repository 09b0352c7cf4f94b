"""VQGAN tokenizer of human parsing maps: a label map <-> 48 codes (docs/tokenizer.md).

The network is the VQGAN of taming-transformers over one-hot maps, with the state-dict names of the released checkpoint.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checkpoints import check_finite, kinds_of, load_file, named_weights
from ...utils.errors import CheckpointError, DataError, shown
from ...utils.memory import aligned
from ...utils.meta import without_values
from ...utils.model_files import SUFFIX, read_tensors
from ...utils.parsing import soft_overlaps
from .config import GRID_HW, NUM_CODES, VQConfig, read_config
from .layers import Decoder, Encoder, nearest_codes

logger = logging.getLogger(__name__)

_COMMITMENT = 0.25


class Quantized(NamedTuple):
    """Latents after the codebook."""

    vectors: Tensor  # [B, embed_dim, h, w], with straight-through gradients
    codes: Tensor  # int64 [B, h, w]
    loss: Tensor  # scalar


@dataclass(frozen=True)
class TokenizerLoss:
    """Scalar terms of the training loss, and the chosen codes."""

    total: Tensor
    bce: Tensor
    codebook: Tensor
    codes: Tensor  # int64 [B, h, w]


class _Codebook(nn.Module):
    """Vector quantisation; `embedding.weight` is [n_embed, embed_dim]."""

    def __init__(self, n_embed: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_embed, embed_dim)
        nn.init.uniform_(self.embedding.weight, -1 / n_embed, 1 / n_embed)

    def forward(self, z: Tensor) -> Quantized:
        """[B, embed_dim, h, w] -> the nearest vectors, in the same shape."""
        batch, _, height, width = z.shape
        codes = nearest_codes(z.permute(0, 2, 3, 1).flatten(0, 2), self.embedding.weight).view(batch, height, width)
        rows = self.embedding(codes).permute(0, 3, 1, 2).contiguous()
        # As published: the full weight on the encoder, a quarter of it on the codebook.
        loss = (rows.detach() - z).pow(2).mean() + _COMMITMENT * (rows - z.detach()).pow(2).mean()
        return Quantized(vectors=z + (rows - z).detach(), codes=codes, loss=loss)


class VQTokenizer(nn.Module):
    """Parsing map of one person, at the tokenizer's size <-> 8 x 6 grid of codes."""

    def __init__(self, config: VQConfig, *, n_embed: int | None = None) -> None:
        """n_embed: use only this many first rows of the codebook; None: all."""
        super().__init__()
        self.config = config
        self.n_embed = config.n_embed if n_embed is None else n_embed
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = _Codebook(config.n_embed, config.embed_dim)
        self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, kernel_size=1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, kernel_size=1)

    @property
    def input_size_hw(self) -> tuple[int, int]:
        """Height and width of the label maps that `encode` takes and `decode` returns."""
        return self.config.input_size_hw

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.quantize.embedding.weight.device

    def latents(self, label_maps: Tensor) -> Tensor:
        """int64 [B, H, W] of any size that the levels divide -> [B, embed_dim, h, w], before the codebook."""
        return self.quant_conv(self.encoder(self._one_hot(label_maps)))

    def logits(self, vectors: Tensor) -> Tensor:
        """[B, embed_dim, h, w] -> class logits [B, n_labels, H, W]."""
        return self.decoder(self.post_quant_conv(vectors))

    @torch.no_grad()
    def encode(self, label_maps: Tensor) -> Tensor:
        """int64 [B, *input_size_hw] of classes -> codes, int64 [B, 48], row-major. DataError for other sizes."""
        if label_maps.dim() != 3 or tuple(label_maps.shape[1:]) != self.input_size_hw:
            height, width = self.input_size_hw
            raise DataError(f"label maps are {list(label_maps.shape)}, expected [B, {height}, {width}]")
        latents = self.latents(label_maps)
        flat = latents.permute(0, 2, 3, 1).flatten(0, 2)
        return nearest_codes(flat, self.quantize.embedding.weight[: self.n_embed]).view(-1, NUM_CODES)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, 48], clamped to 0..n_embed-1 -> label maps, int64 [B, *input_size_hw]."""
        return self.decode_logits(codes).argmax(dim=1)

    @torch.no_grad()
    def draw(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """`decode`, and how sure each class is: `soft_overlaps`, float32 [B, n_labels]."""
        logits = self.decode_logits(codes)
        return logits.argmax(dim=1), soft_overlaps(logits)

    def decode_logits(self, codes: Tensor) -> Tensor:
        """As `decode`, but class logits [B, n_labels, *input_size_hw], with gradients for the decoder."""
        if codes.dim() != 2 or codes.shape[1] != NUM_CODES:
            raise DataError(f"codes are {list(codes.shape)}, expected [B, {NUM_CODES}]")
        grid = codes.to(self.device).long().clamp(0, self.n_embed - 1).view(-1, *GRID_HW)
        rows = self.quantize.embedding(grid).detach()
        return self.logits(rows.permute(0, 3, 1, 2).contiguous())

    def forward(self, label_maps: Tensor, *, quantized: bool = True) -> TokenizerLoss:
        """Training loss of label maps, int64 [B, H, W]: mean BCE with logits against the one-hot map + codebook loss.

        The codebook loss counts with `codebook_weight`. quantized: False decodes the latents without the codebook and
        its loss (the warm-up of training).
        """
        z = self.latents(label_maps)
        found = self.quantize(z)
        logits = self.logits(found.vectors if quantized else z)
        bce = F.binary_cross_entropy_with_logits(logits.float(), self._one_hot(label_maps).float())
        total = bce + self.config.codebook_weight * found.loss if quantized else bce
        return TokenizerLoss(total=total, bce=bce, codebook=found.loss.detach(), codes=found.codes)

    def _one_hot(self, label_maps: Tensor) -> Tensor:
        weight = self.quantize.embedding.weight
        labels = label_maps.to(weight.device).long()
        low, high = (int(edge) for edge in labels.aminmax())
        if low < 0 or high >= self.config.n_labels:
            raise DataError(f"label maps hold classes {low}..{high}, expected 0..{self.config.n_labels - 1}")
        # Contiguous: torch's GroupNorm on a CPU takes 80 times as long when channels are last.
        return F.one_hot(labels, self.config.n_labels).permute(0, 3, 1, 2).to(weight.dtype).contiguous()


def load_tokenizer(yaml_path: str | Path, ckpt_path: str | Path, *, n_embed: int | None = None) -> VQTokenizer:
    """The tokenizer of `model.yaml` with the weights of `model.ckpt`, on the CPU, in evaluation mode.

    n_embed: the number of codes to use (`--vq_n_embed`): the first ones of the file, as published.
    CheckpointError when the file has fewer, and when the two files do not match.
    """
    config = read_config(yaml_path)
    if n_embed is not None and n_embed != config.n_embed:
        if not 0 < n_embed < config.n_embed:
            raise CheckpointError(f"{yaml_path}: has n_embed = {config.n_embed} codes, but --vq_n_embed is {n_embed}")
        logger.warning("%s: only the first %d of %d codes are used", yaml_path, n_embed, config.n_embed)
    with without_values():
        tokenizer = VQTokenizer(config, n_embed=n_embed)
    load_weights(tokenizer, read_lightning_checkpoint(ckpt_path), where=f"{ckpt_path} does not match {yaml_path}")
    return tokenizer.eval()


def load_weights(tokenizer: VQTokenizer, checkpoint: dict[str, Any], *, where: str) -> None:
    """Loads a checkpoint's `state_dict` strictly.

    CheckpointError gives the first name or shape that differs, or the first weight that is not finite.
    """
    # Training also saves its loss network and the colours of its plots.
    weights = {k: value for k, value in checkpoint["state_dict"].items() if not k.startswith(("loss.", "colorize"))}
    expected = tokenizer.state_dict()
    _check_matches(expected, weights, where)
    check_finite(weights, where=where)
    without = next(iter(expected.values())).is_meta
    tokenizer.load_state_dict(
        {name: aligned(value.float().contiguous()) if without else value for name, value in weights.items()},
        assign=without,
    )


def _check_matches(expected: dict[str, Tensor], found: dict[str, Tensor], where: str) -> None:
    for problem, keys in (("missing", expected.keys() - found.keys()), ("unexpected", found.keys() - expected.keys())):
        if keys:
            raise CheckpointError(f"{where}: {len(keys)} {problem} names, first {shown(min(keys))[1:-1]}")
    for key, weight in expected.items():
        shape, wanted = list(found[key].shape), list(weight.shape)
        if shape != wanted:
            raise CheckpointError(f"{where}: {key} is {shape} in the checkpoint, expected {wanted} from the yaml")
        if not found[key].is_floating_point():
            raise CheckpointError(f"{where}: {key} is of {found[key].dtype}, expected floating-point numbers")


class _Inert:
    """Stands in for a Lightning class that a checkpoint mentions; holds no state."""

    def __setstate__(self, state: object) -> None:
        """Drops the state."""


# Besides tensors, a VQGAN's Lightning checkpoint holds callback classes (the keys of `callbacks`) and settings.
_LIGHTNING: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (stand_in, f"{package}.{name}")
    for package in ("pytorch_lightning", "lightning.pytorch")
    for stand_in, name in (
        (_Inert, "callbacks.model_checkpoint.ModelCheckpoint"),
        (_Inert, "callbacks.early_stopping.EarlyStopping"),
        (_Inert, "callbacks.lr_monitor.LearningRateMonitor"),
        (OrderedDict, "utilities.parsing.AttributeDict"),
    )
]


def read_lightning_checkpoint(path: str | Path) -> dict[str, Any]:
    """A tokenizer's checkpoint, on the CPU, or its safetensors file; no code of the file is run.

    CheckpointError when it is not one.
    """
    if Path(path).suffix == SUFFIX:
        return {"state_dict": named_weights(read_tensors(Path(path)), where=str(path))}
    with torch.serialization.safe_globals(_LIGHTNING):
        checkpoint = load_file(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(
            f"{path}: not a tokenizer checkpoint: expected `state_dict`, found {kinds_of(checkpoint)}"
        )
    return checkpoint | {"state_dict": named_weights(checkpoint["state_dict"], where=str(path))}
