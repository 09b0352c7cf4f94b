"""The file format: fairseq's structure, averaged weights, and what may be unpickled."""

import argparse
from collections import OrderedDict

import pytest
import torch
from golden_folder import names, numbers

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.loading import load_network
from refhcm.utils.checkpoints import load_file, read_checkpoint
from refhcm.utils.errors import CheckpointError

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
