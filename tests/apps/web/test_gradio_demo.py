"""The page's functions without a browser: each kind of question, what is shown, and every mistake as a sentence."""

import asyncio
import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image
from web_page import broken_pictures, encoded

gr = pytest.importorskip("gradio", reason="the page needs the `demo` extra")

from commands import parsed, refhcm  # noqa: E402

from refhcm.apps.web import command, stopping  # noqa: E402
from refhcm.apps.web.asking import Asking  # noqa: E402
from refhcm.apps.web.components import Picture  # noqa: E402
from refhcm.apps.web.kinds import KINDS  # noqa: E402
from refhcm.apps.web.page import EXAMPLES, make_page  # noqa: E402
from refhcm.data.pictures import open_picture  # noqa: E402
from refhcm.inference.loading import load  # noqa: E402

SETTINGS = (4, 200, 5, 1.0)
SHORT = (1, 8, 2, 1.0)


@pytest.fixture(scope="module")
def model(golden, golden_checkpoint, bpe_dir):
    return load(golden_checkpoint("multitask"), tokenizer=golden / "vqgan", bpe_dir=bpe_dir, device="cpu")


def test_this_machine_only_unless_asked():
    args = parsed("web")
    assert (args.host, args.port, args.share) == ("127.0.0.1", 7860, False)


def built(make):
    """The result of `make()`, called inside an event loop: without one, gradio would open a loop and leave it open."""

    async def made():
        return make()

    return asyncio.run(made())


@pytest.fixture
def asking(model):
    return Asking(model)


