"""`refhcm score`: what it reads, what it counts, and what it prints."""

import base64
import io
import json

import numpy as np
import pytest
from commands import refhcm
from PIL import Image


def picture(shade):
    file = io.BytesIO()
    Image.new("RGB", (200, 100), (shade, 0, 0)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture
def table(tmp_path):
    """REC of 8 rows in 4 pictures; each box is 10 k, 10, 10 k + 40, 90. The last column is odd or even."""
    lines = [
        "\t".join([f"r{k}", "x", "who", f"{10 * k},10,{10 * k + 40},90", picture(k // 2), "odd" if k % 2 else "even"])
        for k in range(8)
    ]
    path = tmp_path / "rec.tsv"
    path.write_text("\n".join(lines) + "\n")
    return path


def right(k):
    return [10 * k, 10, 10 * k + 40, 90]


def lines_of(answers):
    return "".join(json.dumps(answer) + "\n" for answer in answers)


@pytest.fixture
def scored(table, capsys):
    """The report on a file of answers, as JSON."""

    def run(text, *flags, name="answers.txt", task="refcoco"):
        path = table.parent / name
        path.write_text(text)
        assert refhcm("score", table, path, "--task", task, "--format", "json", "--resamples", "50", *flags) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(table, capsys):
    """The one line about a file of answers that cannot be scored."""

    def run(text, *flags, task="refcoco"):
        path = table.parent / "wrong.txt"
        path.write_text(text)
        assert refhcm("score", table, path, "--task", task, *flags) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return run


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (json.dumps([{"uniq_id": f"r{k}", "box": right(k)} for k in range(8)]), []),
        (lines_of({"id": f"r{k}", "box": right(k), "score": 0.5} for k in reversed(range(8))), []),
        (lines_of({"id": f"r{k}", "boxes": [right(k)]} for k in range(8)), []),
        (lines_of({"id": f"r{k}", "extracted_predictions": [right(k)]} for k in range(8)), []),
        ("\n".join(",".join(map(str, right(k))) for k in range(8)), []),
        ("".join(f"r{k}\t{right(k)}\n" for k in reversed(range(8))), []),
        (lines_of({"id": f"r{k}", "bbox": [10 * k, 10, 40, 80]} for k in range(8)), ["--coordinates", "pixels:xywh"]),
        (lines_of({"id": f"r{k}", "box": [k / 20, 0.1, k / 20 + 0.2, 0.9]} for k in range(8)), ["--coordinates", "1"]),
        (
            lines_of(
                {"id": f"r{k}", "answer": f"<loc_{50 * k}><loc_100><loc_{50 * k + 200}><loc_900>"} for k in range(8)
            ),
            ["--coordinates", "florence-2"],
        ),
        (
            lines_of(
                {"id": f"r{k}", "answer": json.dumps([{"bbox_2d": [50 * k, 100, 50 * k + 200, 900]}])} for k in range(8)
            ),
            ["--coordinates", "qwen"],
        ),
    ],
)
def test_every_form_of_the_right_boxes(scored, text, flags):
    report = scored(text, *flags)
    assert report["metrics"]["score"] == {"value": 1, "low": 1, "high": 1}
    assert report["counts"]["answered"] == report["counts"]["rows"] == 8
    assert report["pictures"] == 4
    assert report["remarks"] == []


def test_ids_that_do_not_fit_are_counted(scored):
    answers = [{"id": f"r{k}", "box": right(k)} for k in range(6)]
    answers += [{"id": "r0", "box": [0, 0, 1, 1]}, {"id": "r99", "box": right(6)}, {"id": "r6", "answer": "over there"}]
    report = scored(lines_of(answers))
    counts = {"rows": 8, "answered": 7, "missing": 1, "unknown": 1, "doubled": 1, "unreadable": 1}
    assert report["counts"] == counts
    assert report["metrics"]["score"]["value"] == pytest.approx(6 / 8)
    assert len(report["remarks"]) == 4
    assert "r7" in report["remarks"][0]


def test_doubled_ids_of_the_table_take_their_answers_in_order(scored, table):
    table.write_text(table.read_text().replace("r1\t", "r0\t"))
    answers = [{"id": "r0" if k == 1 else f"r{k}", "box": right(k)} for k in range(8)]
    assert scored(lines_of(answers))["metrics"]["score"]["value"] == 1


def test_width_and_height_are_noticed(scored):
    report = scored(lines_of({"id": f"r{k}", "box": [10 * k, 10, 40, 80]} for k in range(8)))
    assert "--coordinates pixels:xywh" in report["remarks"][0]


@pytest.mark.parametrize(
    ("text", "flags", "message"),
    [
        (lines_of([{"id": "r0", "box": [1, 2, 3]}]), [], "wrong.txt:1: box: expected 4 finite numbers"),
        ('{"id": "r0", "box": [1, 2, 3, NaN]}', [], "box: expected 4 finite numbers"),
        ('{"id": "r0", "box": [1, 2, 3, Infinity]}', [], "expected 4 finite numbers"),
        (f'{{"id": "r0", "box": [1, 2, 3, 1{"0" * 400}]}}', [], "expected 4 finite numbers"),
        ('{"id": "r0", "box": [1, 2, 3, true]}', [], "expected 4 finite numbers"),
        ('{"id": "r0", "box": [1, 2, 3, 4], "score": "high"}', [], "score: expected a finite number"),
        ('{"id": 1.5, "box": [1, 2, 3, 4]}', [], "`id` 1.5"),
        ('{"box": [1, 2, 3, 4]}', [], "none of the fields"),
        ('{"id": "q", "box": [1, 2, 3, 4]}', [], "none of its 1 ids is in"),
        ('[{"image_id": "r0", "region": [1, 2, 3, 4], "caption": "a man"}]', [], "of the task rhrc"),
        ('[{"uniq_id": "r0", "image_code": [0]}]', [], "of the task rpar"),
        ('{"id": "r0", "answer": "<loc_1><loc_2><loc_3><loc_4>"}', [], "--coordinates florence-2"),
        ("1,2,3,4\n", [], "has 1 lines"),
        ("", [], "is empty"),
        ("[", [], "cannot be read as JSON"),
        ("[]", [], "expected a JSON list of answers"),
        ('{"id": "r0", "box": [1, 2, 3, 4]}\n{', [], "wrong.txt:2: cannot be read as JSON"),
        ('{"images": [], "annotations": []}', [], "can be the TABLE"),
        ("1,2,3,4\n" * 8, ["--selected-cols", "0,3,2,3"], "column image"),
        ("1,2,3,4\n" * 8, ["--by", "9"], "has 6 columns, counted from 0: --by 9 is none of them"),
        ("1,2,3,4\n" * 8, ["--by", "kind"], "--facts"),
        ("1,2,3,4\n" * 8, ["--coordinates", "px"], "FRAME"),
    ],
)
def test_what_cannot_be_scored(refused, text, flags, message):
    assert message in refused(text, *flags)


def test_another_task_s_answers(refused):
    error = refused('{"id": "r0", "box": [1, 2, 3, 4]}', "--selected-cols", "0,4,2,3,3", task="rkpt")
    assert "column keypoints" in error or "of the task refcoco" in error
    assert "--task" in refused("", task="coco-keypoints")


def test_sub_groups(scored, table):
    answers = lines_of({"id": f"r{k}", "box": right(k) if k % 2 else [0, 0, 1, 1]} for k in range(8))
    groups = scored(answers, "--by", "5")["groups"]
    assert {name: (group["rows"], group["metrics"]["score"]["value"]) for name, group in groups.items()} == {
        "even": (4, 0),
        "odd": (4, 1),
    }
    facts = table.parent / "facts.jsonl"
    facts.write_text(lines_of({"id": f"r{k}", "place": "road" if k < 2 else "sea"} for k in range(8)))
    groups = scored(answers, "--by", "place", "--facts", facts)["groups"]
    assert {name: group["metrics"]["score"]["value"] for name, group in groups.items()} == {"road": 0.5, "sea": 0.5}


def test_against_other_answers(scored, table):
    other = table.parent / "other.jsonl"
    other.write_text(lines_of({"id": f"r{k}", "box": right(k) if k < 4 else [0, 0, 1, 1]} for k in range(8)))
    answers = lines_of({"id": f"r{k}", "box": right(k)} for k in range(8))
    against = scored(answers, "--against", other)["against"]
    assert against["metrics"]["score"]["value"] == 0.5
    assert against["differences"]["score"]["value"] == 0.5
    same = scored(answers, "--against", table.parent / "answers.txt")["against"]
    assert same["differences"]["score"] == {"value": 0, "low": 0, "high": 0, "p": 1}


def test_risk_by_coverage(scored):
    """The four most confident are right, the others wrong: means over 1..8 answers are 1 1 1 1 4/5 4/6 4/7 4/8."""
    answers = [{"id": f"r{k}", "box": right(k) if k < 4 else [0, 0, 1, 1], "score": -k} for k in range(8)]
    risk = scored(lines_of(answers))["risk"]
    assert risk["aurc"] == pytest.approx(1 - np.mean([1, 1, 1, 1, 4 / 5, 4 / 6, 4 / 7, 4 / 8]))
    assert risk["table"][0] == {"coverage": 1.0, "rows": 8, "quality": 0.5}
    assert [row["quality"] for row in risk["table"] if row["coverage"] <= 0.5] == [1] * 5
    assert "risk" not in scored(lines_of(answer | {"score": 1} for answer in answers))


def test_formats(table, capsys):
    path = table.parent / "a_b.jsonl"
    path.write_text(lines_of({"id": f"r{k}", "box": right(k), "score": k} for k in range(7)))
    found = {}
    for kind in ("text", "markdown", "latex"):
        assert refhcm("score", table, path, "--task", "refcoco", "--format", kind, "--against", path) == 0
        found[kind] = capsys.readouterr().out
    assert "score   87.50" in found["text"]
    assert "| score | 87.50 |" in found["markdown"]
    assert "score & 87.50 &" in found["latex"]
    assert all("1 rows have no answer" in text for text in found.values())
    assert refhcm("score", table, path, "--task", "refcoco", "--out", table.parent / "new" / "report.txt") == 0
    assert "score   87.50" in (table.parent / "new" / "report.txt").read_text()


def test_a_task_for_the_kind_of_table(table, tmp_path, capsys):
    assert refhcm("score", table, table) == 2
    assert "--task" in capsys.readouterr().err
    assert refhcm("score", table, table, "--task", "coco-keypoints") == 2
    assert "COCO-style .json" in capsys.readouterr().err
