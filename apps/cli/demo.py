"""What the model can do, on pictures it has never seen: the answers of all tasks, drawn, as JSON, and on one sheet.

    refhcm demo [--out demo] [--seed 2026] [--pictures 4]

The pictures are drawn for the occasion, from the test split of a seed that no training has seen. With --checkpoint and
--image it shows another model on pictures of your own, each with its --text.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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
from .model_flags import add_model_flags, load_model

SPLIT = "test"
TILE_PX = 520  # width of a card on the sheet
KINDS = 6  # of answers, at most


@dataclass(frozen=True)
class Question:
    """A picture and who is meant in it. drawn: for this occasion, so that there is no file of it yet."""

    name: str
    image: Image.Image
    expression: str
    drawn: bool = False


def drawn_questions(seed: int, count: int) -> list[Question]:
    """Pictures of two or more people from a world's test split, with an expression that fits one of them."""
    questions: list[Question] = []
    index = 0
    while len(questions) < count:
        rng = scene_random(seed, SPLIT, index)
        scene, name = sample_scene(rng), f"{SPLIT}_{index}"
        index += 1
        person = rng.randrange(len(scene.views))
        said = expressions_for(scene, person, rng, names=names_in(scene, rng), count=1, held_out=False)
        if len(scene.views) > 1 and said:
            questions.append(Question(name, scene.picture, said[0].text, drawn=True))
    return questions


def answers(model: Predictor, question: Question) -> Iterator[tuple[str, str, Image.Image, Answer]]:
    """(kind, what was asked, of which picture, answer) of every task. The caption is of the first answer's box."""
    image, text = question.image, question.expression
    box = model.refer(image, text)
    yield "box", text, image, box
    yield "keypoints", text, image, model.refer(image, text, keypoints=True)
    yield "parsing", text, image, model.refer(image, text, parsing=True)
    yield "parsing in parallel", text, image, model.refer(image, text, parsing=True, parallel=True)
    if box.box_xyxy is not None:
        region = ", ".join(f"{edge:.0f}" for edge in box.box_xyxy)
        yield "caption", f"the region {region}", draw_box(image, box.box_xyxy), model.describe(image, box.box_xyxy)
    yield "all in one instruction", text, image, model.chain(image, text, keypoints=True, parsing=True)


def show(model: Predictor, questions: list[Question], out: Path) -> None:
    """Writes drawn pictures, a card and a JSON file for each answer, and contact_sheet.png; prints the answers."""
    out.mkdir(parents=True, exist_ok=True)
    tiles = []
    for question in tqdm(questions, desc="showcase", unit="picture"):
        if question.drawn:
            question.image.save(out / f"{question.name}.jpg", quality=92)
        row: list[Image.Image] = []
        for kind, asked, picture, answer in answers(model, question):
            stem = f"{question.name}_{kind.replace(' ', '_')}"
            card = answer_card(picture, answer, question=f"{kind}: {asked}")
            card.save(out / f"{stem}.png")
            (out / f"{stem}.json").write_text(answer.to_json(indent=2) + "\n", encoding="utf-8")
            row.append(card.resize((TILE_PX, round(card.height * TILE_PX / card.width)), Image.Resampling.LANCZOS))
            found = answer.caption or (None if answer.box_xyxy is None else np.round(answer.box_xyxy).tolist())
            tqdm.write(f"{question.name} | {kind} | {asked} -> {found}")
        tiles += [*row, *[Image.new("RGB", (1, 1))] * (KINDS - len(row))]
    contact_sheet(tiles, KINDS).save(out / "contact_sheet.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write (default: demo)")
    parser.add_argument("--seed", type=int, default=2026, help="of the drawn pictures (default: 2026)")
    parser.add_argument("--pictures", type=int, default=4, help="how many are drawn (default: 4)")
    parser.add_argument("--image", action="append", default=[], help="a picture of your own, with --text for each")
    parser.add_argument("--text", action="append", default=[], help="who is meant in the picture of the same place")
    add_model_flags(parser)


def run(args: argparse.Namespace) -> None:
    """Loads, asks, draws, and says how to go on."""
    if len(args.image) != len(args.text):
        raise UserError(f"needs a --text for each --image, got {len(args.image)} pictures and {len(args.text)} texts")
    if args.pictures < 1:
        raise UserError(f"--pictures needs a number from 1 on, got {args.pictures}")
    began = time.monotonic()
    model = load_model(args)
    pairs = enumerate(zip(args.image, args.text, strict=True), start=1)
    own = [Question(f"{k}_{Path(path).stem}", open_picture(path), text) for k, (path, text) in pairs]
    show(model, own or drawn_questions(args.seed, args.pictures), args.out)
    print(f"\n{args.out}/contact_sheet.png: everything at a glance ({time.monotonic() - began:.0f} s)")
    print(f"{args.out}/*.png, *.json: each answer, drawn and as data")
    print("\nGo on with\n  python gradio_demo.py                       the web demo")
    print('  refhcm ask PICTURE --text "the woman in red" --keypoints --parsing')
    print("  refhcm download refhcm                      the paper's model, for photographs")
