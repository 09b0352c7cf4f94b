"""The square to which every picture is resized, and its coordinates (docs/data.md, "Image and coordinates")."""

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Placed(NamedTuple):
    """A picture on the canvas; the ratios are canvas px / image px, float32 numbers."""

    patch_image: np.ndarray  # float32 [3, S, S], normalised
    w_resize_ratio: float
    h_resize_ratio: float


_PLACED: OrderedDict[tuple["Canvas", Hashable], Placed] = OrderedDict()
KEPT = 8  # pictures; a few are enough: rows about one picture are neighbours


@dataclass(frozen=True)
class Canvas:
    """patch_image_size: the square's side in px. max_image_size: canvas px of the last bin in all tasks but RHrc."""

    patch_image_size: int = 512
    max_image_size: int = 512
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF

    def place(self, image: Image.Image, *, key: Hashable) -> Placed:
        """`resized`, but kept for the next rows about the picture with this key, unless that is None."""
        if key is None:
            return self.resized(image)
        found = _PLACED.get((self, key))
        if found is None:  # several threads may get here at once: each uses what it found or made
            found = _PLACED[self, key] = self.resized(image)
            if len(_PLACED) > KEPT:
                _PLACED.popitem(last=False)
        return found

    def resized(self, image: Image.Image) -> Placed:
        """Resize an RGB picture to the square (bicubic, ignoring its aspect ratio) and normalise it."""
        size = self.patch_image_size
        # Width first, in two steps: Pillow 13 chooses the order by the picture's shape, which changes pixels by 1/255.
        wide = image.resize((size, image.height), Image.Resampling.BICUBIC)
        square = np.array(wide.resize((size, size), Image.Resampling.BICUBIC))  # uint8 [S, S, 3]
        patch_image = np.empty((3, size, size), np.float32)
        # The copy casts on the way and the rest is in place, so that the 3 MB are allocated once.
        patch_image[:] = square.transpose(2, 0, 1)
        patch_image /= 255
        for channel, mean, std in zip(patch_image, self.mean, self.std, strict=True):
            channel -= mean
            channel /= std
        width, height = image.size
        return Placed(patch_image, float(np.float32(size / width)), float(np.float32(size / height)))


def to_canvas(xy: ArrayLike, w_resize_ratio: float, *, h_resize_ratio: float) -> np.ndarray:
    """Image px x,y,x,y,... [..., 2N] -> canvas px, float32 [..., 2N]: boxes and keypoints alike."""
    xy = np.asarray(xy, np.float32)
    return _interleave(xy[..., 0::2] * np.float32(w_resize_ratio), xy[..., 1::2] * np.float32(h_resize_ratio))


def to_image(xy: ArrayLike, w_resize_ratio: float, *, h_resize_ratio: float) -> np.ndarray:
    """Inverse of `to_canvas`: canvas px [..., 2N] -> image px, float32 [..., 2N]."""
    xy = np.asarray(xy, np.float32)
    return _interleave(xy[..., 0::2] / np.float32(w_resize_ratio), xy[..., 1::2] / np.float32(h_resize_ratio))


def _interleave(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y], axis=-1).reshape(*x.shape[:-1], 2 * x.shape[-1])
