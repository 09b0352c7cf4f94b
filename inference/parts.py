"""Which symbols of an answer say what, and what is wrong with those of keypoints and parsing maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby, takewhile

from ..data.text import TextEncoder
from ..models.vqgan.config import NUM_CODES
from ..tasks.base import Task
from ..utils.keypoints import KEYPOINT_NAMES
from ..utils.symbols import BOX_SYMBOLS


@dataclass(frozen=True)
class Parts:
    """Positions of the symbols of each part of an answer; `other`: of those that belong to none."""

    box: list[int] = field(default_factory=list)
    keypoints: list[int] = field(default_factory=list)
    parsing: list[int] = field(default_factory=list)
    caption: list[int] = field(default_factory=list)
    other: list[int] = field(default_factory=list)


def split(ids: Sequence[int], text: TextEncoder) -> Parts:
    """The parts of an answer, ids [T], up to eos: words alone, or four bins, then names with bins, then codes.

    Before the codes the box may come again (S1 decoding): then four more bins follow the last name's two.
    """
    eos = text.vocabulary.eos()
    kinds = "".join(_kind(symbol, text) for symbol in takewhile(lambda symbol: symbol != eos, ids))
    if not set(kinds) & {"b", "c"}:
        return _parts(kinds, caption=[k for k, kind in enumerate(kinds) if kind == "w"])
    box = list(range(BOX_SYMBOLS)) if kinds.startswith("b" * BOX_SYMBOLS) else []
    codes = [k for k, kind in enumerate(kinds) if kind == "c"]
    end = codes[0] if codes else len(kinds)
    again = end - BOX_SYMBOLS if codes and kinds[:end].endswith("b" * (BOX_SYMBOLS + 2)) else end
    keypoints = [k for k in range(len(box), again) if kinds[k] in "wb"] if box else []
    return _parts(kinds, box=box, keypoints=keypoints, parsing=codes, ignored=range(again, end))


def _parts(kinds: str, *, ignored: Sequence[int] = (), **found: list[int]) -> Parts:
    known = {k for positions in (*found.values(), ignored) for k in positions}
    return Parts(**found, other=[k for k in range(len(kinds)) if k not in known])


def _kind(symbol: int, text: TextEncoder) -> str:
    """b: bin, c: code, w: piece of a word, x: anything else."""
    if symbol in text.vocabulary.bin_ids:
        return "b"
    if symbol in text.vocabulary.code_ids:
        return "c"
    return "w" if text.is_piece(symbol) else "x"


def keypoints_problem(ids: Sequence[int], parts: Parts, text: TextEncoder) -> str | None:
    """Why the keypoints of an answer cannot be read, or None: each needs a known name, once, and two bins."""
    names = []
    runs = [(kind, list(run)) for kind, run in groupby(parts.keypoints, lambda k: _kind(ids[k], text))]
    for k in range(0, len(runs), 2):
        kind, run = runs[k]
        bins = runs[k + 1][1] if k + 1 < len(runs) else []
        if kind != "w" or len(bins) != 2:
            return "each needs a name and two bins"
        names.append(text.decode([ids[i] for i in run]))
    unknown = [name for name in names if not name.startswith(" ") or name.strip() not in KEYPOINT_NAMES]
    if unknown:  # without its leading space a name would be read as the end of the name before it
        return f"{unknown[0].strip()!r} is not a keypoint's name"
    names = [name.strip() for name in names]
    twice = [name for name in names if names.count(name) > 1]
    return f"{twice[0]} is named twice" if twice else None


def parsing_problem(ids: Sequence[int], parts: Parts, task: Task) -> str | None:
    """Why the codes of an answer are not a parsing map, or None."""
    known = task.settings.vq_n_embed
    codes = [ids[k] - task.vocabulary.code_ids.start for k in parts.parsing]
    if len(codes) != NUM_CODES:
        return f"needs {NUM_CODES} codes, got {len(codes)}"
    unknown = [code for code in codes if code >= known]
    return f"code {unknown[0]} is not one of the tokenizer's {known}" if unknown else None
