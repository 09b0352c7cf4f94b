"""What each cell of a drawn picture shows, for the backbone to learn before anything is asked.

A cell is the part of the picture that one patch of the backbone covers. Its tags are words ("red", "coat", "sitting")
and marks, which have their kind before a colon: "part:hat" (CIHP's classes), "joint:left_knee", "facing:left".
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ...data.canvas import Canvas
from ...data.synthetic.picture.head import FACE_LABEL, HAIR_LABEL, SUNGLASSES_LABEL
from ...data.synthetic.picture.limbs import SHOE_LABELS
from ...data.synthetic.picture.skeleton import JOINTS
from ...data.synthetic.picture.torso import LABELS, SKIRT_LABEL
from ...utils.errors import DataError
from ...utils.interrupt import begin_worker
from ...utils.parsing import CLASS_NAMES, NUM_CLASSES
from ...utils.processes import processes

PERSON_SHARE, PART_SHARE = 0.2, 0.08  # of a cell's area: less counts as not seen
_SLOT_LABELS = {
    **{slot: (label,) for slot, label in LABELS.items()},
    "bottom": (LABELS["bottom"], SKIRT_LABEL),
    "shoes": tuple(SHOE_LABELS.values()),
    "sunglasses": (SUNGLASSES_LABEL,),
}
_ANYWHERE = tuple(range(1, NUM_CLASSES))
COORDINATES = 4 + 2 * len(JOINTS)
DETAIL = 4  # points along a cell's side where parts are read
COUNTED = 2000  # pictures whose parts are counted for class weights
RAREST = 1e-4  # share of the points: rarer classes weigh no more

_Group = tuple[str, list[tuple[int, ...]]]  # an expression, and the boxes of those whom it fits, image px


@dataclass(frozen=True)
class Target:
    """A person of a picture, and what cells show of them.

    shown: int32 [K, 2], (cell, tag). places: float32 [COORDINATES], x and y of the box's corners and of the joints,
    shares of the picture's width and height; NaN where a joint is not visible. parts: uint8 [DETAIL * side,
    DETAIL * side], the person's CIHP class at points of the picture, 0 where something else is seen.
    """

    shown: np.ndarray
    places: np.ndarray
    parts: np.ndarray
    expressions: tuple[str, ...]

    @property
    def box_xyxy(self) -> np.ndarray:
        """Shares of the picture's width and height."""
        return self.places[:4]

    def cells(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """Cells that the box touches, int64 [M], and their middles, shares of the box, float32 [M, 2]."""
        first, last = self.box_xyxy.reshape(2, 2) * side
        columns, rows = (np.arange(int(a), min(side, int(np.ceil(b)))) for a, b in zip(first, last, strict=True))
        x, y = (grid.ravel() for grid in np.meshgrid(columns, rows))
        middles = (np.stack([x, y], axis=1) + 0.5 - first) / (last - first)
        return y * side + x, middles.astype(np.float32)


class CellTruth(NamedTuple):
    """tags: float32 [B, cells, tags], 1 where a cell shows one. parts: int64 [B, cells, DETAIL**2], CIHP classes."""

    tags: Tensor
    parts: Tensor

    def to(self, device: torch.device) -> "CellTruth":
        """On another device."""
        return CellTruth(self.tags.to(device), self.parts.to(device))


@dataclass(frozen=True)
class Cells:
    """Pictures and what their cells show.

    pictures: uint8 [N, 3, S, S]. people: of each picture. tags: names by number. Cells are numbered row by row over a
    grid of `side` x `side`. groups: of each picture, expressions with the people whom they fit, none to all.
    """

    pictures: np.ndarray
    people: list[list[Target]]
    tags: tuple[str, ...]
    side: int
    groups: list[list[tuple[str, list[Target]]]]

    def __len__(self) -> int:
        return len(self.pictures)

    def target(self, asked: Sequence[Sequence[Target]]) -> CellTruth:
        """What cells show of some people of each picture; part 0 where none of them is."""
        tags = torch.zeros(len(asked), self.side**2, len(self.tags))
        parts = np.zeros((len(asked), self.side * DETAIL, self.side * DETAIL), np.int64)
        for row, points, people in zip(tags, parts, asked, strict=True):
            for person in people:
                cells, shown = torch.from_numpy(person.shown).long().unbind(1)
                row[cells, shown] = 1
                points += person.parts  # people do not overlap
        points = parts.reshape(-1, self.side, DETAIL, self.side, DETAIL).swapaxes(2, 3)
        return CellTruth(tags, torch.from_numpy(points.reshape(len(asked), self.side**2, DETAIL**2)))

    def class_weights(self) -> Tensor:
        """One over the root of each class's share of the points, so that small parts count: float32 [classes]."""
        parts = [person.parts.ravel() for people in self.people[:COUNTED] for person in people]
        counts = np.bincount(np.concatenate(parts), minlength=NUM_CLASSES)
        return torch.from_numpy(np.maximum(counts / counts.sum(), RAREST) ** -0.5).float()


def is_word(tag: str) -> bool:
    """Whether a tag is a word, not a mark."""
    return ":" not in tag


def read_cells(worlds: Sequence[Path], split: str, *, size: int, side: int, workers: int) -> Cells:
    """The pictures of a split of worlds (data/synthetic/writer.py) at `size` px, in `side` x `side` cells.

    Raises DataError where a file is missing or does not belong to a world.
    """
    facts = [(world, *scene) for world in worlds for scene in _scenes(world, split)]
    read = partial(_read, split=split, size=size, side=side)
    pictures = np.empty((len(facts), 3, size, size), np.uint8)
    numbers: dict[str, int] = {}
    everybody: list[list[Target]] = []
    groups: list[list[tuple[str, list[Target]]]] = []
    with processes(workers, _begin) as pool:
        found = tqdm(pool.map(read, facts, chunksize=16), total=len(facts), desc="cells", unit="picture")
        for index, (picture, people) in enumerate(found):
            pictures[index] = picture
            everybody.append([])
            for tags, cells, places, parts, expressions in people:
                known = [numbers.setdefault(tag, len(numbers)) for tag in tags]
                shown = np.stack([np.concatenate(cells), np.repeat(known, [*map(len, cells)])], axis=1)
                everybody[-1].append(Target(shown.astype(np.int32), places, parts, expressions))
            by_box = dict(zip((tuple(person["box"]) for person in facts[index][1]), everybody[-1], strict=True))
            fitting = ((text, [by_box.get(box) for box in boxes]) for text, boxes in facts[index][2])
            # Whoever has no expression of their own is not among the facts.
            groups.append([(text, [one for one in who if one]) for text, who in fitting if None not in who])
    return Cells(pictures, everybody, tuple(numbers), side, groups)


def _begin() -> None:
    begin_worker()
    torch.set_num_threads(1)  # each process uses one core


def _scenes(world: Path, split: str) -> Iterator[tuple[list[dict[str, Any]], list[_Group]]]:
    """Picture by picture: the facts about its people, each with keypoints [17, 2], image px, and its rows of grec."""
    facts, table = world / "facts" / f"{split}.jsonl", world / "rkpt" / f"{split}.tsv"
    try:
        keypoints = {}
        with table.open(encoding="utf-8") as rows:
            for row in rows:
                number, _, _, _, points, _ = row.split("\t")
                keypoints[number.rpartition("_")[0]] = np.array(points.split(","), float).reshape(-1, 2)
        pictures: dict[str, list[dict[str, Any]]] = {}
        with facts.open(encoding="utf-8") as lines:
            for person in map(json.loads, lines):
                person["keypoints"] = keypoints[person["id"]]
                pictures.setdefault(person["id"].rpartition("_")[0], []).append(person)
        groups: dict[str, list[_Group]] = {}
        with (world / "grec" / f"{split}.tsv").open(encoding="utf-8") as rows:
            for row in rows:
                _, picture, text, boxes, _ = row.split("\t")
                fitting = [tuple(map(int, box.split(","))) for box in boxes.split(";") if box]
                groups.setdefault(picture, []).append((text, fitting))
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror}): expected a drawn world") from error
    except (ValueError, KeyError) as error:
        raise DataError(f"{world}: not a drawn world ({error}): expected a folder of `refhcm world`") from error
    for picture, people in pictures.items():
        yield people, groups.get(picture, [])