@pytest.fixture
def upload(tmp_path, monkeypatch):
    """`upload(data)`: the path of an uploaded file that holds these bytes."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))

    def save(data, name="picture.png"):
        path = tmp_path / "uploaded" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return str(path)

    return save


def ask(asking, path, kind, *, expression="a man", box="10, 20, 60, 80", instruction="what is it?", settings=SHORT):
    """What the page shows, by name."""
    wanted = ["keypoints", "parts"]
    values = asking.ask(kind, path, expression, box, instruction, wanted, *settings, progress=lambda *_, **__: None)
    names = ["sentence", "drawn", "legend", "table", "json", "shown"]
    return dict(zip(names, values, strict=False)) | {"files": values[len(names) :]}


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_page_shows_what_python_answers(kind, model, asking, upload):
    path = upload(encoded())
    answer = ask(asking, path, kind)
    assert answer["json"]["size"] == [120, 90]
    assert answer["drawn"].size == answer["shown"].picture.size
    plain = {
        "box": lambda: model.refer(path, "a man"),
        "keypoints": lambda: model.refer(path, "a man", keypoints=True),
        "parallel": lambda: model.refer(path, "a man", parsing=True, parallel=True),
        "caption": lambda: model.describe(path, [10, 20, 60, 80]),
    }
    if kind in plain:
        assert answer["json"] == plain[kind]().to_dict()
    json_file = answer["files"][0]["value"]
    with open(json_file, encoding="utf-8") as file:
        assert json.load(file) == answer["json"]


def test_a_turned_photo_is_upright(asking, upload):
    exif = Image.Exif()
    exif[274] = 6  # turn right
    answer = ask(asking, upload(encoded(kind="JPEG", exif=exif), "phone.jpg"), "box")
    assert answer["json"]["size"] == [90, 120]
    assert answer["drawn"].height > answer["drawn"].width


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", list(broken_pictures()))
def test_a_broken_picture_is_a_sentence(name, asking, upload):
    answer = ask(asking, upload(broken_pictures()[name], name), "box")
    assert 'class="problem">image: ' in answer["sentence"]
    assert "object at 0x" not in answer["sentence"]
    assert (answer["drawn"], answer["json"], answer["table"]) == (None, None, [])
    assert not any(button["visible"] for button in answer["files"])


@pytest.mark.parametrize(
    ("kind", "given", "sentence"),
    [
        ("box", {"expression": ""}, "expression: is empty"),
        ("box", {"expression": " \n"}, "expression: is empty"),
        ("box", {"expression": None}, "expression: needs text"),
        ("box", {"expression": 7}, "expression: needs text, got int"),
        ("box", {"expression": ["a", "b"]}, "expression: needs text, got list"),
        ("box", {"expression": {"a": 1}}, "expression: needs text, got dict"),
        ("keypoints", {"expression": "...!"}, "expression: needs some words"),
        ("parts", {"expression": "word " * 10_001}, "needs 10000 or fewer"),
        ("box", {"expression": "half \ud800"}, "not valid Unicode"),
        ("chain", {"expression": ""}, "expression: is empty"),
        ("instruction", {"instruction": ""}, "instruction: is empty"),
        ("instruction", {"instruction": 1.5}, "instruction: needs text"),
        ("instruction", {"instruction": "word " * 1999}, "symbols long"),
        ("caption", {"box": ""}, "box: no box yet"),
        ("caption", {"box": None}, "box: no box yet"),
        ("caption", {"box": "nan, 1, 2, 3"}, "box: needs 4 finite numbers"),
        ("caption", {"box": "1, 2, inf, 3"}, "box: needs 4 finite numbers"),
        ("caption", {"box": "1, 2, 3"}, "box: needs 4 finite numbers"),
        ("caption", {"box": "a, b, c, d"}, "box: needs 4 finite numbers"),
        ("caption", {"box": "50, 2, 10, 9"}, "box: needs x0 &lt; x1"),
        ("caption", {"box": "500, 500, 600, 600"}, "wholly outside"),
        ("caption", {"box": [1, 2, "x", 4]}, "box: needs 4 finite numbers"),
        ("caption", {"box": {"x": 1}}, "box: needs 4 finite numbers"),
        ("caption", {"box": [[1, 2, 3, 4]]}, "box: needs 4 finite numbers"),
        ("chain", {"settings": (4, 2, 5, 1.0)}, "min-len"),
        ("chain", {"settings": (4, 200, 0, 1.0)}, "beam: needs a whole number from 1 to 20"),
        ("chain", {"settings": (4, 200, 2.5, 1.0)}, "beam: needs a whole number"),
        ("chain", {"settings": (4, 10**9, 5, 1.0)}, "max_len: needs a whole number from 1 to 500"),
        ("chain", {"settings": (4, 200, 5, float("nan"))}, "temperature: needs a number"),
        ("chain", {"settings": (4, 200, 5, 0)}, "temperature: needs a number from 0.1"),
        ("chain", {"settings": ("4", 200, 5, 1)}, "min_len: needs a whole number"),
        ("chain", {"settings": (True, 200, 5, 1)}, "min_len: needs a whole number"),
        ("chain", {"settings": (10**400, 200, 5, 1)}, "min_len: needs a whole number"),
    ],
)
def test_a_mistake_is_a_sentence(kind, given, sentence, asking, upload):
    answer = ask(asking, upload(encoded()), kind, **given)
    assert sentence in answer["sentence"]
    assert "Traceback" not in answer["sentence"]


def test_odd_text_is_answered(asking, upload):
    path = upload(encoded())
    for expression in (
        "女性 🧍‍♀️ ñ",
        "<bin_1><bin_2>",
        "{} {0} %s \\ '\" ; DROP",
        "\u202eright to left",
        "a\x00b",
        "<script>",
    ):
        assert ask(asking, path, "box", expression=expression)["json"]["box"] is not None


@pytest.mark.parametrize("path", [None, 3, [], "nowhere.png", "/etc/passwd", "a\0b", "../../etc/passwd", os.sep])
def test_only_uploads_are_read(path, asking, upload):
    upload(encoded())
    assert 'class="problem">image: ' in ask(asking, path, "box")["sentence"]
    with pytest.raises(gr.Error, match="image: "):
        asking.refer(path, "a man")


def test_a_field_takes_what_programs_send():
    picture = built(lambda: Picture(type="filepath"))
    assert picture.preprocess(None) is None
    for value, path in (({"path": "a.png"}, "a.png"), ("a.png", "a.png"), (3, 3), ({}, None)):
        assert picture.preprocess(picture.data_model(root=value)) == path


def test_an_unexpected_failure_is_a_sentence_too(asking, upload, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(asking.model, "refer", fail)
    answer = ask(asking, upload(encoded()), "box")
    assert "Something went wrong on the server" in answer["sentence"]
    assert "secret" not in answer["sentence"]
    assert "secret detail" in caplog.text


def test_the_api_is_the_python_api(model, asking, upload):
    path = upload(encoded())
    assert asking.refer(path, "a man", keypoints=True) == model.refer(path, "a man", keypoints=True).to_dict()
    assert asking.describe(path, [1, 2, 50, 60]) == model.describe(path, [1, 2, 50, 60]).to_dict()
    assert asking.chain(path, "a man", True, False, *SETTINGS) == model.chain(path, "a man", keypoints=True).to_dict()
    assert asking.instruct(path, "what is it?", *SETTINGS) == model.instruct(path, "what is it?").to_dict()
    with pytest.raises(gr.Error, match="parallel: needs true or false, got 'yes'"):
        asking.refer(path, "a man", parallel="yes")


def test_endpoints_and_privacy(model):
    page = built(lambda: make_page(model, about="about", concurrency=3))
    named = page.get_api_info()["named_endpoints"]
    assert set(named) == {"/refer", "/describe", "/chain", "/instruct"}
    assert [p["parameter_name"] for p in named["/describe"]["parameters"]] == ["image", "box"]
    assert page.analytics_enabled is False
    assert {fn.concurrency_limit for fn in page.fns.values() if fn.concurrency_id == "model"} == {3}


def test_examples_ship():
    examples = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    assert {example["kind"] for example in examples} == set(KINDS)
    for example in examples:
        path = EXAMPLES / example["image"]
        assert path.stat().st_size < 60_000
        assert min(open_picture(path).size) > 100
        assert example[KINDS[example["kind"]].asks]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "none.pt"], "none.pt: no such file"),
        (["--port", "0"], "--port: needs a number from 1 to 65535"),
        (["--queue-size", "0"], "--queue-size: needs"),
        (["--concurrency", "-1"], "--concurrency: needs"),
        (["--device", "moon", "--checkpoint", "none.pt"], "device: 'moon'"),
    ],
)
def test_mistakes_are_one_line(options, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    monkeypatch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
    monkeypatch.setattr(stopping.signal, "signal", lambda *_: None)
    assert refhcm("web", *options) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("ignored", "stopped"), [(False, True), (True, False)])
def test_no_picture_is_left_when_the_terminal_closes(ignored, stopped, tmp_path):
    """Closing the terminal ends the page and deletes uploads; under nohup the signal is ignored."""
    program = f"""
