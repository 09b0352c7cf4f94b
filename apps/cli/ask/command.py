"""`refhcm ask`: questions about the people in many pictures, answered in batches, one JSON line for each.

    refhcm ask photos/ --text "the woman in red" --keypoints --out answers.jsonl
    refhcm ask a.jpg --box 10,20,200,400                     a caption of the person in the box
    refhcm ask --pairs pairs.csv --parsing --masks masks/    a table of pictures and expressions, each with its own

A run goes on where an earlier one with the same --out stopped: a question that is answered there is not asked again.
A picture that can not be read, and a question that can not be asked, become a line with `error`. Exports and drawings
are of all this model's answers in --out. Exit status 0: all is answered; 1: not all; 2: a mistake.
"""

import argparse
import math
import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....utils.errors import UserError
from ....utils.flags import positive
from ..model_flags import add_model_flags, load_model
from .questions import Job, pictures, read_pairs

if TYPE_CHECKING:  # imported when something is asked: a mistake on the command line is said at once
    from ....inference.predictor import Predictor

MARKED = 2**20  # bytes at the end of a model's file
PARTS = ("keypoints", "parsing", "parallel", "caption")  # what can be asked for beside the box
EXPORTS = {  # of `ask_exports`
    "coco": ("FILE", "write COCO results: FILE.bbox.json, .keypoints.json and .segm.json"),
    "openpose": ("DIR", "write OpenPose's JSON of each picture, with all its people"),
    "masks": ("DIR", "write the parts' masks as PNG"),
    "save_images": ("DIR", "write the pictures with the answers drawn on them"),
}
PAIRS = """CSV or TSV file in UTF-8 of pictures and texts. Its header names the columns, image and expression; without
one they are its only two. A picture's path starts at the file's folder, or else at the working folder"""


def questions(args: argparse.Namespace) -> list[Job]:
    """All that is asked, picture by picture. UserError for what does not go together."""
    _refuse_mixtures(args)
    if args.pairs is not None:
        asked = [(image, _asked(args, text)) for image, text in read_pairs(args.pairs)]
    else:
        each = [_asked(args, text) for text in args.text] + [{"describe": box} for box in args.box]
        asked = [(image, question) for image in pictures(args.image) for question in each]
    return [Job(image, question) for image, question in asked]


def _asked(args: argparse.Namespace, text: str) -> dict[str, Any]:
    if args.instruct:
        return {"instruct": text}
    return {"refer": text} | {name: True for name in PARTS if getattr(args, name)}


def _refuse_mixtures(args: argparse.Namespace) -> None:
    parts = [f"--{name}" for name in PARTS if getattr(args, name)]
    if bool(args.image) == (args.pairs is not None):
        raise UserError("name pictures or folders, or a table of pairs with --pairs")
    if args.pairs is not None and (args.text or args.box):
        raise UserError("--pairs: has the texts; --text and --box go with pictures")
    if args.pairs is None and not (args.text or args.box):
        raise UserError("nothing is asked: name --text or --box")
    if parts and (args.instruct or (args.box and not args.text)):
        raise UserError(f"{', '.join(parts)}: go with --text that describes a person, not with --instruct or --box")
    if args.parallel and not args.parsing:
        raise UserError("--parallel: is a way to answer --parsing")
    if args.coco is not None and (not args.coco.name or args.coco.is_dir()):
        raise UserError(f"--coco {args.coco}: needs a file's name, for FILE.bbox.json and the others")
    if any(not text.strip() for text in args.text):
        raise UserError("--text: is empty")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("image", nargs="*", metavar="IMAGE", help="picture, or folder of pictures at any depth")
    parser.add_argument("--pairs", type=Path, metavar="FILE", help=PAIRS)
    parser.add_argument("--text", action="append", default=[], help="who is meant; may be given several times")
    parser.add_argument("--keypoints", action="store_true", help="ask for 17 keypoints, too")
    parser.add_argument("--parsing", action="store_true", help="ask for the parts of the person, too")
    parser.add_argument("--parallel", action="store_true", help="parts by Query Parallel Generation")
    parser.add_argument("--caption", action="store_true", help="describe the person in the box found, too")
    parser.add_argument("--instruct", action="store_true", help="the texts are instructions, asked as they are")
    parser.add_argument(
        "--box", action="append", default=[], type=_box, metavar="X0,Y0,X1,Y1", help="describe this person, image px"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON lines of answers (default: print them)")
    for flag, (metavar, text) in EXPORTS.items():
        parser.add_argument("--" + flag.replace("_", "-"), type=Path, metavar=metavar, help=text)
    add_model_flags(parser)
    parser.add_argument("--batch-size", type=positive, help="questions asked together (default: what fits)")


def _box(text: str) -> list[float]:
    try:
        x0, y0, x1, y1 = numbers = [float(number) for number in text.split(",")]
        if x0 < x1 and y0 < y1 and all(map(math.isfinite, numbers)):
            return numbers
    except ValueError:  # no numbers, or not four
        pass
    raise argparse.ArgumentTypeError(f"needs four numbers x0,y0,x1,y1 with x0 < x1 and y0 < y1, got {text!r}")


def run(args: argparse.Namespace) -> int:
    """Exit status: 0 when all is answered, else 1."""
    name, tokenizer = model_name(args.checkpoint), tokenizer_mark(args)
    asked = list({question.key(name): question for question in questions(args)}.values())
    from .answering import answer_all
    from .exports import EXPORTERS
    from .records import open_records

    with open_records(args.out) as records:
        left = [question for question in asked if not records.has_answer(question, name, tokenizer)]
        known = len(asked) - len(left)
        marks = {"name": name, "tokenizer": tokenizer}
        errors = answer_all(_model(args), records, left, known=known, **marks) if left else 0
        answers = records.answered(name)
    where = "" if args.out is None else f"{args.out}: "
    print(f"{where}{len(left) - errors} answered, {known} were there, {errors} without an answer", file=sys.stderr)
    for flag, export in EXPORTERS.items():
        if (place := getattr(args, flag)) is not None:
            print(f"{place}: {len(export(answers, place))} files", file=sys.stderr)
    return 1 if errors else 0


def model_name(checkpoint: str | None) -> str:
    """What lines call a model: its file, and a mark of the content, for training may write it anew."""
    from ....inference.loading import SHIPPED

    path, name = (Path(checkpoint), checkpoint) if checkpoint else (SHIPPED, "shipped")
    return f"{name}#{_mark(path)}" if path.is_file() else name  # without a file `load` says what is wrong


def tokenizer_mark(args: argparse.Namespace) -> str | None:
    """The mark of the tokenizer that draws the parts; None where no question asks for them, or there is none."""
    from ....inference.loading import SHIPPED, tokenizer_files

    if not (args.parsing or args.instruct):
        return None
    files = tokenizer_files(args.tokenizer, Path(args.checkpoint or SHIPPED))
    return None if files is None else _mark(files[0])


def _mark(path: Path) -> str:
    """Tells the content: the end of torch's files holds the checksum of each tensor."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - MARKED, 0))
        return sha256(file.read()).hexdigest()[:8]


def _model(args: argparse.Namespace) -> "Predictor":
    model = load_model(args, batch_size=args.batch_size)
    if args.parsing and model.tokenizer is None:
        raise UserError("--parsing: needs the tokenizer of parsing maps; name its folder with --tokenizer")
    return model
