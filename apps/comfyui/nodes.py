"""The nodes for ComfyUI, which loads this project as a custom node when it is cloned into `ComfyUI/custom_nodes`.

ComfyUI reads `NODE_CLASS_MAPPINGS` from the package and calls each node's method `FUNCTION` with the inputs by name.
IMAGE is float [B, H, W, 3] in 0..1, MASK float [B, H, W] in 0..1, POSE_KEYPOINT a list of OpenPose JSON objects.
A user's mistake raises UserError, which ComfyUI shows at the node.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.ops import masks_to_boxes

from ...inference.answers import Answer
from ...inference.batch_size import BATCH_MEMORY
from ...inference.drawing import draw_answer
from ...inference.exports import openpose
from ...inference.loading import DTYPES, SHIPPED, load
from ...inference.predictor import Predictor
from ...utils.errors import UserError
from ...utils.parsing import CLASS_NAMES, pixel_box
from .host import batches, device, folders, weights

CATEGORY = "RefHCM"
DRAWN_PEOPLE = "drawn people (comes with RefHCM)"
PARTS = CLASS_NAMES[1:]


class Answers(NamedTuple):
    """The value of a REFHCM_ANSWER: an answer for each picture, and whether parts were asked for."""

    answers: list[Answer]
    parts: bool


class LoadRefHCM:
    """Loads a model; ComfyUI keeps it as long as a workflow uses it."""

    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Loads RefHCM. Weights may lie in models/refhcm, in its folders, or in the node's own checkpoints folder, "
        "with the vocabulary (bpe) and the parsing-map tokenizer (vqgan) beside them."
    )
    RETURN_TYPES = ("REFHCM_MODEL",)
    RETURN_NAMES = ("model",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        """The list of weights is made anew whenever ComfyUI's page is reloaded."""
        return {
            "required": {
                "checkpoint": ([DRAWN_PEOPLE, *weights()], {}),
                "precision": (["auto", *DTYPES], {"tooltip": "auto: float16 on a CUDA GPU, float32 elsewhere"}),
            }
        }

    def load(self, checkpoint: str, precision: str) -> tuple[Predictor]:
        """Raises UserError for weights that are gone or cannot be used."""
        path = SHIPPED if checkpoint == DRAWN_PEOPLE else weights().get(checkpoint)
        if path is None:
            raise UserError(f"checkpoint: {checkpoint} is gone; looked in {', '.join(map(str, folders()))}")
        return (load(path, device=device(path.stat().st_size), dtype=precision),)


class AskRefHCM:
    """Where the described person is, how they stand, where their parts are, and what they look like."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Asks about the person you describe: box, keypoints, parts and caption, for each picture of a batch."
    RETURN_TYPES = ("IMAGE", "MASK", "MASK", "POSE_KEYPOINT", "STRING", "STRING", "REFHCM_ANSWER")
    RETURN_NAMES = ("drawn", "person", "box", "pose", "caption", "json", "answer")
    OUTPUT_TOOLTIPS = (
        "the picture with the answer drawn on it",
        "mask of the whole person; empty unless parts are on",
        "mask of the person's box",
        "OpenPose keypoints, as ControlNet's preprocessors give them",
        "what the person looks like, one text per picture",
        "the whole answer in pixels, one text per picture",
        "for the node “Parts of a person”",
    )
    OUTPUT_IS_LIST = (False, False, False, False, True, True, False)
    FUNCTION = "ask"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """One question about every picture of the batch."""
        return {
            "required": {
                "model": ("REFHCM_MODEL",),
                "image": ("IMAGE",),
                "expression": ("STRING", {"multiline": True, "placeholder": "the woman in red"}),
                "keypoints": ("BOOLEAN", {"default": True, "tooltip": "17 named points"}),
                "parts": ("BOOLEAN", {"default": True, "tooltip": "hair, coat, left arm ...: a mask of each"}),
                "parallel": (
                    "BOOLEAN",
                    {"default": False, "tooltip": "parts in one step, if the model was trained to do that"},
                ),
                "caption": ("BOOLEAN", {"default": False, "tooltip": "what the person looks like"}),
            }
        }

    def ask(
        self,
        model: Predictor,
        image: Tensor,
        expression: str,
        keypoints: bool,
        parts: bool,
        parallel: bool,
        caption: bool,
    ) -> tuple[Any, ...]:
        """What could not be read becomes an empty mask or text; the JSON says why."""
        need_pictures(image)
        if parts and model.tokenizer is None:
            raise UserError("parts: no folder vqgan beside the weights; put it there, or switch parts off")
        device(BATCH_MEMORY)
        wanted = {"keypoints": keypoints, "parsing": parts, "parallel": parts and parallel, "caption": caption}
        expression = " ".join(expression.split())
        drawn, (whole, boxes) = torch.empty(*image.shape[:3], 3), torch.empty(2, *image.shape[:3])
        answers: list[Answer] = []
        for at in batches(len(image), model.batch_size):
            pictures = read_images(image[at])
            answers += model.refer(pictures, [expression] * len(pictures), **wanted)
            drawn[at] = as_images([draw_answer(*pair) for pair in zip(pictures, answers[at], strict=True)])
            whole[at] = as_masks([mask_of(answer, PARTS) for answer in answers[at]])
            boxes[at] = as_masks([box_mask(answer) for answer in answers[at]])
        captions, texts = [answer.caption or "" for answer in answers], [answer.to_json() for answer in answers]
        return drawn, whole, boxes, [openpose(answer) for answer in answers], captions, texts, Answers(answers, parts)


class PickRefHCMParts:
    """Chosen parts of a person as one mask."""

    CATEGORY = CATEGORY
    DESCRIPTION = "One mask of the parts that are switched on, from an answer with parts."
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    FUNCTION = "pick"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """A switch for each of CIHP's classes."""
        return {"required": {"answer": ("REFHCM_ANSWER",)} | {part: ("BOOLEAN", {"default": False}) for part in PARTS}}

    def pick(self, answer: Answers, **switches: bool) -> tuple[Tensor]:
        """An empty mask where parts could not be read. Raises UserError if they were not asked for."""
        if not answer.parts:
            raise UserError("answer: has no parts; switch on parts in the node “Ask about a person”")
        chosen = [part for part, on in switches.items() if on]
        return (as_masks([mask_of(one, chosen) for one in answer.answers]),)


