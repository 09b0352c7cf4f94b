"""Answers questions about the people in many pictures, one JSON line for each question.

    refhcm ask photo.jpg --text "the woman in red"           print where she is
    refhcm ask photos/ --text "the woman in red" --keypoints --parsing --out answers.jsonl
    refhcm ask photo.jpg --text "people in red" --all        everyone who fits: none, one or several
    refhcm ask photo.jpg --box 10,20,200,400                 describe the person in the box
    refhcm ask --pairs pairs.csv --parsing --masks masks/    a table of pictures and texts, each picture with its own

To resume, run the same command again: questions that are answered in --out are not asked again, unless the model or
the picture has changed. A picture that cannot be read, or a question that cannot be asked, becomes a line with
`error`. The files for other programs are made from all answers of this model in --out.
Exit status 0: everything is answered; 1: there were errors; 2: a mistake on the command line.
"""

import argparse
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....utils.errors import UserError
from ....utils.flags import positive, share
from ....utils.words import is_punctuation
from ..model_flags import add_model_flags, load_model
from .questions import PICTURE_COLUMNS, TEXT_COLUMNS, Job, pictures, read_pairs

if TYPE_CHECKING:  # imported when something is asked, so that a mistake on the command line is reported at once
    from ....inference.predictor import Predictor

PARTS = ("keypoints", "parsing", "parallel", "caption")  # what can be asked for besides the box
EXPORTS = {
    "coco": ("FILE", "write COCO results: FILE.bbox.json, FILE.keypoints.json and FILE.segm.json"),
    "openpose": ("DIR", "write OpenPose JSON for each picture, with all its people"),
    "masks": ("DIR", "write the body parts' masks as PNG"),
    "save_images": ("DIR", "write the pictures with the answers drawn on them"),
}
PAIRS = f"""CSV or TSV file in UTF-8 that lists pictures and texts. A header names the two columns
({", ".join(PICTURE_COLUMNS)}; {", ".join(TEXT_COLUMNS)}); without one they are the only two. A picture's path starts at
the table's folder, or else at the working folder"""


def questions(args: argparse.Namespace) -> list[Job]:
    """Everything that is asked, picture by picture. UserError for flags that do not go together."""
    _check(args)
    if args.pairs is not None:
        return [Job(image, _asked(args, text)) for image, text in read_pairs(args.pairs)]
    each = [_asked(args, text) for text in args.text] + [{"describe": box} for box in args.box]
    return [Job(image, asked) for image in pictures(args.image) for asked in each]


def _asked(args: argparse.Namespace, text: str) -> dict[str, Any]:
    if args.instruct:
        return {"instruct": text}
    least = {} if args.min_confidence is None else {"min_confidence": args.min_confidence}
    return {"find" if args.all else "refer": text} | {name: True for name in PARTS if getattr(args, name)} | least


