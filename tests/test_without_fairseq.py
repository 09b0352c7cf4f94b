"""Everything but training works in an environment without fairseq, which these tests build."""

import json

import pytest
from bare_environment import ROOT, BareEnvironment
from packaging.utils import canonicalize_name
from web_page import PATIENCE, Server

TRAINING = {
    "refhcm.models.refhcm.fairseq_model",
    "refhcm.criterions.adjust_label_smoothed_cross_entropy",
    "refhcm.tasks.fairseq_tasks",
    "refhcm.training.trainer",
    "refhcm.training.loop",
    "refhcm.training.checkpointing",
    "refhcm.training.resuming",
    "refhcm.utils.fairseq_optimizer",
    "refhcm.training.reading",
    "refhcm.training.run_data",
    "refhcm.training.command",
    "refhcm.training.help",
}
# Modules of fairseq and of what else only training asks for.
ABSENT = {"fairseq", "fairseq_cli", "hydra", "omegaconf", "torchaudio", "tensorboard", "pycocoevalcap"}
EXPRESSION = "the guy waving with the left hand"

IMPORT = """
import importlib, importlib.metadata, json, sys
# first: an imported setuptools puts the packages that it bundles on the path
installed = [distribution.metadata["Name"] for distribution in importlib.metadata.distributions()]
import refhcm
heavy = [name for name in ("torch", "numpy", "PIL") if name in sys.modules]
def missing(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        return error.name
found = {name: missing(name) for name in sys.argv[1:]}
print(json.dumps({"heavy": heavy, "missing": found, "installed": installed, "file": refhcm.__file__}))
"""
PYTHON = """
import json, sys
import refhcm
from refhcm.inference.exports import coco_results, label_map_image, openpose, to_detections
picture, words = sys.argv[1:]
model = refhcm.load(device="cpu")
few = refhcm.GenerationSettings(beam=2, max_len_b=8, min_len=1)
whole = model.refer(picture, words, keypoints=True, parsing=True, parallel=True)
both = model.refer(picture, [words, "a woman"])
caption = model.describe(picture, [1, 2, 200, 240]).caption
written = model.instruct(picture, "what is it?", generation=few)
chained = model.chain(picture, words, keypoints=True, parsing=True)
refhcm.draw_answer(picture, whole).save("drawn.png")
label_map_image(whole).save("parts.png")
print(json.dumps({
    "answers": [json.loads(answer.to_json()) for answer in (whole, *both, written, chained)],
    "caption": caption,
    "coco": coco_results(both, image_ids=[1, 2]),
    "openpose": openpose(whole),
    "detections": len(to_detections(both)),
}))
"""
# Each as `python -m`, in one process: it is what they import that costs time.
PROGRAMS = """
import json, runpy, sys
for name, *arguments in json.loads(sys.argv[1]):
    sys.argv = [name, *arguments]
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code:
            raise SystemExit(f"{name} ended with {end.code}")
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """What `pip install refhcm` brings."""
    return BareEnvironment(tmp_path_factory.mktemp("bare"))


def modules():
    """All modules of the packages, and the scripts at the root."""
    rooms = [path.parent for path in ROOT.glob("*/__init__.py")]
    files = [path for room in rooms for path in room.rglob("*.py")] + list(ROOT.glob("*.py"))
    names = [".".join(("refhcm", *path.relative_to(ROOT).with_suffix("").parts)) for path in files]
    return {name.removesuffix(".__init__") for name in names if not name.endswith(".__main__")}


def test_only_training_needs_fairseq(bare, tmp_path):
    names = modules()
    found = json.loads(bare.run("python", "-c", IMPORT, *sorted(names | ABSENT), folder=tmp_path))
    missing = {name: module for name, module in found["missing"].items() if module is not None}
    page = {name for name in missing if name.startswith("refhcm.apps.web.")}
    assert missing.keys() == TRAINING | page | ABSENT
    assert {missing[name] for name in TRAINING} <= {"fairseq", "omegaconf"}
    assert {missing[name] for name in page} == {"gradio"}
    assert found["heavy"] == []  # `import refhcm` is quick
    assert found["file"] == str(bare.package / "__init__.py")
    assert {canonicalize_name(name) for name in found["installed"]} == bare.names


def test_the_command(bare, tmp_path):
    shipped = bare.package / "checkpoints" / "synthetic"
    assert "can be used       yes" in bare.run("refhcm", "info", shipped, folder=tmp_path)
    asked = ["--keypoints", "--parsing", "--caption", "--device=cpu", "--out=answers.jsonl"]
    exports = ["--coco=coco.json", "--openpose=poses", "--masks=masks", "--save-images=drawn"]
    picture = bare.package / "examples" / "park.jpg"
    bare.run("refhcm", "ask", picture, "--text", EXPRESSION, *asked, *exports, folder=tmp_path)
    answer = json.loads((tmp_path / "answers.jsonl").read_text(encoding="utf-8"))
    assert "error" not in answer
    assert answer["box"] is not None
    assert answer["caption"]
    assert len(answer["keypoints"]) == 17
    assert any(symbol.startswith("<code_") for symbol in answer["symbols"])
    assert len(json.loads((tmp_path / "coco.bbox.json").read_text())) == 1
    assert [path.suffix for path in (tmp_path / "drawn").iterdir()] == [".jpg"]


def test_python(bare, tmp_path):
    picture = bare.package / "examples" / "park.jpg"
    found = json.loads(bare.run("python", "-c", PYTHON, picture, EXPRESSION, folder=tmp_path))
    assert [answer["size"] for answer in found["answers"]] == [[320, 256]] * 5
    assert found["answers"][0]["parts"] is not None
    assert found["caption"]
    assert len(found["coco"]["bbox"]) == found["detections"] == 2
    assert found["openpose"]["canvas_width"] == 320
    assert {"drawn.png", "parts.png"} <= {path.name for path in tmp_path.iterdir()}


def test_programs(bare, tmp_path):
    """A world is written and encoded, the shipped model is scored on it, the answers are looked at; and the S1 demo."""
    model, picture = bare.package / "checkpoints" / "synthetic", bare.package / "examples" / "park.jpg"
    masks = ["--annotation-root=world/rpar/annos", f"--vq-config={model / 'tokenizer.yaml'}"]
    masks += [f"--vq-ckpt={model / 'tokenizer.safetensors'}"]
    tokenizer = ["--data=world/rpar/test.tsv", *masks, "--cpu"]
    common = [f"--path={model}", f"--bpe-dir={model / 'bpe'}", "--cpu", "--beam=2", "--results-path=out"]

    def evaluate(task, table, *options):
        names = [f"--task={task}", f"--gen-subset={task}", f"--metrics-path=scores/{task}.json"]
        return ["refhcm", "evaluate", table, *names, *common, *options]

    view = ["codes.tsv", "--task=rpar_full_mask", "--results=out/rpar_full_mask_predict.json", *masks]
    s1 = [f"--image_path={picture}", f"--text={EXPRESSION}", "--kpt", "--par", "--device=cpu"]
    programs = [
        ["refhcm", "world", "--out=world", "--train=1", "--val=0", "--test=1", "--max-people=2", "--workers=1"],
        ["refhcm", "tokenizer", "encode", *tokenizer, "--out=codes.tsv"],
        ["refhcm", "tokenizer", "score", *tokenizer, "--out=tokenizer.json"],
        evaluate("refcoco", "world/rkpt/test.tsv", "--selected-cols=0,5,2,3"),
        evaluate("rkpt", "world/rkpt/test.tsv"),
        evaluate("rpar_full_mask", "codes.tsv", *masks),
        evaluate("rhrc", "world/rhrc/test.tsv"),
        ["refhcm", "view", *view, "--out=sheet.png"],
        ["refhcm", "chain", *s1, "--out=s1.png"],
    ]
    bare.run("python", "-c", PROGRAMS, json.dumps(programs), folder=tmp_path)
    scores = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "scores").iterdir()}
    assert scores.keys() == {"refcoco", "rkpt", "rpar_full_mask", "rhrc"}
    assert all(metrics["count"] for metrics in scores.values())
    assert {"tokenizer.json", "sheet.png", "s1.png"} <= {path.name for path in tmp_path.iterdir()}


def test_the_page(tmp_path, monkeypatch):
    client = pytest.importorskip("gradio_client", reason="the page needs the `demo` extra")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    environment = BareEnvironment(tmp_path / "environment", "demo")
    assert "gradio" in environment.names
    assert "fairseq-fixed" not in environment.names
    server = Server("--device=cpu", log=tmp_path / "log.txt", python=environment.bin / "python")
    try:
        page = client.Client(server.url, verbose=False, httpx_kwargs={"timeout": PATIENCE}, analytics_enabled=False)
        picture = client.handle_file(str(environment.package / "examples" / "park.jpg"))
        answer = page.predict(picture, EXPRESSION, keypoints=True, api_name="/refer")
        page.close()
    finally:
        server.stop()
    assert answer["size"] == [320, 256]
    assert len(answer["keypoints"]) == 17
