"""Samples to a batch (docs/data.md, "A batch").

The network's inputs are torch tensors. Labels that only metrics read are numpy arrays: the trainer neither casts these
to half precision nor moves them to a device.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate

from .dataset import BadRow, Sample

Item = Sample | BadRow | list[Sample | BadRow]

# field of a sample -> field of a batch, type
LABELS = {
    "w_resize_ratio": ("w_resize_ratios", np.float32),  # [B]
    "h_resize_ratio": ("h_resize_ratios", np.float32),  # [B]
    "region_coord": ("region_coords", np.float32),  # [B, 4] image px
    "keypoints": ("keypoints", np.float32),  # [B, 34] image px
    "parsing_code": ("parsing_codes", np.int64),  # [B, 48]
    "gt": ("gt", np.int32),  # [B, 512, 512]
}


def collate(samples: Sequence[Item], *, pad: int, share_pictures: bool = False) -> dict[str, Any]:
    """A batch of samples; an item may be a list of them (multitask), and the order is kept.

    share_pictures: hold each picture (by `picture_key`) once, and in `patch_rows`, int64 [B], the picture of each row.
    A task's own field is in the batch if all samples have it. `bad_rows`: the messages of the BadRows; a batch
    without any sample holds nothing else. `clipped_rows`: "path:line" of the samples with clipped coordinates.
    `remarks`: for each remark about a sample, its "path:line" and the remark.
    """
    items = list(_flatten(samples))
    bad_rows = [item.message for item in items if isinstance(item, BadRow)]
    good = [item for item in items if not isinstance(item, BadRow)]
    if not good:
        return {"bad_rows": bad_rows}
    target = _padded(good, "target", pad=pad)
    batch: dict[str, Any] = {
        "id": np.array([sample["id"] for sample in good]),
        "nsentences": len(good),
        "ntokens": int((target != pad).sum()),
        "net_input": _net_input(good, pad=pad, share_pictures=share_pictures),
        "target": target,
    }
    for field, (name, dtype) in LABELS.items():
        if _in_all(good, field):
            batch[name] = np.stack([np.asarray(sample[field], dtype=dtype) for sample in good])
    for field, value in good[0].items():  # a task's own labels keep their name
        if isinstance(value, np.ndarray) and field not in LABELS and _in_all(good, field):
            batch[field] = np.stack([sample[field] for sample in good])
    if _in_all(good, "text"):
        batch["text"] = [sample["text"] for sample in good]
    if _in_all(good, "row"):
        batch["rows"] = np.array([sample["row"] for sample in good], dtype=np.int64)
    if _in_all(good, "conf"):  # weights of OFA's criterion (docs/training.md)
        batch["conf"] = torch.tensor([float(sample["conf"]) for sample in good])
    if _in_all(good, "constraint_mask"):
        batch["constraint_masks"] = _padded(good, "constraint_mask", pad=False)  # [B, T, V]
    batch["bad_rows"] = bad_rows
    batch["clipped_rows"] = [sample["where"] for sample in good if sample.get("clipped")]
    batch["remarks"] = [(sample["where"], remark) for sample in good for remark in sample.get("remarks", ())]
    return batch


def _net_input(samples: list[Sample], *, pad: int, share_pictures: bool) -> dict[str, Any]:
    src_tokens = _padded(samples, "source", pad=pad)
    net_input: dict[str, Any] = {
        "src_tokens": src_tokens,  # int64 [B, S]
        "src_lengths": (src_tokens != pad).sum(dim=1),  # int64 [B]
        "patch_masks": torch.cat([sample["patch_mask"] for sample in samples]),  # bool [B]
        "prev_output_tokens": _padded(samples, "prev_output_tokens", pad=pad),  # int64 [B, T]
    }
    images = [sample["patch_image"] for sample in samples]
    if share_pictures:
        keys = [sample["picture_key"] for sample in samples]
        images = list(dict(zip(keys, images, strict=True)).values())
        places = {key: place for place, key in enumerate(dict.fromkeys(keys))}
        net_input["patch_rows"] = torch.tensor([places[key] for key in keys])  # int64 [B]
    # In a worker process this writes straight into memory shared with the main process.
    net_input["patch_images"] = default_collate(images)  # float32 [B, 3, H, W], or [P, 3, H, W]
    return net_input | _full_mask(samples)


def _full_mask(samples: list[Sample]) -> dict[str, Any]:
    """`full_mask_position` if any sample has one; `full_mask_rows`, bool [B], if only some have."""
    spans = [sample.get("full_mask_position") for sample in samples]
    given = set(spans) - {None}
    if len(given) > 1:
        raise ValueError(f"one batch has one full_mask_position, got {given}")
    if not given:
        return {}
    rows = {} if None not in spans else {"full_mask_rows": torch.tensor([span is not None for span in spans])}
    return {"full_mask_position": given.pop()} | rows


def _padded(samples: list[Sample], field: str, *, pad: int | bool) -> Tensor:
    """[B, longest, ...], padded on the right."""
    return pad_sequence([sample[field] for sample in samples], batch_first=True, padding_value=pad)


def _in_all(samples: list[Sample], field: str) -> bool:
    return all(field in sample for sample in samples)


def _flatten(samples: Iterable[Item]) -> Iterator[Sample | BadRow]:
    for sample in samples:
        if isinstance(sample, list):
            yield from _flatten(sample)
        else:
            yield sample
