"""RefHCM: box, keypoints, parts and caption of the person you describe (arXiv 2412.14643).

`refhcm.load()` gives a model to ask. Modules are imported when one of their names is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `__getattr__` tells type checkers nothing
    from .data.pictures import open_picture as open_picture
    from .inference.answers import Answer as Answer
    from .inference.drawing import draw_answer as draw_answer
    from .inference.loading import load as load
    from .inference.onnx import load_onnx as load_onnx
    from .inference.predictor import Predictor as Predictor
    from .models.generation_settings import GenerationSettings as GenerationSettings
    from .utils.errors import UserError as UserError

    __version__: str

_HOMES = {
    "load": ".inference.loading",
    "load_onnx": ".inference.onnx",
    "Predictor": ".inference.predictor",
    "Answer": ".inference.answers",
    "GenerationSettings": ".models.generation_settings",
    "UserError": ".utils.errors",
    "open_picture": ".data.pictures",
    "draw_answer": ".inference.drawing",
    # ComfyUI asks its plug-ins for these (see apps/comfyui/nodes.py).
    "NODE_CLASS_MAPPINGS": ".apps.comfyui.nodes",
    "NODE_DISPLAY_NAME_MAPPINGS": ".apps.comfyui.nodes",
    "WEB_DIRECTORY": ".apps.comfyui.nodes",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    """PEP 562: one of `_HOMES`, from its module, or the version."""
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _version() -> str:
    import tomllib  # late: `import refhcm` needs none of these
    from importlib import metadata
    from pathlib import Path

    try:
        return metadata.version("refhcm")
    except metadata.PackageNotFoundError:  # a clone that is used without being installed
        pyproject = Path(__file__).with_name("pyproject.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(pyproject)["project"]["version"])
