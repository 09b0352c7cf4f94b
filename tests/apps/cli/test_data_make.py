"""`refhcm data make`: every kind of table from files of the published forms, read by the task that it is for."""

import json
import subprocess
import sys

import pytest
from commands import refhcm
from raw_files import (
    PERSON,
    REC_ROW,
    RKPT_ROW,
    RPAR_BOX,
    coco_annotation,
    coco_image,
    picture,
    ref,
    with_flags,
    write_cihp,
    write_json,
    write_set,
)

from refhcm.data.tsv import TsvFile

POINTS = with_flags(RKPT_ROW.split("\t")[-1])
BLURRY, LEFT = (425.68, 219.3, 117.11, 170.81), (112.21, 46.13, 229.4, 220.68)
CHECKED = "--partial"  # these sets are parts of theirs


@pytest.fixture
def raw(tmp_path):
    """A folder of each data set, a picture or two each."""
    images = [coco_image(579997), coco_image(573476)]
    for image in images:
        picture(tmp_path / "train2014" / image["file_name"])
    annotations = [coco_annotation(1, 579997, BLURRY), coco_annotation(2, 573476, LEFT)]
    refs = [
        ref(182, 579997, 1, "player", "Blurry person to right of player's elbow"), ref(756, 573476, 2, "left person"),
    ]  # fmt: skip
    write_set(tmp_path / "refer" / "refcoco", refs, images, annotations)
    write_set(tmp_path / "refer" / "grefcoco", [r | {"ann_id": [r["ann_id"]]} for r in refs], images, annotations)
    (tmp_path / "refer" / "grefcoco" / "refs(unc).p").rename(tmp_path / "refer" / "grefcoco" / "grefs(unc).p")
    people = [{**a, "keypoints": POINTS} for a in annotations]
    write_json(tmp_path / "people.json", {"images": images, "annotations": people, "categories": [PERSON]})
    entries = [image | {"caption": f"entry {image['id']}"} for image in images]
    write_json(tmp_path / "RefHuman_val.json", {"images": entries, "annotations": people, "categories": [PERSON]})
    line = {"id": 0, "image_name": images[0]["file_name"], "referring": "who", "answer_boxes": [[1, 2, 30, 40]]}
    (tmp_path / "humanref.jsonl").write_text(json.dumps(line))
    write_cihp(tmp_path / "cihp", {"0000006": [(112, 170, 196, 459, 5)]})
    (tmp_path / "captions.tsv").write_text("0000006_0\ta man in white\n")
    (tmp_path / "boxes.tsv").write_text(f"0000006_0\t{RPAR_BOX}\t0000006.jpg\n")
    (tmp_path / "own.csv").write_text(
        "image,expression,x0,y0,x1,y1\n" + "".join(f"{image['file_name']},someone,1,2,30,40\n" for image in images)
    )
    return tmp_path


def flags(raw, what):
    """The flags of each kind of table, and the table's path below --out."""
    coco = ["--refs", raw / "refer", "--split", "testA", "--images", raw]
    return {
        "rec": (["rec", "--set", "refcoco", *coco], "refcoco_testA"),
        "rkpt": (["rkpt", "--set", "refcoco", *coco, "--keypoints", raw / "people.json"], "refcoco_pose_testA"),
        "refhuman": (
            ["refhuman", "--annotations", raw / "RefHuman_val.json", "--split", "val", "--images", raw], "refhuman_val",
        ),
        "humanref": (["humanref", "--annotations", raw / "humanref.jsonl", "--images", raw], "humanref"),
        "grefcoco": (["grec", "--set", "grefcoco", *coco], "grefcoco_testA"),
        "grec humanref": (
            ["grec", "--set", "humanref", "--annotations", raw / "humanref.jsonl", "--images", raw], "humanref",
        ),
        "rpar": (
            ["rpar", "--cihp", raw / "cihp", "--split", "train", "--captions", raw / "captions.tsv"], "refcihp_train",
        ),
        "rhrc": (
            ["rhrc", "--boxes", raw / "boxes.tsv", "--captions", raw / "captions.tsv", "--split", "train",
             "--images", raw / "cihp" / "Training" / "Images"], "capcihp_train",
        ),
        "own": (["own", "--csv", raw / "own.csv", "--images", raw, "--task", "rec", "--valid", 50], "own_train"),
    }[what]  # fmt: skip


def make(raw, what, *more):
    words, name = flags(raw, what)
    status = refhcm("data", "make", *words, "--out", raw / "out", CHECKED, *more)
    return status, raw / "out" / f"{name}.tsv"


@pytest.mark.parametrize(
    ("what", "task", "rows"),
    [("rec", "refcoco", 3), ("rkpt", "rkpt", 3), ("refhuman", "rkpt", 2), ("humanref", "refcoco", 1),
     ("rhrc", "rhrc", 1), ("own", "refcoco", 1)],
)  # fmt: skip
def test_tasks_read_what_is_made(raw, make_task, what, task, rows, capsys):
    status, path = make(raw, what)
    assert status == 0, capsys.readouterr().err
    reader = make_task(task)
    table = TsvFile(path, reader.default_cols, names=reader.columns)
    assert len(table) == rows
    for k in range(rows):
        reader.annotation(table[k], table.where(k))
    assert f"{path}: {rows} rows" in capsys.readouterr().out


def test_rpar_is_read_and_gets_codes(raw, make_task, golden, capsys):
    status, path = make(
        raw, "rpar", "--vq-config", golden / "vqgan" / "model.yaml", "--vq-ckpt", golden / "vqgan" / "model.ckpt"
    )
    assert status == 0, capsys.readouterr().err
    reader = make_task("rpar", annotation_root=str(raw / "out" / "annos"))
    table = TsvFile(path, reader.default_cols, names=reader.columns)
    annotation = reader.annotation(table[0], table.where(0))
    assert (annotation.expression, annotation.box_xyxy.tolist()) == ("a man in white", [112, 170, 196, 459])
    assert len(annotation.codes) == 48
    assert not list(path.parent.glob("*.part*"))


