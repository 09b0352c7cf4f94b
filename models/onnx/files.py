"""The files of a model in ONNX, and their marks: version, weights and numbers (docs/onnx.md). Needs no torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from ...utils.errors import CheckpointError, UserError, reason_of, shown
from ...utils.files import no_such_file

VERSION = 1  # of inputs and outputs: a file of another one is refused
OPSET = 20
PARTS = ("picture", "encoder", "decoder")
MAPS = "tokenizer"
DTYPES = ("float32", "float16", "int8")
SECTION = "onnx"  # of config.json


def path_of(folder: Path, part: str) -> Path:
    """`decoder.onnx` of "decoder"."""
    return folder / f"{part}.onnx"


def mark(weights: str, dtype: str) -> dict[str, str]:
    """What each file says about itself. weights: a digest of the model's weights."""
    return {"refhcm.version": str(VERSION), "refhcm.weights": weights, "refhcm.dtype": dtype}


def check_running(threads: int | None, providers: Sequence[str]) -> None:
    """UserError without onnxruntime, and for threads or providers that it does not have: it would pass them over."""
    there = _onnxruntime().get_available_providers()
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise UserError(f"threads: needs a whole number from 1 on, got {shown(threads)}")
    if not isinstance(providers, list | tuple) or not providers or any(name not in there for name in providers):
        raise UserError(f"providers: needs a list of some of {', '.join(there)}, got {shown(providers)}")


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError("ONNX: needs onnxruntime: pip install onnxruntime") from error
    module: ModuleType = onnxruntime
    return module


def open_session(path: Path, expected: Mapping[str, str], *, threads: int | None, providers: Sequence[str]) -> Any:
    """An onnxruntime session of one file. expected: its `mark`.

    UserError without onnxruntime; CheckpointError for a file that is missing, damaged, or does not bear that mark.
    """
    onnxruntime = _onnxruntime()
    if not path.is_file():
        raise CheckpointError(no_such_file(path))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime has a class for each status, all of them straight below Exception
        raise CheckpointError(
            f"{path}: is damaged or cut off, or no ONNX file ({reason_of(error)}): copy it again, or export it again"
        ) from error
    found = session.get_modelmeta().custom_metadata_map
    version = found.get("refhcm.version")
    if version != str(VERSION):
        raise CheckpointError(
            f"{path}: is of version {shown(version)} of RefHCM's ONNX files, this one reads version {VERSION}: "
            "export the model again"
        )
    for name, value in expected.items():
        if found.get(name) != value:
            what = name.rpartition(".")[2]
            raise CheckpointError(
                f"{path}: belongs to another model than its config.json: {what} is {shown(found.get(name))}, "
                f"not {shown(value)}: export the model again"
            )
    return session
