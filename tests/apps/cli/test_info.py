"""`refhcm info` on the golden checkpoints, and on all that is none."""

import argparse
import json
import os
import shutil
import struct
import zipfile

import pytest
import torch

from refhcm.apps.cli import main as cli
from refhcm.apps.cli.info import describe
from refhcm.models.refhcm import Network, NetworkConfig

SIZE = {"arch": "refhcm_test", "encoder_layers": 1, "decoder_layers": 1, "resnet_width": 8, "task": "rkpt"}
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


@pytest.mark.parametrize(("task", "updates"), [("multitask", 250), ("rpar_full_mask", 150)])
def test_the_golden_checkpoints_can_be_used(golden_checkpoint, task, updates):
    facts = describe(golden_checkpoint(task))
    assert facts["kind"] == "fairseq checkpoint"
    assert facts["loads"]
    assert (facts["arch"], facts["task"], facts["updates"]) == ("refhcm", task, updates)
    assert facts["sizes"]["encoder_embed_dim"] == 64
    assert facts["sizes"]["resnet_type"] == "resnet18"
    assert (facts["vocabulary_rows"], facts["num_bins"], facts["patch_image_size"]) == (59457, 1000, 128)
    assert facts["missing"] == facts["extended"] == facts["dropped"] == []
    assert set(facts["dtype"]) == {"float32"}
    assert not facts["optimizer_state"]
    assert not facts["averaged_weights"]


def test_the_golden_tokenizer(golden, tmp_path):
    facts = describe(golden / "vqgan" / "model.ckpt")
    assert facts["kind"] == "parsing-map tokenizer"
    assert facts["loads"]
    assert (facts["codes"], facts["code_width"], facts["map_size_hw"]) == (32, 256, [128, 96])
    shutil.copy(golden / "vqgan" / "model.ckpt", tmp_path / "alone.ckpt")
    facts = describe(tmp_path / "alone.ckpt")
    assert not facts["loads"]
    assert f"there is no {tmp_path / 'alone.yaml'}; name it with --yaml" in facts["problem"]
    assert describe(tmp_path / "alone.ckpt", yaml=golden / "vqgan" / "model.yaml")["loads"]
    changed = (golden / "vqgan" / "model.yaml").read_text().replace("n_embed: 32", "n_embed: 48")
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
    assert facts["loads"]
    assert facts["missing"] == ["encoder.pos_ln.weight"]
    assert facts["dropped"] == ["classification_heads.x.weight"]
    assert facts["extended"] == ["encoder.embed_image_positions.weight"]
    assert cli.main(["info", str(path)]) == 0
    assert "yes, but 1 weights are missing and keep random values" in capsys.readouterr().out


def test_a_vocabulary_of_another_size(weights, world, tmp_path):
    path = write(tmp_path / "a.pt", weights)
    facts = describe(path, bpe_dir=world / "bpe")
    assert facts["loads"]
    assert facts["extended"] == ["encoder.embed_tokens.weight"]
    assert "dict.txt" in describe(path, bpe_dir=tmp_path)["problem"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"encoder.surprise": torch.zeros(2)}, "unknown weight 'encoder.surprise'"),
        ({"encoder.pos_ln.weight": torch.zeros(3)}, "encoder.pos_ln.weight is [3], the network's is [64]"),
        ({"decoder.embed_tokens.weight": torch.zeros(SYMBOLS, 64)}, "embeddings differ"),
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


def test_a_checkpoint_without_settings_or_embedding(weights, tmp_path):
    torch.save({"model": weights}, tmp_path / "a.pt")
    assert "no `cfg.model` and no `args`" in describe(tmp_path / "a.pt")["problem"]
    without = {name: value for name, value in weights.items() if "embed_tokens" not in name and "output_p" not in name}
    facts = describe(write(tmp_path / "b.pt", without))
    assert "holds no embedding" in facts["problem"]
    assert facts["vocabulary_rows"] is None


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


def test_files_that_are_no_checkpoints(weights, tmp_path):
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
    header = json.dumps(
        {
            "__metadata__": {"from": "a test"},
            "a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
        }
    ).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
    facts = describe(tmp_path / "a.safetensors")
    assert facts["kind"] == "safetensors"
    assert facts["dtype"] == {"F16": 1}
    assert facts["metadata"] == {"from": "a test"}
    assert not facts["loads"]


def test_json_and_missing_files(golden, tmp_path, capsys):
    assert cli.main(["info", str(golden / "vqgan" / "model.ckpt"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "parsing-map tokenizer"
    for path, message in ((tmp_path / "none.pt", "no such file"), (tmp_path, "is a folder, not a file")):
        assert cli.main(["info", str(path)]) == 2
        assert capsys.readouterr().err == f"error: {path}: {message}\n"
