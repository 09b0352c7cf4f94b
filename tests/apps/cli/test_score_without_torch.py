"""`refhcm score` needs no torch, for any task; but parsing maps given as codes do."""

import json
import subprocess
import sys

import pytest

TORCHLESS = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "fairseq"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
from refhcm.apps.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


TABLE = {"refcoco": "rkpt"}  # of a task without a table of its own
FIELDS = {
    "refcoco": lambda row: {"box": list(map(float, row[3].split(","))), "score": 0.5},
    "rkpt": lambda row: {"keypoints": list(map(float, row[4].split(",")))},
    "rhrc": lambda row: {"caption": row[1].split("&&")[0]},
    "rpar": lambda row: {"mask": row[4], "box": list(map(float, row[2].split(",")))},
}


def torchless(*arguments):
    command = [sys.executable, "-c", TORCHLESS, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help():
    done = torchless("score", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: refhcm score")


@pytest.mark.parametrize("task", FIELDS)
def test_every_task(task, world):
    table, root = world / TABLE.get(task, task) / "val.tsv", world / "rpar" / "annos"
    rows = [line.split("\t") for line in table.read_text().splitlines()]
    path = root / "gts" / f"{task}.jsonl"
    path.write_text("".join(json.dumps({"id": row[0], **FIELDS[task](row)}) + "\n" for row in rows))
    flags = ["--task", task, "--annotation-root", root, "--resamples", 10, "--format", "json"]
    flags += ["--selected-cols", "0,5,2,3", "--by", "1"] if task == "refcoco" else []
    done = torchless("score", table, path, *flags)
    path.unlink()
    assert (done.returncode, done.stderr if task == "refcoco" else "") == (0, ""), done.stderr
    assert max(one["value"] or 0 for one in json.loads(done.stdout)["metrics"].values()) >= 1
