"""The file format: fairseq's structure, averaged weights, and what may be unpickled."""

import argparse
import zipfile
from collections import OrderedDict
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from golden_folder import names, numbers

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.loading import load_network
from refhcm.utils.checkpoints import check_finite, load_file, named_weights, read_checkpoint
from refhcm.utils.errors import CheckpointError
from refhcm.utils.model_files import read_settings, write_settings

SIZE = {"arch": "refhcm_test", "encoder_layers": 1, "decoder_layers": 1, "resnet_width": 8}
EMPTY = {
    "builtins.dict": dict,
    "collections.OrderedDict": OrderedDict,
    "argparse.Namespace": argparse.Namespace,
    "list": list,
    "tuple": tuple,
}


def built(tree, path=""):
    """An object of the structure that golden/checkpoint_structure_<task>.json describes, below `path`."""
    node = tree[path]
    if node["t"] == "tensor":
        return torch.zeros(node["shape"][:1])  # the structure counts here, not the size
    if node["t"] not in EMPTY:
        return node.get("v")
    depth = path.count("/") + 1
    keys = [key for key in tree if key.startswith(path + "/") and key.count("/") == depth]
    children = {key.rpartition("/")[2]: built(tree, key) for key in keys}
    kind = EMPTY[node["t"]]
    if kind is argparse.Namespace:
        return kind(**children)
    return kind(children.values()) if kind in (list, tuple) else kind(children)


@pytest.mark.parametrize("task", names("checkpoint_structure_*.json"))
def test_the_published_structure_is_read(task, tmp_path):
    tree = numbers(f"checkpoint_structure_{task}")
    content = built(tree)
    content["model"]["encoder.version"] = torch.tensor([3.0])
    torch.save(content, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    assert list(checkpoint.weights) == ["encoder.version"]
    flags = checkpoint.flags()
    width = tree["/cfg/model/encoder_embed_dim"]["v"]
    assert NetworkConfig.from_args(flags).encoder_embed_dim == width
    assert checkpoint.rest["optimizer_history"] == content["optimizer_history"]


def test_averaged_weights(tmp_path):
    torch.manual_seed(0)
    plain, averaged = (Network(NetworkConfig.from_args(SIZE), 20) for _ in range(2))
    content = {"cfg": {"model": argparse.Namespace(**SIZE)}, "model": plain.state_dict()}
    torch.save(content, tmp_path / "plain.pt")
    torch.save(content | {"extra_state": {"ema": averaged.state_dict()}}, tmp_path / "ema.pt")
    name = "decoder.layers.0.fc1.weight"
    for ema, expected in ((False, plain), (True, averaged)):
        loaded = load_network(read_checkpoint(tmp_path / "ema.pt"), 20, ema=ema)
        assert torch.equal(loaded.state_dict()[name], expected.state_dict()[name])
    full = {"w": torch.tensor([1 + 2**-20])}  # half precision cannot hold it
    torch.save({"args": {}, "model": {}, "extra_state": {
        "ema": {"w": full["w"].half(), "b": torch.ones(1)}, "ema_fp32_params": full
    }}, tmp_path / "half.pt")  # fmt: skip
    averages = read_checkpoint(tmp_path / "half.pt").ema_weights()
    assert torch.equal(averages["w"], full["w"])
    assert averages.keys() == {"w", "b"}
    with pytest.raises(CheckpointError, match=r"plain.pt: holds no averaged weights; train with --store-ema"):
        read_checkpoint(tmp_path / "plain.pt").ema_weights()


def test_mapped_files_read_alike(tmp_path):
    torch.save({"args": {}, "model": {"w": torch.arange(5.0)}}, tmp_path / "a.pt")
    assert torch.equal(load_file(tmp_path / "a.pt", mmap=True)["model"]["w"], torch.arange(5.0))
    torch.save(load_file(tmp_path / "a.pt"), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load_file(tmp_path / "old.pt", mmap=True)["model"]["w"], torch.arange(5.0))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"w": torch.zeros(1)}}, "holds no `cfg.model` and no `args`"),
        ({"args": {}, "model": [1]}, "not a fairseq checkpoint"),
        (torch.zeros(2), "not a fairseq checkpoint.*found Tensor"),
    ],
)
def test_files_of_another_kind(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(tmp_path / "a.pt")
    assert "\n" not in str(error.value)


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_file(tmp_path)


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.5),
        np.int32(-3),
        np.bool_(True),
        np.str_("é"),
        np.arange(6.0).reshape(2, 3),
        np.array([1, 2], ">i2"),
    ],
)
def test_numpy_s_numbers_and_arrays_are_values(value, tmp_path):
    torch.save({"args": {"dropout": np.float64(0.5)}, "model": {}, "extra_state": {"best": value}}, tmp_path / "a.pt")
    checkpoint = read_checkpoint(tmp_path / "a.pt")
    found = checkpoint.rest["extra_state"]["best"]
    assert found.dtype == value.dtype.newbyteorder("=")
    assert np.array_equal(found, value)
    assert type(checkpoint.flags()["dropout"]) is float
    torch.save({"again": found}, tmp_path / "b.pt")  # what was read is numpy's when it is written
    assert np.array_equal(load_file(tmp_path / "b.pt")["again"], value)


