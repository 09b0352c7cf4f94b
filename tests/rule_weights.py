"""Weights that follow from their names, so that no file of weights is needed to compare networks."""

import zlib

import numpy as np
import torch
from torch import Tensor

from refhcm.models.refhcm import Network
from refhcm.models.refhcm.loading import EMBEDDINGS

PAD = 1


def normals(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers seeded by a name, float32."""
    generator = np.random.RandomState(zlib.crc32(name.encode()))
    return generator.standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)


def rule(name: str, shape: tuple[int, ...], *, salt: str = "") -> Tensor:
    """The weight of this name: `weights_rule` of golden/model/full_size_rule_weights.json."""
    n = normals(salt + name, shape)
    if name.endswith("running_var"):
        n = 1 + np.float32(0.1) * np.abs(n)
    elif name.endswith("running_mean"):
        n = np.float32(0.05) * n
    elif name.endswith("c_attn") or (n.ndim == 1 and name.endswith(".weight")):
        n = 1 + np.float32(0.1) * n
    elif n.ndim == 1:
        n = np.float32(0.02) * n
    elif n.ndim == 4:
        n = n * np.float32(np.sqrt(1 / np.prod(n.shape[1:])))
    else:
        n = np.float32(0.03) * n
    return torch.from_numpy(n)


def give_rule_weights(network: Network, *, salt: str = "") -> Network:
    """The network, which may be on the meta device, with the rule's weights; in evaluation mode."""
    first = EMBEDDINGS[0]
    weights = {
        name: rule(name, tuple(value.shape), salt=salt)
        if value.is_floating_point()
        else torch.zeros((), dtype=value.dtype)
        for name, value in network.state_dict().items()
        if name not in EMBEDDINGS[1:]
    }
    weights[first][PAD] = 0
    network.load_state_dict(weights | dict.fromkeys(EMBEDDINGS, weights[first]), assign=True)
    network.share_embedding()
    return network.eval()
