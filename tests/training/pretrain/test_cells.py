"""What the cells of drawn pictures show."""

import json
import shutil
from itertools import chain

import numpy as np
import pytest
from PIL import Image

from refhcm.data.canvas import Canvas
from refhcm.data.synthetic.picture.skeleton import JOINTS
from refhcm.data.synthetic.writer import SPLITS, World, write_world
from refhcm.training.pretrain.cells import COORDINATES, DETAIL, Target, _tags, is_word, read_cells
from refhcm.utils.errors import DataError
from refhcm.utils.parsing import CLASS_NAMES

SIDE = 8


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    out = tmp_path_factory.mktemp("worlds") / "world"
    write_world(out, World(seed=5, pictures=dict.fromkeys(SPLITS, 6)), workers=1)
    return out


@pytest.fixture(scope="module")
def cells(world):
    return read_cells([world], "train", size=128, side=SIDE, workers=1)


@pytest.fixture(scope="module")
def people(world):
    """Facts by picture."""
    pictures = {}
    for line in (world / "facts/train.jsonl").read_text(encoding="utf-8").splitlines():
        person = json.loads(line)
        pictures.setdefault(person["id"].split("_")[1], []).append(person)
    return pictures


@pytest.fixture(scope="module")
def both(cells, people):
    """For everybody: facts, and what cells show."""
    facts, persons = (list(chain.from_iterable(groups)) for groups in (people.values(), cells.people))
    return list(zip(facts, persons, strict=True))


def shown(cells, person):
    """Tag -> the cells that show it."""
    found = {}
    for cell, tag in person.shown.tolist():
        found.setdefault(cells.tags[tag], set()).add(cell)
    return found


def test_pictures_are_those_of_the_canvas(world, cells, people):
    assert len(cells) == len(people) == 6
    for picture, name in zip(cells.pictures, people, strict=True):
        with Image.open(world / f"rpar/annos/imgs/train/{name}.jpg") as image:
            placed = Canvas(128, 128).resized(image.convert("RGB")).patch_image
        np.testing.assert_allclose(picture / 127.5 - 1, placed, atol=1e-6)


