"""Draws the pictures of the documentation as SVG: `python docs/images/draw.py` writes them beside this file.

The mask is that of the network's own function, so the picture shows what the code does.
"""

from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path

from torch import Tensor

from refhcm.models.refhcm.decoder import causal_mask
from refhcm.models.vqgan.config import NUM_CODES
from refhcm.utils.symbols import BOX_SYMBOLS

FOLDER = Path(__file__).resolve().parent
SANS = "font-family='-apple-system,Segoe UI,Helvetica,Arial,sans-serif'"
MONO = "font-family='ui-monospace,SFMono-Regular,Menlo,Consolas,monospace'"
PAPER, INK, PALE, GRID = "#fbfbfa", "#1f2328", "#59636e", "#d8dce0"
CAUSAL, OPENED, PUBLISHED = "#4a7fb5", "#e8923a", "#7d4fa3"
ARROW = "<marker id='tip' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' orient='auto'>"


def text(x: float, y: float, words: str, *, size: int = 13, anchor: str = "start", fill: str = INK, **how: bool) -> str:
    """One line of text. how: mono, bold."""
    style = (MONO if how.get("mono") else SANS) + (" font-weight='600'" if how.get("bold") else "")
    return (
        f"<text x='{x}' y='{y}' font-size='{size}' text-anchor='{anchor}' fill='{fill}' {style}>{escape(words)}</text>"
    )


def rect(x: float, y: float, width: float, height: float, *, fill: str, stroke: str = "none", round: int = 0) -> str:
    """A filled rectangle."""
    return f"<rect x='{x}' y='{y}' width='{width}' height='{height}' rx='{round}' fill='{fill}' stroke='{stroke}'/>"


def line(x0: float, y0: float, x1: float, y1: float, *, stroke: str = GRID, arrow: bool = False) -> str:
    """A straight line, with a tip at its end if it is an arrow."""
    tip = " stroke-width='1.5' marker-end='url(#tip)'" if arrow else ""
    return f"<line x1='{x0}' y1='{y0}' x2='{x1}' y2='{y1}' stroke='{stroke}'{tip}/>"


def document(width: int, height: int, title: str, parts: list[str]) -> str:
    """A whole SVG on a light sheet of its own, which reads the same in a light and a dark page."""
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' width='{width}' height='{height}'"
    tip = f"<defs>{ARROW}<path d='M0 0 8 4 0 8z' fill='{PALE}'/></marker></defs>"
    sheet = rect(0.5, 0.5, width - 1, height - 1, fill=PAPER, stroke=GRID, round=8)
    return "\n".join([f"{head} role='img'>", f"<title>{escape(title)}</title>", tip, sheet, *parts, "</svg>\n"])


def runs(mask: Tensor) -> list[tuple[int, int, int]]:
    """Runs of True in each row of a bool [T, T]: row, first column, length."""
    found = []
    for row, cells in enumerate(mask.tolist()):
        for value, run in groupby(range(len(cells)), cells.__getitem__):
            columns = list(run)
            if value:
                found.append((row, columns[0], len(columns)))
    return found


def qpg_mask() -> str:
    """Who attends to whom in Query Parallel Generation; what the groups of positions read and predict."""
    first, last, end = BOX_SYMBOLS + 2, BOX_SYMBOLS + 1 + NUM_CODES, BOX_SYMBOLS + 2 + NUM_CODES
    length, cell, left, top = end + 1, 10, 206, 92

    def seen(full_mask_position: tuple[int, int] | None) -> Tensor:
        return causal_mask(length, full_mask_position) == 0

    layers = [
        (seen(None), CAUSAL, "causal: a position sees itself and all before it"),
        (seen((first, last)) & ~seen(None), OPENED, f"opened by QPG, ({first}, {last}): the queries see each other"),
        (seen((first, end)) & ~seen((first, last)), PUBLISHED, f"opened in decoding only, ({first}, {end})"),
    ]
    groups = [  # first, last, column's name, what the row reads and predicts, by how much that is moved down
        (0, BOX_SYMBOLS - 1, "", "bos x0 y0 x1 → x0 y0 x1 y1", -4),
        (BOX_SYMBOLS, BOX_SYMBOLS, "", "y1 → <code_40>", -2),
        (BOX_SYMBOLS + 1, BOX_SYMBOLS + 1, "", "<code_40> → nothing", 4),
        (first, last, "48 queries <code_42> … <code_89>", "", 0),
        (end, end, "", "<code_41> → eos", 0),
    ]
    side = cell * length
    parts = [text(24, 34, "Who sees whom when 48 codes are read in one step", size=17, bold=True)]
    parts += [rect(left, top, side, side, fill="#ffffff", stroke=GRID)]
    for mask, colour, _ in layers:
        parts += [rect(left + cell * c, top + cell * r, cell * n, cell, fill=colour) for r, c, n in runs(mask)]
    cuts = [left + cell * k for k in range(length + 1)]
    parts += [line(x, top, x, top + side, stroke="#ffffff55") for x in cuts]
    parts += [line(left, y - left + top, left + side, y - left + top, stroke="#ffffff55") for y in cuts]
    for begin, stop, column, row, down in groups:
        x, y = left + cell * begin, top + cell * begin
        parts += [line(x, top - 8, x, top + side, stroke=PALE)] * (begin > 0)
        parts += [line(left - 8, y, left + side, y, stroke=PALE)] * (begin > 0)
        parts += [text(x + cell * (stop + 1 - begin) / 2, top - 12, column, size=12, anchor="middle", mono=True)]
        middle = y + cell * (stop + 1 - begin) / 2 + 4 + down
        parts += [text(left - 12, middle, row, size=11, anchor="end", mono=True)]
    parts += [text(left + cell * first / 2, top - 26, "bos box", size=11, anchor="middle", mono=True)]
    parts += [text(left + cell * first / 2, top - 12, "<code_40>", size=11, anchor="middle", mono=True)]
    parts += [text(left + side - 5, top - 26, "<code_41>", size=11, anchor="middle", mono=True)]
    middle = top + cell * (first + last) / 2
    rows = (("each query", INK), ("predicts its own", INK), ("code_0 … code_47", INK), ("(positions 6 … 53)", PALE))
    parts += [
        text(left - 12, middle + 17 * k, words, size=12, anchor="end", fill=fill)
        for k, (words, fill) in enumerate(rows)
    ]
    parts += [text(left - 12, top - 30, "row: who looks", size=12, anchor="end", fill=PALE)]
    parts += [text(left - 12, top - 14, "column: who is seen", size=12, anchor="end", fill=PALE)]
    for k, (_, colour, words) in enumerate(layers):
        y = top + side + 22 + 22 * k
        parts += [rect(left, y, 14, 14, fill=colour), text(left + 22, y + 12, words)]
    return document(820, top + side + 100, "The attention mask of Query Parallel Generation", parts)


