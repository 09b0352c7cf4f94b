"""How the page shows an answer: the drawing and its legend, the table, the sentence, the files."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="the page needs the `demo` extra")

from refhcm.apps.web import files as saving  # noqa: E402
from refhcm.apps.web import showing  # noqa: E402
from refhcm.apps.web.asking import Asking  # noqa: E402
from refhcm.inference.answers import Answer, Confidence, Keypoints  # noqa: E402
from refhcm.utils.drawing import PART_COLOURS, PEOPLE  # noqa: E402


def person(size_wh=(40, 20)):
    """An answer with hair on the left of its box and pants on the right."""
    label_map = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    label_map[5:15, 5:15], label_map[5:15, 15:25] = 2, 9
    points = np.zeros((17, 2), np.float32)
    points[0] = 20, 10
    return Answer(
        size_wh, True, (), "", np.array([5, 5, 25, 15], np.float32), Keypoints(points, points.any(1)), label_map,
        confidence=Confidence(0.5, {"nose": 0.25}, {"hair": 0.125, "pants": 0.75}),
    )  # fmt: skip


def test_parts_are_switched_off_without_the_model():
    shown = showing.prepare(Image.new("RGB", (40, 20), "white"), [person()])
    assert shown.picture.size == (640, 320)  # small pictures are enlarged, so that lines stay thin
    names = [entry["name"] for entry in showing.legend(shown)]
    assert names == ["box", "keypoints (left, right, middle)", "hair", "pants"]
    hair, pants = (8 * 16, 9 * 16), (21 * 16, 12 * 16)
    both, one = showing.draw(shown), showing.draw(shown, {"box", "hair"})
    assert both.getpixel(hair) == one.getpixel(hair) != (255, 255, 255)
    assert both.getpixel(pants) != one.getpixel(pants) == (255, 255, 255)
    assert np.array_equal(showing.draw(shown, set()), shown.picture)
    assert np.array_equal(showing.draw(shown, set(names)), both)
    asking = Asking(model=None)  # there is no model to ask
    entries = [entry | {"on": entry["name"] == "hair"} for entry in showing.legend(shown)]
    drawn, table = asking.redraw(shown, entries, 0)
    assert np.array_equal(drawn, showing.draw(shown, {"hair"}))
    assert table == showing.table(shown.rows)
    with pytest.raises(gr.Error, match="legend: needs"):
        asking.redraw(shown, "hair", 0)
    with pytest.raises(gr.Error, match="least confidence: needs a number from 0 to 1"):
        asking.redraw(shown, entries, 1.5)
    assert asking.redraw(None, [], 0) == (None, [])
    with pytest.raises(gr.Error, match="has expired"):
        asking.redraw(None, entries, 0)


def test_what_is_not_sure_enough_is_hidden():
    shown = showing.prepare(Image.new("RGB", (40, 20), "white"), [person()])
    sure = showing.draw(shown, least=0.5)  # the box .5, pants .75; not the nose .25, hair .125
    assert np.array_equal(sure, showing.draw(shown, {"box", "pants"}))
    assert [row[0] for row in showing.table(shown.rows, least=0.5)] == ["box (x0, y0, x1, y1)", "pants"]
    assert np.array_equal(showing.draw(shown, least=0.6), shown.picture)  # nothing of a person who is not sure


def test_several_people_have_numbers_and_are_switched_one_by_one():
    first = person()
    second = replace(first, box_xyxy=np.array([26, 2, 39, 19], np.float32), keypoints=None, label_map=None)
    shown = showing.prepare(Image.new("RGB", (40, 20), "white"), [first, second])
    entries = showing.legend(shown)
    assert [entry["name"] for entry in entries][-2:] == ["person 1", "person 2"]
    assert entries[-1]["colours"] == [f"rgb{PEOPLE[1]}"]
    names = {entry["name"] for entry in entries}
    for left_out, colour in (("person 1", PEOPLE[0]), ("person 2", PEOPLE[1])):
        drawn = np.asarray(showing.draw(shown, names - {left_out}))
        assert not (drawn == colour).all(-1).any()
        assert (drawn == (PEOPLE[1] if colour == PEOPLE[0] else PEOPLE[0])).all(-1).any()
    assert [row[0] for row in showing.table(shown.rows)] == [
        "1 · box (x0, y0, x1, y1)", "1 · nose", "1 · hair", "1 · pants", "2 · box (x0, y0, x1, y1)"
    ]  # fmt: skip


def test_a_thin_picture_is_drawn():
    thin = Image.new("RGB", (10, 20_000), "white")
    shown = showing.prepare(thin, [Answer(thin.size, True, (), "", np.array([0, 0, 10, 9_000], np.float32))])
    assert showing.draw(shown).size == (1, 1280)


def test_table_sentence_and_colours():
    answer = person()
    assert showing.table(showing.prepare(Image.new("RGB", (40, 20)), [answer]).rows) == [
        ["box (x0, y0, x1, y1)", "5.0, 5.0, 25.0, 15.0", "0.50"],
        ["nose", "20.0, 10.0", "0.25"],
        ["hair", "100 px", "0.12"],
        ["pants", "100 px", "0.75"],
    ]
    assert showing.sentence([answer]) == "<p>Found: a box (50 % sure), 1 keypoint, 2 parts.</p>"
    hair = showing.legend(showing.prepare(Image.new("RGB", (40, 20)), [answer]))[2]
    assert hair["colours"] == [f"rgb{PART_COLOURS['hair']}"]
    assert (
        showing.sentence([Answer((1, 1), True, (), "", caption="<b> & co")])
        == "<blockquote>&lt;b&gt; &amp; co</blockquote>"
    )


def test_the_drawing_in_words():
    """For those who cannot see it: how many people, and their captions."""
    one = Answer((1, 1), True, (), "", caption="a man in red")
    said = [showing.described(people) for people in ([], [one], [one, replace(one, caption=None)])]
    assert ["2 people" in words for words in said] == [False, False, True]
    assert ["a person" in words for words in said] == [False, True, False]
    assert ["a man in red" in words for words in said] == [False, True, True]


def test_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    picture = Image.new("RGB", (40, 20), (1, 2, 3))

    def saved(people, *, everyone=False):
        paths = saving.write_downloads(picture, people, "street.jpg", everyone=everyone)
        return dict(zip(saving.DOWNLOADS, paths, strict=True))

    files = saved([person()])
    pose = json.loads(Path(files["OpenPose"]).read_bytes())
    with zipfile.ZipFile(files["COCO"]) as archive:
        coco = {name.split(".")[1]: json.loads(archive.read(name)) for name in archive.namelist()}
    assert {len(coco[kind]) for kind in ("bbox", "keypoints")} == {1}
    assert coco["bbox"][0]["image_id"] == "street.jpg"
    assert pose["people"][0]["pose_keypoints_2d"][:2] == [20, 10]
    with Image.open(files["Parts (PNG)"]) as image:
        assert np.array_equal(np.asarray(image), person().label_map)
    with Image.open(files["Cut-out (PNG)"]) as image:
        assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGBA", (20, 10), (1, 2, 3, 255))

    files = saved([person(), person()], everyone=True)
    assert len(json.loads(Path(files["JSON"]).read_bytes())) == 2
    assert len(json.loads(Path(files["OpenPose"]).read_bytes())["people"]) == 2
    with zipfile.ZipFile(files["Parts (PNG)"]) as archive:
        assert archive.namelist() == ["parts_1.png", "parts_2.png"]
    only_json = {"JSON": True} | dict.fromkeys(list(saving.DOWNLOADS)[1:], False)
    for nothing in (saved([Answer((40, 20), False, (), "")]), saved([], everyone=True)):
        assert {name: path is not None for name, path in nothing.items()} == only_json