@pytest.mark.parametrize("value", [np.array([None]), np.zeros(2, [("a", "f8")]), np.datetime64("2020-01-01")])
def test_other_arrays_are_refused(value, tmp_path):
    torch.save({"value": value}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match=r"a\.pt: ") as caught:
        load_file(tmp_path / "a.pt")
    assert "\n" not in str(caught.value)


def test_a_class_with_a_long_name_is_refused_in_a_short_line(tmp_path):
    name = "n" * 5000
    pickled = b"\x80\x02" + f"c{name}\n{name}\n.".encode()
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", b"3\n")
    with pytest.raises(CheckpointError, match=r"a\.pt: refused: it holds more than weights") as caught:
        load_file(tmp_path / "a.pt")
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("size", [100, 50_000_000])
def test_a_compressed_file_is_refused_unread(size, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(size))
    with pytest.raises(CheckpointError, match=r"a\.pt: is a compressed zip file"):
        load_file(tmp_path / "a.pt")


@pytest.mark.parametrize("names", [{"n" * 2**21: 1}, dict.fromkeys(f"{k:200}" for k in range(2**13))])
def test_names_take_a_small_share_of_an_old_file(names, tmp_path):
    for count, ends in ((2**20, pytest.raises(CheckpointError, match=r"a\.pt: is damaged")), (2**24, nullcontext())):
        content = {"w": torch.zeros(count), "names": names}
        torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=False)
        with ends:
            assert load_file(tmp_path / "a.pt")["names"] == names


@pytest.mark.parametrize("record", ["byteorder", ".data/serialization_id"])
def test_other_records_that_are_read_whole_are_names(record, tmp_path):
    torch.save({"w": torch.zeros(1)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt", "a") as archive:
        archive.writestr(f"a/{record}2", bytes(2**20))
    with pytest.raises(CheckpointError, match=r"a\.pt: is damaged"):
        load_file(tmp_path / "a.pt")


def test_names_take_a_small_share_of_a_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("a/data.pkl", bytes(2**20 + 1))
    with pytest.raises(CheckpointError, match=r"a\.pt: is damaged"):
        load_file(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"w": torch.ones(3).to_sparse()}, r"'w' \(float32, sparse_coo\) is not stored as plain numbers"),
        ({"w": torch.ones(3, dtype=torch.complex64)}, "complex64"),
        ({"w": torch.ones(1).expand(2**40)}, "not stored as plain numbers"),
        ({"w": torch.ones(1, device="meta")}, "not stored as plain numbers"),
        ({"w": torch.ones(1), "module.w": torch.ones(1)}, "'w' comes twice"),
        ({7: torch.ones(1)}, "weight 7 needs a name"),
        ({"a\nb" * 1000: torch.ones(1).to_sparse()}, "not stored"),
    ],
)
def test_weights_are_plain_numbers_with_names(weights, message):
    with pytest.raises(CheckpointError, match=f"^f: .*{message}") as caught:
        named_weights(weights, where="f")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")  # torch 2.14 gives it up; files hold it