@dataclass(frozen=True)
class Stop:
    """A box of the row's way: what it is, and an example or its type."""

    name: str
    what: str


IN = (
    Stop("row of a table", "id, image, expression, box, …"),
    Stop("Annotation", "checked numbers, decoded picture"),
    Stop("placed picture", "512 x 512, two resize ratios"),
    Stop("Sample", "source, target, prev_output_tokens"),
    Stop("batch", "net_input, and labels for the metrics"),
)
INWARD = (
    ("TsvFile, Task.annotation", "data/tsv.py, tasks/base.py"),
    ("Canvas.place", "data/canvas.py"),
    ("Task.sample: source and target", "tasks/base.py, one file a task"),
    ("collate", "data/collate.py"),
)
OUT = (
    Stop("metrics", "numbers for the whole set"),
    Stop("statistics, record", "of one row"),
    Stop("Prediction", "box, keypoints, codes, caption"),
    Stop("ids", "the best answer's symbols"),
    Stop("network", "image + prompt → symbols"),
)
OUTWARD = (
    ("Task.summarize", "one file a task"),
    ("Task.in_image, .statistics, .record", "tasks/base.py, one file a task"),
    ("Task.parse, the inverse of target", "one file a task"),
    ("Task.generate", "models/generation.py, models/qpg.py"),
)
FRAMES = ("text, numbers", "image px", "canvas px", "symbols", "tensors")


def row_way() -> str:
    """A row's way in, down to tensors, and its answer's way out, up to metrics; one frame of coordinates a level."""
    top, step, height, width, xs = 66, 112, 54, 246, (130, 486)
    parts = [text(24, 36, "From a row of a table to metrics", size=17, bold=True)]
    for level, frame in enumerate(FRAMES):
        y = top + step * level
        parts += [rect(16, y - 6, 828, height + 12, fill="#eef1f4", round=6)]
        parts += [text(28, y + height / 2 + 5, frame, size=13, fill=PALE)]
    for x, stops in zip(xs, (IN, OUT), strict=True):
        for level, stop in enumerate(stops):
            y = top + step * level
            colour = "#fff4e6" if stop.name == "network" else "#ffffff"
            parts += [rect(x, y, width, height, fill=colour, stroke="#aab2bb", round=6)]
            parts += [text(x + width / 2, y + 23, stop.name, size=14, anchor="middle", bold=True)]
            parts += [text(x + width / 2, y + 42, stop.what, size=12, anchor="middle", fill=PALE)]
    for level, (inward, outward) in enumerate(zip(INWARD, OUTWARD, strict=True)):
        above, below = top + step * level + height, top + step * (level + 1)
        for x, (function, file), down in ((xs[0], inward, True), (xs[1], outward, False)):
            ends = (above + 2, below - 2) if down else (below - 2, above + 2)
            parts += [line(x + 24, ends[0], x + 24, ends[1], stroke=PALE, arrow=True)]
            parts += [text(x + 36, above + 26, function, size=12, mono=True)]
            parts += [text(x + 36, above + 42, file, size=11, fill=PALE, mono=True)]
    y = top + step * 4 + height / 2
    parts += [line(xs[0] + width + 4, y, xs[1] - 4, y, stroke=PALE, arrow=True)]
    parts += [text((xs[0] + width + xs[1]) / 2, y - 10, "Network.encode", size=11, anchor="middle", mono=True)]
    return document(860, top + step * 4 + height + 24, "The way of a row", parts)


if __name__ == "__main__":
    for name, drawn in (("qpg_mask.svg", qpg_mask()), ("row_way.svg", row_way())):
        (FOLDER / name).write_text(drawn, encoding="utf-8")
