"""How the page shows an answer: the drawing and its legend, the table, the sentence, the files."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio", reason="the page needs the `demo` extra")

from refhcm.apps.web import showing  # noqa: E402
from refhcm.apps.web.asking import Asking  # noqa: E402
from refhcm.inference.answers import Answer, Keypoints, Scores  # noqa: E402
from refhcm.utils.parsing import PALETTE  # noqa: E402


def person(size_wh=(40, 20)):
    """An answer with hair on the left of its box and pants on the right."""
    label_map = np.zeros((size_wh[1], size_wh[0]), np.uint8)
    label_map[5:15, 5:15], label_map[5:15, 15:25] = 2, 9
    points = np.zeros((17, 2), np.float32)
    points[0] = 20, 10
    return Answer(
        size_wh, True, (), "", np.array([5, 5, 25, 15], np.float32), Keypoints(points, points.any(1)), label_map,
        scores=Scores(box=0.5, keypoints=0.25, parsing=0.125),
    )  # fmt: skip


def test_parts_are_switched_off_without_the_model():
    shown = showing.prepare(Image.new("RGB", (40, 20), "white"), person())
    assert shown.picture.size == (640, 320)  # small pictures are enlarged, so that lines stay thin
    names = [entry["name"] for entry in showing.legend(shown)]
    assert names == ["box", "keypoints (left, right, middle)", "hair", "pants"]
    hair, pants = (8 * 16, 8 * 16), (22 * 16, 8 * 16)
    both, one = showing.draw(shown), showing.draw(shown, {"box", "hair"})
    assert both.getpixel(hair) == one.getpixel(hair) != (255, 255, 255)
    assert both.getpixel(pants) != one.getpixel(pants) == (255, 255, 255)
    assert np.array_equal(showing.draw(shown, set()), shown.picture)
    assert np.array_equal(showing.draw(shown, set(names)), both)
    asking = Asking(model=None)  # there is no model to ask
    entries = [entry | {"on": entry["name"] == "hair"} for entry in showing.legend(shown)]
    assert np.array_equal(asking.redraw(shown, entries), showing.draw(shown, {"hair"}))
    with pytest.raises(gr.Error, match="legend: needs"):
        asking.redraw(shown, "hair")
    assert asking.redraw(None, []) is None
    with pytest.raises(gr.Error, match="has expired"):
        asking.redraw(None, entries)


def test_a_thin_picture_is_drawn():
    thin = Image.new("RGB", (10, 20_000), "white")
    shown = showing.prepare(thin, Answer(thin.size, True, (), "", np.array([0, 0, 10, 9_000], np.float32)))
    assert showing.draw(shown).size == (1, 1280)


def test_table_sentence_and_colours():
    answer = person()
    assert showing.table(answer) == [
        ["box (x0, y0, x1, y1)", "5.0, 5.0, 25.0, 15.0", "0.500"],
        ["nose", "20.0, 10.0", "0.250"],
        ["hair", "100 px", "0.125"],
        ["pants", "100 px", "0.125"],
    ]
    assert showing.sentence(answer) == "<p>Found: a box, 1 keypoints, 2 parts.</p>"
    hair = showing.legend(showing.prepare(Image.new("RGB", (40, 20)), answer))[2]
    assert hair["colours"] == [f"rgb{PALETTE[2]}"]
    assert (
        showing.sentence(Answer((1, 1), True, (), "", caption="<b> & co"))
        == "<blockquote>&lt;b&gt; &amp; co</blockquote>"
    )


def test_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    files = dict(zip(showing.DOWNLOADS, showing.write_downloads(person(), "street.jpg"), strict=True))
    pose = json.loads(Path(files["OpenPose"]).read_bytes())
    with zipfile.ZipFile(files["COCO"]) as archive:
        coco = {name.split(".")[1]: json.loads(archive.read(name)) for name in archive.namelist()}
    assert {len(coco[kind]) for kind in ("bbox", "keypoints")} == {1}
    assert coco["bbox"][0]["image_id"] == "street.jpg"
    assert pose["people"][0]["pose_keypoints_2d"][:2] == [20, 10]
    with Image.open(files["Parts (PNG)"]) as image:
        assert np.array_equal(np.asarray(image), person().label_map)
    nothing = showing.write_downloads(Answer((4, 4), False, (), ""), "street.jpg")
    assert [file is not None for file in nothing] == [True, False, False, False]
