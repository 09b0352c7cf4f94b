"""The node that makes masks of a person's parts."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from ...data.columns import shorten
from ...inference.answers import Answer
from ...utils.errors import UserError
from .values import PARTS, People, as_masks, mask_of, never_empty, union

PRESETS = {
    "whole person": PARTS,
    "clothes": ("hat", "glove", "upper-clothes", "dress", "coat", "socks", "pants", "scarf", "skirt"),
    "clothes and shoes": (
        *("hat", "glove", "upper-clothes", "dress", "coat", "socks", "pants", "scarf", "skirt"),
        *("left-shoe", "right-shoe"),
    ),
    "skin": ("torso-skin", "face", "left-arm", "right-arm", "left-leg", "right-leg"),
    "limbs": ("left-arm", "right-arm", "left-leg", "right-leg"),
    "head": ("hat", "hair", "sunglasses", "face"),
    "shoes": ("left-shoe", "right-shoe"),
}
NAMED = "only those named below"
MOST_GROWTH = 256  # px


class PickRefHCMParts:
    """Chosen parts of people as masks."""

    CATEGORY = "RefHCM"
    SEARCH_ALIASES = ("clothes mask", "human parsing", "hair mask", "face mask", "body parts", "segment person")
    DESCRIPTION = (
        "Masks of parts of a person, from an answer with parts: a preset such as “clothes”, or parts by name. "
        "Grow and blur make a mask ready for inpainting."
    )
    RETURN_TYPES = ("MASK", "MASK", "MASK", "STRING")
    RETURN_NAMES = ("mask", "people", "parts", "names")
    OUTPUT_TOOLTIPS = (
        "the chosen parts of everyone, one mask a picture",
        "one mask a person",
        "one mask a person and part that was found; a single empty mask for none",
        "what each mask of “parts” shows; a single empty text for none",
    )
    OUTPUT_IS_LIST = (False, False, False, True)
    FUNCTION = "pick"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 (ComfyUI's name)
        """A preset and CIHP's classes by name."""
        named = {"default": "", "tooltip": f"more parts, with commas between them: {', '.join(PARTS)}"}
        growth = {"default": 0, "min": -MOST_GROWTH, "max": MOST_GROWTH, "advanced": True}
        blur = {"default": 0.0, "min": 0.0, "max": 64.0, "step": 0.5, "advanced": True}
        return {
            "required": {
                "answer": ("REFHCM_ANSWER", {"tooltip": "of “Ask about a person” or “Find people”, with parts"}),
                "preset": ([*PRESETS, NAMED], {"default": "clothes", "tooltip": "which parts the masks show"}),
            },
            "optional": {
                "named": ("STRING", named),
                "grow": ("INT", growth | {"tooltip": "px to add around each mask; below 0 to take away"}),
                "blur": ("FLOAT", blur | {"tooltip": "softens the edges: px of a Gaussian's sigma"}),
            },
        }

    @classmethod
    def VALIDATE_INPUTS(cls, named: str | None = None) -> bool | str:  # noqa: N802
        """None: it comes from another node."""
        try:
            parts_named(named or "")
        except UserError as error:
            return str(error).removeprefix("named: ")  # ComfyUI writes the widget's name before it
        return True

    def pick(
        self, answer: People, preset: str, named: str = "", grow: int = 0, blur: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor, list[str]]:
        """An empty mask where parts could not be read. Raises UserError if they were not asked for."""
        if not answer.parts:
            raise UserError("answer: has no parts; switch on “parts” in the node that gives it")
        chosen = [part for part in PARTS if part in {*PRESETS.get(preset, ()), *parts_named(named)}]
        if not chosen:
            raise UserError(f"named: is empty; name some of {', '.join(PARTS)}, or choose another preset")
        everyone = [one for people in answer.people for one in people]
        found = [(k + 1, one, part) for k, one in enumerate(everyone) for part in chosen if has(one, part)]
        pictures = [
            union([mask_of(one, chosen) for one in people], size_wh)
            for people, size_wh in zip(answer.people, answer.sizes_wh, strict=True)
        ]
        masks = (pictures, [mask_of(one, chosen) for one in everyone], [mask_of(one, [part]) for _, one, part in found])
        mask, people, parts = (shaped(as_masks(some, answer.sizes_wh[0]), grow, blur) for some in masks)
        names = [part if len(everyone) == 1 else f"{number} {part}" for number, _, part in found]
        return mask, people, parts, never_empty(names, "")


def has(answer: Answer, part: str) -> bool:
    """Whether any pixel of the person is of this part."""
    return bool(mask_of(answer, [part]).any())


def parts_named(text: str) -> list[str]:
    """Parts from a text with commas; `left arm` is `left-arm`. Raises UserError for unknown ones."""
    names = ["-".join(name.lower().split()) for name in text.replace("\n", ",").split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise UserError(f"named: {shorten(unknown[0])} is no part; use some of {', '.join(PARTS)}")
    return names


def shaped(mask: Tensor, grow: int, blur: float) -> Tensor:
    """A MASK [B, H, W] grown by so many px in all directions, then blurred."""
    if grow:
        size = 2 * abs(grow) + 1
        signed = mask[:, None] if grow > 0 else -mask[:, None]
        for kernel in ((size, 1), (1, size)):  # a square is a column of rows
            signed = F.max_pool2d(signed, kernel, stride=1, padding=(kernel[0] // 2, kernel[1] // 2))
        mask = signed[:, 0] if grow > 0 else -signed[:, 0]
    if blur:
        size = 2 * min(int(3 * blur) + 1, min(mask.shape[-2:]) - 1) + 1
        mask = gaussian_blur(mask[:, None], [size, size], [blur, blur])[:, 0]
    return mask
