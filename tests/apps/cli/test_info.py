"""`refhcm info` on the golden checkpoints, and on files that are not checkpoints."""

import argparse
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
import torch
from golden_folder import CHECKPOINTS

from refhcm.apps.cli import main as cli
from refhcm.apps.cli.info import describe
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.vqgan.config import read_config
from refhcm.utils.checkpoints import read_checkpoint

SIZE = {"arch": "refhcm_test", "encoder_layers": 1, "decoder_layers": 1, "resnet_width": 8, "task": "rkpt"} | {
    "num_bins": 20, "code_dict_size": 8, "patch_image_size": 64,
}  # fmt: skip
SYMBOLS = 40


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return Network(NetworkConfig.from_args(SIZE), SYMBOLS).state_dict()


def write(path, weights, *, args=None, **rest):
    torch.save(
        {"cfg": {"model": argparse.Namespace(**(SIZE if args is None else args))}, "model": weights, **rest}, path
    )
    return path


@pytest.mark.parametrize("task", CHECKPOINTS)
def test_the_golden_checkpoints_can_be_used(golden_checkpoint, real_vocabulary, task):
    facts, checkpoint = describe(golden_checkpoint(task)), read_checkpoint(golden_checkpoint(task))
    flags = checkpoint.flags()
    assert facts["kind"] == "fairseq checkpoint"
    assert facts["loads"]
    updates = checkpoint.rest["optimizer_history"][-1]["num_updates"]
    assert (facts["arch"], facts["task"], facts["updates"]) == (flags["arch"], task, updates)
    for name in ("encoder_embed_dim", "resnet_type"):
        assert facts["sizes"][name] == flags[name]
    assert facts["vocabulary_rows"] == len(real_vocabulary)
    assert (facts["num_bins"], facts["patch_image_size"]) == (flags["num_bins"], flags["patch_image_size"])
    assert facts["missing"] == facts["extended"] == facts["dropped"] == []
    assert set(facts["dtype"]) == {"float32"}
    assert not facts["optimizer_state"]
    assert not facts["averaged_weights"]


def test_the_golden_tokenizer(golden, tmp_path):
    facts, config = describe(golden / "vqgan" / "model.ckpt"), read_config(golden / "vqgan" / "model.yaml")
    assert facts["kind"] == "parsing-map tokenizer"
    assert facts["loads"]
    sizes = (config.n_embed, config.embed_dim, list(config.input_size_hw))
    assert (facts["codes"], facts["code_width"], facts["map_size_hw"]) == sizes
    shutil.copy(golden / "vqgan" / "model.ckpt", tmp_path / "alone.ckpt")
    facts = describe(tmp_path / "alone.ckpt")
    assert not facts["loads"]
    assert f"there is no {tmp_path / 'alone.yaml'}; name the file with --yaml" in facts["problem"]
    assert describe(tmp_path / "alone.ckpt", yaml=golden / "vqgan" / "model.yaml")["loads"]
    changed = (
        (golden / "vqgan" / "model.yaml")
        .read_text()
        .replace(f"n_embed: {config.n_embed}", f"n_embed: {config.n_embed + 16}")
    )
    (tmp_path / "alone.yaml").write_text(changed)
    facts = describe(tmp_path / "alone.ckpt")
    assert not facts["loads"]
    assert "does not match" in facts["problem"]
    assert "quantize.embedding.weight" in facts["problem"]


