"""Keypoints scored on a COCO-style annotation file, COCO's own or RefHuman's (docs/scoring.md)."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...utils.bootstrap import estimates, resampled
from ...utils.coco_keypoints import Detection, People, average_precisions, read_people
from ...utils.errors import DataError, shown
from .answers import read_answer
from .box_text import Coordinates
from .joining import EXAMPLES
from .measuring import Measured
from .records import COCO_ID_FIELDS, Record, read_records
from .scoring import Options, Report, Scored, compared

TASK = "coco-keypoints"
_PERSON = 1


def score_coco(options: Options, answers: Path, against: Path | None = None) -> Report:
    """Scores COCO results, or result files of RKpt, whose `uniq_id` is the id of an image entry."""
    people = read_people(options.table)
    scored = _score_file(answers, people, options)
    other = None if against is None else _score_file(against, people, options)
    differences = {} if other is None else compared(scored, other)
    return Report(options, int(people.pictures.max()) + 1, scored, other, differences)


def _score_file(path: Path, people: People, options: Options) -> Scored:
    place_of = {str(name): place for place, name in enumerate(people.ids)}
    records: dict[int, list[Record]] = defaultdict(list)
    unknown, doubled, others = [], [], 0
    for record in read_records(path, id_fields=COCO_ID_FIELDS):
        known = place_of.get(record.id or "")
        if record.fields.get("category_id", _PERSON) != _PERSON:
            others += 1
        elif known is None:
            unknown.append(record.id)
        elif "uniq_id" in record.fields and records.get(known):  # each entry is asked once; COCO results may hold many
            doubled.append(record.id)
        else:
            records[known].append(record)
    if not records:
        raise DataError(f"{path}: none of its ids is an image of {options.table}, such as {shown(unknown[:EXAMPLES])}")
    labelled = {row["image_id"] for row in people.annotations}
    missing = [people.ids[place] for place in sorted(labelled - records.keys())]
    detections, ranked = _detections(records)
    metrics = average_precisions(people, detections)
    draws = resampled(metrics, people.pictures, resamples=options.resamples, seed=options.seed)
    counts = {"rows": len(people.ids), "answered": len(records), "missing": len(missing), "unknown": len(unknown)}
    kinds = (
        (missing, "images with people have no answer, which counts as wrong"),
        (unknown, "answers are to images that the file does not have, and are left out"),
        (doubled, "answers are to images that are answered already; the first one counts"),
    )
    remarks = [f"{len(ids)} {what}, such as {shown(ids[:EXAMPLES])}" for ids, what in kinds if ids]
    remarks += [f"{others} answers are of another category than person, and are left out"] if others else []
    remarks += [] if ranked else ["not every answer has a score: all rank alike, in the order of the images' ids"]
    measured = Measured(list(metrics), np.zeros(0), "")
    found = estimates(metrics, draws)
    return Scored(path, counts | {"doubled": len(doubled), "unreadable": 0}, remarks, measured, found, draws)


def _detections(records: dict[int, list[Record]]) -> tuple[Sequence[Detection], bool]:
    """Predictions by place, and whether all of them have a score; else none has."""
    found = [
        (place, read_answer(record, "rkpt", coordinates=Coordinates(), size_wh=None))
        for place in sorted(records)
        for record in records[place]
    ]
    ranked = all(answer.score is not None for _, answer in found)
    return [
        Detection(place, answer.keypoints, answer.score if ranked and answer.score is not None else 1.0)
        for place, answer in found
        if answer.keypoints is not None
    ], ranked
