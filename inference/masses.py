"""Raw confidence: how much of the network's own probability an answer would be right for (docs/confidence.md).

The distributions at the steps that wrote a box or a point say where else it could have been. Were the truth drawn from
them, how often would the answer count as right? Pure functions; nothing is learned. Draws are a fixed Sobol net, so
that the same distributions always give the same number, to within about 1 / DRAWS.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.stats.qmc import Sobol

from ..utils.boxes import iou
from ..utils.keypoints import SIGMAS
from ..utils.symbols import BOX_SYMBOLS

DRAWS = 1024  # a power of two: then the net is balanced
RIGHT_IOU = 0.5
# A keypoint's term of OKS, exp(-d^2 / (2 (2 sigma)^2 area)), is 1/2 at this d in units of sigma sqrt(area).
RIGHT_OKS = 2 * (2 * np.log(2)) ** 0.5
REACH = 2**0.5  # distances of the mass around a keypoint: of 0.5 to 2 this ranks best (docs/confidence.md)


def box_mass(probabilities: np.ndarray, bins: np.ndarray) -> float:
    """Probability of the boxes with an IoU of at least 0.5 with the chosen one, and of that one itself.

    probabilities: float [4, bins], of x0, y0, x1, y1, each drawn by itself; bins: int64 [4], the chosen ones.
    """
    drawn, exists = _draws(probabilities)  # [4, DRAWS]
    chosen = np.broadcast_to(bins, (DRAWS, BOX_SYMBOLS))
    # corners in one bin: no area to share, but the box is there, if only less than a bin wide
    right = (iou(drawn.T, chosen) >= RIGHT_IOU) | (chosen == drawn.T).all(-1)
    return float((right & exists.all(0)).mean())


def keypoint_masses(
    probabilities: np.ndarray, bins: np.ndarray, *, distances_px: np.ndarray, bin_px: tuple[float, float]
) -> list[float]:
    """Probability of the points within `REACH` times a distance of each chosen one.

    probabilities: float [N, 2, bins], of x and y, each drawn by itself; bins: int64 [N, 2], the chosen ones;
    distances_px: [N] image px; bin_px: image px from bin to bin in x and in y.
    """
    drawn, exists = _draws(probabilities.reshape(-1, probabilities.shape[-1]))  # [2 N, DRAWS]
    offset = (drawn.reshape(-1, 2, DRAWS) - np.asarray(bins)[..., None]) * np.array(bin_px)[:, None]
    right = np.square(offset).sum(1) <= np.square(REACH * np.asarray(distances_px)[:, None])
    means: list[float] = (right & exists.reshape(-1, 2, DRAWS).all(1)).mean(-1).tolist()
    return means


def right_distances(joints: Sequence[int], area_px: float) -> np.ndarray:
    """Distance in px at which a keypoint's term of OKS is 1/2, [N]. joints: which of COCO's 17; area: of the box."""
    distances: np.ndarray = RIGHT_OKS * SIGMAS[list(joints)] * max(area_px, 0) ** 0.5
    return distances


def _draws(probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins drawn from each distribution, [N, DRAWS], and whether there is one: none for the mass that is no bin's.

    probabilities: float [N, bins], of any sums up to 1. Rows share no dimension of the net with the next three.
    """
    count, bins = probabilities.shape
    net, sums = _net(), np.asarray(probabilities, np.float64).cumsum(-1)
    rows = [np.searchsorted(sums[k], net[k % BOX_SYMBOLS], side="right") for k in range(count)]
    drawn = np.array(rows, np.int64).reshape(count, DRAWS)
    return drawn, drawn < bins


@cache
def _net() -> np.ndarray:
    """float64 [4, DRAWS]: numbers in 0..1, each in the middle of its stratum."""
    net: np.ndarray = Sobol(BOX_SYMBOLS, scramble=False).random(DRAWS).T + 0.5 / DRAWS
    return net


def word_probabilities(probabilities: Sequence[float], words: Sequence[int]) -> tuple[float, ...]:
    """Product of the probabilities of each word's pieces, word by word. words: the word of each piece, from 0 on."""
    found = [1.0] * (max(words, default=-1) + 1)
    for word, probability in zip(words, probabilities, strict=True):
        found[word] *= probability
    return tuple(found)
