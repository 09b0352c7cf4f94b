"""`reproduce.sh`: commands parse, what is missing is said, and (slow) a row is made, evaluated and compared."""

import json
import re
import shlex
from pathlib import Path

import pytest
from raw_files import PERSON, RKPT_ROW, coco_annotation, coco_image, picture, with_flags, write_json
from scripts import ROOT, run_script

from refhcm.apps.cli.main import make_parser

ROWS = ("refcoco", "refcocoplus", "refcocog", "refpose", "refposeplus", "refposeg", "refhuman", "rpar", "rpar-qpg",
        "rhrc")  # fmt: skip
PAGE_ROW = re.compile(r"^\|[^|]*\|[^|]*\| ([0-9./ ]+|not at hand) \|[^|]*\| `(\S+)` \|", re.MULTILINE)


def commands(row, **environment):
    """Program, and its arguments, of each line of a dry run."""
    lines = run_script("reproduce.sh", row, DRY_RUN=1, **environment).stdout.splitlines()
    return [(Path(words[1]).name, words[2:]) if len(words := shlex.split(line)) > 1 else ("", []) for line in lines]


@pytest.mark.parametrize("row", ROWS)
def test_the_commands_of_a_row(row, tmp_path):
    tasks = {"refcoco": "refcoco", "refpose": "rkpt", "refhuman": "rkpt", "rpar-qpg": "rpar_full_mask"}
    task = next((tasks[name] for name in tasks if row.startswith(name)), row)
    found = commands(row, DATA=tmp_path)
    (words,) = (words for name, words in found if name == "evaluate.py")
    args = make_parser(["evaluate"]).parse_args(["evaluate", *words])
    assert args.task == task
    assert args.data.startswith(str(tmp_path))
    for name, words in found:
        if name == "-m":
            _, *words = words
            parsed = make_parser(words[:1]).parse_args(words)
            made = parsed.out / Path(args.data).name if words[0] == "data" else None
            assert made in (None, Path(args.data))
    assert found[-1][0] == "beside_paper.py"
    assert found[-1][1][0] == args.metrics_path


def test_the_figures_are_those_of_the_page():
    page = (ROOT / "docs/benchmark.md").read_text(encoding="utf-8")
    said = {row: figures for figures, row in PAGE_ROW.findall(page)}
    assert sorted(said) == sorted(ROWS)
    for row in ROWS:
        figures = list(dict.fromkeys(word.partition("=")[2] for word in commands(row)[-1][1][1:]))
        assert said[row] == ("not at hand" if figures == ["?"] else " / ".join(figures))


def test_what_is_missing_is_said_with_its_command(tmp_path):
    done = run_script("reproduce.sh", "rpar", check=False, DATA=tmp_path, CHECKPOINTS=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    said = "".join(done.stderr)
    for name, command in (
        ("refhcm.pt", "refhcm download refhcm"),
        ("bpe/dict.txt", "refhcm download vocabulary"),
        ("vqgan/model.yaml", "refhcm download tokenizer"),
        ("rpar/refcihp_val.tsv", "refhcm download dataset --include 'rpar/*'"),
    ):
        assert f"missing: {tmp_path / name}: {command}\n" in said


def test_an_unknown_row(tmp_path):
    done = run_script("reproduce.sh", "refcow", check=False)
    assert done.returncode == 2
    assert done.stderr.endswith(" ".join(ROWS) + "\n")


@pytest.mark.slow
def test_refhuman_is_made_evaluated_and_compared(tmp_path):
    raw, shipped = tmp_path / "RefHuman", ROOT / "checkpoints" / "synthetic"
    points = with_flags(RKPT_ROW.split("\t")[-1])
    people = [coco_annotation(k, k, (112.21, 46.13, 229.4, 220.68), keypoints=points, area=9999) for k in (1, 2)]
    images = [coco_image(k) | {"caption": "the man on the left"} for k in (1, 2)]
    for image in images:
        picture(raw / "images" / image["file_name"])
    write_json(raw / "RefHuman_val.json", {"images": images, "annotations": people, "categories": [PERSON]})
    places = {"REFHUMAN": raw, "DATA": tmp_path / "data", "RESULTS": tmp_path / "results", "BPE_DIR": shipped / "bpe"}
    lines = run_script("reproduce.sh", "refhuman", **places, CHECKPOINT=shipped).stdout.splitlines()
    report = json.loads((tmp_path / "results" / "reproduce" / "refhuman.json").read_text())
    assert report["counts"]["answered"] == 2
    ours = f"{100 * report['metrics']['oks_ap']['value']:.2f}"
    assert [line.split() for line in lines[-2:]] == [["metric", "ours", "paper"], ["oks_ap", ours, "66.8"]]
