"""The nodes that ask a model about people."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ...inference.answers import Answer
from ...inference.drawing import draw_answers
from ...inference.keywords import Refer
from ...inference.predictor import Predictor
from ...utils.errors import UserError
from .host import progress
from .loading import DRAWN_PEOPLE_ONLY, Loaded
from .values import (
    People,
    as_images,
    as_masks,
    bounding_boxes,
    box_mask,
    confidence,
    expressions_of,
    mask_of,
    need_pictures,
    never_empty,
    pose_of,
    read_boxes,
    read_images,
    union,
)

PARALLEL = {"auto": None, "on": True, "off": False}
MOST_BEAMS = 16
Ask = Callable[[Predictor, list[Image.Image], list[str]], list[list[Answer]]]


def inputs(example: str, *, threshold: str) -> dict[str, Any]:
    """Inputs that both ways of asking have: one question about every picture of the batch."""
    words = f"whom you mean, such as “{example}”. For a batch: one line for all pictures, or one line for each"
    least = {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.05, "tooltip": threshold}
    return {
        "required": {
            "model": ("REFHCM_MODEL", {"tooltip": f"of “Load RefHCM”; {DRAWN_PEOPLE_ONLY}"}),
            "image": ("IMAGE", {"tooltip": "a picture or a batch; grey, RGB or RGBA"}),
            "expression": ("STRING", {"multiline": True, "placeholder": example, "tooltip": words}),
        },
        "optional": {
            "keypoints": ("BOOLEAN", {"default": True, "tooltip": "17 named points: nose, left wrist ..."}),
            "parts": ("BOOLEAN", {"default": True, "tooltip": "hair, coat, left arm ...: a mask of each"}),
            "caption": ("BOOLEAN", {"default": False, "tooltip": "what the person looks like"}),
            "min_confidence": ("FLOAT", least),
        },
    }


def valid_expression(expression: str | None) -> bool | str:
    """For VALIDATE_INPUTS; None: it comes from another node."""
    try:
        expressions_of("someone" if expression is None else expression, 1)
    except UserError as error:
        return str(error).removeprefix("expression: ")  # ComfyUI writes the widget's name before it
    return True


def ask_all(
    model: Loaded, image: Tensor, expression: str, ask: Ask, *, kinds: int, parts: bool, numbers: bool
) -> tuple[Tensor, People]:
    """The pictures with what was found drawn on them, and the people of each.

    kinds: how many questions `ask` makes of each batch. numbers: whether to draw them on people.
    """
    need_pictures(image)
    texts, predictor = expressions_of(expression, len(image)), model.ready()
    if parts and predictor.tokenizer is None:
        raise UserError("parts: no folder vqgan beside the weights; put it there, or switch parts off")
    drawn, found = torch.empty(*image.shape[:3], 3), list[list[Answer]]()
    rows = slices(len(image), predictor.batch_size)
    with progress(predictor.network, kinds * len(rows)):
        for at in rows:
            pictures = read_images(image[at])
            found += ask(predictor, pictures, texts[at])
            pairs = zip(pictures, found[at], strict=True)
            drawn[at] = as_images([draw_answers(picture, people, numbers=numbers) for picture, people in pairs])
    return drawn, People(found, [(image.shape[2], image.shape[1])] * len(image), parts)


def slices(count: int, size: int) -> list[slice]:
    """`count` rows, `size` at a time."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


