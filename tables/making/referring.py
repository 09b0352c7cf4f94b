"""Rows of REC, RKpt and generalised REC from RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...utils.errors import DataError
from .coco import CocoFile, box_of, find_instances, labelled, name_of, read_coco, size_of
from .plan import Draft, Plan
from .refs import PERSON, SETS, Ref, count_refs, find_refs, read_refs
from .rules import Box, LeftOutError, text_cell

TESTED = ("val", "test", "testA", "testB")


@dataclass(frozen=True)
class Referring:
    """What to make. sets: their names; refs: folder or file; split_by: "" is the usual one of each set.

    keypoints: a person_keypoints_*.json, for RKpt. instances: None is the file beside the refs.
    min_keypoints: persons with fewer labelled points are left out.
    """

    sets: tuple[str, ...]
    split: str
    refs: Path
    split_by: str = ""
    instances: Path | None = None
    keypoints: Path | None = None
    all_categories: bool = False
    keep_leaks: bool = False
    min_keypoints: int = 0
    partial: bool = False


def plan_referring(source: Referring) -> Plan:
    """A row for each sentence of the split. The ids are {ref_id}_{place of the sentence}, of several sets with the
    set's name in front. DataError for files that do not belong together; UserError for a split that a set lacks.
    """
    plan = Plan(partial=source.partial)
    counts = {name: count_refs(name, source.split_by or SETS[name], source.split) for name in source.sets}
    people = None
    if source.keypoints is not None:
        people = read_coco(source.keypoints)
        for person in islice(people.annotations.values(), 1):
            people.keypoints(person)  # another skeleton is refused before anything is joined
        plan.inputs.append(source.keypoints)
    leaks = _tested_images(source) if len(source.sets) > 1 and source.split == "train" else set()
    for name in source.sets:
        path = find_refs(source.refs, name, source.split_by or SETS[name])
        plan.inputs.append(path)
        chosen = _of_split(read_refs(path), path, source, name, count=counts[name])
        known, images = _annotations(chosen, path, source, plan, people)
        prefix = f"{name}_" if len(source.sets) > 1 else ""
        for ref in chosen:
            if ref.image_id in leaks and not source.keep_leaks:
                plan.left_out["leak"] += len(ref.texts)
                continue
            try:
                _add(plan, ref, known, images, source, people, prefix=prefix)
            except LeftOutError as reason:
                plan.left_out[str(reason)] += len(ref.texts)
    return plan


def plan_grefcoco(source: Referring) -> Plan:
    """A row for each sentence, with the boxes of everyone it fits; a sentence about nobody has none."""
    plan = Plan(partial=source.partial)
    path = find_refs(source.refs, "grefcoco", source.split_by or "unc")
    chosen = [ref for ref in read_refs(path) if ref.in_split(source.split)]
    if not chosen:
        raise DataError(f"{path}: has no refs of the split {source.split}")
    plan.inputs.append(path)
    known, images = _annotations(chosen, path, source, plan, None)
    for ref in chosen:
        try:
            found = [_person(known[i], source) for i in ref.ann_ids]
        except LeftOutError as reason:
            plan.left_out[str(reason)] += len(ref.texts)
            continue
        plan.changed["nobody"] += len(ref.texts) * (not found)
        boxes = tuple(box_of(annotation, ref.where) for annotation in found)
        _add_texts(plan, ref, images[ref.image_id], boxes, None, prefix="")
    return plan


def _of_split(refs: Sequence[Ref], path: Path, source: Referring, name: str, *, count: int) -> list[Ref]:
    """The refs of the split. DataError if there are none, or not `count` as the data set has, unless partial."""
    chosen = [ref for ref in refs if ref.in_split(source.split)]
    if not chosen:
        splits = ", ".join(sorted({ref.split for ref in refs}))
        raise DataError(f"{path}: has no refs of the split {source.split}; it has {splits}")
    if len(chosen) != count and not source.partial:
        raise DataError(
            f"{path}: has {len(chosen)} refs of {source.split}, and {name} ({source.split_by or SETS[name]}) has "
            f"{count}: it is of another set, or a part of one; --partial takes it as it is"
        )
    return chosen


def _annotations(
    refs: Sequence[Ref], path: Path, source: Referring, plan: Plan, people: CocoFile | None
) -> tuple[Mapping[Any, Mapping[str, Any]], Mapping[Any, Mapping[str, Any]]]:
    """COCO's annotations and images by id: from the refs themselves, from the file of keypoints, or from instances.

    DataError unless they are of the same data set: every annotation exists, in the picture that the ref names.
    """
    needed = [(ref, i) for ref in refs for i in ref.ann_ids]
    annotations: dict[Any, Any] = {ref.annotation["id"]: ref.annotation for ref in refs if ref.annotation}
    images: dict[Any, Any] = {ref.image["id"]: ref.image for ref in refs if ref.image and "id" in ref.image}
    beside = f"{path}'s own records"
    if not all(i in annotations for _, i in needed) or not all(ref.image_id in images for ref in refs):
        use_people = people is not None and source.instances is None and not path.with_name("instances.json").is_file()
        file = people if people is not None and use_people else read_coco(find_instances(path, source.instances))
        annotations, images, beside = file.annotations, file.images, str(file.path)
        if file.path not in plan.inputs:
            plan.inputs.append(file.path)
        if use_people:  # it has persons only
            needed = [(ref, i) for ref, i in needed if set(ref.category_ids) <= {PERSON}]
            if source.all_categories:
                raise DataError(f"{beside}: holds persons only, and --all-categories needs --instances")
    wrong = [
        f"{ref.where}: annotation {i} " + ("is of another picture" if i in annotations else "does not exist")
        for ref, i in needed
        if i not in annotations or annotations[i].get("image_id", ref.image_id) != ref.image_id
    ]
    wrong += [f"{ref.where}: image {ref.image_id} does not exist" for ref in refs if ref.image_id not in images]
    if wrong:
        raise DataError(
            f"{wrong[0]} in {beside}, and so on for {len(wrong)} of {len(refs)}: are they of the same data set?"
        )
    return annotations, images


def _person(annotation: Mapping[str, Any], source: Referring) -> Mapping[str, Any]:
    """The annotation; LeftOutError if it is no person, unless all categories are asked for, or a crowd."""
    if annotation.get("category_id") != PERSON and not source.all_categories:
        raise LeftOutError("no-person")
    if annotation.get("iscrowd"):
        raise LeftOutError("crowd")
    return annotation


def _add(
    plan: Plan,
    ref: Ref,
    known: Mapping[Any, Mapping[str, Any]],
    images: Mapping[Any, Mapping[str, Any]],
    source: Referring,
    people: CocoFile | None,
    *,
    prefix: str,
) -> None:
    if len(ref.ann_ids) != 1:
        raise DataError(f"{ref.where}: expected one annotation, got {len(ref.ann_ids)}; refs of gRefCOCO make `grec`")
    if people is not None and not set(ref.category_ids) <= {PERSON}:
        raise LeftOutError("no-person")
    (ann_id,) = ref.ann_ids
    annotation = _person(known[ann_id], source)
    keypoints = None
    if people is not None:
        person = people.annotations.get(ann_id)
        if person is None or person["image_id"] != ref.image_id:
            lacks = f"{people.path} has no person {ann_id} in image {ref.image_id}"
            raise DataError(f"{ref.where}: {lacks}; expected the keypoints of train2014 or train2017")
        keypoints = people.keypoints(person)
        if labelled(keypoints) < source.min_keypoints:
            raise LeftOutError("few-keypoints")
    box = box_of(annotation, ref.where)
    _add_texts(plan, ref, images[ref.image_id], (box,), keypoints, prefix=prefix)


def _add_texts(
    plan: Plan,
    ref: Ref,
    image: Mapping[str, Any],
    boxes: tuple[Box, ...],
    keypoints: tuple[float, ...] | None,
    *,
    prefix: str,
) -> None:
    for place, text in enumerate(ref.texts):
        try:
            cell = text_cell(text)
        except LeftOutError as reason:
            plan.left_out[str(reason)] += 1
            continue
        row_id = f"{prefix}{ref.ref_id}_{place}"
        draft = Draft(row_id, str(ref.image_id), cell, boxes, ref.where, keypoints)
        plan.add(name_of(image, ref.where), size_of(image), draft)


def _tested_images(source: Referring) -> set[int]:
    """Pictures of any val or test split of the sets named."""
    found: set[int] = set()
    for name in source.sets:
        refs = read_refs(find_refs(source.refs, name, source.split_by or SETS[name]))
        found |= {ref.image_id for ref in refs if any(ref.in_split(split) for split in TESTED)}
    return found
