"""Human parsing maps: classes, colours, cropping, pasting, and scores (docs/tokenizer.md and docs/evaluation.md)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import clip_box

# CIHP's classes with the usual palette: (name, RGB); the position is the label.
_CLASSES = (
    ("background", (0, 0, 0)),
    ("hat", (128, 0, 0)),
    ("hair", (255, 0, 0)),
    ("glove", (0, 85, 0)),
    ("sunglasses", (170, 0, 51)),
    ("upper-clothes", (255, 85, 0)),
    ("dress", (0, 0, 85)),
    ("coat", (0, 119, 221)),
    ("socks", (85, 85, 0)),
    ("pants", (0, 85, 85)),
    ("torso-skin", (85, 51, 0)),
    ("scarf", (52, 86, 128)),
    ("skirt", (0, 128, 0)),
    ("face", (0, 0, 255)),
    ("left-arm", (51, 170, 221)),
    ("right-arm", (0, 255, 255)),
    ("left-leg", (85, 255, 170)),
    ("right-leg", (170, 255, 85)),
    ("left-shoe", (255, 255, 0)),
    ("right-shoe", (255, 170, 0)),
)
CLASS_NAMES = tuple(name for name, _ in _CLASSES)
PALETTE = tuple(rgb for _, rgb in _CLASSES)
NUM_CLASSES = len(_CLASSES)
IGNORED = 255  # in masks: a pixel that nobody labelled, which is left out of scores

Box = Tensor | Sequence[float]


def pixel_box(box_xyxy: Box, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box's pixels x0 <= x < x1 and y0 <= y < y1: truncated towards zero, then clipped to a picture, never empty."""
    x0, y0, x1, y1 = clip_box(np.trunc(np.asarray(box_xyxy, np.float64)), size_wh).astype(int).tolist()
    return x0, y0, x1, y1


def resize_label_map(label_map: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Nearest neighbour, source index floor(i * size_in / size_out): [..., h, w] -> [..., *size_hw], same dtype."""
    leading = label_map.shape[:-2]
    flat = label_map.reshape(1, -1, *label_map.shape[-2:]).float()  # exact: labels are small
    resized = F.interpolate(flat, size=tuple(size_hw), mode="nearest").to(label_map.dtype)
    return resized.reshape(*leading, *size_hw)


def paste_label_map(label_map: Tensor | np.ndarray, box_xyxy: Box, size_wh: tuple[int, int]) -> Tensor:
    """A person's map [h, w] resized to its box, on background of `size_wh` px: int64 [height, width]."""
    x0, y0, x1, y1 = pixel_box(box_xyxy, size_wh)
    whole = torch.zeros(size_wh[::-1], dtype=torch.int64)
    whole[y0:y1, x0:x1] = resize_label_map(torch.as_tensor(label_map).long(), (y1 - y0, x1 - x0))
    return whole


def crop_label_map(mask: Tensor, box_xyxy: Box, size_hw: tuple[int, int]) -> Tensor:
    """The box (image px) of a picture's mask [H, W], resized to the tokenizer's input, [*size_hw]."""
    height, width = mask.shape
    x0, y0, x1, y1 = pixel_box(box_xyxy, (width, height))
    return resize_label_map(mask[y0:y1, x0:x1], size_hw)


def without_ignored(label_map: Tensor) -> Tensor:
    """A mask with background where it is ignored: what is encoded, trained on and drawn; same shape and type."""
    return label_map.masked_fill(label_map == IGNORED, 0)


def mirror_label_map(label_map: Tensor) -> Tensor:
    """The mirrored person: columns of [..., h, w] reversed, left and right parts exchanged."""
    swap = torch.arange(NUM_CLASSES)
    for label, name in enumerate(CLASS_NAMES):
        if name.startswith("left-"):
            other = CLASS_NAMES.index(name.replace("left-", "right-"))
            swap[label], swap[other] = other, label
    return swap.to(label_map)[label_map.flip(-1).long()]


def colour_label_map(label_map: Tensor | np.ndarray) -> np.ndarray:
    """Labels [H, W] in 0..19 -> RGB uint8 [H, W, 3] by the fixed palette."""
    return np.asarray(PALETTE, dtype=np.uint8)[np.asarray(label_map)]


def confusion_matrix(prediction: Tensor, *, label: Tensor, num_classes: int = NUM_CLASSES) -> Tensor:
    """Counts of pixels, int64 [num_classes, num_classes]: rows are the labels. Labels of -1 and 255 are ignored."""
    if prediction.shape != label.shape:
        raise ValueError(f"prediction is {tuple(prediction.shape)}, its label {tuple(label.shape)}")
    counted = (label != -1) & (label != IGNORED)
    cells = label[counted].long() * num_classes + prediction[counted].long()
    return torch.bincount(cells, minlength=num_classes**2).reshape(num_classes, num_classes)


def segmentation_scores(confusion: Tensor) -> dict[str, float | list[float | None]]:
    """Scores in 0..1 of a summed confusion matrix (docs/evaluation.md); without any pixel, 0.

    miou: over the classes in labels or predictions. pixel_acc: over all pixels. mean_acc: recall, over the classes in
    labels. mean_precision: over the predicted classes. class_iou: for each class, None where neither has it.
    """
    confusion = confusion.double()
    hits, truth, predicted = confusion.diagonal(), confusion.sum(1), confusion.sum(0)
    iou = hits / (truth + predicted - hits)  # nan where neither side has the class
    return {
        "miou": _mean_of_known(iou),
        "pixel_acc": _mean_of_known(hits.sum() / confusion.sum()),
        "mean_acc": _mean_of_known(hits / truth),
        "mean_precision": _mean_of_known(hits / predicted),
        "class_iou": [None if value != value else value for value in iou.tolist()],
    }


def _mean_of_known(values: Tensor) -> float:
    return values.nanmean().nan_to_num(0.0).item()


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """bool [H, W] -> COCO's compressed run lengths, `{"size": [H, W], "counts": text}`."""
    from pycocotools import mask as coco  # compiled, and only exports need it

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