class AskRefHCM:
    """Where the described person is, how they stand, where their parts are, and what they look like."""

    CATEGORY = "RefHCM"
    SEARCH_ALIASES = ("referring", "person by text", "openpose", "human parsing", "bounding box", "pose by text")
    DESCRIPTION = "Asks about the person you describe: box, keypoints, parts and caption, for each picture of a batch."
    RETURN_TYPES = (
        "IMAGE", "MASK", "MASK", "POSE_KEYPOINT", "BOUNDING_BOX", "FLOAT",
        "STRING", "STRING", "REFHCM_ANSWER", "STRING",
    )  # fmt: skip
    RETURN_NAMES = ("drawn", "person", "box", "pose", "bboxes", "confidence", "caption", "json", "answer", "captions")
    OUTPUT_TOOLTIPS = (
        "the picture with the answer drawn on it",
        "mask of the whole person; empty unless parts are on",
        "mask of the person's box",
        "OpenPose keypoints, as ControlNet's preprocessors and SDPose's nodes take them",
        "the box of each picture: x, y, width, height in px, for SAM3, SDPose and cropping",
        "how sure the model is of the box, 0 to 1, one number a picture; 0 for nobody",
        "what the person looks like; one line a picture",
        "the whole answer in pixels, one text a picture",
        "for the node “Parts of a person”",
        "what the person looks like, one text a picture",
    )
    OUTPUT_IS_LIST = (False, False, False, False, False, True, False, True, False, True)
    FUNCTION = "ask"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        """`inputs`, and how answers are written."""
        threshold = "what the model must be sure of that this person is there; else it counts as nobody. 0: take all"
        given = inputs("the woman in red", threshold=threshold)
        parallel = "parts in one step, which is faster. auto: if the model was trained to do that"
        given["optional"]["parallel"] = (list(PARALLEL), {"default": "auto", "tooltip": parallel, "advanced": True})
        beams = "answers followed at once: fewer are faster. 0: as many as the model was measured with"
        limits = {"default": 0, "min": 0, "max": MOST_BEAMS}
        given["optional"]["beams"] = ("INT", limits | {"tooltip": beams, "advanced": True})
        return given

    @classmethod
    def VALIDATE_INPUTS(cls, expression: str | None = None) -> bool | str:  # noqa: N802
        """A sentence at the node for an empty expression."""
        return valid_expression(expression)

    def ask(
        self,
        model: Loaded,
        image: Tensor,
        expression: str,
        keypoints: bool = True,
        parts: bool = True,
        caption: bool = False,
        min_confidence: float = 0.0,
        parallel: str = "auto",
        beams: int = 0,
    ) -> tuple[Any, ...]:
        """What could not be read becomes an empty mask or text; the JSON says why."""
        given = PARALLEL[parallel]
        fast = parts and (model.parallel if given is None else given)
        wanted = Refer(keypoints=keypoints, parsing=parts, parallel=fast, caption=caption, beam=beams or None)
        asked: list[Answer] = []

        def ask(predictor: Predictor, pictures: list[Image.Image], texts: list[str]) -> list[list[Answer]]:
            answers = [remarked(predictor, one) for one in predictor.refer(pictures, texts, **wanted)]
            asked.extend(answers)
            return [[answer] if is_there(answer, min_confidence) else [] for answer in answers]

        kinds = max(keypoints + parts, 1) + caption
        drawn, people = ask_all(model, image, expression, ask, kinds=kinds, parts=parts, numbers=False)
        found, sizes_wh = people.people, people.sizes_wh
        rows = list(zip(found, sizes_wh, strict=True))
        person = as_masks([union([mask_of(one) for one in some], size_wh) for some, size_wh in rows])
        box = as_masks([union([box_mask(one) for one in some], size_wh) for some, size_wh in rows])
        poses, boxes = [pose_of(*row) for row in rows], [bounding_boxes(some) for some in found]
        sure = [confidence(some[0]) if some else 0.0 for some in found]
        captions, texts = [some[0].caption or "" if some else "" for some in found], [one.to_json() for one in asked]
        return drawn, person, box, poses, boxes, sure, "\n".join(captions), texts, people, captions


def is_there(answer: Answer, least: float) -> bool:
    """Whether the described person counts as found, by `found` where the model knows it, else by the box."""
    return (confidence(answer) if answer.found is None else answer.found) >= least


def remarked(predictor: Predictor, answer: Answer) -> Answer:
    """With what users of the model should know among the notes."""
    notes = [note for note in predictor.notes if note not in answer.notes]
    return replace(answer, notes=(*answer.notes, *notes))


