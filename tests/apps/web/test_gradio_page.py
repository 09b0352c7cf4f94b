"""The page as it is built and started: what it offers, its endpoints, its examples, its flags."""

import asyncio
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

gr = pytest.importorskip("gradio", reason="the page needs the `demo` extra")

from commands import parsed, refhcm  # noqa: E402

from refhcm.apps.web import command, given, serving, stopping  # noqa: E402
from refhcm.apps.web.components import Picture  # noqa: E402
from refhcm.apps.web.examples import QUESTIONS  # noqa: E402
from refhcm.apps.web.kinds import WANTED, WAYS  # noqa: E402
from refhcm.apps.web.page import make_page  # noqa: E402
from refhcm.data.pictures import MAX_PIXELS, open_picture  # noqa: E402
from refhcm.inference.loading import load  # noqa: E402


def test_this_machine_only_unless_asked():
    args = parsed("web")
    assert (args.host, args.port, args.share) == ("127.0.0.1", 7860, False)


def built(make):
    """The result of `make()`, called inside an event loop: without one, gradio would open a loop and leave it open."""

    async def made():
        return make()

    return asyncio.run(made())


def test_a_field_takes_what_programs_send():
    picture = built(lambda: Picture(type="filepath"))
    assert picture.preprocess(None) is None
    for value, path in (({"path": "a.png"}, "a.png"), ("a.png", "a.png"), (3, 3), ({}, None)):
        assert picture.preprocess(picture.data_model(root=value)) == path


@pytest.mark.parametrize("learned", [(), ("grec", "rkpt_by_box")])
def test_endpoints_and_privacy(learned, model, monkeypatch):
    monkeypatch.setattr(model, "learned", learned)
    page = built(lambda: make_page(model, about="about", concurrency=3))
    named = page.get_api_info()["named_endpoints"]
    assert set(named) == {"/refer", "/describe", "/chain", "/instruct"} | ({"/find"} if learned else set())
    assert [p["parameter_name"] for p in named["/describe"]["parameters"]] == ["image", "box"]
    assert page.analytics_enabled is False
    assert {fn.concurrency_limit for fn in page.fns.values() if fn.concurrency_id == "model"} == {3}
    (everyone,) = [block for block in page.blocks.values() if getattr(block, "elem_id", None) == "everyone"]
    assert everyone.visible == bool(learned)  # offered only where it can be answered


def test_nothing_is_offered_that_needs_the_tokenizer_where_there_is_none(model, monkeypatch):
    monkeypatch.setattr(model, "tokenizer", None)
    page = built(lambda: make_page(model, about=""))
    by_id = {block.elem_id: block for block in page.blocks.values() if getattr(block, "elem_id", None)}
    assert [name for _, name in by_id["wanted"].choices] == ["box", "keypoints", "caption"]
    assert not by_id["parallel"].visible


def test_examples_ship():
    assert {example.way for example in QUESTIONS} == set(WAYS)
    assert {name for example in QUESTIONS for name in example.wanted} == set(WANTED)
    assert any(example.parallel for example in QUESTIONS)
    for example in QUESTIONS:
        assert example.path.stat().st_size < 60_000
        assert min(open_picture(example.path).size) > 100
        assert getattr(example, WAYS[example.way].asks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--checkpoint", "none.pt"], "none.pt: no such file"),
        (["--port", "0"], "--port: needs a number from 1 to 65535"),
        (["--queue-size", "0"], "--queue-size: needs"),
        (["--concurrency", "-1"], "--concurrency: needs"),
        (["--root-path", "that.name"], "--root-path: needs a path such as /refhcm, or a whole address"),
        pytest.param(
            ["--mcp"],
            "--mcp needs gradio's extra of that name. Run: pip install 'gradio[mcp]",
            marks=pytest.mark.skipif(find_spec("mcp") is not None, reason="the extra is installed"),
        ),
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


@pytest.mark.parametrize("asked", [False, True])
def test_only_questions_are_waited_for(asked):
    """A browser that merely shows the page stays connected; it is cut off at once when the page ends."""
    thread = SimpleNamespace(is_alive=lambda: True, join=lambda seconds: cut_off.append(server.force_exit))
    server, cut_off = SimpleNamespace(force_exit=False, thread=thread), []
    queue = SimpleNamespace(active_jobs=[None, ["a question"] if asked else None])
    close = lambda **_: cut_off.append(server.force_exit)  # noqa: E731
    serving._close(SimpleNamespace(server=server, _queue=queue, close=close))
    assert cut_off == [not asked, True]


def test_one_picture_of_the_largest_size_is_open_at_a_time_beside_small_ones():
    assert MAX_PIXELS + 10**7 < given.TURNS.limit < 2 * MAX_PIXELS


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
