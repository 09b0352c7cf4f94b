"""Captions in tables and result files: blank ones, several, and the ids that COCO's tools read."""

import json

import numpy as np
import pytest

from refhcm.data.annotation import Prediction
from refhcm.tasks.result_files import check_row


def captions(make_task, world, folder, *texts, training):
    """Samples of the first row of the captions' table with other captions, and its task."""
    columns = (world / "rhrc" / "train.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    lines = ["\t".join([columns[0], text, *columns[2:]]) + "\n" for text in texts]
    (folder / "captions.tsv").write_text("".join(lines), encoding="utf-8")
    task = make_task("rhrc")
    rows = task.open(folder / "captions.tsv", training=training)
    return task, [rows[i] for i in range(len(rows))]


BLANKS = ("a man in red && ", "&&a man in red", "a man in red&& .", "[3, 4] && a man in red&&")


def test_blank_captions_are_neither_learned_nor_scored(make_task, world, tmp_path):
    task, samples = captions(make_task, world, tmp_path, *BLANKS, training=True)
    assert {task.text.decode(sample["target"]) for sample in samples} == {" a man in red"}
    assert all(sample["remarks"] == () for sample in samples)
    _, samples = captions(make_task, world, tmp_path, *BLANKS, training=False)
    assert {sample["text"] for sample in samples} == {"a man in red"}


def test_training_on_several_captions_is_remarked(make_task, world, tmp_path):
    """The published network learns the && between them, and the golden samples hold it."""
    texts = ("a man && a boy", "R&B fan")
    task, (several, one) = captions(make_task, world, tmp_path, *texts, training=True)
    assert task.text.decode(several["target"]) == " a man && a boy"
    (remark,) = task.collate([several, one])["remarks"]
    assert remark[0] == f"{tmp_path / 'captions.tsv'}:1"
    assert "give each caption a row of its own" in remark[1]
    _, (several, _) = captions(make_task, world, tmp_path, *texts, training=False)
    assert several["remarks"] == ()


@pytest.mark.parametrize(
    ("row_id", "image_id"),
    [
        ("3", 3),
        ("581857", 581857),
        ("0", 0),
        ("007", "007"),
        ("3_1", "3_1"),
        ("\u0663", "\u0663"),
        ("9" * 18, 10**18 - 1),
        ("9" * 19, "9" * 19),  # above 2^63 - 1, the most that NumPy's and databases' whole numbers hold
    ],
)
def test_the_id_of_a_caption_is_a_number_where_it_is_one(make_task, row_id, image_id):
    labels = {"id": np.array([row_id])[0], "region_coords": np.zeros(4)}
    record = make_task("rhrc").record(Prediction(valid=True, caption="a man"), labels)
    assert record["image_id"] == image_id
    assert type(record["image_id"]) is type(image_id)
    check_row(record, row_id, where="predict.json: record 0", row="a.tsv:1")


@pytest.mark.parametrize(("answer", "caption", "valid"), [(" a man. ", "a man.", True), (" . !", ". !", False)])
def test_an_answer_without_a_word_is_malformed(make_task, answer, caption, valid):
    task = make_task("rhrc")
    found = task.parse(task.text.encode(answer))
    assert (found.caption, found.valid) == (caption, valid)


def test_coco_reads_the_captions_of_a_result_file(make_task, capsys):
    coco = pytest.importorskip("pycocotools.coco").COCO()
    coco.dataset = {
        "images": [{"id": k} for k in (3, 4)],
        "annotations": [{"id": k, "image_id": k, "caption": "a man"} for k in (3, 4)],
    } | {"info": {}}
    coco.createIndex()
    task, region = make_task("rhrc"), np.zeros(4)
    predictions = [Prediction(valid=True, caption=text) for text in ("a man", "a boy")]
    records = [
        task.record(prediction, {"id": row_id, "region_coords": region})
        for prediction, row_id in zip(predictions, ("3", "4"), strict=True)
    ]
    found = coco.loadRes(json.loads(json.dumps(records)))
    assert {row["image_id"]: row["caption"] for row in found.anns.values()} == {3: "a man", 4: "a boy"}
    capsys.readouterr()  # what COCO prints