def test_a_part_is_shown_where_the_mask_has_it(world, cells, both):
    for facts, person in both:
        tags, name = shown(cells, person), facts["id"].split("_", 1)[1]
        mask = np.load(world / f"rpar/annos/gts/train/{name}.npy")
        rows, columns = (np.arange(length) * SIDE // length for length in mask.shape)
        for label, part in enumerate(CLASS_NAMES[1:], start=1):
            areas = {}
            for y, x in np.argwhere(mask == label).tolist():
                cell = int(rows[y] * SIDE + columns[x])
                areas[cell] = areas.get(cell, 0) + 1
            expected = {cell for cell, area in areas.items() if area * SIDE**2 / mask.size > 0.08}
            assert tags.get(f"part:{part}", set()) == expected


def test_parts_are_those_at_points_of_the_mask(world, both):
    for facts, person in both:
        mask = np.load(world / f"rpar/annos/gts/train/{facts['id'].split('_', 1)[1]}.npy")
        points = 4 * SIDE
        assert person.parts.shape == (points, points)
        for y, x in ((0, 0), (9, 17), (20, 12), (points - 1, points - 1)):
            there = [int((place + 0.5) / points * length) for place, length in zip((y, x), mask.shape, strict=True)]
            assert person.parts[y, x] == mask[tuple(there)]
        assert person.parts.any()


def test_cells_of_a_box():
    """A box of 1.75 x 2.5 cells on a grid of 4 x 4: every cell that it touches, middles beyond its edge, too."""
    places = np.full(COORDINATES, np.nan, np.float32)
    places[:4] = np.array([0.5, 1, 2.25, 3.5]) / 4
    cells, middles = Target(np.zeros((0, 2), np.int32), places, np.zeros((16, 16), np.uint8), ()).cells(4)
    assert cells.tolist() == [4, 5, 6, 8, 9, 10, 12, 13, 14]
    expected = [[x / 7, y] for y in (0.2, 0.6, 1) for x in (0, 4, 8)]
    np.testing.assert_allclose(middles, expected, atol=1e-6)


def test_words_lie_on_the_garment_that_they_name(cells, both):
    assert any("legs" not in facts["regions"] for facts, _ in both)
    for facts, person in both:
        tags = shown(cells, person)
        assert person.expressions == tuple(said["text"] for said in facts["expressions"])
        assert tags.get(facts["noun"]) == tags.get("mark:person")
        told = {"legs": facts["stance"], "arms": f"gesture:{facts['gesture']}", "prop": f"holding:{facts['prop']}"}
        for where, tag in told.items():  # nothing is told about what is not seen
            free = facts["seen"] if where == "prop" else facts["regions"]
            assert tags.get(tag) == (tags["mark:person"] if where in free else None), tag
        top = facts["garments"].get("top")
        if top and "part:upper-clothes" in tags:
            assert tags["part:upper-clothes"] <= tags[top["kind"]] & tags[top["colour"]]
        assert facts["beard"] or "beard" not in tags


@pytest.mark.parametrize(("regions", "told"), [(["trunk"], True), (["head"], True), (["legs"], False)])
def test_head_or_torso_shows_where_a_person_faces(both, regions, told):
    facts = both[0][0] | {"regions": regions, "keypoints": np.zeros((17, 2))}
    assert (f"facing:{facts['view']}" in {tag for tag, _, _ in _tags(facts)}) == told


@pytest.mark.parametrize(("joint", "told"), [(0, True), (1, False)])
def test_a_beard_is_told_where_the_nose_is_seen(both, joint, told):
    points = np.zeros((17, 2))
    points[joint] = 9, 7
    facts = both[0][0] | {"beard": True, "keypoints": points}
    assert ("beard" in {tag for tag, _, _ in _tags(facts)}) == told


def test_a_joint_is_shown_in_its_cell(world, cells, both):
    table = [line.split("\t") for line in (world / "rkpt/train.tsv").read_text(encoding="utf-8").splitlines()]
    points = {row[0].rpartition("_")[0]: np.array(row[4].split(","), float).reshape(17, 2) for row in table}
    found = 0
    for facts, person in both:
        with Image.open(world / f"rpar/annos/imgs/train/{facts['id'].split('_')[1]}.jpg") as image:
            size_wh = image.size
        np.testing.assert_allclose(person.box_xyxy * (size_wh * 2), facts["box"], rtol=1e-5, atol=1e-4)
        known = np.where(points[facts["id"]] == 0, np.nan, points[facts["id"]])
        np.testing.assert_allclose(person.places[4:].reshape(17, 2) * size_wh, known, rtol=1e-5)
        tags = shown(cells, person)
        for joint, (x, y) in zip(JOINTS, points[facts["id"]], strict=True):
            cell = int(y * SIDE / size_wh[1]) * SIDE + int(x * SIDE / size_wh[0])
            seen = bool(x or y)
            places = tags.get(f"joint:{joint}", set())
            assert len(places) == seen
            found += cell in places
    assert found > 50  # at a cell's very edge, rounding may put it next door


def test_the_target_of_some_people_has_only_them(cells):
    crowd = next(people for people in cells.people if len(people) > 1)
    (every, one), (everywhere, somewhere) = cells.target([crowd, crowd[:1]])
    assert every.shape == (SIDE**2, len(cells.tags))
    assert everywhere.shape == (SIDE**2, DETAIL**2)
    assert set(map(tuple, one.nonzero().tolist())) == set(map(tuple, crowd[0].shown.tolist()))
    assert (every >= one).all()
    assert (every > one).any()
    assert ((everywhere == somewhere) | (somewhere == 0)).all()
    assert (everywhere > somewhere).any()
    row, column = map(int, np.argwhere(crowd[0].parts)[0])
    cell, point = row // DETAIL * SIDE + column // DETAIL, row % DETAIL * DETAIL + column % DETAIL
    assert somewhere[cell, point] == crowd[0].parts[row, column]


def test_groups_are_the_rows_of_grec(world, cells, people):
    """With nobody, one or several of the picture's people; rows of blank pictures are left out."""
    rows = [line.split("\t") for line in (world / "grec/train.tsv").read_text(encoding="utf-8").splitlines()]
    for name, persons, facts, groups in zip(people, cells.people, people.values(), cells.groups, strict=True):
        boxes = {id(person): ",".join(map(str, fact["box"])) for person, fact in zip(persons, facts, strict=True)}
        told = [(text, ";".join(boxes[id(person)] for person in fitting)) for text, fitting in groups]
        assert told == [(row[2], row[3]) for row in rows if row[1] == f"train_{name}"]
    assert {len(fitting) for groups in cells.groups for _, fitting in groups} >= {0, 1, 2}


def test_groups_with_somebody_unknown_are_left_out(world, people, tmp_path):
    """Whoever has no expression of their own is not among the facts, and nothing else is lost."""
    table = (world / "grec/train.tsv").read_text(encoding="utf-8").splitlines()
    told = {name: [row for row in (line.split("\t") for line in table) if row[1] == f"train_{name}"] for name in people}
    name, unknown, box = next(
        (name, person, box)
        for name, facts in people.items()
        for person in facts
        for box in [",".join(map(str, person["box"]))]
        if len(facts) > 1 and any(box in row[3].split(";") for row in told[name])
    )
    shutil.copytree(world, tmp_path / "world")
    file = tmp_path / "world" / "facts" / "train.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(line for line in lines if json.loads(line)["id"] != unknown["id"]), encoding="utf-8")
    found = read_cells([tmp_path / "world"], "train", size=128, side=SIDE, workers=1).groups[list(people).index(name)]
    kept = [(row[2], len(row[3].split(";")) if row[3] else 0) for row in told[name] if box not in row[3].split(";")]
    assert [(text, len(fitting)) for text, fitting in found] == kept


def test_tags_are_words_or_marks(cells):
    words = {tag for tag in cells.tags if is_word(tag)}
    assert {"hair", "shoes"} <= words
    assert {tag.partition(":")[0] for tag in set(cells.tags) - words} <= {
        *("mark", "part", "joint", "facing", "gesture", "holding"),
    }


def test_no_world(tmp_path):
    with pytest.raises(DataError, match=r"train\.tsv: cannot be read"):
        read_cells([tmp_path], "train", size=128, side=SIDE, workers=1)
    for folder, name in (("facts", "train.jsonl"), ("rkpt", "train.tsv"), ("grec", "train.tsv")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("nonsense\n")
    with pytest.raises(DataError, match="not a drawn world"):
        read_cells([tmp_path], "train", size=128, side=SIDE, workers=1)
