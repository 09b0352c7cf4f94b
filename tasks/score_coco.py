"""OKS AP of a result file on COCO-style annotations, one image entry per expression (RefHuman's protocol).

    python -m refhcm.tasks.score_coco annotations.json results/rkpt/refhuman_predict.json

The `uniq_id` of a result is the id of an image entry (spec/evaluation.md).
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from ..utils.errors import DataError, exit_status
from ..utils.keypoints import NUM_KEYPOINTS, evaluate_coco_json


def read_predictions(path: str | Path) -> dict[int, np.ndarray]:
    """Keypoints [17, 2], image px, of each image id. Raises DataError naming the record that can not be read."""
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: can not be read as a result file ({error})") from error
    predictions = {}
    for number, record in enumerate(records if isinstance(records, list) else [records]):
        try:
            points = np.array(record["keypoints"], np.float64).reshape(NUM_KEYPOINTS, 2)
            predictions[int(record["uniq_id"])] = points
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"{path}: record {number}: needs a whole `uniq_id` and 34 `keypoints` ({error})") from error
    return predictions


def main(arguments: list[str] | None = None) -> int:
    """Prints the metrics as JSON; exit status 2 for a mistake, which is one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("annotations", help="COCO-style JSON")
    parser.add_argument("results", help="result file of evaluate.py --task rkpt")
    args = parser.parse_args(arguments)
    return exit_status(lambda: print(json.dumps(evaluate_coco_json(args.annotations, read_predictions(args.results)))))


if __name__ == "__main__":
    sys.exit(main())
