"""The RefHCM network by its parts."""

from .config import SIZES, NetworkConfig
from .network import Network
