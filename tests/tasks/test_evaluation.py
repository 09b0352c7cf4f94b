"""Evaluation: every row once, in the file's order, on any number of ranks; bad rows counted; atomic files."""

import argparse
import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from refhcm.data.dataset import BadRow
from refhcm.models.refhcm.config import SIZES, NetworkConfig
from refhcm.models.refhcm.network import Network
from refhcm.tasks import evaluation
from refhcm.tasks.evaluation import ScoredRow, evaluate, example, summarize, write_json
from refhcm.tasks.settings import settings_of
from refhcm.utils.checkpoints import Checkpoint
from refhcm.utils.errors import DataError, UserError

COLUMNS = {"selected_cols": "0,5,2,3"}


def make_network(symbols, seed=0):
    """An untrained network of a few thousand weights."""
    torch.manual_seed(seed)
    small = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 32, "resnet_width": 8}
    return Network(NetworkConfig(**SIZES["refhcm_test"] | small), symbols).eval()


@pytest.fixture(scope="module")
def network(small_text):
    return make_network(len(small_text.vocabulary))


@pytest.fixture(scope="module")
def table(world, tmp_path_factory):
    """Five rows."""
    path = tmp_path_factory.mktemp("table") / "five.tsv"
    lines = (world / "rkpt" / "val.tsv").read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line}\n" for line in lines[:5]), encoding="utf-8")
    return path


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


def run(task, network, rows, /, **options):
    settings = replace(task.generation_settings(), beam=2)
    return evaluate(task, network, rows, settings=settings, **{"batch_size": 3} | options)


def test_a_file_of_frequencies_is_read_before_the_work(make_task, network, world):
    """Its name holds on this machine only, so it is not taken from a checkpoint."""
    task = make_task("rhrc", eval_cider_cached_tokens="/nowhere/frequencies.p")
    table = world / "rhrc" / "val.tsv"
    with pytest.raises(UserError, match="/nowhere/frequencies"):
        run(task, network, task.open(table, training=False))
    assert len(task.open(table, training=True))
    weights = {"encoder.embed_tokens.weight": torch.zeros(60_000, 1)}
    trained = Checkpoint("x.pt", {"eval_cider_cached_tokens": "/training/machine/frequencies.p"}, weights, {})
    assert settings_of(trained, argparse.Namespace()).eval_cider_cached_tokens is None


def test_every_row_once_in_order(make_task, network, table):
    task = make_task("refcoco", **COLUMNS)
    metrics, records = run(task, network, task.open(table, training=False))
    names = [line.split("\t")[0] for line in lines_of(table)]
    assert len(names) == 5
    assert [record["uniq_id"] for record in records] == names
    assert metrics["count"] == len(names)
    # a box of an untrained network has four bins: it can be read
    assert metrics["invalid"] == 0


@pytest.mark.parametrize("world_size", [2, 3, 7])
def test_ranks_share_the_rows(make_task, network, table, monkeypatch, world_size):
    """Rank after rank in this process; each then sees what all have found, some more than once or not at all."""
    task = make_task("refcoco", **COLUMNS)
    rows = task.open(table, training=False)
    alone = run(task, network, rows)
    found = []
    monkeypatch.setattr(evaluation, "gather", lambda items: found.append(items) or items)
    shares = [run(task, network, rows, rank=rank, world=world_size)[1] for rank in range(world_size)]
    assert sum(len(share) for share in shares) == len(rows)
    everything = [item for items in found for item in items if isinstance(item, ScoredRow)]
    twice = everything + everything[:2]  # as a padded rank would send them
    monkeypatch.setattr(evaluation, "gather", lambda items: twice)
    assert [summarize(task, share) for share in ([], everything[:1])] == [alone, alone]


def test_ranks_share_the_first_rows(make_task, network, table):
    """Of the first three, the first rank of two has two."""
    task, names = make_task("refcoco", **COLUMNS), [line.split("\t")[0] for line in lines_of(table)]
    rows = task.open(table, training=False)
    shares = [run(task, network, rows, rows=3, rank=rank, world=2)[1] for rank in (0, 1)]
    assert [[record["uniq_id"] for record in share] for share in shares] == [[names[0], names[2]], [names[1]]]


def test_rows_of_one_name_stay_apart(make_task, network, table, tmp_path):
    """Identity is the row, not the annotation's id, which files repeat."""
    line = lines_of(table)[0]
    (tmp_path / "same.tsv").write_text(f"{line}\n" * 4, encoding="utf-8")
    task = make_task("refcoco", **COLUMNS)
    metrics, records = run(task, network, task.open(tmp_path / "same.tsv", training=False))
    assert metrics["count"] == len(records) == 4