def test_what_training_leaves_in_a_file(weights, tmp_path):
    rest = {
        "optimizer_history": [{"num_updates": 7}],
        "last_optimizer_state": {"state": {0: torch.zeros(2)}},
        "extra_state": {"train_iterator": {"epoch": 3}, "ema": dict(weights)},
    }
    half = {name: value.half() if value.is_floating_point() else value for name, value in weights.items()}
    facts = describe(write(tmp_path / "a.pt", half, **rest))
    assert facts["loads"]
    assert (facts["updates"], facts["epoch"]) == (7, 3)
    assert facts["optimizer_state"]
    assert facts["averaged_weights"]
    assert set(facts["dtype"]) == {"float16"}
    assert facts["vocabulary_rows"] == SYMBOLS
    shared = [name for name in weights if name.endswith(("decoder.embed_tokens.weight", "output_projection.weight"))]
    buffers = ("running_mean", "running_var", "num_batches_tracked", "version", "rp_bucket", "position_idx")
    own = [value for name, value in weights.items() if name not in shared and not name.endswith(buffers)]
    assert facts["parameters"] == sum(value.numel() for value in own)


def test_what_is_missing_dropped_and_extended(weights, tmp_path, capsys):
    changed = {name: value for name, value in weights.items() if name != "encoder.pos_ln.weight"}
    changed["classification_heads.x.weight"] = torch.zeros(1)
    changed["encoder.embed_image_positions.weight"] = weights["encoder.embed_image_positions.weight"][:5]
    path = write(tmp_path / "a.pt", changed)
    facts = describe(path)
    assert not facts["loads"]
    assert facts["missing"] == ["encoder.pos_ln.weight"]
    assert facts["dropped"] == ["classification_heads.x.weight"]
    assert facts["extended"] == ["encoder.embed_image_positions.weight"]
    assert cli.main(["info", str(path)]) == 1
    lacking = "encoder.pos_ln.weight, encoder.embed_image_positions.weight (2 in all)"
    assert f"no: lacks all or part of {lacking}: answers would be random" in capsys.readouterr().out


def test_a_vocabulary_of_another_size(weights, world, tmp_path):
    path = write(tmp_path / "a.pt", weights)
    facts = describe(path, bpe_dir=world / "bpe")
    assert not facts["loads"]
    assert f"knows {SYMBOLS} symbols, but the vocabulary has 289" in facts["problem"]
    assert "dict.txt" in describe(path, bpe_dir=tmp_path)["problem"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"encoder.surprise": torch.zeros(2)}, "unknown weight 'encoder.surprise'"),
        ({"encoder.pos_ln.weight": torch.zeros(3)}, "encoder.pos_ln.weight is [3], the network's is [64]"),
        ({"decoder.embed_tokens.weight": torch.zeros(SYMBOLS, 64)}, "embeddings differ"),
        ({"encoder.pos_ln.weight": torch.full((64,), np.nan)}, "encoder.pos_ln.weight is not finite"),
    ],
)
def test_weights_that_do_not_fit(weights, tmp_path, change, problem):
    facts = describe(write(tmp_path / "a.pt", weights | change))
    assert not facts["loads"]
    assert problem in facts["problem"]


@pytest.mark.parametrize(
    "args",
    [
        {"arch": "refhcm_test", "encoder_embed_dim": 65},
        {"arch": "refhcm_test", "encoder_embed_dim": "wide"},
        {"arch": "refhcm_test", "resnet_type": "resnet7"},
        {"arch": "refhcm_test", "encoder_normalize_before": False},
        {"arch": "transformer"},
    ],
)
def test_settings_of_another_network(weights, tmp_path, args):
    facts = describe(write(tmp_path / "a.pt", weights, args=args))
    assert not facts["loads"]
    assert facts["problem"]
    assert "\n" not in facts["problem"]


