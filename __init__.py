"""RefHCM: box, keypoints, parts and caption of the person you describe (arXiv 2412.14643).

`refhcm.load()` gives a model to ask; what it needs is imported when it is first named.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "load": ".tasks.loading",
    "Predictor": ".tasks.predictor",
    "Answer": ".tasks.answers",
    "GenerationSettings": ".models.generation",
    "UserError": ".utils.errors",
    "open_picture": ".data.pictures",
    "draw_answer": ".utils.answer_drawing",
    # ComfyUI asks its plug-ins for these (see web/comfyui.py).
    "NODE_CLASS_MAPPINGS": ".web.comfyui",
    "NODE_DISPLAY_NAME_MAPPINGS": ".web.comfyui",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """PEP 562: one of `_HOMES`, from its module."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