class FindRefHCM:
    """Everyone whom an expression fits, from left to right."""

    CATEGORY = "RefHCM"
    SEARCH_ALIASES = ("find people", "detect people", "count people", "all people by text", "crowd")
    DESCRIPTION = (
        "Finds everyone whom your words fit, from left to right; nobody is an answer, too. It needs a model that was "
        "trained to do this (task grec), which the paper's weights were not."
    )
    RETURN_TYPES = (
        "IMAGE", "MASK", "POSE_KEYPOINT", "BOUNDING_BOX", "FLOAT", "INT", "STRING", "STRING", "REFHCM_ANSWER",
    )  # fmt: skip
    RETURN_NAMES = ("drawn", "people", "pose", "bboxes", "confidences", "count", "captions", "json", "answer")
    OUTPUT_TOOLTIPS = (
        "the picture with everyone numbered",
        "one mask a person: the person with parts, else the box; a single empty mask for nobody",
        "OpenPose keypoints of everyone, one object a picture",
        "boxes, one list a picture: x, y, width, height in px, for SAM3, SDPose and cropping",
        "how sure the model is of each box, 0 to 1; a single 0 for nobody",
        "how many people were found in all pictures",
        "what each person looks like; a single empty text for nobody",
        "the whole answers in pixels, one list a picture",
        "for the node “Parts of a person”",
    )
    OUTPUT_IS_LIST = (False, False, False, False, True, False, True, True, False)
    FUNCTION = "find"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """One question about every picture of the batch."""
        return inputs("the people in red", threshold="what the model must be sure of each box; others are left out")

    @classmethod
    def VALIDATE_INPUTS(cls, expression: str | None = None) -> bool | str:  # noqa: N802
        """A sentence at the node for an empty expression."""
        return valid_expression(expression)

    def find(
        self,
        model: Loaded,
        image: Tensor,
        expression: str,
        keypoints: bool = True,
        parts: bool = True,
        caption: bool = False,
        min_confidence: float = 0.0,
    ) -> tuple[Any, ...]:
        """Raises UserError for a model that has not learned it."""

        def ask(predictor: Predictor, pictures: list[Image.Image], texts: list[str]) -> list[list[Answer]]:
            found = predictor.find(
                pictures, texts, keypoints=keypoints, parsing=parts, caption=caption, min_confidence=min_confidence
            )
            return [[remarked(predictor, one) for one in people] for people in found]

        kinds = 1 + keypoints + parts + caption
        drawn, people = ask_all(model, image, expression, ask, kinds=kinds, parts=parts, numbers=True)
        found, sizes_wh = people.people, people.sizes_wh
        everyone = [one for some in found for one in some]
        masks = as_masks([mask_of(one) if parts else box_mask(one) for one in everyone], sizes_wh[0])
        poses = [pose_of(*row) for row in zip(found, sizes_wh, strict=True)]
        boxes, sure = [bounding_boxes(some) for some in found], [confidence(one) for one in everyone]
        captions = [one.caption or "" for one in everyone]
        texts = ["[" + ", ".join(one.to_json() for one in some) + "]" for some in found]
        listed = (never_empty(sure, 0.0), len(everyone), never_empty(captions, ""))
        return drawn, masks, poses, boxes, *listed, texts, people


class DescribeRefHCM:
    """What the person under a mask looks like."""

    CATEGORY = "RefHCM"
    SEARCH_ALIASES = ("caption person", "describe person", "region caption", "clothes description")
    DESCRIPTION = "Says what the person in the box around a mask looks like. Draw it with ComfyUI's mask editor."
    RETURN_TYPES = ("STRING", "STRING")
    RETURN_NAMES = ("caption", "captions")
    OUTPUT_TOOLTIPS = ("one line a picture", "one text a picture")
    OUTPUT_IS_LIST = (False, True)
    FUNCTION = "describe"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802
        """One mask for all pictures, or one for each."""
        return {
            "required": {
                "model": ("REFHCM_MODEL", {"tooltip": f"of “Load RefHCM”; {DRAWN_PEOPLE_ONLY}"}),
                "image": ("IMAGE", {"tooltip": "a picture or a batch; grey, RGB or RGBA"}),
                "mask": ("MASK", {"tooltip": "drawn over the person: one for all pictures, or one for each"}),
            }
        }

    def describe(self, model: Loaded, image: Tensor, mask: Tensor) -> tuple[str, list[str]]:
        """A mask of another size is stretched over its picture. An empty mask gives an empty text.

        Raises UserError if all masks are empty.
        """
        need_pictures(image)
        boxes, captions = read_boxes(mask, image), [""] * len(image)
        predictor, rows = model.ready(), list(boxes)
        parts = slices(len(rows), predictor.batch_size)
        with progress(predictor.network, len(parts)):
            for at in parts:
                answers = predictor.describe(read_images(image[rows[at]]), [boxes[row] for row in rows[at]])
                for row, answer in zip(rows[at], answers, strict=True):
                    captions[row] = answer.caption or ""
        return "\n".join(captions), captions
