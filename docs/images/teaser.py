"""Draws the picture at the head of the README: what the shipped model answers about the examples.

python docs/images/teaser.py
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import refhcm

ROOT = Path(__file__).resolve().parents[2]
ASKED = {
    "park.jpg": "the guy waving with the left hand",
    "room.jpg": "the man in an open gray coat",
    "jump.jpg": "guy dressed in a light blue beanie",
}
TILE_WIDTH, TILE_HEIGHT, MARGIN, ABOVE, BELOW = 600, 480, 24, 70, 240  # px; GitHub shows half of them
PAPER, INK, GREY = "white", "#1f2328", "#59636e"


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """The text with line breaks where it would be wider than `width` px."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if font.getlength(longer) <= width else [*lines, word]
    return "\n".join(lines)


def tile(model: refhcm.Predictor, name: str, expression: str) -> Image.Image:
    """The expression, the answer drawn on its picture, and the caption."""
    picture = refhcm.open_picture(ROOT / "examples" / name)
    scale = min(TILE_WIDTH / picture.width, TILE_HEIGHT / picture.height)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
    answer = model.refer(picture, expression, keypoints=True, parsing=True, caption=True)
    sheet = Image.new("RGB", (TILE_WIDTH, ABOVE + TILE_HEIGHT + BELOW), PAPER)
    draw = ImageDraw.Draw(sheet)
    large, plain = (ImageFont.load_default(size) for size in (34, 29))
    draw.text((TILE_WIDTH / 2, ABOVE - 20), f"“{expression}”", INK, large, "md")
    sheet.paste(refhcm.draw_answer(picture, answer), ((TILE_WIDTH - picture.width) // 2, ABOVE))
    below = (TILE_WIDTH / 2, ABOVE + picture.height + 20)
    draw.text(below, wrapped(answer.caption or "", plain, TILE_WIDTH), GREY, plain, "ma", align="center")
    return sheet


def main() -> None:
    """Writes teaser.jpg beside this file."""
    model = refhcm.load(device="cpu")
    tiles = [tile(model, name, expression) for name, expression in ASKED.items()]
    width = len(tiles) * TILE_WIDTH + (len(tiles) + 1) * MARGIN
    teaser = Image.new("RGB", (width, tiles[0].height), PAPER)
    for k, one in enumerate(tiles):
        teaser.paste(one, (MARGIN + k * (TILE_WIDTH + MARGIN), 0))
    teaser.save(Path(__file__).with_name("teaser.jpg"), quality=88)


if __name__ == "__main__":
    main()
