"""Scores keypoints on a COCO-style annotation file with one image entry per expression (RefHuman's protocol): OKS AP.

    refhcm score-coco annotations.json results/rkpt/refhuman_predict.json

The `uniq_id` of a result is the id of an image entry, as a number or as text, and its `score` ranks it. If any result
has no score, all rank alike, which gives other numbers (docs/evaluation.md, "RKpt: box accuracy, OKS").
"""

import argparse
import json
from pathlib import Path

import numpy as np

from ...utils.errors import DataError, shown
from ...utils.files import no_such_file
from ...utils.keypoints import NUM_KEYPOINTS, ImageId, evaluate_coco_json


def score(annotations: str | Path, results: str | Path) -> dict[str, float]:
    """The metrics of a result file. Raises DataError naming the file that cannot be used."""
    expected = "expected a list of objects with `uniq_id`, a text or a whole number, and `keypoints`, 34 finite numbers"
    if not Path(results).exists():
        raise DataError(no_such_file(results))
    try:
        records = json.loads(Path(results).read_text(encoding="utf-8"))
        ids = [_image_id(record["uniq_id"]) for record in records]
        keypoints = np.array([record["keypoints"] for record in records], np.float64).reshape(-1, NUM_KEYPOINTS, 2)
        scores = [float(record["score"]) for record in records if "score" in record]
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise DataError(f"{results}: {expected} ({error})") from error
    if len(ids) != len(keypoints) or not (np.isfinite(keypoints).all() and np.isfinite(scores).all()):
        raise DataError(f"{results}: {expected}, got others")
    if len(set(ids)) != len(ids):
        raise DataError(f"{results}: a `uniq_id` occurs twice; each image entry is answered once")
    ranks: dict[ImageId, float] | None = None
    if len(scores) == len(ids):
        ranks = dict(zip(ids, scores, strict=True))
    return evaluate_coco_json(annotations, dict[ImageId, np.ndarray](zip(ids, keypoints, strict=True)), scores=ranks)


def _image_id(uniq_id: int | str) -> str:
    """As text: the annotation file says what the id is, so nothing is made of it here."""
    if type(uniq_id) not in (int, str):
        raise ValueError(f"`uniq_id` {shown(uniq_id)}")
    return str(uniq_id)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("annotations", help="COCO-style JSON file")
    parser.add_argument("results", help="result file of `refhcm evaluate --task rkpt`")


def run(args: argparse.Namespace) -> None:
    """Prints the metrics as JSON."""
    print(json.dumps(score(args.annotations, args.results)))
