"""Answers questions about the people in many pictures, one JSON line for each question.

    refhcm ask photo.jpg --text "the woman in red"           print where she is
    refhcm ask photos/ --text "the woman in red" --keypoints --parsing --out answers.jsonl
    refhcm ask photo.jpg --text "people in red" --all        everyone who fits: none, one or several
    refhcm ask photo.jpg --box 10,20,200,400                 describe the person in the box
    refhcm ask --pairs pairs.csv --parsing --masks masks/    a table of pictures and texts, each picture with its own
    refhcm ask --video dance.mp4 --text "the dancer in red" --keypoints --out dance.jsonl --save-images drawn

    refhcm ask shards/*.tar --text "the woman in red" --out answers.jsonl --shard 0/8      one part of eight

To resume, run the same command again: questions that are answered in --out are not asked again, unless the model or
the picture has changed. A picture that cannot be read, or a question that cannot be asked, becomes a line with
`error`. The files for other programs are made from all answers of this model in --out, but for those about pictures
that have changed.
Exit status 0: everything is answered; 1: there were errors; 2: a mistake on the command line.
"""

import argparse
import math
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....utils.errors import UserError, printable
from ....utils.files import check_output, check_writable
from ....utils.flags import positive, share
from ....utils.words import has_word
from ..model_flags import add_model_flags, load_model
from .questions import PARTS, PICTURE_COLUMNS, TEXT_COLUMNS, Job, check_parts, pictures, read_pairs
from .shards import Shard, finished, own_shard, shard, unfinished

if TYPE_CHECKING:  # imported when something is asked, so that a mistake on the command line is reported at once
    from ....inference.predictor import Predictor

EXPORTS = {
    "coco": ("FILE", "Write COCO results: FILE.bbox.json, FILE.keypoints.json and FILE.segm.json."),
    "openpose": ("DIR", "Write OpenPose JSON for each picture, with all its people."),
    "masks": ("DIR", "Write masks as PNG: each part, the whole person, and the person cut out."),
    "save_images": ("DIR", "Write the pictures, or clips, with the answers drawn on them."),
}
PAIRS = f"""Ask about the pictures and texts that this CSV or TSV file in UTF-8 lists. A header names the two columns
({", ".join(PICTURE_COLUMNS)}; {", ".join(TEXT_COLUMNS)}); without one they are the only two. A picture's path starts at
the table's folder, or else at the working folder."""


def questions(args: argparse.Namespace) -> list[Job]:
    """Everything that is asked, picture by picture. UserError for flags that do not go together."""
    _check(args)
    if args.pairs is not None:
        return [Job(image, _asked(args, text)) for image, text in read_pairs(args.pairs)]
    if args.video:
        from ....inference.video import clip_at

        for clip in args.video:
            clip_at(clip)  # before the model is loaded
        return [Job(str(clip), {**_asked(args, text), "followed": True}) for clip in args.video for text in args.text]
    each = [_asked(args, text) for text in args.text] + [{"describe": box} for box in args.box]
    return [Job(image, asked) for image in pictures(args.image) for asked in each]


def _asked(args: argparse.Namespace, text: str) -> dict[str, Any]:
    if args.instruct:
        return {"instruct": text}
    least = {} if args.min_confidence is None else {"min_confidence": args.min_confidence}
    return {"find" if args.all else "refer": text} | dict.fromkeys(_parts(args), True) | least


def _parts(args: argparse.Namespace) -> list[str]:
    return [name for name in PARTS if getattr(args, name)]


def _check(args: argparse.Namespace) -> None:
    parts = [f"--{name}" for name in _parts(args)] + ["--all"] * args.all
    parts += ["--min-confidence"] * (args.min_confidence is not None)
    if bool(args.image) + (args.pairs is not None) + bool(args.video) != 1:
        raise UserError("name pictures or folders, or a table with --pairs, or a clip with --video")
    if args.video and (args.box or args.all or args.instruct):
        raise UserError("--video: follows the person of a --text; leave out --box, --all and --instruct")
    if args.pairs is not None and (args.text or args.box):
        raise UserError("--pairs: the table holds the texts; leave out --text and --box")
    if args.pairs is None and not (args.text or args.box):
        raise UserError("nothing is asked; add --text or --box")
    if parts and (args.instruct or (args.box and not args.text)):
        raise UserError(f"{', '.join(parts)}: needs a --text that describes a person, not --instruct or --box")
    check_parts(_parts(args), everyone="--all" * args.all, dashes="--")
    if args.coco is not None and (not args.coco.name or args.coco.is_dir()):
        raise UserError(f"--coco {args.coco}: expected the name of a file, not a folder")
    if args.coco_ids is not None and args.coco is None:
        raise UserError("--coco-ids: needs --coco")
    if any(not text.strip() for text in args.text):
        raise UserError("--text is empty; say whom you mean")
    if not args.instruct and (bare := next((text for text in args.text if not has_word(text)), None)):
        raise UserError(f"--text {bare!r} has no words; say whom you mean")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    # `--box -5,10,20,30` is a value as -5 is, not a flag: argparse's own pattern knows single numbers only.
    parser._negative_number_matcher = re.compile(r"^-[0-9.][0-9.,e+-]*$")
    parser.add_argument(
        "image", nargs="*", metavar="IMAGE", help="Ask about this picture, or all pictures in this folder at any depth."
    )
    parser.add_argument("--text", action="append", default=[], help="Say whom you mean; may be repeated.")
    parser.add_argument(
        "--box",
        action="append",
        default=[],
        type=_box,
        metavar="X0,Y0,X1,Y1",
        help="Describe the person in this box, in pixels; may be repeated.",
    )
    parser.add_argument("--pairs", type=Path, metavar="FILE", help=PAIRS)
    parser.add_argument(
        "--video",
        action="append",
        default=[],
        type=Path,
        metavar="CLIP",
        help="Follow the person through the frames of this clip; needs PyAV (pip install av); may be repeated.",
    )
    parser.add_argument(
        "--all", action="store_true", help="Give everyone who fits, also nobody; only models that have learned it can."
    )
    parser.add_argument(
        "--min-confidence",
        type=share,
        metavar="P",
        help="Leave out people whose box has a lower confidence, 0 to 1 (default: keep all).",
    )
    parser.add_argument("--keypoints", action="store_true", help="Ask for the 17 keypoints, too.")
    parser.add_argument("--parsing", action="store_true", help="Ask for the body parts, too.")
    parser.add_argument(
        "--parallel", action="store_true", help="Answer --parsing by Query Parallel Generation, which is faster."
    )
    parser.add_argument("--caption", action="store_true", help="Describe the person who was found, too.")
    parser.add_argument("--instruct", action="store_true", help="Ask the texts exactly as they are, as instructions.")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="Append the answers to this JSON lines file (default: print them)."
    )
    parser.add_argument(
        "--shard",
        type=shard,
        metavar="I/N",
        help="Ask shard I of N only, 0 to N - 1, into a file of its own; without it, put all shards together (default: "
        "the rank's shard under torchrun, else everything).",
    )
    for flag, (metavar, text) in EXPORTS.items():
        parser.add_argument("--" + flag.replace("_", "-"), type=Path, metavar=metavar, help=text)
    parser.add_argument(
        "--coco-ids",
        type=Path,
        metavar="FILE",
        help="Take --coco's image ids, by file name, from this annotation file (default: from the names).",
    )
    add_model_flags(parser)
    parser.add_argument(
        "--batch-size", type=positive, help="Answer this many questions together (default: what memory holds)."
    )


