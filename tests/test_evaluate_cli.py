"""evaluate.py as a command: what it prints, writes and refuses. Mistakes are one line and status 2."""

import base64
import json
import math

import pytest
import torch
from commands import refhcm
from PIL import Image

from refhcm.models.refhcm.config import SIZES, NetworkConfig
from refhcm.models.refhcm.network import Network

SMALL = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "resnet_width": 8}
TASK = {"num_bins": 100, "code_dict_size": 96, "patch_image_size": 64, "max_image_size": 64}
SYMBOLS = 4 + 256 + 1 + 96 + 100  # specials, bytes, mask, codes, bins


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """An untrained network's file, with the flags of its training."""
    torch.manual_seed(0)
    sizes = SIZES["refhcm_test"] | SMALL
    network = Network(NetworkConfig(**sizes), SYMBOLS)
    path = tmp_path_factory.mktemp("network") / "tiny.pt"
    torch.save({"cfg": {"model": {"arch": "refhcm_test", **sizes, **TASK}}, "model": network.state_dict()}, path)
    return path


@pytest.fixture
def table(world, tmp_path):
    """Four drawn rows."""
    lines = (world / "rkpt" / "val.tsv").read_text(encoding="utf-8").splitlines()[:4]
    path = tmp_path / "four.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def command(world, checkpoint, table, tmp_path, monkeypatch, capsys):
    """`command("--beam=2", task="rkpt")`: status, standard output and standard error."""

    def run(*flags, task="refcoco", data=table, path=checkpoint):
        arguments = [str(data), "--path", str(path), "--task", task, f"--bpe-dir={world / 'bpe'}", "--cpu"]
        columns = ["--selected-cols=0,5,2,3"] if task == "refcoco" else []
        results = f"--results-path={tmp_path / 'results'}"
        status = refhcm("evaluate", *arguments, *columns, "--beam=2", results, *flags)
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def only_error(result):
    """The one line of a run that was refused."""
    status, out, err = result
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert (status, out) == (2, "")
    assert len(errors) == 1
    assert "Traceback" not in err
    return errors[0]


def test_metrics_and_result_file(command, table, tmp_path):
    status, out, _ = command()
    assert status == 0
    metrics = json.loads(out.splitlines()[-1])
    assert metrics["count"] == 4
    assert 0 <= metrics["score"] <= 1
    records = json.loads((tmp_path / "results" / "four_predict.json").read_text())
    names = [line.split("\t")[0] for line in table.read_text(encoding="utf-8").splitlines()]
    assert [record["uniq_id"] for record in records] == names
    command("--gen-subset=renamed", "--batch-size=1")
    assert json.loads((tmp_path / "results" / "renamed_predict.json").read_text()) == records


def test_half_precision(command):
    status, out, _ = command("--bf16")
    assert status == 0
    assert json.loads(out.splitlines()[-1])["invalid"] == 0
    assert "exclude each other" in only_error(command("--bf16", "--fp16"))


def test_workers_change_nothing(command, tmp_path):
    command()
    alone = (tmp_path / "results" / "four_predict.json").read_text()
    command("--num-workers=1")
    assert (tmp_path / "results" / "four_predict.json").read_text() == alone


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--beam=0"], "--beam must be at least 1, got 0"),
        (["--temperature=0"], "--temperature must be above 0"),
        (["--constraint-range=5"], "--constraint-range must be two ids a,b, got '5'"),
        (["--min-len=9"], "--min-len 9 is more than the 4 symbols"),
        (["--selected-cols=0,5,2"], "--selected-cols needs 4 columns (id, image, expression, box), got '0,5,2'"),
        (["--selected-cols=0,5,2,9"], "has 6 columns, --selected-cols 0,5,2,9 needs more"),
        (["--selected-cols=0,5,2,x"], "--selected-cols needs numbers"),
        (["--selected-cols=0,3,2,5"], "column image"),
        (["--selected-cols=0,5,2,1"], "column box: needs 4 finite numbers x0,y0,x1,y1"),
        (["--bpe-dir=/nowhere"], "/nowhere/dict.txt: no such file"),
        (["--num-bins=50"], "encoder.embed_tokens.weight is"),
        (["--ema-eval"], "holds no averaged weights"),
    ],
)
def test_wrong_flags(command, flags, message):
    assert message in only_error(command(*flags))


@pytest.mark.parametrize("flags", [["--beam=x"], ["--no-such-flag"], ["--batch-size=1.5"]])
def test_flags_that_argparse_refuses(command, capsys, flags):
    with pytest.raises(SystemExit) as stopped:
        command(*flags)
    assert stopped.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_an_unknown_task_names_the_known_ones(command, capsys):
    with pytest.raises(SystemExit):
        command(task="multitask")  # is trained only
    assert "rpar_full_mask" in capsys.readouterr().err