@pytest.mark.parametrize("what", ["grefcoco", "grec humanref"])
def test_generalised_tables(raw, what, capsys):
    status, path = make(raw, what)
    assert status == 0, capsys.readouterr().err
    assert [len(line.split("\t")) for line in path.read_text().splitlines()] == [5] * (3 if what == "grefcoco" else 1)


def test_the_published_rows(raw):
    assert make(raw, "rec")[1].read_text().splitlines()[1].rpartition("\t")[0] == REC_ROW
    assert make(raw, "rkpt")[1].read_text().splitlines()[2].rpartition("\t")[0] == RKPT_ROW


def unlabelled(raw, what):
    """Takes the first person's keypoints away, and lets their box leave the picture by 2 px."""
    path = raw / {"rkpt": "people.json", "refhuman": "RefHuman_val.json"}[what]
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"keypoints": [0] * 51, "bbox": [425.68, 219.3, 216.32, 170.81]}
    write_json(path, content)


@pytest.mark.parametrize(("split", "ids"), [("testA", ["182_0", "182_1", "756_0"]), ("train", ["756_0"])])
def test_only_training_leaves_out_persons_without_keypoints(raw, split, ids):
    unlabelled(raw, "rkpt")
    words, _ = flags(raw, "rkpt")
    refs = raw / "refer" / "refs.json"
    write_json(refs, [ref(182, 579997, 1, "a", "b", split=split), ref(756, 573476, 2, "c", split=split)])
    more = ["--refs", refs, "--split", split, "--instances", raw / "refer" / "refcoco" / "instances.json"]
    assert refhcm("data", "make", *words, *more, "--out", raw / "out", CHECKED) == 0
    lines = (raw / "out" / f"refcoco_pose_{split}.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == ids


def test_boxes_of_refhuman_are_clipped_by_any_distance(raw):
    unlabelled(raw, "refhuman")
    assert make(raw, "refhuman")[1].read_text().split("\t")[3] == "425.68,219.3,640,390.11"


def test_limit_and_quality(raw):
    _, path = make(raw, "rec", "--limit", 1, "--jpeg-quality", 75)
    assert [line.split("\t")[0] for line in path.read_text().splitlines()] == ["182_0", "182_1"]
    recipe = json.loads(path.with_name("refcoco_testA.manifest.json").read_text())["recipe"]
    assert (recipe["limit"], recipe["jpeg_quality"]) == (1, 75)


def test_the_same_command_again_has_nothing_to_do(raw, capsys):
    make(raw, "rec")
    assert make(raw, "rec")[0] == 0
    assert "exists already" in capsys.readouterr().out


def test_faults_that_partial_passed_over_are_not_forgotten(raw, capsys):
    with (raw / "own.csv").open("a") as file:
        file.write(f"{coco_image(579997)['file_name']},swapped,30,40,1,2\n")
    words = [*flags(raw, "own")[0], "--valid", 0, "--out", raw / "out"]
    assert refhcm("data", "make", *words, CHECKED) == 0
    manifest = json.loads((raw / "out" / "own.manifest.json").read_text())
    assert (manifest["rows"], manifest["left_out"]) == (2, {"box-order": 1})
    assert refhcm("data", "make", *words) == 2
    assert "own.csv:4: the box 30,40,1,2 has a negative width or height" in capsys.readouterr().err
    assert refhcm("data", "make", *words, CHECKED) == 0


def test_own_pictures_are_divided(raw):
    make(raw, "own")
    tables = [(raw / "out" / f"own_{part}.tsv").read_text().split("\t")[1] for part in ("train", "val")]
    assert len(set(tables)) == 2


@pytest.mark.parametrize(
    ("what", "more", "message"),
    [
        ("rec", ["--images", "none"], "none: no such folder"),
        ("rec", ["--set", "refcocog"], "--split testA: refcocog (umd) has the splits train, val, test"),
        ("rec", ["--set", "refcocog", "--split", "test"], "holds no refs(umd).p of refcocog"),
        ("rpar", ["--vq-config", "model.yaml"], "--vq-config and --vq-ckpt belong together"),
        ("rpar", ["--captions", "none.tsv"], "none.tsv: cannot be read"),
        ("grefcoco", ["--set", "humanref"], "--set humanref needs --annotations"),
        ("own", ["--texts", "a.tsv"], "--texts belongs to --annotations"),
        ("refhuman", ["--annotations", "none.json"], "none.json: cannot be read"),
    ],
)
def test_mistakes_are_one_line(raw, what, more, message, capsys):
    assert make(raw, what, *more)[0] == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(raw.glob("out/*.tsv"))


@pytest.mark.parametrize("arguments", [["--help"], ["make", "--help"], ["make", "rec", "--help"]])
def test_help_needs_no_torch(tmp_path, arguments):
    done = without_torch(tmp_path, *arguments)
    assert "usage: refhcm data" in done.stdout
    assert done.returncode == 0


def test_tables_are_made_without_torch(raw):
    words, name = flags(raw, "rpar")
    done = without_torch(raw, *map(str, ["make", *words, "--out", raw / "out", CHECKED]))
    assert done.returncode == 0, done.stderr
    assert (raw / "out" / f"{name}.tsv").read_text().split("\t")[2] == RPAR_BOX


def without_torch(folder, *arguments):
    code = (
        "import sys; sys.modules['torch'] = None; from refhcm.apps.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "data", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)