def _box(text: str) -> list[float]:
    try:
        x0, y0, x1, y1 = numbers = [float(number) for number in text.split(",")]
        if x0 < x1 and y0 < y1 and all(map(math.isfinite, numbers)):
            return numbers
    except ValueError:  # no numbers, or not four
        pass
    raise argparse.ArgumentTypeError(f"needs four numbers x0,y0,x1,y1 with x0 < x1 and y0 < y1, got {text!r}")


def _check_part(args: argparse.Namespace, part: Shard) -> None:
    problem = None
    if args.out is None:
        problem = "needs --out FILE"
    elif args.coco is not None:
        problem = "leave out --coco, which is for all parts together"
    elif args.video:
        problem = "leave out --video: a clip's frames are followed in one process"
    if problem:
        raise UserError(f"--shard {part.index}/{part.count}: {problem}")


def run(args: argparse.Namespace) -> int:
    """Exit status 0 when everything is answered, else 1."""
    asked, part = questions(args), own_shard(args.shard)
    if part is not None:
        asked = part.part_of(asked)
        _check_part(args, part)
    id_of = None
    if args.coco_ids is not None:
        from ....inference.coco_ids import ids_in

        id_of = ids_in(args.coco_ids)
    from .answering import answer_all
    from .clips import Clips
    from .exports import and_others, exporters
    from .records import open_records
    from .summary import sentences

    places = {flag: place for flag in EXPORTS if (place := getattr(args, flag)) is not None}
    for flag, place in places.items():
        (check_output if flag == "coco" else check_writable)(place)
    name = model_name(args)
    jobs = list({job.key(name): job for job in asked}.values())
    out = args.out if part is None or args.out is None else part.file(args.out)
    file = unfinished(out) if part is not None and out is not None and not out.exists() else out
    with open_records(file) as records:
        if part is None and out is not None:
            records.take(finished(out), name)
        if args.video:
            clips = Clips(cache(lambda: _model(args)), name, records)
            clips.answer(jobs)
            answered, errors, done = clips.answered, len(clips.problems), len(clips.jobs) - clips.answered
            said = clips.sentences()
        else:
            left = [job for job in jobs if not records.has_answer(job, name)]
            done = len(jobs) - len(left)
            errors = answer_all(_model(args), records, left, name=name, done=done) if left else 0
            answered, said = len(left) - errors, sentences([records.of(job, name) for job in jobs])
        if file is not None and out is not None and file != out:
            os.replace(file, out)  # whole, or not there
        answers, outdated = (records.answered(name), records.outdated(name)) if places else ([], [])
    print("\n".join(said), file=sys.stderr)
    where = "" if out is None else f"{out}: "
    print(f"{where}{answered} answered, {done} skipped (already done), {errors} failed", file=sys.stderr)
    if outdated:
        print(f"left out of the files, as it has changed: {printable(and_others(outdated))}", file=sys.stderr)
    problems, export = [], exporters(id_of=id_of)
    for flag, place in places.items():
        try:
            print(f"{place}: {len(export[flag](answers, place))} files", file=sys.stderr)
        except (UserError, OSError) as error:  # the other exports are still written
            problems.append(str(error))
    if problems:
        raise UserError("; ".join(problems))
    return 1 if errors else 0


def model_name(args: argparse.Namespace) -> str:
    """What the lines call the model: its file, with the marks of its content and of its tokenizer's."""
    from ....inference.loading import checkpoint_file, tokenizer_files
    from .records import content_mark

    path = checkpoint_file(args.checkpoint)
    tokenizer = tokenizer_files(args.tokenizer, path)
    marks = [content_mark(file) for file in (path, *(tokenizer or ())[:1])]
    return f"{args.checkpoint or 'shipped'}#{'+'.join(filter(None, marks))}"


def _model(args: argparse.Namespace) -> "Predictor":
    from .answering import check_model

    model = load_model(args, batch_size=args.batch_size)
    check_model(model, _parts(args), everyone=args.all, dashes="--")
    return model
