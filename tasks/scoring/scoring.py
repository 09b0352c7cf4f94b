"""A table and files of answers -> scores with intervals, differences, sub-groups, and risk by coverage
(docs/scoring.md)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.bootstrap import Difference, Estimate, differences, estimates, resampled
from ...utils.captions import caption_scores
from ...utils.cider import load_frequencies
from ...utils.errors import DataError
from ...utils.metrics import Metrics
from .answers import Answer, check_task, read_answer
from .box_text import Coordinates
from .generalized import measure_generalized
from .joining import Joined, join
from .label_maps import LabelMaps, decoder
from .labels import Labels, read_facts, read_labels
from .measuring import (
    Measured,
    measure_boxes,
    measure_captions,
    measure_keypoints,
    measure_label_maps,
)
from .records import read_records

COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
MANY = 0.2  # share of boxes with swapped corners from which on they are taken for a mistake


@dataclass(frozen=True)
class Options:
    """What `refhcm score` is asked; see its flags."""

    table: Path
    task: str
    selected_cols: str | None = None
    annotation_root: Path = Path("../../dataset/rpar/annos")
    coordinates: Coordinates = field(default_factory=Coordinates)
    by: str | None = None
    facts: Path | None = None
    resamples: int = 1000
    seed: int = 0
    workers: int = 1
    canvas: int = 512
    vq_config: str = ""
    vq_ckpt: str = ""
    vq_n_embed: int = 32
    frequencies: str | None = None
    with_bleu: bool = False
    with_meteor: bool = False


@dataclass(frozen=True)
class Scored:
    """A file of answers, scored. counts: of rows and answers; extra: metrics without an interval."""

    path: Path
    counts: dict[str, int]
    remarks: list[str]
    measured: Measured
    estimates: dict[str, Estimate]
    draws: dict[str, np.ndarray]
    scores: np.ndarray | None = None  # float64 [N], -inf where missing; None unless all answers have one
    extra: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What `refhcm score` says. groups: by value, rows and estimates. risk: None without scores."""

    options: Options
    pictures: int
    scored: Scored
    against: Scored | None = None
    differences: dict[str, Difference] = field(default_factory=dict)
    groups: dict[str, tuple[int, dict[str, Estimate]]] = field(default_factory=dict)
    risk: dict[str, Any] | None = None


def score(options: Options, answers: Path, against: Path | None = None) -> Report:
    """Scores one or two files of answers. Raises UserError or DataError for what cannot be used."""
    column = int(options.by) if options.by is not None and options.facts is None and options.by.isdecimal() else None
    if options.by is not None and column is None and options.facts is None:
        raise DataError(f"--by {options.by}: expected the number of a column, or a name with --facts FILE")
    labels = read_labels(
        options.table,
        options.task,
        selected_cols=options.selected_cols,
        root=options.annotation_root,
        sizes=options.coordinates.needs_size or options.task in ("rpar", "rpar_full_mask"),
        by=column,
    )
    if options.facts is not None:
        labels.groups = read_facts(options.facts, options.by or "", labels.ids)
    scored = _score_file(answers, labels, options)
    other = None if against is None else _score_file(against, labels, options)
    against_other = {} if other is None else compared(scored, other)
    groups = _by_group(scored.measured, labels, options) if labels.groups else {}
    pictures = int(labels.pictures.max()) + 1
    return Report(options, pictures, scored, other, against_other, groups, risk_of(scored.measured, scored.scores))


def compared(scored: Scored, other: Scored) -> dict[str, Difference]:
    """Each metric of `scored` minus that of `other`, on the same resamples."""
    mine, theirs = scored.measured.metrics, other.measured.metrics
    return differences(mine, scored.draws, other=theirs, other_draws=other.draws)


def _score_file(path: Path, labels: Labels, options: Options) -> Scored:
    records = read_records(path)
    for record in records:
        check_task(record, options.task)
    joined = join(labels.ids, records, table=options.table, answers=path)
    answers = [
        None if record is None else read_answer(record, options.task, coordinates=options.coordinates, size_wh=size)
        for record, size in zip(joined.records, labels.sizes, strict=True)
    ]
    measured = _measure(answers, labels, options, folder=path.parent)
    unreadable = sum(answer is not None and not answer.readable for answer in answers)
    remarks = [*joined.remarks(), *measured.remarks]
    if unreadable:
        remarks.append(f"{unreadable} answers cannot be read as boxes, which counts as wrong")
    remarks += swapped(answers)
    draws = resampled(measured.metrics, labels.pictures, resamples=options.resamples, seed=options.seed)
    return Scored(
        path,
        _counts(joined, unreadable),
        remarks,
        measured,
        estimates(measured.metrics, draws),
        draws,
        _scores(answers),
        _extra(answers, labels, options),
    )