def test_quantized_weights_are_refused():
    with pytest.raises(CheckpointError, match="not stored as plain numbers"):
        named_weights({"w": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, where="f")


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2])
def test_a_single_number_that_is_not_finite_is_found(value, dtype):
    weights = {"a": torch.zeros(0), "b": torch.ones(3, dtype=torch.int8), "w": torch.zeros(9).to(dtype)}
    check_finite(weights, where="f")
    numbers = torch.zeros(9)
    numbers[4] = value
    with pytest.raises(CheckpointError, match=r"^f: w is not finite in"):
        check_finite(weights | {"w": numbers.to(dtype)}, where="f")


@pytest.mark.parametrize("extra", [[1], 3, {"ema": [1]}, {"ema": {}}])
def test_an_odd_extra_state_holds_no_average(extra, tmp_path):
    torch.save({"args": {}, "model": {}, "extra_state": extra}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="holds no averaged weights"):
        read_checkpoint(tmp_path / "a.pt").ema_weights()


@pytest.mark.parametrize("cfg", [{}, {"model": None}, {"model": {}}, None])
def test_settings_may_lie_in_args_alone(cfg, tmp_path):
    torch.save({"cfg": cfg, "args": argparse.Namespace(arch="refhcm_test"), "model": {}}, tmp_path / "a.pt")
    assert read_checkpoint(tmp_path / "a.pt").flags() == {"arch": "refhcm_test"}


@pytest.mark.parametrize("args", [[1], 3, "text", (1,)])
def test_settings_are_named(args, tmp_path):
    torch.save({"args": args, "model": {}}, tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="expected named settings"):
        read_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("record", ["data.pkl", "data/0", "data/1"])
def test_a_flipped_bit(record, mmap, tmp_path):
    """Anywhere in the file's records; the same file without it is read."""
    path = tmp_path / "a.pt"
    content = {"model": {"a": torch.arange(100.0), "b": torch.ones(9)}, "args": {"arch": "refhcm_test"}}
    torch.save(content, path)
    assert torch.equal(read_checkpoint(path, mmap=mmap).weights["a"], torch.arange(100.0))
    with zipfile.ZipFile(path) as archive:
        stored = archive.read(f"a/{record}")
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(stored) + len(stored) // 2] ^= 4
    (tmp_path / "b.pt").write_bytes(damaged)
    with pytest.raises(CheckpointError, match=rf"b.pt: is damaged: a/{record} does not fit its checksum"):
        read_checkpoint(tmp_path / "b.pt", mmap=mmap)


def test_another_vocabulary(tmp_path):
    """A file that names none, such as a published one, goes with any."""
    content = {"model": {"a": torch.ones(1)}, "args": {"arch": "refhcm_test"}}
    for name, own in (("old", {}), ("new", {"vocabulary": "abc"})):
        torch.save(content | own, tmp_path / f"{name}.pt")
    read_checkpoint(tmp_path / "old.pt").check_vocabulary(lambda: pytest.fail("is not needed"))
    read_checkpoint(tmp_path / "new.pt").check_vocabulary(lambda: "abc")
    with pytest.raises(CheckpointError, match=r"new.pt: was trained with another vocabulary: give .*--bpe-dir"):
        read_checkpoint(tmp_path / "new.pt").check_vocabulary(lambda: "abd")


def test_settings_come_back_as_they_were_written(tmp_path):
    settings = {"arch": "refhcm_test", "num_bins": 20, "vocabulary": "abc"}
    write_settings(settings, tmp_path / "config.json")
    assert read_settings(tmp_path / "config.json") == settings
