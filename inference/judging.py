"""Which points of an answer are right: what confidences are calibrated and measured by (docs/confidence.md)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np

from ..data.annotation import Labels, Prediction, given
from ..data.dataset import ReferringDataset
from ..models.generated import Generated
from ..tasks.base import Task
from ..utils.boxes import box_hits
from ..utils.calibration import auroc, ece
from ..utils.captions import REFERENCE_SEPARATOR, clean
from ..utils.generalized import hits
from ..utils.keypoints import KEYPOINT_NAMES, visible_keypoints
from ..utils.parsing import CLASS_NAMES, confusion_matrix, paste_label_map, segmentation_scores
from ..utils.symbols import BOX_SYMBOLS
from .answers import FIELDS, JUDGED_FIELDS, Answer, Field
from .calibration import Calibration, Judged
from .confidence import Reader, somebody
from .masses import RIGHT_IOU, right_distances
from .parts import Parts
from .reading import read

Right = Mapping[str, bool]


def judge(
    task: Task, generated: Generated, prediction: Prediction, labels: Labels, *, calibration: Calibration | None = None
) -> list[Judged]:
    """The points of an answer that a row's labels can judge. calibration: None for raw confidences.

    A field is judged where the row has its label: a box, keypoints that are visible in the label, classes in the
    answered map, words in any of the references. Of an answer about everyone, `found` and each box are judged.
    """
    if prediction.boxes_xyxy is not None:
        found = _everyone(task, generated, prediction, labels)
        adjust = (calibration or Calibration({})).probability
        return [replace(one, raw=adjust(task.name, one.field, one.name, one.raw)) for one in found]
    canvas_px = task.settings.patch_image_size
    width, height = (max(1, round(canvas_px / float(labels[f"{side}_resize_ratios"]))) for side in "wh")
    answer = read(task, generated, prediction, size_wh=(width, height), ratios=labels)
    if calibration is not None:
        answer = calibration.apply(task.name, answer)
    right: dict[Field, Right] = {}
    if answer.box_xyxy is not None and "region_coords" in labels:
        right["box"] = {"": bool(box_hits(answer.box_xyxy[None], labels["region_coords"][None])[0])}
    if answer.keypoints and "keypoints" in labels:
        right["keypoints"] = _keypoints(answer, labels)
    if answer.label_map is not None and "gt" in labels:
        right["parts"] = _parts(prediction, labels)
    if answer.caption is not None and "text" in labels:
        right["caption"] = _words(answer.caption, labels["text"].split(REFERENCE_SEPARATOR))
    return [
        Judged(field, name, number, right[field][name])
        for field in FIELDS
        if field in right
        for name, number in answer.confidence.points(field).items()
        if name in right[field]
    ]


def _everyone(task: Task, generated: Generated, prediction: Prediction, labels: Labels) -> list[Judged]:
    """`found`: right if the row fits somebody. Each box: right if it is matched, one to one, with IoU 1/2 or more.

    No box of an answer that is not valid.
    """
    known = labels["boxes"][~np.isnan(labels["boxes"][:, 0])]
    there = somebody(generated)
    judged = [] if there is None else [Judged("found", "", there, len(known) > 0)]
    if not prediction.valid:
        return judged
    reader = Reader(task, generated, Parts())
    right = hits(task.in_image(given(prediction.boxes_xyxy), labels), known, RIGHT_IOU)
    return judged + [Judged("box", "", given(reader.box(BOX_SYMBOLS * k)), bool(own)) for k, own in enumerate(right)]


def _keypoints(answer: Answer, labels: Labels) -> Right:
    """Whether OKS's term is 1/2 or more, with the area of the label's box; of keypoints visible in the label."""
    label = labels["keypoints"].reshape(-1, 2)
    x0, y0, x1, y1 = labels["region_coords"].tolist()
    limits = right_distances(range(len(label)), (x1 - x0) * (y1 - y0))
    near = np.linalg.norm(answer.keypoints.xy - label, axis=1) <= limits
    return {KEYPOINT_NAMES[k]: bool(near[k]) for k in np.flatnonzero(visible_keypoints(label))}


def _parts(prediction: Prediction, labels: Labels) -> Right:
    """Whether the IoU with the label map is 1/2 or more, both on the canvas."""
    label = labels["gt"]
    pasted = paste_label_map(given(prediction.label_map), given(prediction.box_xyxy), (len(label), len(label)))
    iou = segmentation_scores(confusion_matrix(pasted, label=label))["class_iou"]
    return {name: bool(own >= RIGHT_IOU) for name, own in zip(CLASS_NAMES, iou, strict=True) if own == own}


def _words(caption: str, references: Sequence[str]) -> Right:
    """Whether a word is in any reference, in any place, without punctuation and in lower case."""
    known = {word for reference in references for word in clean(reference).lower().split()}
    words = [clean(word).lower() for word in caption.split()]
    return {str(k): word in known for k, word in enumerate(words) if word}


class Judge:
    """Shown the answers of `tasks.evaluation.evaluate`, it keeps their points in `found`."""

    def __init__(self, task: Task, dataset: ReferringDataset, *, calibration: Calibration | None = None) -> None:
        """calibration: None for raw confidences."""
        self._task, self._file, self._calibration = task, dataset.file, calibration
        self.found: list[Judged] = []

    def __call__(self, row: int, generated: Generated, prediction: Prediction, labels: Labels) -> None:
        """Judges the answer to a row."""
        picture = crc32(self._file[row]["image"].encode())
        points = judge(self._task, generated, prediction, labels, calibration=self._calibration)
        self.found += [replace(one, picture=picture) for one in points]


def figures(judged: Sequence[Judged]) -> dict[str, dict[str, float | None]]:
    """`ece` and `auroc` by field."""
    found: dict[str, dict[str, float | None]] = {"ece": {}, "auroc": {}}
    for field in JUDGED_FIELDS:
        points = [one for one in judged if one.field == field]
        if points:
            numbers, right = [one.raw for one in points], [one.right for one in points]
            found["ece"][field], found["auroc"][field] = ece(numbers, right), auroc(numbers, right)
    return found
