"""The parsing-map tokenizer, a VQGAN: label map <-> codes. The network, which needs torch, is imported on first use."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tokenizer import VQTokenizer, load_tokenizer

__all__ = ["VQTokenizer", "load_tokenizer"]


def __getattr__(name: str) -> Any:
    """PEP 562."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import tokenizer

    return getattr(tokenizer, name)
