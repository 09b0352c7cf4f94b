"""The page in a real browser (headless Chromium): what a visitor does with mouse and keyboard."""

import json
import re

import pytest
from PIL import Image
from web_page import BROWSER, CHROMIUM, Server, broken_pictures
from web_visitor import STEP_MS, Visitor, playwright

from refhcm.apps.web.examples import EXAMPLES, QUESTIONS
from refhcm.apps.web.kinds import WANTED, WAYS
from refhcm.data.pictures import MAX_BYTES, open_picture

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}: apt-get install chromium")
ROOM, SNOW = EXAMPLES / "room.jpg", EXAMPLES / "snow.jpg"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page with the shipped model."""
    log = tmp_path_factory.mktemp("page") / "log.txt"
    server = Server("--device=cpu", log=log)
    yield server
    assert server.stop() == 0
    assert not list(server.temporary.iterdir())
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(**BROWSER)
        yield browser
        browser.close()


@pytest.fixture
def visitor(server, chromium):
    page = chromium.new_page(accept_downloads=True, viewport={"width": 1280, "height": 1200})
    visitor = Visitor(page)
    page.goto(server.url)
    page.wait_for_selector("#ask")
    yield visitor
    assert visitor.complaints == []
    assert [url for url in visitor.asked_elsewhere if not url.startswith((server.url, "data:", "blob:"))] == []
    page.close()


def test_a_visit(visitor, tmp_path):
    """Upload, ask for pose and parts, hide, download, ask for a caption, draw a box, upload rubbish."""
    page = visitor.page
    assert "comes with the project" in page.inner_text("#model")
    visitor.upload(ROOM)
    page.locator("#expression textarea, #expression input").press_sequentially("the man in the middle")
    visitor.want("box", "keypoints", "parts")
    answer = visitor.ask(expect="Found: a box.*, [0-9]+ keypoints, [0-9]+ parts")
    assert answer["size"] == list(open_picture(ROOM).size)
    assert len(answer["keypoints"]) == 17
    assert page.get_attribute("#drawn img", "alt") == "The picture with a person marked"
    assert json.loads(visitor.downloaded("openpose-json").path().read_bytes())["people"]
    with Image.open(visitor.downloaded("cutout-png").path()) as person:
        assert person.mode == "RGBA"

    before, source = visitor.drawn(tmp_path / "all.png"), page.get_attribute("#drawn img", "src")
    page.locator("#legend label", has_text="box").click()
    page.wait_for_function("old => document.querySelector('#drawn img').getAttribute('src') !== old", arg=source)
    assert visitor.drawn(tmp_path / "less.png") != before
    playwright.expect(page.locator("#legend label.off")).to_have_text("box")
    page.locator("#legend label", has_text="box").click()
    page.wait_for_function("old => document.querySelector('#drawn img').getAttribute('src') === old", arg=source)
    page.locator("#least input[type=number]").fill("1")
    page.locator("#least input[type=number]").press("Enter")
    page.wait_for_function("old => document.querySelector('#drawn img').getAttribute('src') !== old", arg=source)

    page.click("#describe")
    described = visitor.answered()
    assert described["box"] == answer["box"]
    assert described["caption"] in page.inner_text("#status")
    playwright.expect(page.locator("#wanted").get_by_label(WANTED["caption"])).to_be_checked()
    playwright.expect(page.locator("#describe")).to_be_hidden()

    visitor.by_box()
    playwright.expect(page.locator("#answer")).to_be_hidden()  # the old answer goes when the question changes
    page.wait_for_selector("#drawer .stage.ready img")
    visitor.drag("#drawer img", (0.7, 0.95), (0.3, 0.25))
    width, height = open_picture(ROOM).size
    corners = [float(number) for number in page.locator("#box textarea, #box input").input_value().split(",")]
    assert corners == pytest.approx([0.3 * width, 0.25 * height, 0.7 * width, 0.95 * height], abs=1.5)
    described = visitor.ask()
    said = described["caption"] or described["notes"][0]  # words that cannot be read are said to be so
    assert re.sub(r"\s+", " ", said) in re.sub(r"\s+", " ", page.inner_text("#status"))

    rubbish = tmp_path / "rubbish.png"
    rubbish.write_bytes(broken_pictures()["words.png"])
    visitor.upload(rubbish)
    page.wait_for_selector("#drawer .stage", state="hidden")  # no box is drawn on what the browser cannot show
    playwright.expect(page.locator("#drawer .hint")).to_contain_text("cannot show")
    playwright.expect(page.locator("#advanced")).to_be_hidden()  # of no use with a box
    visitor.page.get_by_label("In words", exact=True).check()
    visitor.ask_in_vain(expect="Picture: cannot be read as a picture")


def test_with_the_keyboard_alone(visitor):
    """From the picture on: who, a checkbox, Ask; then a switch of the legend."""
    page = visitor.page
    visitor.upload(SNOW)
    page.locator("#expression textarea, #expression input").focus()
    page.keyboard.type("the man in the blue sweater")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#wanted') !== null"):
            break
    page.keyboard.press("Tab")
    page.keyboard.press("Space")  # Pose
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "ask":
            break
    page.keyboard.press("Enter")
    assert visitor.answered(expect="keypoint")["keypoints"]
    page.locator("#legend input").first.focus()
    page.keyboard.press("Space")
    playwright.expect(page.locator("#legend label.off")).to_have_text("box")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everyone_can_read_it(theme, width, server, chromium):
    """No violation that axe-core finds, nothing wider than the screen: empty, with an answer, and with a box.

    What axe-core does not look at (WCAG 1.4.3 and 1.4.11): outlines, placeholders, and the button under the mouse.
    """
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
    visitor = Visitor(page)
    page.goto(f"{server.url}?__theme={theme}")
    page.wait_for_selector("#examples img")

    def check():
        page.wait_for_timeout(500)  # colours fade in
        assert visitor.violations() == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width

    check()
    for field in ("#everyone input", "#wanted label:has-text('Pose') input", "#who input[value='box']"):
        assert visitor.contrast(field, "borderTopColor") >= 3, field
    text = "#expression textarea, #expression input"
    assert visitor.contrast(text, "borderTopColor") >= 3
    assert page.locator(text).evaluate("field => getComputedStyle(field).borderTopWidth") == "1px"
    assert visitor.contrast(text, "color", pseudo="::placeholder", own=True) >= 4.5
    page.hover("#ask")
    page.wait_for_timeout(500)
    assert visitor.contrast("#ask", "color", own=True) >= 4.5
    cut = "parts => parts.filter(part => part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight)"
    assert page.locator("#examples .caption-label, #examples .grid-wrap").evaluate_all(f"{cut}.length") == 0
    page.get_by_role("button", name=f"Ask: {QUESTIONS[2].title}").click()
    found = page.locator("#status p", has_text="Found: a box")
    playwright.expect(found).to_be_in_viewport(timeout=STEP_MS)  # wherever the example was clicked
    visitor.answered(expect="Found: a box.*parts")
    visitor.example(5)
    playwright.expect(found).to_contain_text("17 keypoints", timeout=STEP_MS)
    playwright.expect(found).to_be_in_viewport(ratio=1)  # fields above it have gone meanwhile
    visitor.advanced("instruction")
    check()
    visitor.by_box()
    page.wait_for_selector("#drawer .stage.ready img")
    check()
    page.close()


@pytest.mark.slow
def test_each_way_and_each_example(visitor):
    page = visitor.page
    visitor.upload(SNOW)
    page.fill("#expression textarea, #expression input", "the man in the blue sweater")
    for way in ("words", "chain"):
        visitor.advanced(way)
        visitor.want("box", "keypoints", "parts")
        visitor.ask(expect="a box.*parts")
    assert visitor.downloaded("parts-png").suggested_filename == "parts.png"
    visitor.advanced("instruction")
    page.locator("#template input").click()
    page.get_by_role("option", name="Pose").click()
    playwright.expect(page.locator("#instruction textarea")).to_have_value(re.compile("blue sweater.*keypoints"))
    visitor.ask(expect="a box")
    for number, example in enumerate(QUESTIONS):
        visitor.example(number)
        assert visitor.answered()["size"] == list(open_picture(example.path).size)
        asks = WAYS[example.way].asks
        field = page.locator(f"#{asks} textarea, #{asks} input")
        playwright.expect(field).to_have_value(getattr(example, asks), timeout=STEP_MS)


@pytest.mark.slow
def test_a_typed_box_is_drawn_and_a_new_picture_has_none(visitor):
    page = visitor.page
    visitor.upload(SNOW)
    visitor.by_box()
    page.wait_for_selector("#drawer .stage.ready img")
    page.fill("#box textarea, #box input", "10, 20, 110, 120")
    page.wait_for_selector("#drawer .frame", state="visible")
    width, height = open_picture(SNOW).size
    style = page.locator("#drawer .frame").evaluate("frame => [frame.style.left, frame.style.height]")
    assert [float(text.rstrip("%")) for text in style] == pytest.approx([1000 / width, 10_000 / height], abs=0.1)
    visitor.upload(ROOM)
    playwright.expect(page.locator("#box textarea, #box input")).to_have_value("", timeout=STEP_MS)
    page.wait_for_selector("#drawer .frame", state="hidden")
    visitor.ask_in_vain(expect="Box.*: no box yet")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["truncated.jpg", "bomb.png", "empty.png", "svg.svg"])
def test_broken_uploads_are_sentences(name, visitor, tmp_path):
    path = tmp_path / name
    path.write_bytes(broken_pictures()[name])
    visitor.upload(path)
    visitor.page.fill("#expression textarea, #expression input", "a man")
    visitor.ask_in_vain(expect="Picture: ")


@pytest.mark.slow
def test_a_file_that_is_too_large_is_a_sentence(visitor, tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(bytes(MAX_BYTES + 1))
    visitor.page.set_input_files("#picture input[type=file]", path)
    playwright.expect(visitor.page.locator("body")).to_contain_text(re.compile("exceed|too large"), timeout=STEP_MS)