def test_wrong_checkpoints(command, tmp_path):
    assert only_error(command(path="nowhere.pt")) == "error: nowhere.pt: no such file"
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    assert "not a readable weights file" in only_error(command(path=tmp_path / "text.pt"))
    Image.new("RGB", (2, 2)).save(tmp_path / "picture.png")
    assert "picture.png: " in only_error(command(path=tmp_path / "picture.png"))
    torch.save([1, 2], tmp_path / "list.pt")
    assert "not a fairseq checkpoint" in only_error(command(path=tmp_path / "list.pt"))
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    assert "found state_dict" in only_error(command(path=tmp_path / "other.pt"))


def test_a_damaged_checkpoint(command, checkpoint, tmp_path):
    (tmp_path / "cut.pt").write_bytes(checkpoint.read_bytes()[:5000])
    assert "cut.pt: not a readable weights file" in only_error(command(path=tmp_path / "cut.pt"))


def test_wrong_tables(command, tmp_path, checkpoint):
    assert "nowhere.tsv: no such file" in only_error(command(data="nowhere.tsv"))
    (tmp_path / "empty.tsv").write_bytes(b"")
    assert "empty.tsv: is empty" in only_error(command(data=tmp_path / "empty.tsv"))
    (tmp_path / "blank.tsv").write_text("\n\n", encoding="utf-8")
    assert "blank.tsv: holds no rows" in only_error(command(data=tmp_path / "blank.tsv"))
    assert "tiny.pt:1: " in only_error(command(data=checkpoint))


def damage(table, row, column, change):
    """Changes one cell of a table."""
    lines = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    lines[row][column] = change(lines[row][column])
    table.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def cut_picture(text):
    """The first half of its bytes."""
    data = base64.b64decode(text)
    return base64.b64encode(data[: len(data) // 2]).decode()


def test_a_truncated_picture(command, table):
    damage(table, 2, 5, cut_picture)
    assert f"{table}:3: column image: cannot be read as a picture (OSError: image file is truncated" in only_error(
        command()
    )


def test_bad_rows_are_skipped_on_request(command, table, tmp_path):
    damage(table, 1, 5, cut_picture)
    damage(table, 2, 3, lambda _: "1,2,3")
    status, out, _ = command("--skip-bad-rows=2")
    assert status == 0
    assert json.loads(out.splitlines()[-1])["count"] == 2
    assert len(json.loads((tmp_path / "results" / "four_predict.json").read_text())) == 2
    line = only_error(command("--skip-bad-rows=1", "--batch-size=1"))
    assert f"{table}:3: column box" in line
    assert "bad row 2, --skip-bad-rows allows 1" in line


def test_a_refused_run_leaves_the_results_alone(command, table, tmp_path):
    command()
    before = (tmp_path / "results" / "four_predict.json").read_text()
    damage(table, 3, 5, lambda _: "***")
    only_error(command("--batch-size=1"))
    assert (tmp_path / "results" / "four_predict.json").read_text() == before
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_parsing_needs_its_tokenizer(command, world, coded_table):
    line = only_error(command(f"--annotation-root={world / 'rpar' / 'annos'}", task="rpar", data=coded_table))
    assert "--vq-config model.yaml and --vq-ckpt model.ckpt" in line


@pytest.fixture
def coded_table(world, tmp_path):
    """One row of the parsing table, with codes."""
    cells = (world / "rpar" / "val.tsv").read_text(encoding="utf-8").splitlines()[0].split("\t")
    cells[3] = ",".join(["1"] * 48)
    (tmp_path / "coded.tsv").write_text("\t".join(cells) + "\n", encoding="utf-8")
    return tmp_path / "coded.tsv"


@pytest.mark.parametrize(("value", "flag"), [(math.nan, "--cpu"), (math.inf, "--cpu"), (1e5, "--fp16")])
def test_weights_that_are_not_finite(command, checkpoint, tmp_path, value, flag):
    """Their answers would be empty, and score 0."""
    stored = torch.load(checkpoint)
    stored["model"]["decoder.layers.0.fc1.weight"][3, 4] = value
    torch.save(stored, tmp_path / "bad.pt")
    name = f"{tmp_path / 'bad.pt'}: decoder.layers.0.fc1.weight is not finite in float"
    assert name in only_error(command(flag, path=tmp_path / "bad.pt"))


@pytest.mark.parametrize("flag", ["--batch-size=0", "--batch-size=-3", "--batch-size=x", "--num-workers=-1"])
def test_numbers_below_the_least(command, capsys, flag):
    with pytest.raises(SystemExit, match="2"):
        command(flag)
    assert "needs a whole number of at least" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["refcoco", "rkpt"])
@pytest.mark.parametrize("limit", [4, 3, 0])
def test_only_bad_rows(command, table, task, limit):
    """Skipped, they would leave metrics of nothing."""
    rows = [line.split("\t") for line in table.read_text(encoding="utf-8").splitlines()]
    table.write_text("".join("\t".join([*row[:3], "1,2,x,y", *row[4:]]) + "\n" for row in rows), encoding="utf-8")
    columns = [] if task == "refcoco" else ["--selected-cols=0,5,2,3,4"]
    message = "no row can be used" if limit == 4 else "column box: needs 4 finite numbers"
    assert message in only_error(command(f"--skip-bad-rows={limit}", *columns, task=task, data=table))
