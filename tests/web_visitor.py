"""A person at the page, in headless Chromium."""

import json
import re

import pytest
from PIL import Image

playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core comes with axe-playwright-python")
pytest.importorskip("gradio", reason="the page needs the `demo` extra")

from refhcm.apps.web.kinds import WANTED, WAYS  # noqa: E402

STEP_MS = 100_000  # the machine may be busy
# WCAG's contrast of an element's colour with what lies behind it.
CONTRAST = """(element, [name, pseudo, own]) => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => numbers(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  let behind = own ? element : element.parentElement;
  const fill = () => getComputedStyle(behind).backgroundColor;
  while (numbers(fill())[3] === 0) behind = behind.parentElement;
  const both = [getComputedStyle(element, pseudo)[name], fill()].map(luminance).sort((a, b) => a - b);
  return (both[1] + 0.05) / (both[0] + 0.05);
}"""


class Visitor:
    """A person at the page."""

    def __init__(self, page):
        self.page, self.last = page, None
        self.asked_elsewhere, self.complaints = [], []
        page.set_default_timeout(STEP_MS)
        page.on("request", lambda request: self.asked_elsewhere.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def upload(self, path):
        remove = self.page.locator("#picture [aria-label='Remove Image']")
        if remove.count():
            remove.click()
            remove.wait_for(state="detached")
        self.page.set_input_files("#picture input[type=file]", path)
        self.page.wait_for_selector("#picture img")

    def want(self, *names):
        """Ticks these checkboxes and no others."""
        for name, label in WANTED.items():
            self.page.locator("#wanted").get_by_label(label, exact=True).set_checked(name in names)

    def by_box(self):
        self.page.get_by_label("With a box", exact=True).check()

    def advanced(self, way):
        if not self.page.locator("#way").is_visible():
            self.page.locator("#advanced button").first.click()
        self.page.locator("#way").get_by_label(WAYS[way].label, exact=True).check()

    def example(self, number):
        self.page.locator("#examples .grid-container button").nth(number).click()

    def violations(self):
        """What axe-core finds wrong with the page as it is: rule, and the elements."""
        found = axe.Axe().run(self.page).response["violations"]
        return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]

    def contrast(self, selector, colour, *, pseudo=None, own=False):
        """How a CSS colour contrasts with what lies behind the element, or with the element's own ground."""
        return self.page.locator(selector).first.evaluate(CONTRAST, [colour, pseudo, own])

    def ask(self, *, expect="."):
        """Presses the button and waits for a new answer: its JSON. expect: a pattern that the sentence must match."""
        self.page.click("#ask")
        return self.answered(expect=expect)

    def answered(self, *, expect="."):
        self.page.wait_for_selector("#answer-json")
        while (answer := self.downloaded("answer-json")).url == self.last:
            self.page.wait_for_timeout(200)
        self.last = answer.url
        playwright.expect(self.page.locator("#status")).to_contain_text(re.compile(expect), timeout=STEP_MS)
        return json.loads(answer.path().read_bytes())

    def ask_in_vain(self, *, expect):
        """Presses the button, waits for the sentence, and checks that nothing else is shown."""
        self.page.click("#ask")
        playwright.expect(self.page.locator("#status .problem")).to_contain_text(re.compile(expect), timeout=STEP_MS)
        playwright.expect(self.page.locator("#answer-json")).to_be_hidden(timeout=STEP_MS)
        assert self.page.locator("#drawn img").count() == 0

    def downloaded(self, name):
        with self.page.expect_download() as download:
            self.page.click(f"#{name}")
        return download.value

    def drawn(self, path):
        """The pixels of the drawing, saved under `path` as the page offers it."""
        source = self.page.get_attribute("#drawn img", "src")
        path.write_bytes(self.page.request.get(source).body())
        with Image.open(path) as image:
            return image.convert("RGB").tobytes()

    def drag(self, selector, start, end):
        """Drags from one point to another, given as fractions of the element's width and height."""
        self.page.locator(selector).scroll_into_view_if_needed()
        edge = self.page.locator(selector).bounding_box()
        places = [(edge["x"] + x * edge["width"], edge["y"] + y * edge["height"]) for x, y in (start, end)]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        self.page.mouse.move(*places[1], steps=5)
        self.page.mouse.up()