def _measure(answers: Sequence[Answer | None], labels: Labels, options: Options, *, folder: Path) -> Measured:
    if options.task == "refcoco":
        return measure_boxes(answers, labels)
    if options.task == "grec":
        return measure_generalized(answers, labels)
    if options.task == "rkpt":
        return measure_keypoints(answers, labels)
    if options.task == "rhrc":
        return measure_captions(answers, labels, load_frequencies(options.frequencies) if options.frequencies else None)
    files = options.vq_config, options.vq_ckpt
    decode = decoder(*files, n_embed=options.vq_n_embed) if all(files) else None
    maps = LabelMaps(options.annotation_root, folder, options.canvas, decode, options.workers)
    return measure_label_maps(answers, labels, maps.confusions)


def _extra(answers: Sequence[Answer | None], labels: Labels, options: Options) -> dict[str, float]:
    """BLEU, ROUGE-L and METEOR, which are pycocoevalcap's."""
    if options.task != "rhrc" or not (options.with_bleu or options.with_meteor):
        return {}
    captions = ["" if answer is None else answer.caption or "" for answer in answers]
    scores = caption_scores(captions, labels.references, with_bleu=options.with_bleu, with_meteor=options.with_meteor)
    return {name: value for name, value in scores.items() if name != "cider"}


def _counts(joined: Joined, unreadable: int) -> dict[str, int]:
    return {
        "rows": len(joined.records),
        "answered": len(joined.records) - len(joined.missing),
        "missing": len(joined.missing),
        "unknown": len(joined.unknown),
        "doubled": len(joined.doubled),
        "unreadable": unreadable,
    }


def swapped(answers: Sequence[Answer | None]) -> list[str]:
    """A remark if many boxes have their corners the wrong way round: x, y, width, height, or y before x."""
    boxes = [box for answer in answers if answer is not None and answer.boxes is not None for box in answer.boxes]
    wrong = sum(bool((box[2:] <= box[:2]).any()) for box in boxes if box.any())
    if not boxes or wrong < MANY * len(boxes):
        return []
    return [f"{wrong} of {len(boxes)} boxes have x1 <= x0 or y1 <= y0: are they x, y, width, height? Say so by "
            "--coordinates pixels:xywh"]  # fmt: skip


def _scores(answers: Sequence[Answer | None]) -> np.ndarray | None:
    """Confidences, [N]; None unless all answers have one, and not all the same."""
    if any(answer is not None and answer.score is None for answer in answers):
        return None
    scores = np.array([-np.inf if answer is None or answer.score is None else answer.score for answer in answers])
    return scores if len(set(scores.tolist())) > 1 else None


def _by_group(measured: Measured, labels: Labels, options: Options) -> dict[str, tuple[int, dict[str, Estimate]]]:
    values = np.array(labels.groups)
    found = {}
    for value in sorted(set(labels.groups)):
        rows = values == value
        metrics: list[Metrics] = [metric.subset(rows) for metric in measured.metrics]
        pictures = np.unique(labels.pictures[rows], return_inverse=True)[1]
        draws = resampled(metrics, pictures, resamples=options.resamples, seed=options.seed)
        found[value] = int(rows.sum()), estimates(metrics, draws)
    return found


def risk_of(measured: Measured, scores: np.ndarray | None) -> dict[str, Any] | None:
    """How good the most confident answers are. aurc: the mean over all coverages of 1 - quality; equal scores share.

    None without scores.
    """
    if scores is None:
        return None
    order = np.argsort(-scores, kind="stable")
    _, tie = np.unique(-scores[order], return_inverse=True)
    quality = measured.quality[order]
    quality = (np.bincount(tie, weights=quality) / np.bincount(tie))[tie]  # of equal scores, the mean
    kept = np.cumsum(quality) / np.arange(1, len(quality) + 1)
    counts = [max(1, round(coverage * len(kept))) for coverage in COVERAGES]
    table = [{"coverage": c, "rows": k, "quality": float(kept[k - 1])} for c, k in zip(COVERAGES, counts, strict=True)]
    return {"of": measured.of, "aurc": float(1 - kept.mean()), "table": table}
