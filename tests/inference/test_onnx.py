"""A model in ONNX answers as torch does, without torch; files that do not fit are refused in one line."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from commands import refhcm as command
from hub_server import serving_hub
from scripts import ROOT

import refhcm
from refhcm.data.columns import parse_box
from refhcm.data.images import read_picture
from refhcm.data.tsv import TsvFile
from refhcm.inference.loading import checkpoint_file
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.onnx.files import MAPS, PARTS, mark, path_of
from refhcm.models.onnx.writing import OLDEST_TORCH
from refhcm.utils.errors import CheckpointError, UserError

pytest.importorskip("onnxruntime", reason="needs the extra [onnx]")
onnx = pytest.importorskip("onnx", reason="needs the extra [onnx]")
pytest.importorskip("onnxscript", reason="needs the extra [onnx]")

pytestmark = pytest.mark.skipif(torch.__version__ < OLDEST_TORCH, reason="this torch cannot write ONNX")

WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("torch", "torchvision", "timm"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np, refhcm
model = refhcm.load_onnx(sys.argv[1], threads=1)
image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
answer = model.refer(image, "the man", keypoints=True, parsing=True)
print(answer.text)
print(model.describe(image, (1, 2, 60, 80)).text)
assert "torch" not in sys.modules
"""


@pytest.fixture(scope="session")
def exported(golden, golden_checkpoint, bpe_dir, tmp_path_factory):
    """The tiny network of all tasks as a folder of ONNX."""
    out = tmp_path_factory.mktemp("exported") / "onnx"
    given = ("--format", "onnx", "--tokenizer", golden / "vqgan", "--bpe-dir", bpe_dir)
    assert command("export", golden_checkpoint("multitask"), out, *given) == 0
    return out


@pytest.fixture(scope="session")
def model(exported):
    return refhcm.load_onnx(exported, threads=1)


@pytest.fixture
def folder(exported, tmp_path):
    """A folder of one's own to spoil."""
    return shutil.copytree(exported, tmp_path / "spoilt")


def same(ours, theirs):
    assert ours.symbols == theirs.symbols
    assert ours.valid == theirs.valid
    assert ours.notes == theirs.notes
    assert (ours.box_xyxy is None) == (theirs.box_xyxy is None)
    if ours.box_xyxy is not None:
        assert ours.box_xyxy.tolist() == theirs.box_xyxy.tolist()
    if ours.label_map is not None:
        assert np.array_equal(ours.label_map, theirs.label_map)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [None, GenerationSettings(beam=3, min_len=5, max_len_b=9, no_repeat_ngram_size=2)])
def test_answers_are_torchs(settings, model, models, image):
    torchs = models("multitask")
    pictures, texts = [image, image[:, ::-1]], ["the man", "a woman in red on the left"]
    if settings is not None:
        for pair in zip(*(one.instruct(pictures, texts, generation=settings) for one in (model, torchs)), strict=True):
            same(*pair)
        return
    for asked in ({}, {"keypoints": True}, {"parsing": True}):
        for pair in zip(*(one.refer(pictures, texts, **asked) for one in (model, torchs)), strict=True):
            same(*pair)
    boxes = np.array([[1, 2, 60, 80], [30, 5, 110, 70]])
    for pair in zip(*(one.describe(pictures, boxes) for one in (model, torchs)), strict=True):
        same(*pair)
    same(*(one.chain(image, "the man", keypoints=True, parsing=True) for one in (model, torchs)))


@pytest.mark.slow
def test_answers_without_torch(exported, models, image):
    run = [sys.executable, "-c", WITHOUT_TORCH, str(exported)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    torchs = models("multitask")
    expected = torchs.refer(image, "the man", keypoints=True, parsing=True), torchs.describe(image, (1, 2, 60, 80))
    assert done.stdout == "".join(f"{answer.text}\n" for answer in expected)


@pytest.mark.slow
def test_what_onnx_does_not_answer(model, image):
    with pytest.raises(UserError, match="rpar_full_mask"):
        model.refer(image, "the man", parsing=True, parallel=True)
    with pytest.raises(UserError, match="push_to_hub"):
        model.push_to_hub("a/b")
    with pytest.raises(UserError, match=r"^grec: is not for a model in ONNX.*use refhcm.load"):
        model.find(image, "everyone")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"revision": "v9"}, "revision: 'v9' is for a model of the hub, OWNER/NAME, not for "),
        ({"batch_size": 0}, "batch_size: needs a whole number from 1 on, got 0"),
        ({"threads": "x"}, "threads: needs a whole number from 1 on, got 'x'"),
        ({"threads": -5}, "threads: needs a whole number from 1 on, got -5"),
        ({"providers": ("Nope",)}, "CPUExecutionProvider, got ('Nope',)"),
        ({"providers": "CPUExecutionProvider"}, "providers: needs a list of some of "),
        ({"providers": ()}, "providers: needs a list of some of "),
        ({"folder": 5}, "folder: needs a path, got int"),
        ({"folder": None}, "folder: needs a path, got NoneType"),
    ],
)
def test_arguments_that_are_wrong(exported, given, said):
    with pytest.raises(UserError) as caught:
        refhcm.load_onnx(**{"folder": exported} | given)
    assert said in str(caught.value)


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_mark(folder, part, **changes):
    path = path_of(folder, part)
    file = onnx.load(path)
    onnx.helper.set_model_props(file, changes)
    onnx.save(file, path)