_Found = tuple[list[str], list[np.ndarray], np.ndarray, np.ndarray, tuple[str, ...]]


def _read(
    scene: tuple[Path, list[dict[str, Any]], list[_Group]], *, split: str, size: int, side: int
) -> tuple[np.ndarray, list[_Found]]:
    """A picture, uint8 [3, S, S], and for each person: tags, cells of each tag, places, parts, and expressions."""
    world, people, _ = scene
    annos, name = world / "rpar" / "annos", people[0]["id"].split("_")[1]
    with Image.open(annos / "imgs" / split / f"{name}.jpg") as image:
        picture = image.convert("RGB")
    size_wh = np.array(picture.size)
    columns, rows = (np.arange(length) * side // length for length in picture.size)
    cells = rows[:, None] * side + columns
    points_yx = [(2 * np.arange(side * DETAIL) + 1) * length // (2 * side * DETAIL) for length in picture.size[::-1]]
    found = []
    for person in people:
        labels = np.load(annos / "gts" / split / f"{name}_{person['id'].split('_')[2]}.npy").astype(np.int64)
        areas = np.bincount((labels * side**2 + cells).ravel(), minlength=NUM_CLASSES * side**2)
        shares = areas.reshape(NUM_CLASSES, -1) * side**2 / cells.size  # [classes, cells]
        shown = [(tag, np.flatnonzero(shares[list(where)].sum(0) > least)) for tag, where, least in _tags(person)]
        for joint, xy in zip(JOINTS, person["keypoints"], strict=True):
            column, row = np.minimum(xy.astype(int), size_wh - 1)
            shown.append((f"joint:{joint}", cells[row, column].reshape(-1) if xy.any() else np.empty(0, int)))
        expressions = tuple(expression["text"] for expression in person["expressions"])
        points = np.where(person["keypoints"].any(1, keepdims=True), person["keypoints"], np.nan)
        parts = labels.astype(np.uint8)[np.ix_(*points_yx)]
        places = np.concatenate([np.array(person["box"]).reshape(2, 2), points]) / size_wh
        found.append((*map(list, zip(*shown, strict=True)), places.astype(np.float32).ravel(), parts, expressions))
    placed = Canvas(size, size).resized(picture).patch_image
    return (placed * 127.5 + 127.5).round().astype(np.uint8), found


def _tags(person: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...], float]]:
    """Tags of a person, the classes that show each, and the share of a cell that these must fill."""
    free = set(person["regions"])
    whole = ["mark:person", person["noun"]]
    whole += [person["stance"]] if "legs" in free else []
    whole += [f"facing:{person['view']}"] if {"head", "trunk"} & free else []
    whole += [f"gesture:{person['gesture']}"] if "arms" in free else []
    whole += [f"holding:{person['prop']}"] if person["prop"] and "prop" in person["seen"] else []
    yield from ((tag, _ANYWHERE, PERSON_SHARE) for tag in whole)
    yield from ((f"part:{name}", (label,), PART_SHARE) for label, name in enumerate(CLASS_NAMES) if label)
    for slot, garment in person["garments"].items():
        for tag in (garment["kind"], garment["colour"], garment["pattern"]):
            if tag != "plain":
                yield tag, _SLOT_LABELS[slot], PART_SHARE
    if person["hair"] == "bald":
        yield "bald", (FACE_LABEL,), PART_SHARE
    else:
        yield from ((tag, (HAIR_LABEL,), PART_SHARE) for tag in (person["hair_colour"], person["hair"], "hair"))
    if person["beard"] and person["keypoints"][0].any():  # the nose; the back of a bald head has the face's class
        yield "beard", (FACE_LABEL,), PART_SHARE
