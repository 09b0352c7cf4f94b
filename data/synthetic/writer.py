"""A world on disk: the TSV files, masks and pictures that docs/data.md describes.

world.json                        seed, counts, held-out pairs; max_people and looks where they differ from the default
rkpt/{split}.tsv                  also read for REC
rhrc/{split}.tsv                  one caption in train, three in the other splits
grec/{split}.tsv                  expressions for nobody, one person or several, with all their boxes
rpar/{split}.tsv                  the codes column is empty until the tokenizer fills it
rpar/annos/{imgs,gts}/{split}/    pictures, and one label map per person
facts/{split}.jsonl               one person a line: what is true of them, and what was said about them
"""

import base64
import json
import os
import shutil
from concurrent.futures import Executor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from tqdm import tqdm

from ...utils.errors import UserError
from ...utils.files import claim
from ...utils.processes import processes
from .grec import grec_rows, jpeg_of
from .language.captions import captions_for
from .language.expressions import Expression, expressions_for, names_in
from .language.reasoning import riddle_for
from .picture.scene import MOST_PEOPLE, Scene, sample_scene
from .picture.views import View
from .picture.wardrobe import HELD_OUT

VERSION = 4  # a seed gives the same world only within one version
SPLITS = ("train", "val", "test", "unseen")
TABLES = ("rkpt", "rpar", "rhrc", "grec", "facts")
_EXPRESSIONS, _REFERENCES, _RIDDLE_CHANCE = 2, 3, 0.5
_CHUNK = 8  # pictures that a process draws before it reports


@dataclass(frozen=True)
class World:
    """What decides every byte of a world.

    pictures: by split. looks: 0, or the number of expressions for each person, which then are of looks alone.
    """

    seed: int
    pictures: dict[str, int]
    max_people: int = MOST_PEOPLE
    looks: int = 0

    def record(self) -> dict[str, object]:
        """What world.json holds."""
        record = {"name": "drawn people", "version": VERSION, "seed": self.seed, "pictures": self.pictures}
        record |= {"max_people": self.max_people} if self.max_people != MOST_PEOPLE else {}
        return record | ({"looks": self.looks} if self.looks else {})


def scene_random(seed: int, split: str, index: int, stream: int = 0) -> Random:
    """The source of all chance in one picture; no two pictures share one. Stream 1 is for the rows of `grec`."""
    state = np.random.SeedSequence((seed, SPLITS.index(split), index, stream)).generate_state(4)
    return Random(int.from_bytes(state.tobytes(), "little"))