ODD = [np.arange(3), torch.ones(2), torch.zeros(0), {(1, 2): 3}, {1}, b"x", 1j, "\x1b[31m", (torch.ones(2),)]


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
def test_odd_values_are_told_and_nothing_else(weights, tmp_path, capsys, value):
    """Text has no truth of arrays, no escape codes and no names that JSON lacks."""
    rest = {
        "optimizer_history": [{"num_updates": value}],
        "last_optimizer_state": value,
        "extra_state": {"train_iterator": {"epoch": value}, "ema": value},
    }
    path = write(tmp_path / "a.pt", weights, args=SIZE | {"task": value, "_name": value}, **rest)
    for flags in ([], ["--json"]):
        assert cli.main(["info", str(path), *flags]) == 0
        assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize("value", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(
    "name", ["add_type_embedding", "decoder_embed_dim", "encoder_embed_dim", "scale_fc", "num_bins"]
)
def test_odd_settings_are_problems(weights, tmp_path, name, value):
    facts = describe(write(tmp_path / "a.pt", weights, args=SIZE | {name: value}))
    assert name in facts["problem"]


def test_numpy_s_numbers_are_told(weights, tmp_path, capsys):
    rest = {"extra_state": {"train_iterator": {"epoch": np.int64(3)}}}
    assert cli.main(["info", str(write(tmp_path / "a.pt", weights, **rest)), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["epoch"] == 3


def test_a_checkpoint_without_settings_or_embedding(weights, tmp_path):
    torch.save({"model": weights}, tmp_path / "a.pt")
    assert "no `cfg.model` and no `args`" in describe(tmp_path / "a.pt")["problem"]
    without = {name: value for name, value in weights.items() if "embed_tokens" not in name and "output_p" not in name}
    facts = describe(write(tmp_path / "b.pt", without))
    assert "holds no embedding" in facts["problem"]
    assert "vocabulary_rows" not in facts


def test_the_old_file_format(weights, tmp_path):
    content = {"args": argparse.Namespace(**SIZE), "model": weights}
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert describe(tmp_path / "old.pt")["loads"]


class Evil:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"model": {}, "args": Evil(tmp_path / "ran")}, tmp_path / "evil.pt")
    assert cli.main(["info", str(tmp_path / "evil.pt")]) == 1
    out = capsys.readouterr().out
    assert "evil.pt: refused" in out
    assert "mkdir" in out
    assert not (tmp_path / "ran").exists()


def test_files_that_are_not_checkpoints(weights, tmp_path):
    torch.save(weights, tmp_path / "bare.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"a": 1, "b": 2}, tmp_path / "other.pt")
    torch.save({"state_dict": {"layer.weight": torch.zeros(2)}}, tmp_path / "lightning.ckpt")
    (tmp_path / "text.pt").write_text("not weights")
    (tmp_path / "empty.pt").write_bytes(b"")
    whole = (tmp_path / "bare.pt").read_bytes()
    (tmp_path / "half.pt").write_bytes(b"\x80\x02" + whole[: len(whole) // 2])
    with zipfile.ZipFile(tmp_path / "zip.pt", "w") as archive:
        archive.writestr("a.txt", "hello")
    kinds = {path.name: describe(path) for path in tmp_path.iterdir()}
    assert not any(facts["loads"] for facts in kinds.values())
    assert all("\n" not in facts["problem"] for facts in kinds.values())
    assert {name: facts["kind"] for name, facts in kinds.items()} == {
        "bare.pt": "bare weights",
        "list.pt": "something else",
        "other.pt": "something else",
        "lightning.ckpt": "Lightning checkpoint",
        "text.pt": "something else",
        "empty.pt": "something else",
        "half.pt": "refused",
        "zip.pt": "unreadable",
    }
    assert "found a, b" in kinds["other.pt"]["problem"]


def test_safetensors(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"1234")
    facts = describe(tmp_path / "a.safetensors")
    assert facts["kind"] == "safetensors"
    assert not facts["loads"]
    assert "is damaged or cut off, or no safetensors file" in facts["problem"]


def test_json_and_missing_files(golden, tmp_path, capsys):
    assert cli.main(["info", str(golden / "vqgan" / "model.ckpt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "parsing-map tokenizer"
    for path, message in (
        (tmp_path / "none.pt", "no such file"),
        (tmp_path, "holds no model.safetensors: is no model's folder"),
    ):
        assert cli.main(["info", str(path)]) == 2
        assert capsys.readouterr().err == f"error: {path}: {message}\n"
