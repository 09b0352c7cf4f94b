"""Asks every kind of question about new pictures and draws the answers, one by one and on a contact sheet.

    refhcm demo
    refhcm demo --pictures 2 --seed 7 --out more
    refhcm demo --checkpoint checkpoints/refhcm.pt --image street.jpg --text "the woman in red"

The pictures are drawn from a seed that no training has used. With --image and --text they are yours.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from ...data.pictures import open_picture
from ...data.synthetic.language.expressions import expressions_for, names_in
from ...data.synthetic.picture.scene import sample_scene
from ...data.synthetic.writer import scene_random
from ...inference.answers import Answer
from ...inference.drawing import answer_card
from ...inference.predictor import Predictor
from ...utils.drawing import contact_sheet, draw_box
from ...utils.errors import UserError
from ...utils.files import atomic_write, check_writable
from ...utils.flags import positive
from .model_flags import add_model_flags, load_model
from .pictures import save_picture

SPLIT = "test"
TILE_PX = 520  # width of a card on the sheet
KINDS = 6  # of answers, at most


def drawn_pictures(seed: int, count: int) -> Iterator[tuple[str, Image.Image, str]]:
    """Name, picture of two or more people, and an expression that describes one of them."""
    index = found = 0
    while found < count:
        rng = scene_random(seed, SPLIT, index)
        scene, name = sample_scene(rng), f"{SPLIT}_{index}"
        index += 1
        person = rng.randrange(len(scene.views))
        said = expressions_for(scene, person, rng, names=names_in(scene, rng), count=1, held_out=False)
        if len(scene.views) > 1 and said:
            found += 1
            yield name, scene.picture, said[0].text


def answers(model: Predictor, image: Image.Image, text: str) -> Iterator[tuple[str, Image.Image, Answer]]:
    """(question, picture, answer) of every kind. The caption describes the person in the box that was found."""
    box = model.refer(image, text)
    yield f"box: {text}", image, box
    yield f"keypoints: {text}", image, model.refer(image, text, keypoints=True)
    yield f"parsing: {text}", image, model.refer(image, text, parsing=True)
    yield f"parsing in parallel: {text}", image, model.refer(image, text, parsing=True, parallel=True)
    if box.box_xyxy is not None:
        numbers = box.box_xyxy.tolist()
        region = ", ".join(f"{edge:.0f}" for edge in numbers)
        yield f"caption: the region {region}", draw_box(image, numbers), model.describe(image, numbers)
    yield f"all in one instruction: {text}", image, model.chain(image, text, keypoints=True, parsing=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="Write into this folder (default: demo).")
    parser.add_argument("--seed", type=int, default=2026, help="Draw other pictures with another seed (default: 2026).")
    parser.add_argument("--pictures", type=positive, default=4, help="Draw this many pictures (default: 4).")
    parser.add_argument("--image", action="append", default=[], help="Ask about your own picture; may be repeated.")
    parser.add_argument("--text", action="append", default=[], help="Say whom you mean in it, once for each --image.")
    add_model_flags(parser)


def run(args: argparse.Namespace) -> None:
    """Writes drawn pictures, a card and a JSON file for each answer, and contact_sheet.png."""
    if len(args.image) != len(args.text):
        raise UserError(f"needs a --text for each --image, got {len(args.image)} pictures and {len(args.text)} texts")
    began = time.monotonic()
    own = [(f"{k}_{Path(path).stem}", open_picture(path)) for k, path in enumerate(args.image, start=1)]
    questions = [(*picture, text) for picture, text in zip(own, args.text, strict=True)]
    check_writable(args.out)
    model = load_model(args, drawn=not own)
    tiles = []
    for name, image, text in tqdm(questions or [*drawn_pictures(args.seed, args.pictures)], desc="demo"):
        if not own:
            save_picture(image, args.out / f"{name}.jpg", quality=92)
        row = []
        for question, picture, answer in answers(model, image, text):
            stem = f"{name}_{question.partition(':')[0].replace(' ', '_')}"
            card = answer_card(picture, answer, question=question)
            save_picture(card, args.out / f"{stem}.png")
            with atomic_write(args.out / f"{stem}.json") as part:
                part.write_text(answer.to_json(indent=2) + "\n", encoding="utf-8")
            row.append(card.resize((TILE_PX, round(card.height * TILE_PX / card.width)), Image.Resampling.LANCZOS))
        tiles += [*row, *[Image.new("RGB", (1, 1))] * (KINDS - len(row))]
    save_picture(contact_sheet(tiles, KINDS), args.out / "contact_sheet.png")
    print(f"{args.out}/contact_sheet.png: all answers on one sheet ({time.monotonic() - began:.0f} s)")
    print(f"{args.out}/*.png, *.json: each answer, drawn and as data\n")
    print('Next: refhcm ask PICTURE --text "the woman in red", refhcm web, or refhcm download photos')