@pytest.fixture
def with_bad_rows(table, tmp_path):
    """A table whose rows 2 and 3 are bad: its path."""
    lines = lines_of(table)
    lines[1] = lines[1].rsplit("\t", 1)[0] + "\t***"
    lines[2] = "only\ttwo"
    path = tmp_path / "bad.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_bad_rows_are_counted(make_task, network, with_bad_rows, batch_size, caplog):
    task = make_task("refcoco", **COLUMNS, skip_bad_rows=2)
    rows = task.open(with_bad_rows, training=False)
    with caplog.at_level(logging.WARNING):
        metrics, records = run(task, network, rows, batch_size=batch_size)
    assert metrics["count"] == len(records) == 3
    skipped = [message for message in caplog.messages if "skipped bad row" in message]
    assert len(skipped) == 2
    assert f"{with_bad_rows}:2: column image" in skipped[0]
    assert f"{with_bad_rows}:3: has 2 columns" in skipped[1]


@pytest.mark.parametrize(("allowed", "line"), [(0, 2), (1, 3)])
def test_more_bad_rows_than_allowed_end_the_run(make_task, network, with_bad_rows, allowed, line):
    task = make_task("refcoco", **COLUMNS, skip_bad_rows=allowed)
    rows = task.open(with_bad_rows, training=False)
    assert isinstance(rows[1], BadRow)
    with pytest.raises(DataError, match=f"bad.tsv:{line}:"):
        run(task, network, rows)


@pytest.mark.parametrize(("rank", "ends"), [(0, DataError), (1, SystemExit)])
def test_bad_rows_of_all_ranks_are_counted(make_task, network, with_bad_rows, monkeypatch, rank, ends):
    """Each of two ranks has one of the two; the first says it, and the other ends without a word."""
    task = make_task("refcoco", **COLUMNS, skip_bad_rows=1)
    monkeypatch.setattr(evaluation, "gather", lambda items: [*items, "elsewhere.tsv:9: is bad"])
    with pytest.raises(ends) as raised:
        run(task, network, task.open(with_bad_rows, training=False), rank=rank, world=2)
    if ends is DataError:
        assert str(raised.value) == "elsewhere.tsv:9: is bad: bad row 2, --skip-bad-rows allows 1"


def test_clipped_rows_are_reported_once(make_task, network, table, tmp_path, caplog):
    cells = lines_of(table)[0].split("\t")
    cells[3] = "-200,0,40,40"
    (tmp_path / "out.tsv").write_text(("\t".join(cells) + "\n") * 2, encoding="utf-8")
    task = make_task("refcoco", **COLUMNS)
    with caplog.at_level(logging.WARNING):
        run(task, network, task.open(tmp_path / "out.tsv", training=False), batch_size=1)
    (message,) = [m for m in caplog.messages if "clipped" in m]
    assert "2 rows" in message
    assert f"{tmp_path / 'out.tsv'}:1" in message


@pytest.mark.parametrize("name", ["refcoco", "rkpt", "rhrc"])
def test_a_network_without_an_answer(make_task, small_text, world, table, name):
    """NaN everywhere: no hypothesis ends. Every row counts as wrong, and nothing breaks."""
    network = make_network(len(small_text.vocabulary))
    with torch.no_grad():
        network.decoder.layer_norm.weight.fill_(torch.nan)
    task = make_task(name, **(COLUMNS if name == "refcoco" else {}))
    settings = replace(task.generation_settings(), beam=1, min_len=1, max_len_b=4)
    rows = task.open(world / "rhrc" / "val.tsv" if name == "rhrc" else table, training=False)
    metrics, records = evaluate(task, network, rows, settings=settings, batch_size=4)
    assert metrics["invalid"] == 1.0
    assert len(records) == len(rows)
    assert np.isfinite([value for value in metrics.values() if isinstance(value, float)]).all()
    json.dumps(records)


def test_files_are_written_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "val_predict.json"
    write_json([{"caption": "naïve"}], path)
    assert json.loads(path.read_text(encoding="utf-8")) == [{"caption": "naïve"}]
    assert "naïve" in path.read_text(encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_json([{"box": object()}], path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["val_predict.json"]


def test_an_example_in_words(make_task, table):
    task = make_task("refcoco", **COLUMNS)
    batch = task.collate([task.open(table, training=False)[0]])
    text = example(task, batch, [ScoredRow(0, {"uniq_id": "a"}, {})])
    assert text.startswith("label: <bin_")
    assert text.endswith('| answer: {"uniq_id": "a"}')
