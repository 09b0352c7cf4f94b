"""Confusions of answered parsing maps with the table's masks, on evaluation's canvas (docs/scoring.md)."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...data.images import read_label_map
from ...utils.errors import DataError
from ...utils.parsing import confusion_matrix, paste_label_map, without_ignored, zoom_label_map
from ...utils.processes import processes
from .answers import Answer
from .labels import Labels, Size

CHUNK = 512  # rows whose maps are held at once
ROUNDING = 2e-4  # canvas px: what float32 loses on the way from bins to image px and back
Decode = Callable[[np.ndarray], np.ndarray]  # codes, int64 [B, 48] -> label maps, integers [B, h, w]


@dataclass(frozen=True)
class Pair:
    """A row's mask and the answer to it, for a process. person: the label map in the box, or None."""

    mask: str
    where: str
    size_wh: Size
    answer: Answer | None
    person: np.ndarray | None


@dataclass(frozen=True)
class LabelMaps:
    """root: of the table's masks; folder: of the answers' mask files; canvas: its side, px.

    decode: the tokenizer of codes, or None; workers: processes.
    """

    root: Path
    folder: Path
    canvas: int
    decode: Decode | None
    workers: int

    def confusions(self, answers: Sequence[Answer | None], labels: Labels) -> np.ndarray | None:
        """Of each row, int32 [N, 20, 20]; a row without an answer is all background. None: codes without a decoder."""
        if self.decode is None and any(answer is not None and answer.codes is not None for answer in answers):
            return None
        compare = partial(confusion, root=self.root, folder=self.folder, canvas=self.canvas)
        chunks = self._chunks(answers, labels)
        if self.workers == 1 or len(labels) < CHUNK:
            return np.stack([compare(pair) for pairs in chunks for pair in pairs])
        with processes(self.workers) as pool:
            return np.stack([found for pairs in chunks for found in pool.map(compare, pairs, chunksize=32)])

    def _chunks(self, answers: Sequence[Answer | None], labels: Labels) -> Iterator[list[Pair]]:
        for start in range(0, len(labels), CHUNK):
            rows = range(start, min(start + CHUNK, len(labels)))
            people = self._decoded([answers[row] for row in rows])
            pairs = []
            for row, person in zip(rows, people, strict=True):
                size = labels.sizes[row]
                if size is None:
                    raise ValueError("label maps need the pictures' sizes")
                pairs.append(Pair(labels.masks[row], labels.wheres[row], size, answers[row], person))
            yield pairs

    def _decoded(self, answers: Sequence[Answer | None]) -> list[np.ndarray | None]:
        codes = {k: one.codes for k, one in enumerate(answers) if one is not None and one.codes is not None}
        people: list[np.ndarray | None] = [None] * len(answers)
        if codes and self.decode is not None:
            for k, label_map in zip(codes, self.decode(np.stack(list(codes.values()))), strict=True):
                people[k] = label_map.astype(np.uint8)
        return people


def confusion(pair: Pair, *, root: Path, folder: Path, canvas: int) -> np.ndarray:
    """Of one row, int32 [20, 20]. Raises DataError naming the row or the answer."""
    label = zoom_label_map(read_label_map(pair.mask, pair.size_wh, root=root / "gts", where=pair.where), canvas)
    answer = pair.answer
    if answer is None:
        predicted = np.zeros_like(label)
    elif answer.mask is not None:
        found = read_label_map(answer.mask, pair.size_wh, root=folder, where=answer.where)
        predicted = zoom_label_map(without_ignored(found), canvas)
    else:
        if pair.person is None or answer.boxes is None or not len(answer.boxes):
            raise DataError(f"{answer.where}: codes need a box, `bbox`, in which their label map lies")
        predicted = paste_label_map(pair.person, on_canvas(answer.boxes[0], pair.size_wh, canvas), (canvas, canvas))
    return confusion_matrix(predicted, label=label).astype(np.int32)


def on_canvas(box_xyxy: np.ndarray, size_wh: Size, canvas: int) -> np.ndarray:
    """Image px -> canvas px, float64 [4]. What only rounding keeps from a whole number is one: pasting cuts it off."""
    ratios = np.array([np.float32(canvas / side) for side in size_wh] * 2, np.float64)
    box = box_xyxy * ratios
    whole = np.round(box)
    return np.where(np.abs(box - whole) < ROUNDING, whole, box)


def decoder(config: str, checkpoint: str, *, n_embed: int) -> Decode:
    """The tokenizer of these files. The one part of scoring that needs torch."""
    import torch

    from ...models.vqgan import load_tokenizer

    tokenizer = load_tokenizer(config, checkpoint, n_embed=n_embed)

    def decode(codes: np.ndarray) -> np.ndarray:
        maps = [tokenizer.decode(part).cpu().numpy() for part in torch.from_numpy(codes).split(32)]
        return np.concatenate(maps)

    return decode
