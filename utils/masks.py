"""Masks as COCO's run lengths, by pycocotools."""

from typing import Any

import numpy as np


def encode_mask(mask: np.ndarray) -> dict[str, Any]:
    """bool [H, W] -> COCO's compressed run lengths, `{"size": [H, W], "counts": text}`."""
    from pycocotools import mask as coco  # compiled, and only those who export need it

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
