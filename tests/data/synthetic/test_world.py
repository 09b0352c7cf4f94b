"""Drawn people: the files of a world, and the command that writes them."""

import base64
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from commands import refhcm
from PIL import Image

from refhcm.data.columns import NOBODY_KINDS, kind_of
from refhcm.data.synthetic.language.facts import garment_words
from refhcm.data.synthetic.picture.wardrobe import HELD_OUT, Garment
from refhcm.data.synthetic.writer import SPLITS, VERSION, World, scene_random, write_picture, write_world
from refhcm.utils.errors import UserError
from refhcm.utils.files import claim

COUNTS = {"train": 10, "val": 3, "test": 4, "unseen": 4}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("worlds") / "world"
    write_world(out, World(seed=5, pictures=COUNTS), workers=1)
    return out


def rows(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_seed_is_one_world_within_a_version(world):
    """If you change what is drawn or said, raise the version and enter both here."""
    said = [row[:5] for split in SPLITS for row in rows(world / "rkpt" / f"{split}.tsv")]
    said += [[row[0], *row[1:3]] for split in SPLITS for row in rows(world / "rhrc" / f"{split}.tsv")]
    said += [row[:4] for split in SPLITS for row in rows(world / "grec" / f"{split}.tsv")]
    digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()[:12]
    assert (VERSION, digest) == (4, "fd7b27f765d6")


@pytest.mark.parametrize("split", SPLITS)
def test_rows_have_the_published_columns(world, split):
    keypoint_rows, parsing_rows, caption_rows = (rows(world / t / f"{split}.tsv") for t in ("rkpt", "rpar", "rhrc"))
    assert {len(row) for row in keypoint_rows} == {len(row) for row in parsing_rows} == {6}
    assert {len(row) for row in caption_rows} == {4}
    assert [(r[0], r[2], r[3]) for r in keypoint_rows] == [(r[0], r[1], r[2]) for r in parsing_rows]
    for row in keypoint_rows:
        picture = Image.open(io.BytesIO(base64.b64decode(row[5])))
        x0, y0, x1, y1 = map(float, row[3].split(","))
        assert 0 <= x0 < x1 <= picture.width
        assert 0 <= y0 < y1 <= picture.height
        points = np.array([float(value) for value in row[4].split(",")]).reshape(17, 2)
        assert (points < (picture.width, picture.height)).all()
        assert 192 <= min(picture.size) <= max(picture.size) <= 320
    references = {row[1].count("&&") + 1 for row in caption_rows}
    assert references == ({1} if split == "train" else {3})


@pytest.mark.parametrize("split", SPLITS)
def test_masks_lie_over_their_pictures(world, split):
    for _, _, box, codes, mask_path, image_path in rows(world / "rpar" / f"{split}.tsv"):
        assert codes == ""  # the tokenizer fills it
        mask = np.load(world / "rpar/annos/gts" / mask_path)
        with Image.open(world / "rpar/annos/imgs" / image_path) as picture:
            assert mask.shape == (picture.height, picture.width)
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= set(range(20))
        y, x = np.nonzero(mask)
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == list(map(int, box.split(",")))


@pytest.mark.parametrize("split", SPLITS)
def test_rows_of_grec_are_well_formed(world, split):
    """Their pictures are those of the other tables, or blank; boxes lie in them, from left to right."""
    pictures = {row[1]: row[5] for row in rows(world / "rkpt" / f"{split}.tsv")}
    people = {row[2] for row in rows(world / "rhrc" / f"{split}.tsv")}
    for anno_id, image_id, expression, boxes, encoded in rows(world / "grec" / f"{split}.tsv"):
        assert anno_id.startswith(f"{image_id}_g")
        assert bool(boxes) == (anno_id.rsplit("_", 1)[1] not in ("near", "other", "blank"))
        assert anno_id.endswith("_blank") == (image_id not in pictures)
        assert anno_id.endswith("_blank") or encoded == pictures[image_id]
        assert expression == " ".join(expression.split()) != ""
        found = [tuple(map(int, box.split(","))) for box in boxes.split(";")] if boxes else []
        assert found == sorted(set(found))
        assert {",".join(map(str, box)) for box in found} <= people
        picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert all(0 <= x0 < x1 <= picture.width and 0 <= y0 < y1 <= picture.height for x0, y0, x1, y1 in found)


def test_ids_of_grec_are_unique(world):
    ids = [row[0] for split in SPLITS for row in rows(world / "grec" / f"{split}.tsv")]
    assert len(ids) == len(set(ids)) > 50
    assert {kind_of(row_id) for row_id in ids} == {"", *NOBODY_KINDS}


def test_ids_are_unique_and_pictures_are_in_one_split(world):
    ids = [row[0] for split in SPLITS for row in rows(world / "rkpt" / f"{split}.tsv")]
    assert len(ids) == len(set(ids))
    pictures = [{row[5] for row in rows(world / "rkpt" / f"{split}.tsv")} for split in SPLITS]
    assert [len(found) for found in pictures[:3]] == [10, 3, 4]
    assert len(set.union(*pictures)) == sum(map(len, pictures))


def test_unseen_pairs_are_worn_and_named_in_unseen_alone(world):
    for split in SPLITS:
        for line in (world / "facts" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            worn = [Garment(slot, g["kind"], g["colour"], (0, 0, 0)) for slot, g in record["garments"].items()]
            unseen = [garment for garment in worn if garment.colour in HELD_OUT.get(garment.kind, ())]
            assert bool(unseen) == (split == "unseen")
            names = [name.split(" ", name.startswith(("a ", "an ")))[-1] for g in unseen for name in garment_words(g)]
            for expression in record["expressions"]:
                assert split != "unseen" or any(name in expression["text"] for name in names)


def test_facts_hold_what_was_asked(world):
    for split in SPLITS:
        asked = [row[2] for row in rows(world / "rkpt" / f"{split}.tsv")]
        lines = (world / "facts" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        assert asked == [expression["text"] for line in lines for expression in json.loads(line)["expressions"]]


def test_the_record_holds_seed_and_counts(world):
    record = json.loads((world / "world.json").read_text())
    assert (record["seed"], record["pictures"]) == (5, COUNTS)
    assert record["people"]["train"] == len(rows(world / "rhrc" / "train.tsv"))


def test_a_picture_depends_on_seed_split_and_index_only(world, tmp_path):
    for folder in ("imgs", "gts"):
        (tmp_path / f"rpar/annos/{folder}/val").mkdir(parents=True)
    again = write_picture(tmp_path, 5, "val", 2)
    assert ["\t".join(row) for row in rows(world / "rkpt" / "val.tsv")][-len(again["rkpt"]) :] == again["rkpt"]
    draws = {scene_random(seed, split, i).random() for seed in (5, 6) for split in SPLITS for i in range(9)}
    assert len(draws) == 2 * 4 * 9


def test_processes_do_not_change_a_byte(world, tmp_path):
    write_world(tmp_path / "other", World(seed=5, pictures=COUNTS), workers=2)
    assert files(tmp_path / "other") == files(world)


def test_the_same_world_is_left_as_it_is_and_another_is_refused(world):
    before = files(world)
    assert write_world(world, World(seed=5, pictures=COUNTS), workers=1) is None
    with pytest.raises(UserError, match="holds another world"):
        write_world(world, World(seed=6, pictures=COUNTS), workers=1)
    assert files(world) == before


def test_fewer_people(tmp_path):
    """At most as many as asked for; the record says so, and the world does not pass for the usual one."""
    pictures = dict.fromkeys(SPLITS, 5)
    for most in (1, 2):
        world = World(5, pictures, max_people=most)
        write_world(tmp_path / str(most), world, workers=1)
        lines = (tmp_path / str(most) / "facts/train.jsonl").read_text(encoding="utf-8").splitlines()
        assert max(json.loads(line)["people"] for line in lines) == most
        assert json.loads((tmp_path / str(most) / "world.json").read_text())["max_people"] == most
        assert write_world(tmp_path / str(most), world, workers=1) is None
        for other in (World(5, pictures), World(5, pictures, max_people=3)):
            with pytest.raises(UserError, match="holds another world"):
                write_world(tmp_path / str(most), other, workers=1)
    assert "max_people" not in World(5, pictures).record()


@pytest.mark.parametrize("most", [1, 4])
def test_looks_alone(tmp_path, most):
    """Up to as many expressions for each person as asked for, all of looks; the record says so."""
    pictures = dict.fromkeys(SPLITS, 5)
    world = World(5, pictures, looks=most)
    write_world(tmp_path / "looks", world, workers=1)
    lines = (tmp_path / "looks/facts/train.jsonl").read_text(encoding="utf-8").splitlines()
    said = [json.loads(line)["expressions"] for line in lines]
    assert max(map(len, said)) == most
    assert {one["family"] for expressions in said for one in expressions} == {"look"}
    assert json.loads((tmp_path / "looks/world.json").read_text())["looks"] == most
    with pytest.raises(UserError, match="holds another world"):
        write_world(tmp_path / "looks", World(5, pictures), workers=1)
    assert "looks" not in World(5, pictures).record()
    asked = " ".join(row[2] for split in SPLITS for row in rows(tmp_path / "looks/grec" / f"{split}.tsv"))
    assert not [word for word in ("left", "right", "standing", "behind", "not", "except") if word in asked.split()]


def test_other_files_are_not_touched(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="other files"):
        write_world(tmp_path, World(seed=0, pictures=COUNTS), workers=1)
    with pytest.raises(UserError, match="expected a folder"):
        write_world(tmp_path / "mine.txt", World(seed=0, pictures=COUNTS), workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_link_to_an_empty_folder_and_the_folder_one_is_in(tmp_path, monkeypatch):
    """Both become the world, without what a killed process left."""
    small = World(3, dict.fromkeys(SPLITS, 0))
    left = tmp_path / "real.unfinished/rkpt"
    left.mkdir(parents=True)
    (left / "old.tsv").touch()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_world(tmp_path / "link", small, workers=1)
    assert (tmp_path / "real/world.json").is_file()
    assert not (tmp_path / "real/rkpt/old.tsv").exists()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_world(Path(), small, workers=1)
    assert (tmp_path / "here/world.json").is_file()
    assert not list(tmp_path.rglob(".lock")) + list(tmp_path.rglob("*.unfinished"))


def test_two_at_once(tmp_path):
    """The folder in which one writes is not another's."""
    with claim(tmp_path / "world.unfinished"), pytest.raises(UserError, match="another run writes there"):
        write_world(tmp_path / "world", World(3, dict.fromkeys(SPLITS, 0)), workers=1)


def test_a_mounted_disk_is_refused_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    with pytest.raises(UserError, match="a disk is mounted there"):
        write_world(tmp_path, World(3, dict.fromkeys(SPLITS, 1)), workers=1)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_world_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("refhcm.data.synthetic.writer.captions_for", lambda *_, **__: stop())
    with pytest.raises(KeyboardInterrupt):
        write_world(tmp_path / "world", World(seed=0, pictures=COUNTS), workers=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        *[
            ["--train", "-1"],
            ["--val", "many"],
            ["--workers", "0"],
            ["--seed", "1.5"],
            ["--nonsense"],
            ["--seed", "4294967296"],
        ],
        *[["--max-people", "0"], ["--max-people", "5"], ["--max-people", "few"]],
    ],
)
def test_wrong_arguments_end_with_code_2(wrong, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        refhcm("world", "--out", tmp_path / "w", "--train=1", "--val=1", "--test=1", *wrong)
    assert end.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_the_command_writes_a_world_or_says_why_not(tmp_path, capsys):
    out = tmp_path / "deep" / "world"
    line = ["world", "--out", out, "--seed=1", "--train=1", "--val=0", "--test=1", "--workers=1"]
    assert refhcm(*line) == 0
    assert "people a second" in capsys.readouterr().out
    assert rows(out / "rkpt" / "val.tsv") == []
    assert refhcm(*line) == 0
    assert "exists already" in capsys.readouterr().out
    assert refhcm(*line, "--seed=2") == 2
    assert capsys.readouterr().err == (
        f"error: {out}: holds another world (see its world.json): give another folder, or remove it\n"
    )
