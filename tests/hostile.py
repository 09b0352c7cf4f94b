"""Weights, YAML and vocabulary files that cannot be trusted: each `spoil(world)` makes one of them bad."""

import argparse
import gzip
import io
import json
import os
import pickle
import random
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import torch
import yaml
from conftest import write_vocabulary
from PIL import Image

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.vqgan import VQTokenizer
from refhcm.models.vqgan.config import read_config

SIZE = {
    **{"arch": "refhcm_test", "encoder_layers": 1, "decoder_layers": 2, "resnet_width": 8, "task": "rkpt"},
    **{"num_bins": 20, "code_dict_size": 40, "patch_image_size": 64, "max_image_size": 64, "vq_n_embed": 8},
}
SYMBOLS = 4 + 256 + 1 + 40 + 20
DDCONFIG = {
    **{"double_z": False, "z_channels": 32, "resolution": 64, "in_channels": 20, "out_ch": 20, "ch": 32},
    **{"ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [32], "dropout": 0.0},
}
PARAMS = {"n_labels": 20, "n_embed": 8, "embed_dim": 4, "ddconfig": DDCONFIG}
WHOLE = ("x", -1, 0, 1.5, 10**10, True, [1], {"a": 1}, 10**200)
SHARE = ("x", -1, float("nan"), float("inf"), [1], 10**10)
LAUGH = "\n".join(["l0: &l0 [x]"] + [f"l{k}: &l{k} [{', '.join([f'*l{k - 1}'] * 9)}]" for k in range(1, 12)])


class World:
    """A folder with model.pt, bpe/, vqgan/ and a picture. `write()` makes them good again."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model, self.vqgan, self.bpe = folder, folder / "model.pt", folder / "vqgan", folder / "bpe"
        torch.manual_seed(0)
        self.weights = Network(NetworkConfig.from_args(SIZE), SYMBOLS).state_dict()
        Image.new("RGB", (64, 48)).save(folder / "a.png")
        self.vqgan.mkdir()
        self.write_yaml()
        torch.save({"state_dict": VQTokenizer(read_config(self.vqgan / "model.yaml")).state_dict()}, self.ckpt)
        self.codes = self.ckpt.read_bytes()
        self.write()

    @property
    def ckpt(self) -> Path:
        return self.vqgan / "model.ckpt"

    def write(self) -> None:
        self.write_model()
        self.write_yaml()
        self.ckpt.write_bytes(self.codes)
        shutil.rmtree(self.bpe, ignore_errors=True)
        write_vocabulary(self.bpe)

    def write_model(self, weights=None, args=None, **rest) -> None:
        args = argparse.Namespace(**(SIZE | (args or {}))) if args is None or isinstance(args, dict) else args
        content = {"cfg": {"model": args}, "model": self.weights if weights is None else weights}
        torch.save(content | rest, self.model)

    def write_yaml(self, **params) -> None:
        inner = {name: params.pop(name) for name in list(params) if name in DDCONFIG or name == "ddconfig"}
        ddconfig = inner.pop("ddconfig", DDCONFIG | inner)
        text = yaml.safe_dump({"model": {"params": PARAMS | params | {"ddconfig": ddconfig}}})
        (self.vqgan / "model.yaml").write_text(text)


def settings():
    """Wrong values of what the checkpoint says about itself."""
    layers = ("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads")
    sizes = ("encoder_embed_dim", "encoder_ffn_embed_dim", "image_bucket_size", "token_bucket_size", "resnet_width")
    for name in (*layers, *sizes, "num_bins", "max_source_positions", "code_dict_size", "patch_image_size"):
        for value in WHOLE[:1] + WHOLE[2:5] + WHOLE[6:7] if name in layers else (*WHOLE[::2], 3000):
            yield f"{name}={value}"[:60], lambda w, n=name, v=value: w.write_model(args={n: v})
    for name in ("dropout", "attn_scale_factor"):
        for value in SHARE:
            yield f"{name}={value}", lambda w, n=name, v=value: w.write_model(args={n: v})
    for name in ("scale_heads", "interpolate_position", "add_type_embedding", "decoder_embed_dim", "encoder_layers"):
        for value in ("x", 2, [1], np.arange(3), (torch.ones(2),)):
            yield f"{name}={value}", lambda w, n=name, v=value: w.write_model(args={n: v})
    for value in (5, "resnet7", "x\n" * 10**5, ["resnet18"]):
        yield f"resnet_type={value}"[:40], lambda w, v=value: w.write_model(args={"resnet_type": v})
    for value in ([1], 3, "text", (1,), torch.zeros(2)):
        yield f"args={value}", lambda w, v=value: w.write_model(args=v)


def weights():
    """Weights that are missing, or are no plain numbers."""
    norm, table = "encoder.pos_ln.weight", "encoder.embed_image_positions.weight"
    embedding = "encoder.embed_tokens.weight"
    nested: list = []
    for _ in range(200):
        nested = [nested]
    for name, value in (
        ("bool", torch.ones(64, dtype=torch.bool)),
        ("complex", torch.ones(64, dtype=torch.complex64)),
        ("sparse", torch.ones(64).to_sparse()),
        ("csr", torch.ones(8, 8).to_sparse_csr()),
        ("int", torch.ones(64, dtype=torch.int64)),
        *((f"of {x}", torch.full((64,), float(x))) for x in ("nan", "inf")),
        ("repeated", torch.ones(1).expand(64)),
        ("meta", torch.ones(64, device="meta")),
        ("scalar", torch.ones(())),
        ("empty", torch.ones(0)),
        ("huge", torch.ones(1).expand(2**30)),
        ("quantized", torch.quantize_per_tensor(torch.ones(64), 0.1, 0, torch.quint8)),
        ("text", "abc"),
        ("nested", nested),
    ):
        yield f"weight {name}", lambda w, v=value: w.write_model(w.weights | {norm: v})
    yield (
        "embedding of one dimension",
        lambda w: w.write_model(
            {name: v.flatten() if "embed_tokens" in name or "output_p" in name else v for name, v in w.weights.items()}
        ),
    )
    for what, kept in (
        ("a layer", lambda name: not name.startswith("decoder.layers.0.")),
        ("all layers", lambda name: ".layers." not in name),
        ("all but the embedding", lambda name: name == embedding),
        ("a norm", lambda name: name != norm),
        ("the backbone", lambda name: "embed_images" not in name),
        ("the embedding", lambda name: "embed_tokens" not in name and "output_projection" not in name),
        ("everything", lambda name: False),
    ):
        yield f"without {what}", lambda w, k=kept: w.write_model({n: v for n, v in w.weights.items() if k(n)})
    yield "short table", lambda w: w.write_model(w.weights | {table: w.weights[table][:-100]})
    yield "name with lines", lambda w: w.write_model(w.weights | {"a\nb" * 10**5: torch.ones(1)})
    yield "name of another type", lambda w: w.write_model(w.weights | {7: torch.ones(1)})
    yield "twice by prefix", lambda w: w.write_model(w.weights | {f"module.{norm}": torch.ones(64)})
    yield (
        "layer 9999999",
        lambda w: w.write_model(
            w.weights | {"encoder.layers.9999999.fc1.weight": torch.ones(1)}, args={"encoder_layers": 10**4}
        ),
    )
    for value in ([1], 3, None):
        yield f"model={value}", lambda w, v=value: torch.save({"args": {}, "model": v}, w.model)


class Calls:
    """Pickled, it calls something."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def archives():
    """Files that are damaged, or are not what they say."""
    for share in (0.0, 0.001, 0.02, 0.3, 0.7, 0.99, 0.9999):
        yield f"cut at {share}", lambda w, s=share: w.model.write_bytes(w.model.read_bytes()[: int(s * 500000)])
    for seed in range(12):
        yield f"flipped {seed}", lambda w, s=seed: _flip(w.model, s)
    for name, make in (
        ("text", lambda: b"not weights"),
        ("only a head", lambda: b"PK\x03\x04"),
        ("gzip", lambda: gzip.compress(b"abc")),
        ("pickle 5", lambda: pickle.dumps({"model": {}}, 5)),
        ("pickle 0", lambda: pickle.dumps({"model": {}}, 0)),
        ("opcodes", lambda: b"\x80\x02" + bytes(random.Random(0).randbytes(5000))),
        ("lists", lambda: b"\x80\x02" + b"]" * 100000 + b"."),
        ("tar", _tar),
    ):
        yield name, lambda w, m=make: w.model.write_bytes(m())
    old = {"_use_new_zipfile_serialization": False}
    yield "200 MB of names, old format", lambda w: torch.save({"model": {}, "n": "n" * 2 * 10**8}, w.model, **old)
    yield "compressed", lambda w: _rezip(w, zipfile.ZIP_DEFLATED)
    yield "3 GB of names", lambda w: _rezip(w, zipfile.ZIP_DEFLATED, "data.pkl", 3 * 10**9)
    yield "5 MB of names", lambda w: _rezip(w, zipfile.ZIP_STORED, "data.pkl", 5 * 10**6)
    yield "no names", lambda w: _rezip(w, zipfile.ZIP_STORED, "data.pkl", None)
    yield "empty names", lambda w: _rezip(w, zipfile.ZIP_STORED, "data.pkl", 0)
    yield "a record is short", lambda w: _rezip(w, zipfile.ZIP_STORED, "data/0", 3)
    for function, *arguments in (
        (os.mkdir, "/tmp/ran"),
        (bytearray, 10**11),
        (torch.Tensor, 10**11),
        (torch.Tensor, "x"),
        (torch.Size, [[]]),
        (np.dtype, "O"),
        (np.dtype, {"names": ["a"], "formats": ["O"], "offsets": [10**9]}),
        (np.float64(1).__reduce__()[0], np.dtype("f8"), b"short"),
        (np.ones(1).__reduce__()[0], np.ndarray, (10**12,), b"b"),
    ):
        call = Calls(function, *arguments)
        name = f"calls {getattr(function, '__name__', function)}{arguments}"[:60]
        yield name, lambda w, c=call: torch.save({"model": {}, "args": {}, "extra_state": c}, w.model)


def _tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"))
    return file.getvalue()


def _flip(path: Path, seed: int) -> None:
    """Damages the records' directory at the end and the names at the beginning."""
    content, chance = bytearray(path.read_bytes()), random.Random(seed)
    for _ in range(40):
        content[-chance.randrange(1, 3000)] ^= 1 << chance.randrange(8)
        content[chance.randrange(60, 20000)] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _rezip(world: World, method: int, record: str = "", size: int | None = 0) -> None:
    """The same archive by another method; one record holds `size` zeros instead, or is left out (None)."""
    made = world.folder / "new"
    with zipfile.ZipFile(world.model) as old, zipfile.ZipFile(made, "w", method, compresslevel=1) as new:
        for name in old.namelist():
            if not record or not name.endswith(record):
                new.writestr(name, old.read(name))
            elif size is not None:
                entry = zipfile.ZipInfo(name) if method == zipfile.ZIP_STORED else name
                with new.open(entry, "w", force_zip64=True) as out:
                    for start in range(0, size, 2**24):
                        out.write(bytes(min(2**24, size - start)))
    made.replace(world.model)


def yamls():
    """A tokenizer's model.yaml and its weights."""
    for name in ("n_embed", "ch", "num_res_blocks", "embed_dim", "resolution"):
        for value in ("x", 0, -1, 8 * 10**6, True, None):
            yield f"{name}={value}", lambda w, n=name, v=value: w.write_yaml(**{n: v})
    for value in ([], [0], ["a"], [1] * 30, [2**16] * 2, {"a": 1}, [[1]] * 3):
        yield f"ch_mult={value}"[:40], lambda w, v=value: w.write_yaml(ch_mult=v)
    for value in ("x", -1, float("nan"), [0.1], True):
        yield f"codebook_weight={value}", lambda w, v=value: w.write_yaml(lossconfig={"params": {"codebook_weight": v}})
    for value in ("x", [1], {"params": 3}):
        yield f"lossconfig={value}", lambda w, v=value: w.write_yaml(lossconfig=v)
    for name, text in (
        ("laughs", LAUGH + "\nmodel: {params: {ddconfig: *l11, remap: *l11}}"),
        ("merges", "a0: &a0 {x: 1}\n" + "\n".join(f"a{k}: &a{k} {{<<: [*a{k - 1}, *a{k - 1}]}}" for k in range(1, 40))),
        ("within itself", "model: &m {params: *m, ddconfig: *m}"),
        ("deep", "[" * 20000),
        ("deep maps", "{a: " * 5000),
        ("a date", "model: 2001-99-99"),
        ("a whole number", "model: !!int ''"),
        ("a long number", "model: " + "9" * 9000),
        ("a truth", "model: !!bool maybe"),
        ("an object", "!!python/object/apply:os.system ['true']"),
        ("a list as name", "? [a]\n: b"),
        ("control characters", "model: \x00\x1b[31m"),
        ("a text", "x" * 60000),
        ("large", "# comment\n" * 10**6),
    ):
        yield f"yaml: {name}", lambda w, t=text: (w.vqgan / "model.yaml").write_text(t)
    yield "yaml: latin", lambda w: (w.vqgan / "model.yaml").write_bytes(b"\xe9\xff")
    yield "tokenizer: cut", lambda w: w.ckpt.write_bytes(w.ckpt.read_bytes()[:5000])
    for value in ([1], {1: torch.ones(1)}, {"a\nb" * 10**4: torch.ones(1)}, {"encoder.conv_in.weight": 3}):
        yield f"tokenizer: {value}"[:30], lambda w, v=value: torch.save({"state_dict": v}, w.ckpt)


def vocabularies():
    """dict.txt, encoder.json and vocab.bpe."""
    for name, content in (
        *(("dict.txt", text) for text in (b"", b"x", b"1 1\n1 1\n", b"<s> 1\n", b"\xff 1\n", b"a" * 7_000_000)),
        *(("dict.txt", text) for text in (b"1 1\n" * 2_500_000, b"1 -1\n", b"\x1b[31m\n", b"1 1" * 10**6)),
        *(("encoder.json", text) for text in (b"", b"{}", b"[]", b"[" * 10**6, b'{"a": -1}', b'{"a": 1.5}')),
        *(("encoder.json", text) for text in (b'{"a": 99999999999}', b'{"a": "b"}', b'{"a": 0, "b": 0}', b"\xff")),
        *(("encoder.json", text) for text in (b'{"a":' * 10**5, b'{"a": 1', b" " * 9_000_000, b"null")),
        *(("vocab.bpe", text) for text in (b"#version: 0.2\nxx yy\n", b"\xff\xfe", b"a\n" * 1000, b"a b c d\n")),
    ):
        shown = content[:20] + b"..." * (len(content) > 20)
        yield f"{name}: {shown!r}", lambda w, n=name, c=content: (w.bpe / n).write_bytes(c)
    for name in ("dict.txt", "encoder.json", "vocab.bpe"):
        yield f"{name} is a pipe", lambda w, n=name: ((w.bpe / n).unlink(), os.mkfifo(w.bpe / n))
        yield f"{name} is a folder", lambda w, n=name: ((w.bpe / n).unlink(), (w.bpe / n).mkdir())


def cases():
    """(name, spoil) of every bad file."""
    for kind in (settings, weights, archives, yamls, vocabularies):
        yield from ((f"{kind.__name__}: {name}", spoil) for name, spoil in kind())


GOOD = {  # files that are odd, but can be used
    "extra_state of any kind": lambda w: w.write_model(extra_state=[1], optimizer_history=3, last_optimizer_state=[2]),
    "numpy's values": lambda w: w.write_model(
        extra_state={"best": np.float64(0.5), "curve": np.arange(3.0)}, args={"dropout": np.float32(0.1)}
    ),
    "prefixes": lambda w: w.write_model({f"module._orig_mod.{name}": v for name, v in w.weights.items()}),
    "a BPE id of 2 * 10^9": lambda w: (w.bpe / "encoder.json").write_text(
        json.dumps(json.loads((w.bpe / "encoder.json").read_text()) | {"zz": 2 * 10**9})
    ),
}
