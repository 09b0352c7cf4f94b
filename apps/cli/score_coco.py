"""OKS AP of a result file on COCO-style annotations, one image entry per expression (RefHuman's protocol).

    refhcm score-coco annotations.json results/rkpt/refhuman_predict.json

The `uniq_id` of a result is the id of an image entry (docs/evaluation.md); its `score` ranks it. Without scores all
results rank alike, which gives another number.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from ...utils.errors import DataError
from ...utils.keypoints import NUM_KEYPOINTS, evaluate_coco_json


def read_predictions(path: str | Path) -> tuple[dict[int, np.ndarray], dict[int, float] | None]:
    """Keypoints [17, 2], image px, and score of each image id; None for scores that are not in all records.

    Raises DataError naming the record that can not be read.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can not be read as a result file ({error})") from error
    predictions, scores = {}, {}
    for number, record in enumerate(records if isinstance(records, list) else [records]):
        try:
            points = np.array(record["keypoints"], np.float64).reshape(NUM_KEYPOINTS, 2)
            name, ranked = int(record["uniq_id"]), float(record.get("score", 0))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise DataError(f"{path}: record {number}: needs a whole `uniq_id` and 34 `keypoints` ({error})") from error
        if name in predictions:
            raise DataError(f"{path}: record {number}: uniq_id {name} is there already")
        if not (np.isfinite(points).all() and np.isfinite(ranked)):
            raise DataError(f"{path}: record {number}: a number is not finite")
        predictions[name] = points
        if "score" in record:
            scores[name] = ranked
    return predictions, scores if len(scores) == len(predictions) else None


def score(annotations: str | Path, results: str | Path) -> dict[str, float]:
    """The metrics of a result file."""
    predictions, scores = read_predictions(results)
    return evaluate_coco_json(annotations, predictions, scores=scores)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("annotations", help="COCO-style JSON")
    parser.add_argument("results", help="result file of `refhcm evaluate --task rkpt`")


def run(args: argparse.Namespace) -> None:
    """Prints the metrics as JSON."""
    print(json.dumps(score(args.annotations, args.results)))
