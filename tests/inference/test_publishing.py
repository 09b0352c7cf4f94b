"""A model as a folder: exact, whole or not at all, and read back from the hub."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from commands import refhcm as command
from hub_server import serving_hub
from safetensors.torch import load_file, save_file

import refhcm
from refhcm.inference import hub
from refhcm.inference.calibration import Calibration, Fitted, calibration_of, write_calibration
from refhcm.inference.loading import checkpoint_file
from refhcm.models.refhcm.loading import load_network
from refhcm.utils.calibration import Curve
from refhcm.utils.checkpoints import read_checkpoint
from refhcm.utils.errors import CheckpointError, UserError

CURVES = Calibration({"rkpt": {"box": Fitted(Curve((0.25, 0.75), (0.5, 0.625)), count=60, right=30)}})


@pytest.fixture(scope="session")
def written(golden, golden_checkpoint, bpe_dir, tmp_path_factory):
    """(checkpoint, folder): the tiny network of all tasks, as it was and as a folder."""
    base = tmp_path_factory.mktemp("written")
    source = base / "run" / "model.pt"
    source.parent.mkdir()
    shutil.copyfile(golden_checkpoint("multitask"), source)
    (source.parent / "bpe").symlink_to(bpe_dir)
    (source.parent / "results.json").write_text('{"rec.acc": 0.5, "rhrc.cider_d": null, "dataset": "drawn people"}')
    (source.parent / "README.md").write_text("of the run")
    write_calibration(CURVES, source)
    assert command("export", source, base / "mine", "--tokenizer", golden / "vqgan") == 0
    return source, base / "mine"


@pytest.fixture
def folder(written, tmp_path):
    """A folder of one's own to spoil."""
    return shutil.copytree(written[1], tmp_path / "spoilt")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A hub without models, and an empty cache."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_abc")
    monkeypatch.setenv("no_proxy", "*")
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_conversion_is_exact(written, text):
    folder = written[1]
    names = {"bpe/dict.txt", "bpe/encoder.json", "bpe/vocab.bpe", "README.md", "config.json", "results.json"}
    names |= {"model.safetensors", "model.calibration.json", "tokenizer.safetensors", "tokenizer.yaml"}
    assert files_of(folder).keys() == names
    assert all(
        path.stat().st_mode & 0o777 == (folder / "config.json").stat().st_mode & 0o777
        for path in (folder / "model.safetensors", folder / "tokenizer.safetensors")
    )
    before, after = (load_network(read_checkpoint(path), len(text.vocabulary)) for path in written)
    states = before.state_dict(), after.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(
        torch.equal(value, states[1][name]) and value.dtype == states[1][name].dtype
        for name, value in states[0].items()
    )
    assert before.config == after.config
    assert all(value.data_ptr() % 64 == 0 for value in after.parameters())
    assert calibration_of(checkpoint_file(folder)) == CURVES


def test_answers_are_those_of_the_checkpoint(written, golden, image):
    source, folder = written
    asked = {"keypoints": True, "parsing": True}
    before = refhcm.load(source, tokenizer=golden / "vqgan", device="cpu")
    after = refhcm.load(folder, device="cpu")
    assert before.refer(image, "a man", **asked).to_dict() == after.refer(image, "a man", **asked).to_dict()


def test_card(written):
    _, metadata, body = (written[1] / "README.md").read_text().split("---\n", 2)
    found = yaml.safe_load(metadata)
    assert (found["license"], found["library_name"]) == ("apache-2.0", "refhcm")
    (task,) = found["model-index"][0]["results"]
    assert task["dataset"]["name"] == "drawn people"
    assert [(one["type"], one["value"]) for one in task["metrics"]] == [("rec.acc", 0.5)]
    assert 'refhcm.load("mine")' in body
    assert "of the run" not in body


def test_writing_again_keeps_what_people_wrote(written, folder, tmp_path):
    (folder / "README.md").write_text("---\nlicense: mit\nlanguage: en\n---\nMy words.\n")
    (folder / "notes.txt").write_text("mine")
    assert command("export", folder, tmp_path / "copy", "--license", "apache-2.0") == 0
    copy = (tmp_path / "copy" / "README.md").read_text()
    assert yaml.safe_load(copy.split("---\n")[1]).items() >= {"license": "mit", "language": "en"}.items()
    assert "My words." in copy
    assert load_file(tmp_path / "copy" / "model.safetensors").keys() == load_file(folder / "model.safetensors").keys()
    assert command("export", written[0], folder, "--dtype", "float16", "--bpe-dir", folder / "bpe") == 0
    assert (folder / "notes.txt").read_text() == "mine"
    assert "My words." in (folder / "README.md").read_text()
    assert calibration_of(checkpoint_file(folder)) == CURVES
    assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {torch.float16, torch.int64}


