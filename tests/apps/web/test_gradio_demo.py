"""The page's functions without a browser: each kind of question, what is shown, and every mistake as a sentence."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from web_page import broken_pictures, encoded

gr = pytest.importorskip("gradio", reason="the page needs the `demo` extra")


from refhcm.apps.web import given  # noqa: E402
from refhcm.apps.web.endpoints import Endpoints  # noqa: E402
from refhcm.apps.web.kinds import WAYS  # noqa: E402
from refhcm.data.pictures import MAX_BYTES  # noqa: E402
from refhcm.inference.answers import Answer, Confidence  # noqa: E402
from refhcm.utils.drawing import PREDICTION  # noqa: E402

SETTINGS = (4, 200, 5, 1.0)
SHORT = (1, 8, 2, 1.0)


def ask(
    asking, path, way="words", *, expression="a man", box="10, 20, 60, 80", instruction="what is it?",
    wanted=("box",), everyone=False, parallel=False, settings=SHORT,
):  # fmt: skip
    """What the page shows, by name."""
    who = ("box", "words") if way == "box" else ("words", way)
    wanted = list(wanted) if isinstance(wanted, tuple) else wanted
    fields = (*who, path, expression, box, wanted, everyone, parallel, instruction)
    values = asking.ask(*fields, *settings, progress=lambda *_, **__: None)
    names = ["sentence", "all", "drawn", "legend", "least", "describe", "table", "json", "shown"]
    return dict(zip(names, values[: len(names)], strict=True)) | {"files": values[len(names) :]}


IN_PYTHON = {
    "box": (("box",), {}),
    "pose": (("keypoints",), {"keypoints": True}),
    "parts": (("box", "parts"), {"parsing": True}),
    "all": (("box", "keypoints", "parts", "caption"), {"keypoints": True, "parsing": True, "caption": True}),
}


@pytest.mark.parametrize("name", list(IN_PYTHON))
def test_the_checkboxes_are_python_s_arguments(name, model, asking, upload):
    path, (wanted, arguments) = upload(encoded()), IN_PYTHON[name]
    answer = ask(asking, path, wanted=wanted)
    assert answer["json"] == model.refer(path, "a man", **arguments).to_dict()
    assert answer["all"]["visible"]
    on = {entry["name"]: entry["on"] for entry in answer["legend"]}
    assert on["box"] == ("box" in wanted)


@pytest.mark.parametrize("way", list(WAYS))
def test_each_way_shows_an_answer(way, model, asking, upload):
    path = upload(encoded())
    answer = ask(asking, path, way)
    assert answer["json"]["size"] == [120, 90]
    assert answer["drawn"]["value"].size == answer["shown"].picture.size
    assert answer["drawn"]["alt_text"]
    if way == "box":
        assert answer["legend"][0] == {"name": "box", "colours": [f"rgb{PREDICTION}"], "on": True}
        assert answer["json"] == model.describe(path, [10, 20, 60, 80]).to_dict()
    json_file = answer["files"][0]["value"]
    with open(json_file, encoding="utf-8") as file:
        assert json.load(file) == answer["json"]


def test_parts_in_parallel_and_a_caption_after_one_instruction(model, asking, upload):
    path = upload(encoded())
    parallel = ask(asking, path, wanted=("parts",), parallel=True)
    assert parallel["json"] == model.refer(path, "a man", parsing=True, parallel=True).to_dict()
    plain, captioned = (ask(asking, path, "chain", wanted=wanted) for wanted in (("box",), ("box", "caption")))
    assert plain["describe"] == {"value": "Describe this person", "visible": True, "__type__": "update"}
    said = model.describe(path, plain["json"]["box"])
    assert captioned["json"]["caption"] == said.caption
    assert captioned["json"]["box"] == plain["json"]["box"]


def people(count):
    """Answers about so many people of a picture of 120 x 90 px, from left to right."""
    boxes = [np.array([40 * k, 10, 40 * k + 30, 80], np.float32) for k in range(count)]
    return [
        Answer((120, 90), True, (), "", box, caption=f"person at {box[0]:.0f}", confidence=Confidence(0.9 - 0.3 * k))
        for k, box in enumerate(boxes)
    ]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_everyone_who_fits(count, asking, upload, monkeypatch):
    asked = []

    def find(picture, expression, **wanted):
        asked.append((expression, wanted))
        return people(count)

    monkeypatch.setattr(asking.model, "find", find)
    answer = ask(asking, upload(encoded()), expression="the <b> men", wanted=("keypoints", "caption"), everyone=True)
    assert asked == [("the <b> men", {"keypoints": True, "parsing": False, "caption": True})]
    assert len(answer["json"]) == count
    said = {0: "Nobody in this picture fits “the &lt;b&gt; men”", 1: "One person fits", 3: "3 people fit"}[count]
    assert said in answer["sentence"]
    assert "problem" not in answer["sentence"]
    assert [row[0] for row in answer["table"] if "box" in row[0]] == {
        0: [], 1: ["box (x0, y0, x1, y1)"], 3: [f"{k} · box (x0, y0, x1, y1)" for k in (1, 2, 3)]
    }[count]  # fmt: skip
    assert answer["drawn"]["value"].size == (640, 480)
    with open(answer["files"][0]["value"], encoding="utf-8") as file:
        assert json.load(file) == answer["json"]


def test_nobody_may_fit(asking, upload, monkeypatch):
    for found, doubt in ((0.1, True), (0.9, False), (None, False)):
        one = replace(people(1)[0], found=found)
        monkeypatch.setattr(asking.model, "refer", lambda *_, one=one, **__: one)
        assert ("Probably nobody here fits" in ask(asking, upload(encoded()))["sentence"]) == doubt


def test_a_turned_photo_is_upright(asking, upload):
    exif = Image.Exif()
    exif[274] = 6  # turn right
    answer = ask(asking, upload(encoded(kind="JPEG", exif=exif), "phone.jpg"))
    assert answer["json"]["size"] == [90, 120]
    drawn = answer["drawn"]["value"]
    assert drawn.height > drawn.width


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("name", list(broken_pictures()))
def test_a_broken_picture_is_a_sentence(name, asking, upload):
    answer = ask(asking, upload(broken_pictures()[name], name))
    assert 'class="problem">Picture: ' in answer["sentence"]
    assert "object at 0x" not in answer["sentence"]
    assert (answer["drawn"], answer["json"], answer["table"]) == (None, None, [])
    assert not any(part["visible"] for part in (answer["all"], *answer["files"]))


@pytest.mark.parametrize(
    ("way", "given", "sentence"),
    [
        ("words", {"expression": ""}, "Describe the person: is empty"),
        ("words", {"expression": " \n"}, "Describe the person: is empty"),
        ("words", {"expression": None}, "Describe the person: needs text"),
        ("words", {"expression": 7}, "Describe the person: needs text, got int"),
        ("words", {"expression": ["a", "b"]}, "Describe the person: needs text, got list"),
        ("words", {"expression": {"a": 1}}, "Describe the person: needs text, got dict"),
        ("words", {"expression": "...!"}, "Describe the person: needs some words"),
        ("words", {"expression": "word " * 10_001}, "needs 10000 or fewer"),
        ("words", {"expression": "half \ud800"}, "not valid Unicode"),
        ("chain", {"expression": ""}, "Describe the person: is empty"),
        ("instruction", {"instruction": ""}, "Instruction: is empty"),
        ("instruction", {"instruction": 1.5}, "Instruction: needs text"),
        ("instruction", {"instruction": "word " * 1999}, "symbols long"),
        ("box", {"box": ""}, "Box around one person: no box yet"),
        ("box", {"box": None}, "Box around one person: no box yet"),
        ("box", {"box": "nan, 1, 2, 3"}, "Box around one person: needs 4 finite numbers"),
        ("box", {"box": "1, 2, inf, 3"}, "Box around one person: needs 4 finite numbers"),
        ("box", {"box": "1, 2, 3"}, "Box around one person: needs 4 finite numbers"),
        (
            "box",
            {"box": "a, b, c, d"},
            "Box around one person: needs 4 finite numbers x0, y0, x1, y1 in image px, got &#x27;a, b, c, d",
        ),
        ("box", {"box": "50, 2, 10, 9"}, "Box around one person: needs x0 &lt; x1"),
        ("box", {"box": "500, 500, 600, 600"}, "wholly outside"),
        ("box", {"box": [1, 2, "x", 4]}, "Box around one person: needs 4 finite numbers"),
        ("box", {"box": {"x": 1}}, "Box around one person: needs 4 finite numbers"),
        ("box", {"box": [[1, 2, 3, 4]]}, "Box around one person: needs 4 finite numbers"),
        ("words", {"wanted": []}, "Tick what you want to know"),
        ("chain", {"wanted": ["hat"]}, "what you want to know: needs some of box, keypoints"),
        ("words", {"wanted": "box"}, "what you want to know: needs some of"),
        ("words", {"everyone": "yes"}, "everyone: needs true or false"),
        ("words", {"everyone": True}, "this model has not learned"),
        ("words", {"parallel": 1}, "parallel: needs true or false"),
        ("instruction", {"wanted": 5}, "what you want to know: needs some of"),
        ({}, {}, "way: needs one of words, chain, instruction, box, got "),
        (["words"], {}, "way: needs one of"),
        ("nonsense", {}, "way: needs one of"),
        (
            "chain",
            {"settings": (4, 2, 5, 1.0)},
            "Shortest answer: the shortest answer, 4 symbols, is longer than the longest, 2",
        ),
        ("chain", {"settings": (4, 200, 0, 1.0)}, "beam: needs a whole number from 1 to 20"),
        ("chain", {"settings": (4, 200, 2.5, 1.0)}, "beam: needs a whole number"),
        ("chain", {"settings": (4, 10**9, 5, 1.0)}, "max_len: needs a whole number from 1 to 500"),
        ("chain", {"settings": (4, 200, 5, float("nan"))}, "temperature: needs a number"),
        ("chain", {"settings": (4, 200, 5, 0)}, "temperature: needs a number from 0.1"),
        ("chain", {"settings": ("4", 200, 5, 1)}, "Shortest answer: needs a whole number"),
        ("chain", {"settings": (True, 200, 5, 1)}, "Shortest answer: needs a whole number"),
        ("chain", {"settings": (10**400, 200, 5, 1)}, "Shortest answer: needs a whole number"),
    ],
)
def test_a_mistake_is_a_sentence(way, given, sentence, asking, upload, caplog):
    answer = ask(asking, upload(encoded()), way, **given)
    assert sentence in answer["sentence"]
    assert "Traceback" not in answer["sentence"] + caplog.text


@pytest.mark.parametrize("who", [None, {}, "somebody"])
def test_who_is_asked_about_is_known(who, asking, upload):
    values = asking.ask(who, "words", upload(encoded()), "a man", "", ["box"], False, False, "", *SHORT)
    assert "who: needs one of words, box, got " in values[0]


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
        assert ask(asking, path, expression=expression)["json"]["box"] is not None


def test_a_file_beyond_the_limit_is_refused_though_it_begins_as_a_picture(asking, upload):
    path = upload(encoded())
    for size, refused in ((MAX_BYTES, False), (MAX_BYTES + 1, True)):
        os.truncate(path, size)  # takes no space
        assert ('class="problem">Picture: ' in ask(asking, path)["sentence"]) == refused


def test_memory_of_large_pictures_goes_back_at_once(upload, monkeypatch):
    """After decoding, and after the answer."""
    returned = []
    monkeypatch.setattr(given, "return_freed_memory", lambda: returned.append(1))
    for large, times in ((120 * 90, 0), (120 * 90 - 1, 2)):
        monkeypatch.setattr(given, "LARGE", large)
        with given.opened(upload(encoded())):
            pass
        assert len(returned) == times


def test_a_field_that_is_not_asked_for_is_not_read(asking, upload):
    path = upload(encoded())
    assert ask(asking, path, box="")["json"]["box"] is not None
    assert ask(asking, path, "box", expression="", instruction="", wanted=5)["json"]["caption"] is not None


def test_whoever_has_a_box_and_no_caption_can_be_described(asking, upload, monkeypatch):
    for box, caption in ((True, True), (True, False), (False, False)):
        (one,) = people(1)
        one = replace(one, box_xyxy=one.box_xyxy if box else None, caption="a man" if caption else None)
        monkeypatch.setattr(asking.model, "refer", lambda *_, one=one, **__: one)
        assert ask(asking, upload(encoded()))["describe"]["visible"] == (box and not caption)


@pytest.mark.parametrize("path", [None, 3, [], "nowhere.png", "/etc/passwd", "a\0b", "../../etc/passwd", os.sep])
def test_only_uploads_are_read(path, asking, upload):
    upload(encoded())
    assert 'class="problem">Picture: ' in ask(asking, path)["sentence"]
    with pytest.raises(gr.Error, match="image: "):
        Endpoints(asking.model).refer(path, "a man")


def test_an_unexpected_failure_is_a_sentence_too(asking, upload, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(asking.model, "refer", fail)
    answer = ask(asking, upload(encoded()))
    assert "Something went wrong on the server" in answer["sentence"]
    assert "secret" not in answer["sentence"]
    assert "secret detail" in caplog.text


def test_the_api_is_the_python_api(model, upload, monkeypatch):
    path, asked = upload(encoded()), Endpoints(model)
    assert asked.refer(path, "a man", keypoints=True) == model.refer(path, "a man", keypoints=True).to_dict()
    assert asked.describe(path, [1, 2, 50, 60]) == model.describe(path, [1, 2, 50, 60]).to_dict()
    assert asked.chain(path, "a man", True, False, *SETTINGS) == model.chain(path, "a man", keypoints=True).to_dict()
    assert asked.instruct(path, "what is it?", *SETTINGS) == model.instruct(path, "what is it?").to_dict()
    with pytest.raises(gr.Error, match="parallel: needs true or false, got 'yes'"):
        asked.refer(path, "a man", parallel="yes")
    with pytest.raises(gr.Error, match="min_confidence: needs a number from 0 to 1, got '2'"):
        asked.find(path, "a man", min_confidence=2)
    monkeypatch.setattr(model, "find", lambda *_, min_confidence, **__: people(3)[: round(10 * min_confidence)])
    assert asked.find(path, "men", min_confidence=0.2) == [one.to_dict() for one in people(2)]