def _check(args: argparse.Namespace) -> None:
    parts = [f"--{name}" for name in (*PARTS, "all") if getattr(args, name)]
    parts += ["--min-confidence"] * (args.min_confidence is not None)
    if bool(args.image) == (args.pairs is not None):
        raise UserError("name pictures or folders, or a table with --pairs")
    if args.pairs is not None and (args.text or args.box):
        raise UserError("--pairs: the table holds the texts; leave out --text and --box")
    if args.pairs is None and not (args.text or args.box):
        raise UserError("nothing is asked; add --text or --box")
    if parts and (args.instruct or (args.box and not args.text)):
        raise UserError(f"{', '.join(parts)}: needs a --text that describes a person, not --instruct or --box")
    if args.parallel and not args.parsing:
        raise UserError("--parallel needs --parsing")
    if args.parallel and args.all:
        raise UserError("--parallel: with --all, parts are asked by each one's box, which it cannot; leave it out")
    if args.coco is not None and (not args.coco.name or args.coco.is_dir()):
        raise UserError(f"--coco {args.coco}: expected the name of a file, not a folder")
    if any(not text.strip() for text in args.text):
        raise UserError("--text is empty; say whom you mean")
    if not args.instruct and (bare := next(filter(is_punctuation, args.text), None)):
        raise UserError(f"--text {bare!r} has no words; say whom you mean")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    # `--box -5,10,20,30` is a value as -5 is, not a flag: argparse's own pattern knows single numbers only.
    parser._negative_number_matcher = re.compile(r"^-[0-9.][0-9.,e+-]*$")
    parser.add_argument("image", nargs="*", metavar="IMAGE", help="picture, or folder that holds pictures at any depth")
    parser.add_argument("--text", action="append", default=[], help="whom you mean; may be repeated")
    parser.add_argument(
        "--box",
        action="append",
        default=[],
        type=_box,
        metavar="X0,Y0,X1,Y1",
        help="describe the person in this box, in pixels; may be repeated",
    )
    parser.add_argument("--pairs", type=Path, metavar="FILE", help=PAIRS)
    parser.add_argument(
        "--all", action="store_true", help="give everyone who fits, also nobody, for a model that has learned it"
    )
    parser.add_argument(
        "--min-confidence",
        type=share,
        metavar="P",
        help="leave out people whose box has a lower confidence, 0 to 1 (default: keep all)",
    )
    parser.add_argument("--keypoints", action="store_true", help="also ask for the 17 keypoints")
    parser.add_argument("--parsing", action="store_true", help="also ask for the body parts")
    parser.add_argument("--parallel", action="store_true", help="answer --parsing by Query Parallel Generation, faster")
    parser.add_argument("--caption", action="store_true", help="also describe the person who was found")
    parser.add_argument("--instruct", action="store_true", help="ask the texts exactly as they are, as instructions")
    parser.add_argument("--out", type=Path, metavar="FILE", help="JSON lines file to append to (default: print)")
    for flag, (metavar, text) in EXPORTS.items():
        parser.add_argument("--" + flag.replace("_", "-"), type=Path, metavar=metavar, help=text)
    add_model_flags(parser)
    parser.add_argument("--batch-size", type=positive, help="questions answered together (default: what memory holds)")


def _box(text: str) -> list[float]:
    try:
        x0, y0, x1, y1 = numbers = [float(number) for number in text.split(",")]
        if x0 < x1 and y0 < y1 and all(map(math.isfinite, numbers)):
            return numbers
    except ValueError:  # no numbers, or not four
        pass
    raise argparse.ArgumentTypeError(f"needs four numbers x0,y0,x1,y1 with x0 < x1 and y0 < y1, got {text!r}")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 when everything is answered, else 1."""
    asked = questions(args)
    from .answering import answer_all
    from .exports import EXPORTERS
    from .records import open_records
    from .summary import sentences

    name = model_name(args)
    jobs = list({job.key(name): job for job in asked}.values())
    with open_records(args.out) as records:
        left = [job for job in jobs if not records.has_answer(job, name)]
        done = len(jobs) - len(left)
        errors = answer_all(_model(args), records, left, name=name, done=done) if left else 0
        answers, asked_now = records.answered(name), [records.of(job, name) for job in jobs]
    print("\n".join(sentences(asked_now)), file=sys.stderr)
    where = "" if args.out is None else f"{args.out}: "
    skipped = f"{done} skipped (already done), {errors} failed"
    print(f"{where}{len(left) - errors} answered, {skipped}", file=sys.stderr)
    problems = []
    for flag, export in EXPORTERS.items():
        if (place := getattr(args, flag)) is not None:
            try:
                print(f"{place}: {len(export(answers, place))} files", file=sys.stderr)
            except (UserError, OSError) as error:  # the other exports are still written
                problems.append(str(error))
    if problems:
        raise UserError("; ".join(problems))
    return 1 if errors else 0


def model_name(args: argparse.Namespace) -> str:
    """What the lines call the model: its file, with the marks of its content and of its tokenizer's."""
    from ....inference.loading import SHIPPED, tokenizer_files
    from .records import content_mark

    path = Path(args.checkpoint or SHIPPED)
    tokenizer = tokenizer_files(args.tokenizer, path)
    marks = [content_mark(file) for file in (path, *(tokenizer or ())[:1])]
    return f"{args.checkpoint or 'shipped'}#{'+'.join(filter(None, marks))}"


def _model(args: argparse.Namespace) -> "Predictor":
    model = load_model(args, batch_size=args.batch_size)
    if args.all:
        from ....inference.learned import check_learned

        check_learned(model.learned, keypoints=args.keypoints)
    if args.parsing and model.tokenizer is None:
        raise UserError("--parsing needs the parsing-map tokenizer; name its folder with --tokenizer")
    return model