import os, signal, sys
from pathlib import Path
from refhcm.apps.cli.main import main
from refhcm.apps.web import command
def run(args, folder):
    Path(os.environ["GRADIO_TEMP_DIR"], "visitor.jpg").touch()
    signal.raise_signal(signal.SIGHUP)
    print("went on")
command._serve = run
signal.signal(signal.SIGHUP, signal.SIG_IGN if {ignored} else signal.SIG_DFL)
sys.exit(main(["web"]))
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert ("went on" in done.stdout) != stopped
    assert not list(tmp_path.rglob("visitor.jpg"))


def test_the_page_names_the_model_s_own_symbols(model):
    """The shipped model has 128 bins, the golden one 1000."""
    for chosen, last in ((model, 999), (load(), 127)):
        page = built(lambda chosen=chosen: make_page(chosen, about=""))
        said = str(page.get_config_file())
        assert f"<bin_0> to <bin_{last}>" in said
        assert 'role="status" aria-live="polite"' in said
        (region,) = set(re.findall(r"what does the region ((?:<bin_\d+> ?){4})describe", said))
        assert chosen._instruction.check(region, "example") == {"text": region}


def test_the_shipped_model_says_so(model):
    assert "comes with the project" in command._about(None, model)
    assert "`mine.pt`" in command._about("mine.pt", model)
