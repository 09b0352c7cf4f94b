"""Rows from RefHuman and HumanRef."""

from pathlib import Path

from ...utils.errors import DataError, shown
from .coco import box_of, labelled, name_of, read_coco, size_of
from .plan import Draft, Plan
from .refs import read_json_lines
from .rules import Box, LeftOutError, numbers, text_cell


def plan_refhuman(path: Path, *, min_keypoints: int = 0, partial: bool = False) -> Plan:
    """A row of RKpt for each image entry of RefHuman_*.json; its id is the entry's, by which answers are scored."""
    plan = Plan(partial=partial, inputs=[path])
    file = read_coco(path)
    people: dict[object, list[dict[str, object]]] = {}
    for annotation in file.annotations.values():
        people.setdefault(annotation["image_id"], []).append(annotation)
    for entry_id, entry in file.images.items():
        where = f"{path}: image entry {entry_id}"
        try:
            persons = people.get(entry_id, [])
            if len(persons) != 1:
                raise LeftOutError("no-person" if not persons else "several-persons")
            (person,) = persons
            if person.get("iscrowd"):
                raise LeftOutError("crowd")
            keypoints = file.keypoints(person)
            if labelled(keypoints) < min_keypoints:
                raise LeftOutError("few-keypoints")
            text = text_cell(_caption(entry.get("caption"), where))
        except LeftOutError as reason:
            plan.left_out[str(reason)] += 1
            continue
        image_id = str(entry.get("original_id", entry_id))
        draft = Draft(str(entry_id), image_id, text, (box_of(person, where),), where, keypoints)
        plan.add(name_of(entry, where), size_of(entry), draft)
    return plan


def plan_humanref(path: Path, *, one_box: bool, partial: bool = False) -> Plan:
    """A row for each line of HumanRef's annotations; one_box: only of those that mean one person, for REC."""
    plan = Plan(partial=partial, inputs=[path])
    for where, record in read_json_lines(path):
        missing = [key for key in ("id", "image_name", "referring", "answer_boxes") if key not in record]
        if missing:
            raise DataError(f"{where}: expected a line of HumanRef, and {missing[0]} is missing: {shown(record)}")
        try:
            boxes = _boxes(record["answer_boxes"], where)
            if one_box and len(boxes) != 1:
                raise LeftOutError("no-box" if not boxes else "several-boxes")
            text = text_cell(_caption(record["referring"], where))
        except LeftOutError as reason:
            plan.left_out[str(reason)] += 1
            continue
        plan.changed["nobody"] += not boxes
        name = str(record["image_name"])
        plan.add(name, None, Draft(str(record["id"]), name, text, boxes, where))
    return plan


def _caption(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: expected a text, got {shown(value)}")
    return value


def _boxes(value: object, where: str) -> tuple[Box, ...]:
    if not isinstance(value, list):
        raise DataError(f"{where}: answer_boxes: expected a list of boxes, got {shown(value)}")
    found = [numbers(box, 4, where=where, what="answer_boxes") for box in value]
    return tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in found)
