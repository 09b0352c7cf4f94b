"""The RefHCM network by its parts. Sizes need no torch, so the network is imported on first use (PEP 562)."""

from typing import TYPE_CHECKING, Any

from .config import SIZES, NetworkConfig

if TYPE_CHECKING:
    from .network import Network


def __getattr__(name: str) -> Any:
    if name != "Network":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .network import Network

    return Network