def test_another_model_in_its_place_leaves_nothing_of_the_former(written, folder, tmp_path, monkeypatch):
    other = shutil.copyfile(written[0], tmp_path / "other.pt")
    (tmp_path / "results.json").write_text('{"rec.acc": 0.75, "dataset": "others"}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("refhcm.inference.loading.ROOT", tmp_path)  # no tokenizer anywhere
    assert command("export", other, folder, "--bpe-dir", folder / "bpe") == 0
    left = files_of(written[1]).keys() - {"tokenizer.safetensors", "tokenizer.yaml", "model.calibration.json"}
    assert files_of(folder).keys() == left
    assert json.loads((folder / "results.json").read_text())["dataset"] == "others"
    _, metadata, body = (folder / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(metadata)["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.75
    assert ("| `rec.acc` | 0.75 |" in body, "| 0.5 |" in body) == (True, False)


def test_what_lies_beside_other_weights_stays(written, golden_checkpoint, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.pt").touch()
    (tmp_path / "out" / "model.calibration.json").write_text("of model.pt")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))  # may be another disk, and is not written to
    assert command("export", golden_checkpoint("multitask"), tmp_path / "out", "--bpe-dir", written[1] / "bpe") == 0
    assert (tmp_path / "out" / "model.calibration.json").read_text() == "of model.pt"


def test_a_file_from_a_folder(written, tmp_path):
    assert command("export", written[1], tmp_path / "small.pt", "--dtype", "float32") == 0
    one, other = read_checkpoint(tmp_path / "small.pt").weights, read_checkpoint(written[0]).weights
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert calibration_of(tmp_path / "small.pt") == CURVES


def test_a_failed_export_leaves_what_was_there(folder, written, capsys):
    before = files_of(folder)
    (written[0].parent / "results.json").rename(written[0].parent / "kept")
    (folder / "results.json").write_text("[1]")
    try:
        assert command("export", written[0], folder) == 2
    finally:
        (written[0].parent / "kept").rename(written[0].parent / "results.json")
    assert "results.json: holds no scores" in capsys.readouterr().err
    assert files_of(folder) == before | {"results.json": b"[1]"}


def spoil(folder, change, **metadata):
    weights = change(load_file(folder / "model.safetensors"))
    save_file(weights, folder / "model.safetensors", metadata)


def config(folder, **changed):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


def flip(folder):
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


SPOILT = {
    "no config": (lambda f: (f / "config.json").unlink(), r"config\.json: no such file"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), r"holds no model\.safetensors: its download is not"),
    "neither": (lambda f: [p.unlink() for p in f.glob("*.*")], "is no model's folder"),
    "cut off": (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
                "is damaged or cut off"),
    "a flipped bit": (flip, "does not fit its checksum"),
    "a page": (lambda f: (f / "model.safetensors").write_text("<html>"), "no safetensors file"),
    "a large header": (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 7 + b"\x7f{}"), "no safetensors file"),
    "another model": (lambda f: config(f, model_type="bert"), "another kind of model: model_type is 'bert'"),
    "a list": (lambda f: (f / "config.json").write_text("[1]"), "another kind of model"),
    "no JSON": (lambda f: (f / "config.json").write_text("{"), "is not a JSON file"),
    "deep JSON": (lambda f: (f / "config.json").write_text("[" * 200_000), "is not a JSON file"),
    "a huge config": (lambda f: (f / "config.json").write_bytes(b" " * 2**20), "expected at most"),
    "more layers": (lambda f: config(f, encoder_layers=40), r"lacks weights of encoder\.layers\."),
    "a huge width": (lambda f: config(f, encoder_embed_dim=2**15, decoder_embed_dim=2**15), "network's is|expected"),
    "a text for a size": (lambda f: config(f, encoder_layers="many"), "encoder_layers"),
    "another vocabulary": (lambda f: config(f, vocabulary="0" * 64), "was trained with another vocabulary"),
    "a stranger's key": (lambda f: spoil(f, lambda w: w | {"lm_head": torch.ones(2)}), "unknown weight 'lm_head'"),
    "a key less": (lambda f: spoil(f, lambda w: {k: v for k, v in w.items() if k != "decoder.layer_norm.bias"}),
                   r"lacks all or part of decoder\.layer_norm\.bias"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SPOILT)
def test_spoilt_folders(folder, fault):
    change, message = SPOILT[fault]
    change(folder)
    with pytest.raises(UserError, match=message) as caught:
        refhcm.load(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_weights_of_strangers_have_no_checksum(folder, text):
    spoil(folder, lambda weights: weights)
    load_network(read_checkpoint(folder), len(text.vocabulary))


def test_info_of_a_folder(folder, capsys):
    assert command("info", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "model folder"
    assert command("info", folder / "tokenizer.safetensors") == 0
    assert "parsing-map tokenizer" in capsys.readouterr().out


def test_to_the_hub_and_back(written, server, image, monkeypatch):
    folder = written[1]
    model = refhcm.load(folder, device="cpu")
    assert model.push_to_hub("user/mine").startswith(f"{server.url}/user/mine/commit/")
    assert server.repos["user/mine"]["main"].keys() == files_of(folder).keys()
    server.repos["user/mine"]["main"]["pytorch_model.bin"] = b"0" * 1000
    again = refhcm.load("user/mine", device="cpu")
    assert again.refer(image, "a man").to_dict() == model.refer(image, "a man").to_dict()
    assert "pytorch_model.bin" not in server.gets
    sent = len(server.gets)
    monkeypatch.setenv("REFHCM_OFFLINE", "1")
    server.repos.clear()
    assert checkpoint_file("user/mine").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert len(server.gets) == sent
    with pytest.raises(UserError, match=r"user/other: .* not among the downloads"):
        checkpoint_file("user/other")
    no_files = replace(again._sources, checkpoint=folder / "gone.pt")
    again._sources = no_files
    with pytest.raises(CheckpointError, match=r"gone\.pt: no such file"):
        again.push_to_hub("user/mine")


def test_revisions(written, server):
    files = files_of(written[1])
    server.repos["user/mine"] = {"main": {"config.json": b'{"model_type": "bert"}'}, "v1": files}
    for one in (checkpoint_file("user/mine", revision="v1"), checkpoint_file("user/mine@v1")):
        assert one.read_bytes() == files["model.safetensors"]
    with pytest.raises(UserError, match=r"user/mine: is not a model of RefHCM .*'bert'"):
        checkpoint_file("user/mine")
    with pytest.raises(UserError, match="user/mine at v2: the hub has no such revision"):
        checkpoint_file("user/mine@v2")
    with pytest.raises(UserError, match="revision: 'v1' is for a model of the hub"):
        checkpoint_file(written[1], revision="v1")


def test_repositories_that_are_no_models(written, server):
    files = files_of(written[1])
    server.repos["user/files"] = {"main": {"refhcm.pt": b"1"}}
    with pytest.raises(CheckpointError, match=r"user/files: .* holds no config\.json"):
        checkpoint_file("user/files")
    server.repos["user/half"] = {"main": {"config.json": files["config.json"]}}
    with pytest.raises(CheckpointError, match=r"holds no model\.safetensors"):
        checkpoint_file("user/half")
    server.repos["user/big"] = {"main": {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"0" * 99}}
    with pytest.raises(CheckpointError, match="another kind of model"):
        checkpoint_file("user/big")
    assert "model.safetensors" not in server.gets
    with pytest.raises(UserError, match="nobody/none: no such file or folder, and the hub has no such model"):
        checkpoint_file("nobody/none")


def test_half_a_download_is_no_model(written, server, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    server.repos["user/mine"] = {"main": files_of(written[1])}
    server.broken = 2000
    with pytest.raises(UserError, match="user/mine: ") as caught:
        checkpoint_file("user/mine")
    assert "\n" not in str(caught.value)
    server.broken = None
    assert checkpoint_file("user/mine").read_bytes() == (written[1] / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("user/repo", ("user/repo", None)),
        ("user/repo.v2@refs/pr/1", ("user/repo.v2", "refs/pr/1")),
        ("checkpoints/mine.pt", None),
        ("../mine", None),
        ("/a/b", None),
        ("a/b/c", None),
        ("model", None),
    ],
)
def test_names_of_repositories(given, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hub.repository(given) == expected
    (tmp_path / "user" / "repo").mkdir(parents=True)
    assert hub.repository("user/repo") is None