@pytest.mark.slow
def test_files_that_do_not_fit(folder, exported):
    config = json.loads((exported / "config.json").read_text())
    weights = config["onnx"]["weights"]

    def refused(match):
        with pytest.raises(CheckpointError, match=match) as caught:
            refhcm.load_onnx(folder)
        assert "\n" not in str(caught.value)

    for part in (*PARTS, MAPS):
        path = path_of(folder, part)
        whole = path.read_bytes()
        change_mark(folder, part, **(mark(weights, "float32") | {"refhcm.version": "2"}))
        refused(rf"{part}\.onnx: is of version '2'.*reads version 1")
        change_mark(folder, part, **mark("0000", "float32"))
        refused(rf"{part}\.onnx: belongs to another model")
        path.write_bytes(whole[: len(whole) // 2])
        refused(rf"{part}\.onnx: is damaged or cut off")
        path.write_bytes(whole)
    change_config(folder, onnx=config["onnx"] | {"version": 2})
    refused(r"config\.json: is of version 2")
    change_config(folder, onnx=config["onnx"] | {"dtype": "int8"})
    refused(r"picture\.onnx: belongs to another model.*dtype")
    change_config(folder, onnx=config["onnx"], patch_image_size=32)
    refused(r"picture\.onnx: is for pictures of \d+ px, but config\.json says 32")
    change_config(folder, patch_image_size=config["patch_image_size"], decoder_layers=9)
    refused(r"decoder\.onnx: is for \d+ layers, but config\.json says 9")
    change_config(folder, decoder_layers=config["decoder_layers"], num_bins=config["num_bins"] - 1)
    refused(r"config\.json: was written with another vocabulary")
    change_config(folder, num_bins=config["num_bins"], onnx=None)
    refused(r"config\.json: says nothing of ONNX")
    path_of(folder, "decoder").unlink()
    change_config(folder, onnx=config["onnx"])
    refused(r"decoder\.onnx")


def test_formats_that_do_not_go_together(golden_checkpoint, tmp_path, capsys):
    for given, said in (
        (["--dtype", "int8"], "--dtype int8: needs --format onnx"),
        (["--format", "onnx", "--dtype", "bfloat16"], "--format onnx: writes a folder, in float32, float16, int8"),
    ):
        assert command("export", golden_checkpoint("rkpt"), tmp_path / "out", *given) != 0
        assert said in capsys.readouterr().err
    assert command("export", golden_checkpoint("rkpt"), tmp_path / "out.pt", "--format", "onnx") != 0
    assert "writes a folder" in capsys.readouterr().err


def test_an_older_torch(golden_checkpoint, bpe_dir, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch, "__version__", type(torch.__version__)("2.6.0"))
    given = ("--format", "onnx", "--bpe-dir", bpe_dir)
    assert command("export", golden_checkpoint("rkpt"), tmp_path / "out", *given) == 2
    assert "--format onnx: needs torch 2.7 or later, this is 2.6.0" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_numbers(dtype, exported, golden_checkpoint, golden, bpe_dir, tmp_path, image):
    given = ("--format", "onnx", "--dtype", dtype, "--tokenizer", golden / "vqgan", "--bpe-dir", bpe_dir)
    assert command("export", golden_checkpoint("multitask"), tmp_path / "small", *given) == 0
    assert path_of(tmp_path / "small", "encoder").stat().st_size < path_of(exported, "encoder").stat().st_size
    assert len(refhcm.load_onnx(tmp_path / "small", threads=1).refer(image, "the man").symbols) == 5


def test_from_the_hub(exported, model, image, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    with serving_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        files = {p.relative_to(exported).as_posix(): p.read_bytes() for p in exported.rglob("*") if p.is_file()}
        server.repos["user/mine"] = {"main": files | {"model.safetensors": b"0"}}
        again = refhcm.load_onnx("user/mine", threads=1)
        assert "model.safetensors" not in server.gets
    assert again.refer(image, "a man").to_dict() == model.refer(image, "a man").to_dict()


@pytest.mark.slow
def test_a_hundred_questions_of_all_tasks_to_the_shipped_model(tmp_path):
    """People whom it has not seen: the same symbols as torch writes."""
    assert command("world", "--out", tmp_path / "world", "--seed", 77, "--train", 1, "--val", 1, "--test", 20) == 0
    shipped = ROOT / "checkpoints" / "synthetic"
    assert command("export", checkpoint_file(None), tmp_path / "onnx", "--format", "onnx") == 0
    theirs, ours = refhcm.load(shipped, device="cpu"), refhcm.load_onnx(tmp_path / "onnx", threads=1)
    rows = TsvFile(tmp_path / "world" / "rkpt" / "test.tsv", "2,3,5", names=("expression", "box", "image"))
    asked = []
    for row in (rows[k] for k in np.linspace(0, len(rows) - 1, 25).astype(int)):
        picture = read_picture(row["image"], root=tmp_path / "world", where="test")[0]
        wanted = ({}, {"keypoints": True}, {"parsing": True})
        asked += [(lambda m, p=picture, r=row, w=w: m.refer(p, r["expression"], **w)) for w in wanted]
        asked.append(lambda m, p=picture, r=row: m.describe(p, parse_box(r["box"], "box")))
    assert len(asked) == 100
    assert [ask(ours).symbols for ask in asked] == [ask(theirs).symbols for ask in asked]


def test_a_model_without_a_tokenizer_answers_all_but_parts(folder, image):
    path_of(folder, MAPS).unlink()
    model = refhcm.load_onnx(folder, threads=1)
    assert len(model.refer(image, "the man").symbols) == 5
    for ask in (model.refer, model.chain):
        with pytest.raises(UserError, match=r"^parsing: this model in ONNX was exported without a tokenizer"):
            ask(image, "the man", parsing=True)
