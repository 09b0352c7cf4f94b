"""Human parsing maps: classes, colours, cropping, pasting, and scores (docs/tokenizer.md and docs/evaluation.md).

Needs no torch. Functions take arrays; `resize_label_map`, `crop_label_map` and `without_ignored` also take tensors, and
give back what they got.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .boxes import clip_box

if TYPE_CHECKING:
    from torch import Tensor

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

LabelMap = TypeVar("LabelMap", np.ndarray, "Tensor")


def pixel_box(box_xyxy: ArrayLike, size_wh: tuple[int, int]) -> tuple[int, int, int, int]:
    """A box's pixels x0 <= x < x1 and y0 <= y < y1: truncated towards zero, then clipped to a picture, never empty."""
    x0, y0, x1, y1 = clip_box(np.trunc(np.asarray(box_xyxy, np.float64)), size_wh).astype(int).tolist()
    return x0, y0, x1, y1


def resize_label_map(label_map: LabelMap, size_hw: tuple[int, int]) -> LabelMap:
    """Nearest neighbour, source index floor(i * size_in / size_out): [..., h, w] -> [..., *size_hw], same dtype."""
    rows, columns = (_floor_nearest(*sizes) for sizes in zip(label_map.shape[-2:], size_hw, strict=True))
    return label_map[..., rows[:, None], columns]


@lru_cache(maxsize=4096)
def _floor_nearest(length: int, size: int) -> np.ndarray:
    """The source index of each of `size`, in float32: that is how torch's nearest neighbour rounds."""
    scale = np.float32(length) / np.float32(size)
    return (np.arange(size, dtype=np.float32) * scale).astype(np.int64)


def zoom_label_map(label_map: np.ndarray, size: int = 512) -> np.ndarray:
    """Label map [h, w] -> int32 [size, size], as `scipy.ndimage.zoom` with order 0 does."""
    rows, columns = (_zoom_nearest(length, size) for length in label_map.shape)
    return label_map[rows[:, None], columns[None, :]].astype(np.int32)


@lru_cache(maxsize=4096)
def _zoom_nearest(length: int, size: int) -> np.ndarray:
    """The index that scipy's zoom takes for each of `size`; it treats the axes independently."""
    from scipy.ndimage import zoom  # slow to import, and only label maps need it

    found: np.ndarray = zoom(np.arange(length), size / length, order=0)
    return found


def paste_label_map(label_map: ArrayLike, box_xyxy: ArrayLike, size_wh: tuple[int, int]) -> np.ndarray:
    """A person's map [h, w] resized to its box, on background of `size_wh` px: int64 [height, width]."""
    x0, y0, x1, y1 = pixel_box(box_xyxy, size_wh)
    whole = np.zeros(size_wh[::-1], dtype=np.int64)
    whole[y0:y1, x0:x1] = resize_label_map(np.asarray(label_map), (y1 - y0, x1 - x0))
    return whole


def crop_label_map(mask: LabelMap, box_xyxy: ArrayLike, size_hw: tuple[int, int]) -> LabelMap:
    """The box (image px) of a picture's mask [H, W], resized to the tokenizer's input, [*size_hw]."""
    height, width = mask.shape
    x0, y0, x1, y1 = pixel_box(box_xyxy, (width, height))
    return resize_label_map(mask[y0:y1, x0:x1], size_hw)


def without_ignored(label_map: LabelMap) -> LabelMap:
    """A mask with background where it is ignored: what is encoded, trained on and drawn; same shape and type."""
    return label_map * (label_map != IGNORED)


def confusion_matrix(prediction: ArrayLike, *, label: ArrayLike, num_classes: int = NUM_CLASSES) -> np.ndarray:
    """Counts of pixels, int64 [num_classes, num_classes]: rows are the labels. Labels of -1 and 255 are ignored."""
    prediction, label = np.asarray(prediction), np.asarray(label)
    if prediction.shape != label.shape:
        raise ValueError(f"prediction is {prediction.shape}, its label {label.shape}")
    ignored = (label == -1) | (label == IGNORED)
    cells = label.astype(np.int64) * num_classes + prediction
    cells[ignored] = num_classes**2  # one more, which is cut off
    return np.bincount(cells.ravel(), minlength=num_classes**2 + 1)[:-1].reshape(num_classes, num_classes)


def segmentation_scores(confusion: ArrayLike) -> dict[str, np.ndarray]:
    """Scores in 0..1 of summed confusion matrices [..., C, C] (docs/evaluation.md), each [...]; 0 without any pixel.

    miou: over the classes in labels or predictions. pixel_acc: over all pixels. mean_acc: recall, over the classes in
    labels. mean_precision: over the predicted classes. class_iou: [..., C], NaN where neither has the class.
    """
    confusion = np.asarray(confusion, np.float64)
    hits, truth, predicted = np.einsum("...ii->...i", confusion), confusion.sum(-1), confusion.sum(-2)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where a side does not have the class
        iou = hits / (truth + predicted - hits)
        pixel_acc = hits.sum(-1) / truth.sum(-1)
        recall, precision = hits / truth, hits / predicted
    return {
        "miou": _mean_of_known(iou),
        "pixel_acc": np.nan_to_num(pixel_acc),
        "mean_acc": _mean_of_known(recall),
        "mean_precision": _mean_of_known(precision),
        "class_iou": iou,
    }


def parsing_metrics(confusion: ArrayLike) -> dict[str, Any]:
    """`segmentation_scores` of one matrix [20, 20] as plain numbers; `class_iou` by name, None for a missing class."""
    scores = {name: value.tolist() for name, value in segmentation_scores(confusion).items()}
    by_class = zip(CLASS_NAMES, scores.pop("class_iou"), strict=True)
    return scores | {"class_iou": {name: None if iou != iou else iou for name, iou in by_class}}


def soft_overlaps(logits: "Tensor") -> "Tensor":
    """IoU of each drawn class with its own probabilities, float32 [..., C] in 0..1: 1 where every pixel is certain.

    logits: float [..., C, h, w]; drawn is each pixel's likeliest class. The shared area is the class's probability
    summed over its pixels; the other side, that over all pixels. 0 for a class that is not drawn.
    """
    probabilities = logits.float().softmax(-3).flatten(-2)  # [..., C, h w]
    drawn = probabilities.new_zeros(probabilities.shape).scatter(-2, probabilities.argmax(-2, keepdim=True), 1.0)
    shared, count = (probabilities * drawn).sum(-1), drawn.sum(-1)  # [..., C]
    return (shared / (count + probabilities.sum(-1) - shared)).masked_fill(count == 0, 0.0)


def _mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of what is not NaN; 0 for nothing."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(-1) / np.maximum(known.sum(-1), 1)


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """bool [H, W] -> COCO's compressed run lengths, `{"size": [H, W], "counts": text}`."""
    from pycocotools import mask as coco  # compiled, and only exports need it

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
