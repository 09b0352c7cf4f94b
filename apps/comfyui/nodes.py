"""Nodes for ComfyUI: the folder of this project, cloned into `ComfyUI/custom_nodes`, is a pack of nodes.

ComfyUI finds `NODE_CLASS_MAPPINGS` in the package and calls the method that `FUNCTION` names with the inputs by name.
IMAGE is float [B, H, W, 3] in 0..1, MASK float [B, H, W] in 0..1, POSE_KEYPOINT a list of OpenPose's JSON objects.
A mistake of the user's is a UserError, which ComfyUI shows at the node.
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


class Asked(NamedTuple):
    """What REFHCM_ANSWER holds: an answer for each picture, and whether parts were asked for."""

    answers: list[Answer]
    parts: bool


class LoadRefHCM:
    """A model to ask; ComfyUI keeps it while workflows have it."""

    CATEGORY = CATEGORY
    DESCRIPTION = (
        "Loads RefHCM. Weights are looked for in models/refhcm, its folders, and the node's own checkpoints folder, "
        "the vocabulary (bpe) and the tokenizer of parsing maps (vqgan) beside them."
    )
    RETURN_TYPES = ("REFHCM_MODEL",)
    RETURN_NAMES = ("model",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        """Weights are looked for whenever the page is loaded again."""
        return {
            "required": {
                "checkpoint": ([DRAWN_PEOPLE, *weights()], {}),
                "precision": (["auto", *DTYPES], {"tooltip": "auto: float16 on a CUDA GPU, float32 elsewhere"}),
            }
        }

    def load(self, checkpoint: str, precision: str) -> tuple[Predictor]:
        """Raises UserError for weights that are gone or can not be used."""
        path = SHIPPED if checkpoint == DRAWN_PEOPLE else weights().get(checkpoint)
        if path is None:
            raise UserError(f"checkpoint: {checkpoint} is no longer there; looked in {', '.join(map(str, folders()))}")
        return (load(path, device=device(path.stat().st_size), dtype=precision),)


class AskRefHCM:
    """Where the described person is, how they stand, what each part of them is, and what they look like."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Asks about the person you describe: box, keypoints, parts and caption, for each picture of a batch."
    RETURN_TYPES = ("IMAGE", "MASK", "MASK", "POSE_KEYPOINT", "STRING", "STRING", "REFHCM_ANSWER")
    RETURN_NAMES = ("drawn", "person", "box", "pose", "caption", "json", "answer")
    OUTPUT_TOOLTIPS = (
        "the picture with the answer drawn on it",
        "mask of the whole person; empty without parts",
        "mask of the person's box",
        "OpenPose keypoints, as ControlNet's preprocessors give them",
        "what the person looks like, one text a picture",
        "the whole answer in pixels, one text a picture",
        "for the node that picks parts",
    )
    OUTPUT_IS_LIST = (False, False, False, False, True, True, False)
    FUNCTION = "ask"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """One question about all pictures of the batch."""
        return {
            "required": {
                "model": ("REFHCM_MODEL",),
                "image": ("IMAGE",),
                "expression": ("STRING", {"multiline": True, "placeholder": "the woman in red"}),
                "keypoints": ("BOOLEAN", {"default": True, "tooltip": "17 named points"}),
                "parts": ("BOOLEAN", {"default": True, "tooltip": "hair, coat, left arm ...: a mask of each"}),
                "parallel": ("BOOLEAN", {"default": False, "tooltip": "parts in one step, where the model learned it"}),
                "caption": ("BOOLEAN", {"default": False, "tooltip": "what the person in the box looks like"}),
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
        """What can not be read of an answer is an empty mask or text; its JSON says why."""
        need_pictures(image)
        if parts and model.tokenizer is None:
            raise UserError("parts: there is no folder vqgan beside the weights; put it there, or switch parts off")
        device(BATCH_MEMORY)
        wanted = {"keypoints": keypoints, "parsing": parts, "parallel": parts and parallel, "caption": caption}
        words = " ".join(expression.split())
        drawn, (whole, boxes) = torch.empty(*image.shape[:3], 3), torch.empty(2, *image.shape[:3])
        answers: list[Answer] = []
        for at in batches(len(image), model.batch_size):
            pictures = read_images(image[at])
            answers += model.refer(pictures, [words] * len(pictures), **wanted)
            drawn[at] = as_images([draw_answer(*pair) for pair in zip(pictures, answers[at], strict=True)])
            whole[at] = as_masks([mask_of(answer, PARTS) for answer in answers[at]])
            boxes[at] = as_masks([box_mask(answer) for answer in answers[at]])
        captions, texts = [answer.caption or "" for answer in answers], [answer.to_json() for answer in answers]
        return drawn, whole, boxes, [openpose(answer) for answer in answers], captions, texts, Asked(answers, parts)


class PickRefHCMParts:
    """Some parts of a person as one mask."""

    CATEGORY = CATEGORY
    DESCRIPTION = "One mask of the parts that are switched on, of an answer that was asked for parts."
    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    FUNCTION = "pick"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """A switch for each of CIHP's classes."""
        return {"required": {"answer": ("REFHCM_ANSWER",)} | {part: ("BOOLEAN", {"default": False}) for part in PARTS}}

    def pick(self, answer: Asked, **switches: bool) -> tuple[Tensor]:
        """Empty where parts could not be read. Raises UserError where they were not asked for."""
        if not answer.parts:
            raise UserError("answer: holds no parts; switch on parts where the person is asked about")
        chosen = [part for part, on in switches.items() if on]
        return (as_masks([mask_of(one, chosen) for one in answer.answers]),)


class DescribeRefHCM:
    """What the person under a mask looks like."""

    CATEGORY = CATEGORY
    DESCRIPTION = "Says what the person in the box around a mask looks like. Draw it with ComfyUI's mask editor."
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("caption",)
    OUTPUT_TOOLTIPS = ("one text a picture",)
    OUTPUT_IS_LIST = (True,)
    FUNCTION = "describe"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """One mask for all pictures, or one for each."""
        return {"required": {"model": ("REFHCM_MODEL",), "image": ("IMAGE",), "mask": ("MASK",)}}

    def describe(self, model: Predictor, image: Tensor, mask: Tensor) -> tuple[list[str]]:
        """A mask of another size than the picture's is stretched over it; an empty one among others gives no text.

        Raises UserError where all are empty.
        """
        need_pictures(image)
        device(BATCH_MEMORY)
        boxes = read_boxes(mask, image)
        given = [k for k, box in enumerate(boxes) if box is not None]
        captions = [""] * len(boxes)
        for at in batches(len(given), model.batch_size):
            pictures = [picture for k in given[at] for picture in read_images(image[k : k + 1])]
            answers = model.describe(pictures, [boxes[k] for k in given[at]])
            for k, answer in zip(given[at], answers, strict=True):
                captions[k] = answer.caption or ""
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


# ComfyUI's values and ours


def read_images(image: Tensor) -> list[Image.Image]:
    """Pictures of an IMAGE; transparency, which some nodes add, is left out."""
    pixels = (image[..., :3].clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return [Image.fromarray(picture) for picture in pixels]


def need_pictures(image: Tensor) -> None:
    """Raises UserError for an IMAGE that holds none."""
    if not len(image):
        raise UserError("image: the batch holds no picture")


def read_boxes(mask: Tensor, image: Tensor) -> list[list[float] | None]:
    """Box around each mask in px of the pictures, None around an empty one; one mask serves all pictures."""
    masks = mask.reshape(-1, *mask.shape[-2:]).cpu() > 0.5
    if len(masks) not in (1, len(image)):
        raise UserError(f"mask: needs one, or one for each of the {len(image)} pictures, got {len(masks)}")
    if not masks.any():
        raise UserError("mask: is empty; draw over the person (right click on the picture: open in mask editor)")
    boxes = [_outline(one, image.shape[2], image.shape[1]) for one in masks]
    return boxes * (len(image) // len(boxes))


def _outline(mask: Tensor, width: int, height: int) -> list[float] | None:
    if not mask.any():
        return None
    x0, y0, x1, y1 = masks_to_boxes(mask[None])[0].tolist()  # of the last pixels, not behind them
    across, down = width / mask.shape[1], height / mask.shape[0]
    return [x0 * across, y0 * down, (x1 + 1) * across, (y1 + 1) * down]


def mask_of(answer: Answer, parts: Sequence[str]) -> np.ndarray:
    """bool [H, W]: some parts of a person."""
    if answer.label_map is None:
        return np.zeros(answer.size_wh[::-1], bool)
    return np.isin(answer.label_map, [CLASS_NAMES.index(part) for part in parts])


def box_mask(answer: Answer) -> np.ndarray:
    """bool [H, W]: the pixels of the answer's box."""
    mask = np.zeros(answer.size_wh[::-1], bool)
    if answer.box_xyxy is not None:
        x0, y0, x1, y1 = pixel_box(answer.box_xyxy, answer.size_wh)
        mask[y0:y1, x0:x1] = True
    return mask


def as_images(pictures: Sequence[Image.Image]) -> Tensor:
    """float [B, H, W, 3] in 0..1."""
    return torch.from_numpy(np.stack([np.asarray(picture, np.float32) / 255 for picture in pictures]))


def as_masks(masks: Sequence[np.ndarray]) -> Tensor:
    """float [B, H, W], 0 or 1."""
    return torch.from_numpy(np.stack(masks).astype(np.float32))
