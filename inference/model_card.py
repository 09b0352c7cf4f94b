"""The card of a model: README.md with the metadata that the Hugging Face hub reads (docs/models.md)."""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..utils.errors import DataError, UserError, reason_of
from ..utils.files import check_small

CARD, RESULTS = "README.md", "results.json"
LICENSE = "apache-2.0"  # of this project
LARGEST = 2**20  # bytes
TAGS = ["referring-expression-comprehension", "keypoint-detection", "human-parsing", "image-captioning"]
TASKS = {  # first part of a score's name -> the task's name
    "rec": "referring expression comprehension",
    "unseen": "referring expression comprehension",
    "grec": "generalized referring expression comprehension",
    "rkpt": "referring keypoint detection",
    "rkpt_by_box": "referring keypoint detection",
    "rpar": "referring human parsing",
    "rpar_full_mask": "referring human parsing",
    "rhrc": "referring human caption",
}
_TABLE = re.compile(r"\| score \| value \|\n\|---\|---\|\n(?:\|.*\|\n?)*")  # as `_table` writes it
NO_METADATA = "---\nlibrary_name: refhcm\n---\n\n"
TEXT = """# {name}

A model of [RefHCM](https://arxiv.org/abs/2412.14643): box, keypoints, parts and caption of the person you describe.

```python
import refhcm

model = refhcm.load("{name}")
answer = model.refer("street.jpg", "the woman in red", keypoints=True)
answer.box_xyxy, answer.keypoints["left_wrist"]
```
"""


def write_card(folder: Path, given: Mapping[str, Path], *, name: str, license: str) -> None:
    """Writes the card, and beside it the scores that it names.

    given: a README.md whose text, but for the table of scores, and other metadata are kept, and results.json, scores by
    name such as "rec.acc"; with a text "dataset" that says on what. Raises UserError for files that are neither.
    """
    from huggingface_hub import ModelCard

    results = _results(given[RESULTS]) if RESULTS in given else {}
    if RESULTS in given:
        shutil.copyfile(given[RESULTS], folder / RESULTS)
    card = _card(given[CARD]) if CARD in given else ModelCard(NO_METADATA + TEXT.format(name=name) + _table(results))
    known = card.data.to_dict()
    own: dict[str, Any] = {"library_name": "refhcm", "pipeline_tag": "image-text-to-text", "tags": TAGS}
    metadata = {"license": license} | own | known
    if results:
        metadata |= {"model-index": [{"name": name, "results": _index(results)}]}
    text = _TABLE.sub(lambda _: _table(results).lstrip("\n"), card.text, count=1) if results else card.text
    (folder / CARD).write_text(_front(metadata) + text.lstrip("\n"), encoding="utf-8")


def _front(metadata: Mapping[str, Any]) -> str:
    import yaml

    return f"---\n{yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)}---\n\n"


def _card(path: Path) -> Any:
    from huggingface_hub import ModelCard

    try:
        check_small(path, largest=LARGEST)
        text = path.read_text(encoding="utf-8")
        return ModelCard(text if text.startswith("---") else NO_METADATA + text)  # else the hub's class warns
    except Exception as error:  # of a damaged YAML block PyYAML and the hub's classes raise anything
        raise DataError(
            f"{path}: is no model card ({' '.join(str(error).split())[:200]}): mend or remove it"
        ) from error


def _results(path: Path) -> dict[str, Any]:
    try:
        check_small(path, largest=LARGEST)
        content = json.loads(path.read_text(encoding="utf-8"))
        scores = {str(key): value for key, value in content.items() if value is not None}
        bad = [key for key, value in scores.items() if key != "dataset" and not isinstance(value, int | float)]
        if bad or not isinstance(scores.get("dataset", ""), str):
            raise ValueError(
                f"{(bad or ['dataset'])[0][:40]!r} is not as expected: numbers by name, a text for dataset"
            )
    except (OSError, UserError, ValueError, AttributeError, RecursionError) as error:
        raise DataError(f"{path}: holds no scores ({reason_of(error)}): mend or remove it") from error
    return scores


def _table(results: Mapping[str, Any]) -> str:
    rows = [f"| `{key}` | {value:.4g} |" for key, value in results.items() if key != "dataset"]
    return "\n".join(["", "| score | value |", "|---|---|", *rows, ""]) if rows else ""


def _index(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The hub's `model-index`: scores by task, as https://huggingface.co/docs/hub/model-cards says."""
    dataset = str(results.get("dataset", "not named"))
    found: dict[str, list[dict[str, Any]]] = {}
    for key, value in results.items():
        if key != "dataset":
            task = TASKS.get(key.partition(".")[0], "referring human comprehension")
            found.setdefault(task, []).append({"type": key, "name": key, "value": value})
    return [
        {
            "task": {"type": task.replace(" ", "-"), "name": task},
            "dataset": {"name": dataset, "type": dataset.replace(" ", "-")},
            "metrics": metrics,
        }
        for task, metrics in found.items()
    ]