class DescribeRefHCM:
    """What the person under a mask looks like."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Says what the person in the box around a mask looks like. Draw it with ComfyUI's mask editor."
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("caption",)
    OUTPUT_TOOLTIPS = ("one text per picture",)
    OUTPUT_IS_LIST = (True,)
    FUNCTION = "describe"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """One mask for all pictures, or one for each."""
        return {"required": {"model": ("REFHCM_MODEL",), "image": ("IMAGE",), "mask": ("MASK",)}}

    def describe(self, model: Predictor, image: Tensor, mask: Tensor) -> tuple[list[str]]:
        """A mask of another size is stretched over its picture. An empty mask gives an empty text.

        Raises UserError if all masks are empty.
        """
        need_pictures(image)
        device(BATCH_MEMORY)
        boxes, captions = read_boxes(mask, image), [""] * len(image)
        rows = list(boxes)
        for at in batches(len(rows), model.batch_size):
            answers = model.describe(read_images(image[rows[at]]), [boxes[row] for row in rows[at]])
            for row, answer in zip(rows[at], answers, strict=True):
                captions[row] = answer.caption or ""
        return (captions,)


NODE_CLASS_MAPPINGS = {
    "RefHCMLoad": LoadRefHCM,
    "RefHCMAsk": AskRefHCM,
    "RefHCMParts": PickRefHCMParts,
    "RefHCMDescribe": DescribeRefHCM,
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "RefHCMLoad": "Load RefHCM",
    "RefHCMAsk": "Ask about a person (RefHCM)",
    "RefHCMParts": "Parts of a person (RefHCM)",
    "RefHCMDescribe": "Describe a person (RefHCM)",
}


# Conversion between ComfyUI's values and ours


def read_images(image: Tensor) -> list[Image.Image]:
    """The pictures of an IMAGE, without the transparency that some nodes add; grey as three equal channels."""
    image = image.expand(-1, -1, -1, 3) if image.shape[-1] == 1 else image
    pixels = (image[..., :3].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return [Image.fromarray(picture) for picture in pixels]


def need_pictures(image: Tensor) -> None:
    """Raises UserError for an empty batch, and for anything but grey, RGB and RGBA."""
    if image.dim() != 4 or image.shape[-1] not in (1, 3, 4):
        raise UserError(f"image: needs the shape [B, H, W, 3], or 1 or 4 channels, got {list(image.shape)}")
    if not len(image):
        raise UserError("image: the batch is empty")


def read_boxes(mask: Tensor, image: Tensor) -> dict[int, list[float]]:
    """Box around each mask in image px, by the picture's row; empty masks have none. One mask serves all pictures."""
    masks = mask.reshape(-1, *mask.shape[-2:]).cpu() > 0.5
    if len(masks) not in (1, len(image)):
        raise UserError(f"mask: needs one mask, or one for each of the {len(image)} pictures, got {len(masks)}")
    if not masks.any():
        raise UserError("mask: is empty; draw over the person (right-click the picture, Open in MaskEditor)")
    across, down = image.shape[2] / masks.shape[2], image.shape[1] / masks.shape[1]
    boxes = {}
    for row in range(len(image)):
        one = masks[row % len(masks)]
        if one.any():
            x0, y0, x1, y1 = masks_to_boxes(one[None])[0].tolist()  # the first and last pixels
            boxes[row] = [x0 * across, y0 * down, (x1 + 1) * across, (y1 + 1) * down]
    return boxes


def mask_of(answer: Answer, parts: Sequence[str]) -> np.ndarray:
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


def as_images(pictures: Sequence[Image.Image]) -> Tensor:
    """An IMAGE: float [B, H, W, 3] in 0..1."""
    return torch.from_numpy(np.stack([np.asarray(picture, np.float32) / 255 for picture in pictures]))


def as_masks(masks: Sequence[np.ndarray]) -> Tensor:
    """A MASK: float [B, H, W], 0 or 1."""
    return torch.from_numpy(np.stack(masks).astype(np.float32))
