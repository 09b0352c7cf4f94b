"""`refhcm export`: what asking needs is kept, and several checkpoints become their mean."""

import pytest
import torch
from commands import refhcm

from refhcm.apps.cli.export import export, export_tokenizer
from refhcm.inference.calibration import Calibration, Fitted, calibration_of, write_calibration
from refhcm.models.vqgan import load_tokenizer
from refhcm.models.vqgan.tokenizer import read_lightning_checkpoint
from refhcm.utils.calibration import Curve
from refhcm.utils.checkpoints import load_file, read_checkpoint
from refhcm.utils.errors import UserError


def test_export_keeps_what_asking_needs(golden_checkpoint, tmp_path):
    whole = read_checkpoint(golden_checkpoint("multitask"))
    size = export([whole], tmp_path / "small.pt")
    small = read_checkpoint(tmp_path / "small.pt")
    floats = {
        name: value
        for name, value in whole.weights.items()
        if value.is_floating_point() and not name.endswith(".version")
    }
    assert size < 0.55 * sum(value.nbytes for value in {v.data_ptr(): v for v in floats.values()}.values())
    left_out = {name.rpartition(".")[2] for name in whole.weights.keys() - small.weights.keys()}
    assert left_out == {"version", "token_rp_bucket", "image_rp_bucket", "image_position_idx"}
    for name, value in floats.items():
        assert small.weights[name].dtype == torch.float16
        torch.testing.assert_close(small.weights[name].float(), value, atol=1e-4, rtol=1e-3)
    kept = small.flags()
    assert all(kept[name] == value for name, value in whole.flags().items() if name in kept)
    assert not {"bpe_dir", "save_dir", "data", "optimizer", "vq_ckpt"} & kept.keys()
    whole.weights["decoder.layer_norm.weight"] = torch.full((64,), 1e6)
    with pytest.raises(UserError, match=r"decoder\.layer_norm\.weight is too large for torch\.float16"):
        export([whole], tmp_path / "other.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.pt"]


def test_export_of_a_tokenizer(golden, tmp_path):
    small, whole = tmp_path / "model.ckpt", golden / "vqgan" / "model.ckpt"
    export_tokenizer([whole], small)
    assert small.stat().st_size < 0.6 * whole.stat().st_size
    yaml = golden / "vqgan" / "model.yaml"
    codes = torch.arange(48)[None] % 32
    one, other = (load_tokenizer(yaml, path, n_embed=32).decode(codes) for path in (small, whole))
    assert (one == other).float().mean() > 0.98


@pytest.fixture
def two(golden_checkpoint, tmp_path):
    """Two files; every weight in the second is larger by 1. And the content of the second."""
    whole = load_file(golden_checkpoint("multitask"))
    paths = tmp_path / "one.pt", tmp_path / "two.pt"
    for path in paths:
        torch.save(whole, path)
        for value in {v.data_ptr(): v for v in whole["model"].values() if v.is_floating_point()}.values():
            value += 1
    return whole, paths


def test_export_of_several_is_their_mean(two, tmp_path):
    _, paths = two
    assert refhcm("export", *map(str, paths), str(tmp_path / "mean.pt"), "--dtype", "float32") == 0
    first, mean = read_checkpoint(paths[0]), read_checkpoint(tmp_path / "mean.pt")
    assert len(mean.weights) > 100
    for name, value in mean.weights.items():
        expected = first.weights[name] + 0.5 if value.is_floating_point() else first.weights[name]
        torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-6)
    tied = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight")
    assert len({mean.weights[name].data_ptr() for name in tied}) == 1


def test_networks_without_a_mean(two, tmp_path, capsys):
    whole, (one, other) = two
    out = tmp_path / "mean.pt"
    whole["cfg"]["model"].num_bins += 1
    torch.save(whole, other)
    assert refhcm("export", str(one), str(other), str(out)) == 2
    assert f"{other}: num_bins differs from {one}" in capsys.readouterr().err
    whole["cfg"]["model"].num_bins -= 1
    name = "decoder.layer_norm.weight"
    for weights in ({name: torch.ones(3)}, {"decoder.layer_norm.bias2": torch.ones(64)}):
        torch.save(whole | {"model": whole["model"] | weights}, other)
        assert refhcm("export", str(one), str(other), str(out)) == 2
        assert f"{other}: {next(iter(weights))} differs from {one}" in capsys.readouterr().err
    assert refhcm("export", str(one), str(one), str(out)) == 2
    assert f"{one}: is named twice" in capsys.readouterr().err
    assert not out.exists()


def test_mean_of_tokenizers(golden, tmp_path):
    path = golden / "vqgan" / "model.ckpt"
    weights = read_lightning_checkpoint(path)["state_dict"]
    zero = {name: torch.zeros_like(value) for name, value in weights.items()}
    torch.save({"state_dict": zero}, tmp_path / "zero.ckpt")
    assert refhcm("export", path, tmp_path / "zero.ckpt", tmp_path / "mean.ckpt", "--dtype=float32") == 0
    mean = read_lightning_checkpoint(tmp_path / "mean.ckpt")["state_dict"]
    assert mean.keys() == weights.keys()
    for name, value in mean.items():
        torch.testing.assert_close(value, weights[name] / 2)


@pytest.mark.parametrize("spelling", ["one.pt", "./one.pt", "link.pt"])
def test_a_checkpoint_is_not_overwritten_by_its_export(two, tmp_path, monkeypatch, capsys, spelling):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.pt").symlink_to("one.pt")
    before = (tmp_path / "one.pt").read_bytes()
    assert refhcm("export", "two.pt", "one.pt", spelling) == 2
    assert "is one of the checkpoints, which would be lost" in capsys.readouterr().err
    assert refhcm("export", "one.pt", spelling, "out.pt") == 2
    assert "is named twice" in capsys.readouterr().err
    assert (tmp_path / "one.pt").read_bytes() == before


def test_a_tokenizer_is_not_overwritten_either(golden, tmp_path, capsys):
    own = tmp_path / "model.ckpt"
    own.write_bytes((golden / "vqgan" / "model.ckpt").read_bytes())
    assert refhcm("export", str(own), str(own)) == 2
    assert "would be lost" in capsys.readouterr().err


def test_a_calibration_goes_with_its_weights(golden_checkpoint, tmp_path, caplog):
    (tmp_path / "model.pt").write_bytes(golden_checkpoint("rkpt").read_bytes())
    fitted = Fitted(Curve((0.25, 0.75), (0.5, 0.625)), count=60, right=30)
    write_calibration(Calibration({"rkpt": {"box": fitted}}), tmp_path / "model.pt")
    assert refhcm("export", tmp_path / "model.pt", tmp_path / "small.pt") == 0
    assert calibration_of(tmp_path / "small.pt").tasks["rkpt"]["box"] == fitted
    (tmp_path / "model.pt").write_bytes(golden_checkpoint("multitask").read_bytes())
    assert refhcm("export", tmp_path / "model.pt", tmp_path / "other.pt") == 0
    assert not (tmp_path / "other.calibration.json").exists()
    assert "belongs to other weights" in caplog.text


def test_a_model_in_onnx_is_not_replaced(golden_checkpoint, bpe_dir, tmp_path, capsys):
    before = {"decoder.onnx": b"a model", "config.json": b"{}"}
    for name, content in before.items():
        (tmp_path / name).write_bytes(content)
    assert refhcm("export", golden_checkpoint("rkpt"), tmp_path, "--bpe-dir", bpe_dir) == 2
    assert "is a model's folder in ONNX; name another one" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
