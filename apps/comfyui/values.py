"""Conversion between ComfyUI's values and ours.

IMAGE is float [B, H, W, 3] in 0..1, MASK float [B, H, W] in 0..1, POSE_KEYPOINT a list of OpenPose JSON objects, one a
picture, BOUNDING_BOX a list for each picture of {x, y, width, height} in whole px.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import masks_to_boxes

from ...inference.answers import Answer
from ...inference.exports import openpose
from ...utils.errors import UserError
from ...utils.parsing import CLASS_NAMES, pixel_box

PARTS = CLASS_NAMES[1:]
FAINTEST = 1 / 255  # what a mask must reach somewhere not to be empty
T = TypeVar("T")


@dataclass(frozen=True)
class People:
    """The value of a REFHCM_ANSWER: the people found in each picture."""

    people: list[list[Answer]]  # a picture without anybody has an empty list
    sizes_wh: list[tuple[int, int]]  # px, of each picture
    parts: bool  # whether parts were asked for


def read_images(image: Tensor) -> list[Image.Image]:
    """The pictures of an IMAGE, without the transparency that some nodes add; grey as three equal channels."""
    image = image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image
    pixels = (image[..., :3].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return [Image.fromarray(picture) for picture in pixels]


def need_pictures(image: Tensor) -> None:
    """Raises UserError for an empty batch, and for anything but grey, RGB and RGBA."""
    if image.dim() != 4 or image.shape[-1] not in (1, 3, 4):
        raise UserError(f"image: needs the shape [B, H, W, 3], or 1 or 4 channels, got {list(image.shape)}")
    if not len(image):
        raise UserError("image: the batch is empty")


def expressions_of(expression: str, pictures: int) -> list[str]:
    """An expression for each picture: one for all, or one line for each. Raises UserError."""
    lines = [" ".join(line.split()) for line in expression.splitlines() if line.strip()]
    if not lines:
        raise UserError("expression: is empty; say whom you mean, such as: the woman in red")
    if pictures == 1:
        return [" ".join(lines)]
    if len(lines) not in (1, pictures):
        raise UserError(
            f"expression: has {len(lines)} lines for {pictures} pictures; give one line for all, or one for each"
        )
    return lines if len(lines) == pictures else lines * pictures


def read_boxes(mask: Tensor, image: Tensor) -> dict[int, list[float]]:
    """Box around each mask in image px, by the picture's row; empty masks have none. One mask serves all pictures.

    A pixel is inside if it has at least half of what the mask has at most: masks may be grey or have soft edges.
    """
    mask = mask.squeeze(-1) if mask.dim() == 4 and mask.shape[-1] == 1 else mask  # some nodes add a channel
    masks = mask.reshape(-1, *mask.shape[-2:]).float().cpu()
    if len(masks) not in (1, len(image)):
        raise UserError(f"mask: needs one mask, or one for each of the {len(image)} pictures, got {len(masks)}")
    if not masks.numel() or masks.max() < FAINTEST:
        raise UserError("mask: is empty; draw over the person (right-click the picture, Open in MaskEditor)")
    across, down = image.shape[2] / masks.shape[2], image.shape[1] / masks.shape[1]
    boxes = {}
    for row in range(len(image)):
        one = masks[row % len(masks)]
        if one.max() >= FAINTEST:
            x0, y0, x1, y1 = masks_to_boxes((one >= one.max() / 2)[None])[0].tolist()  # the first and last pixels
            boxes[row] = [x0 * across, y0 * down, (x1 + 1) * across, (y1 + 1) * down]
    return boxes


def mask_of(answer: Answer, parts: Sequence[str] = PARTS) -> np.ndarray:
    """bool [H, W]: the pixels of these parts of a person."""
    if answer.label_map is None:
        return np.zeros(answer.size_wh[::-1], bool)
    return np.isin(answer.label_map, [CLASS_NAMES.index(part) for part in parts])


def box_mask(answer: Answer) -> np.ndarray:
    """bool [H, W]: the pixels of the answer's box."""
    mask = np.zeros(answer.size_wh[::-1], bool)
    if answer.box_xyxy is not None:
        x0, y0, x1, y1 = pixel_box(answer.box_xyxy.tolist(), answer.size_wh)
        mask[y0:y1, x0:x1] = True
    return mask


def union(masks: Sequence[np.ndarray], size_wh: tuple[int, int]) -> np.ndarray:
    """bool [H, W]: the pixels of any of these masks; of none where there are none."""
    return np.any(masks, axis=0) if len(masks) else np.zeros(size_wh[::-1], bool)


def bounding_boxes(people: Sequence[Answer]) -> list[dict[str, Any]]:
    """The boxes of one picture's people, as core's nodes take them, with the confidence as `score`."""
    boxes = []
    for answer in people:
        if answer.box_xyxy is not None:
            x0, y0, x1, y1 = pixel_box(answer.box_xyxy.tolist(), answer.size_wh)
            box = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "label": "person"}
            boxes.append(box | {"score": confidence(answer)})
    return boxes


def confidence(answer: Answer) -> float:
    """How sure the model is of the box, 0..1; 0 without a box."""
    return 0.0 if answer.box_xyxy is None else float(1 if answer.confidence.box is None else answer.confidence.box)


def pose_of(people: Sequence[Answer], size_wh: tuple[int, int]) -> dict[str, Any]:
    """One picture's POSE_KEYPOINT. Points that are there have the confidence 1: controlnet_aux draws no others."""
    sure = [replace(one, confidence=replace(one.confidence, keypoints=None)) for one in people]
    return openpose(sure or Answer(size_wh, False, (), ""))


def as_images(pictures: Sequence[Image.Image]) -> Tensor:
    """An IMAGE: float [B, H, W, 3] in 0..1."""
    return torch.from_numpy(np.stack([np.asarray(picture, np.float32) / 255 for picture in pictures]))


def as_masks(masks: Sequence[np.ndarray], size_wh: tuple[int, int] = (64, 64)) -> Tensor:
    """A MASK: float [B, H, W], 0 or 1. Of nothing it is one empty mask of `size_wh`, because nodes expect one."""
    masks = masks if len(masks) else [np.zeros(size_wh[::-1], bool)]
    return torch.from_numpy(np.stack(masks).astype(np.float32))


def never_empty(values: list[T], nothing: T) -> list[T]:
    """The values of a list output; of none, the one that says so: ComfyUI takes the last of each list."""
    return values or [nothing]
