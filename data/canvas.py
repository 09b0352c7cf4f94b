"""The square that every picture is resized to, and its coordinates (docs/data.md, "Image and coordinates")."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import zoom
from torch import Tensor

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Placed(NamedTuple):
    """A picture on the canvas; the ratios are canvas px / image px, float32 numbers."""

    patch_image: Tensor  # float32 [3, S, S], normalised
    w_resize_ratio: float
    h_resize_ratio: float


_PLACED: OrderedDict[tuple["Canvas", int], tuple[Image.Image, Placed]] = OrderedDict()
KEPT = 8  # pictures: a few, for rows about one picture are neighbours


@dataclass(frozen=True)
class Canvas:
    """patch_image_size: px of the square's side. max_image_size: canvas px of the last bin in all tasks but RHrc."""

    patch_image_size: int = 512
    max_image_size: int = 512
    mean: tuple[float, float, float] = HALF
    std: tuple[float, float, float] = HALF

    def place(self, image: Image.Image) -> Placed:
        """`resized`, but the same object placed again gives the same tensor.

        By that `collate` knows which rows share a picture. The last few pictures are kept.
        """
        key = (self, id(image))  # the picture is kept beside its answer, so that no other object gets its id
        found = _PLACED.get(key)
        if found is None:  # several threads may be here at once: each uses what it has found or made itself
            found = _PLACED[key] = (image, self.resized(image))
            if len(_PLACED) > KEPT:
                _PLACED.popitem(last=False)
        return found[1]

    def resized(self, image: Image.Image) -> Placed:
        """Resize an RGB picture to the square (bicubic, its shape is not kept) and normalise it."""
        size = self.patch_image_size
        # Width first, in two steps: Pillow 13 picks the order by the picture's shape, which alters pixels by 1/255.
        wide = image.resize((size, image.height), Image.Resampling.BICUBIC)
        square = np.array(wide.resize((size, size), Image.Resampling.BICUBIC))  # uint8 [S, S, 3]
        patch_image = torch.empty(3, size, size)
        # torch casts in the copy's own pass, and the rest is in place: 3 MB are written once.
        patch_image.copy_(torch.from_numpy(square).permute(2, 0, 1)).div_(255)
        patch_image.sub_(torch.tensor(self.mean).view(3, 1, 1)).div_(torch.tensor(self.std).view(3, 1, 1))
        width, height = image.size
        return Placed(patch_image, float(np.float32(size / width)), float(np.float32(size / height)))


def to_canvas(xy: np.ndarray | Tensor, w_resize_ratio: float, *, h_resize_ratio: float) -> Tensor:
    """Image px x,y,x,y,... [..., 2N] -> canvas px, float32 [..., 2N]: boxes and keypoints alike."""
    xy = torch.as_tensor(xy, dtype=torch.float32)
    return _interleave(xy[..., 0::2] * w_resize_ratio, xy[..., 1::2] * h_resize_ratio)


def to_image(xy: np.ndarray | Tensor, w_resize_ratio: float, *, h_resize_ratio: float) -> Tensor:
    """Inverse of `to_canvas`: canvas px [..., 2N] -> image px, float32 [..., 2N]."""
    xy = torch.as_tensor(xy, dtype=torch.float32)
    return _interleave(xy[..., 0::2] / w_resize_ratio, xy[..., 1::2] / h_resize_ratio)


def resize_label_map(label_map: np.ndarray, size: int = 512) -> np.ndarray:
    """Label map [h, w] -> int32 [size, size], as `scipy.ndimage.zoom` with order 0 does."""
    rows, columns = (_nearest(length, size) for length in label_map.shape)
    return label_map[rows[:, None], columns[None, :]].astype(np.int32)


@lru_cache(maxsize=4096)
def _nearest(length: int, size: int) -> np.ndarray:
    """The row that scipy's zoom takes for each of `size`; its axes are independent, so one axis says it all."""
    return zoom(np.arange(length), size / length, order=0)


def _interleave(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([x, y], dim=-1).flatten(-2)