def write_world(out: Path, world: World, *, workers: int) -> dict[str, int] | None:
    """Writes a world to a new or empty folder, which appears when it is complete; returns people by split.

    A folder that already holds this world is left as it is; returns None.
    """
    out = out.resolve()
    if _holds(out, world):
        return None
    if out.is_mount():
        raise UserError(f"{out}: a disk is mounted there, which a finished world cannot replace: name another folder")
    unfinished = out.with_name(f"{out.name}.unfinished")
    workers = min(workers, max(1, sum(world.pictures.values()) // _CHUNK))
    with claim(unfinished) as claimed:
        for left in (path for path in unfinished.iterdir() if path.is_dir()):
            shutil.rmtree(left)  # by a process that was killed
        try:
            with nullcontext() if workers == 1 else processes(workers) as pool:
                people = {split: _write_split(unfinished, world, split, pool) for split in SPLITS}
            record = {**world.record(), "people": people, "held_out": {kind: list(v) for kind, v in HELD_OUT.items()}}
            (unfinished / "world.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            Path(claimed.name).unlink()
            os.replace(unfinished, out)
        except OSError as error:
            raise UserError(f"{out}: cannot write the world: {error.strerror}") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return people


def _holds(out: Path, world: World) -> bool:
    """Whether `out` already holds this world; UserError if it holds anything else."""
    if not out.exists():
        return False
    if not out.is_dir():
        raise UserError(f"{out}: expected a folder, got a file")
    try:
        found = json.loads((out / "world.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        if any(out.iterdir()):
            raise UserError(f"{out}: expected a new or empty folder, got one with other files in it") from error
        return False
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{out / 'world.json'}: expected the record of a world, got {error}") from error
    asked = {"max_people": None, "looks": None, **world.record()}
    found = found if isinstance(found, dict) else {}
    if {key: found.get(key) for key in asked} != asked:
        version = found.get("version")
        which = "another world" if version == VERSION else f"a world of version {version}, not {VERSION}"
        raise UserError(f"{out}: holds {which} (see its world.json): give another folder, or remove it")
    return True


def _write_split(out: Path, world: World, split: str, pool: Executor | None) -> int:
    """Returns the number of people."""
    count, people = world.pictures[split], 0
    for folder in (*TABLES, f"rpar/annos/imgs/{split}", f"rpar/annos/gts/{split}"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    draw = partial(write_picture, out, world.seed, split, max_people=world.max_people, looks=world.looks)
    results = pool.map(draw, range(count), chunksize=_CHUNK) if pool else map(draw, range(count))
    with ExitStack() as stack:
        files = {}
        for table in TABLES:
            path = out / table / f"{split}.{'jsonl' if table == 'facts' else 'tsv'}"
            files[table] = stack.enter_context(path.open("w", encoding="utf-8", newline="\n"))
        for rows in tqdm(results, total=count, desc=split, unit="picture"):
            for table, lines in rows.items():
                files[table].writelines(f"{line}\n" for line in lines)
            people += len(rows["facts"])
    return people


@lru_cache(maxsize=3)  # the neighbour's picture is asked for, too
def _drawn(seed: int, split: str, index: int, max_people: int) -> tuple[Scene, tuple[Any, ...]]:
    """A picture's scene, and the state of its random generator after it was drawn."""
    rng = scene_random(seed, split, index)
    return sample_scene(rng, held_out=split == "unseen", max_people=max_people), rng.getstate()


def write_picture(
    out: Path, seed: int, split: str, index: int, *, max_people: int = MOST_PEOPLE, looks: int = 0
) -> dict[str, list[str]]:
    """Draws a picture and writes it and its masks; returns its rows by table."""
    scene, state = _drawn(seed, split, index, max_people)
    rng = Random()
    rng.setstate(state)
    name = f"{split}/{index:07d}"
    jpeg = jpeg_of(scene.picture)
    (out / "rpar/annos/imgs" / f"{name}.jpg").write_bytes(jpeg)
    encoded = base64.b64encode(jpeg).decode("ascii")
    rows: dict[str, list[str]] = {table: [] for table in TABLES}
    names = names_in(scene, rng)
    for person, view in enumerate(scene.views):
        said = _expressions(scene, person, rng, split, names, looks)
        if not said:
            continue
        captions = captions_for(scene, person, rng, count=1 if split == "train" else _REFERENCES)
        np.save(out / "rpar/annos/gts" / f"{name}_{person}.npy", view.label_map)
        image_id, box = f"{split}_{index:07d}", ",".join(map(str, view.box_xyxy))
        points = np.minimum(view.keypoints, np.array(scene.picture.size) - 0.01)  # rounding must not leave the picture
        keypoints = ",".join(f"{value:.2f}" if value else "0" for value in points.ravel())
        for number, expression in enumerate(said):
            anno_id = f"{image_id}_{person}_{number}"
            rows["rkpt"].append("\t".join((anno_id, image_id, expression.text, box, keypoints, encoded)))
            paths = f"{name}_{person}.npy", f"{name}.jpg"
            rows["rpar"].append("\t".join((anno_id, expression.text, box, "", *paths)))
        rows["rhrc"].append("\t".join((f"{image_id}_{person}", "&&".join(captions), box, encoded)))
        record = {"id": f"{image_id}_{person}", "place": scene.place, "people": len(scene.views), **_describe(view)}
        record["expressions"] = [{"text": e.text, "family": e.family} for e in said]
        rows["facts"].append(json.dumps({**record, "captions": captions}))
    other, _ = _drawn(seed, split, abs(index - 1), max_people)
    chance = scene_random(seed, split, index, stream=1)
    rows["grec"] = grec_rows(scene, other, chance, split=split, index=index, picture=encoded, looks=looks > 0)
    return rows


def _expressions(
    scene: Scene, person: int, rng: Random, split: str, names: dict[int, str], looks: int
) -> list[Expression]:
    """Expressions for one person; in `unseen`, each names a held-out garment."""
    count, unseen = looks or _EXPRESSIONS, split == "unseen"
    said = expressions_for(scene, person, rng, names=names, count=count, held_out=unseen, looks=looks > 0)
    if not unseen and not looks and rng.random() < _RIDDLE_CHANCE:
        riddle = riddle_for(scene, person, rng, names=names)
        return [*said, riddle] if riddle else said
    return said


def _describe(view: View) -> dict[str, object]:
    """A person's attributes for facts/*.jsonl, seen or not; `seen` lists what the picture shows.

    regions: of the body, where nothing hides them; in `seen`, a patch of skin is enough for arms and legs.
    """
    person, pose = view.actor.person, view.actor.pose
    garments = {
        slot: {"kind": g.kind, "colour": g.colour, "pattern": g.pattern, "held_out": g.held_out}
        for slot, g in person.garments.items()
    }
    return {
        "box": view.box_xyxy, "area": view.area, "noun": person.noun, "hair": person.hair,
        "hair_colour": person.hair_colour, "beard": person.beard, "garments": garments, "stance": pose.stance,
        "gesture": pose.gesture, "prop": pose.prop, "view": pose.view, "seen": sorted(view.slots | view.regions),
        "regions": sorted(view.regions),
    }  # fmt: skip
