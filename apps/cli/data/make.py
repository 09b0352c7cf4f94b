"""Makes a table from a data set's own files, or from your data (docs/datasets.md, docs/own_data.md).

    refhcm data make rec --set refcoco --refs refer/data --images train2014 --split testA --out dataset/rec
    refhcm data make rkpt --set refcoco --refs refer/data --keypoints person_keypoints_train2014.json \\
        --images train2014 --split testA --out dataset/rkpt
    refhcm data make own --csv people.csv --images pictures --task rec --out dataset/own

The rows come in the order of the source, those of one picture together. Beside the table lies NAME.manifest.json: the
command, digests of inputs and output, and how many rows were left out, by reason. Run the same command again to resume.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ....tables.making.captions import read_captions
from ....tables.making.cihp import FOLDERS, PersonMasks, find_cihp
from ....tables.making.embedding import Embedding
from ....tables.making.own import divide
from ....tables.making.plan import PictureFolder
from ....tables.making.refs import SETS
from ....tables.making.writer import State, Target, write_table
from ....utils.errors import UserError
from ....utils.flags import positive, whole
from .plans import PLANNERS

WHAT = {
    "rec": "REC: expression and box, from RefCOCO, RefCOCO+ or RefCOCOg",
    "rkpt": "RKpt: the same with COCO's keypoints",
    "refhuman": "RKpt: from RefHuman",
    "humanref": "REC: the rows of HumanRef that mean one person",
    "grec": "generalised REC, nobody to many: from gRefCOCO or HumanRef",
    "rpar": "RPar: masks of persons, from CIHP",
    "rhrc": "RHrc: captions, from boxes and a file of captions",
    "own": "REC, RKpt or RHrc: from your own COCO-style JSON or CSV",
}
EXAMPLES = {
    "rec": "refhcm data make rec --set refcoco --refs refer/data --images train2014 --split testA --out dataset/rec",
    "rkpt": "refhcm data make rkpt --set refcoco --refs refer/data --keypoints person_keypoints_train2014.json "
    "--images train2014 --split testA --out dataset/rkpt",
    "refhuman": "refhcm data make refhuman --annotations RefHuman_val.json --split val --images images --out rkpt",
    "humanref": "refhcm data make humanref --annotations annotations.jsonl --images images --out dataset/rec",
    "grec": "refhcm data make grec --set grefcoco --refs grefs --split testA --images train2014 --out dataset/grec",
    "rpar": "refhcm data make rpar --cihp instance-level_human_parsing --split val --out dataset/rpar",
    "rhrc": "refhcm data make rhrc --boxes rpar.tsv --captions captions.tsv --split val --images images --out rhrc",
    "own": "refhcm data make own --csv people.csv --images pictures --task rec --out dataset/own",
}
_EMBEDDED = set(WHAT) - {"rpar"}
_PAGES = {"own": "docs/own_data.md"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    commands = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    for what, summary in WHAT.items():
        command = commands.add_parser(
            what,
            help=summary,
            description=f"{summary} ({_PAGES.get(what, 'docs/datasets.md')}). Example: {EXAMPLES[what]}",
        )
        _ADDERS[what](command)
        if what in _EMBEDDED:
            command.add_argument(
                "--images", type=Path, required=True, metavar="DIR", help="Find the pictures in this folder."
            )
            quality = "Encode pictures again as JPEG of this quality (default: keep the files as they are)."
            command.add_argument("--jpeg-quality", type=_quality, metavar="N", help=quality)
        command.add_argument("--out", type=Path, required=True, metavar="DIR", help="Write the table into this folder.")
        command.add_argument(
            "--limit", type=positive, metavar="N", help="Use the first N pictures only (default: all)."
        )
        command.add_argument("--partial", action="store_true", help="Leave out rows with faults, such as no picture.")
        cores = os.cpu_count() or 1
        command.add_argument(
            "--workers", type=positive, default=cores, help=f"Work with this many threads (default: {cores})."
        )


def _quality(text: str) -> int:
    if not 1 <= whole(text) <= 100:
        raise argparse.ArgumentTypeError(f"expected 1 to 100, got {text!r}")
    return int(text)


def _add_refs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--refs", type=Path, required=True, metavar="PATH", help="Read the sets in this folder, or this refs file."
    )
    parser.add_argument(
        "--split", required=True, help="Make this split: train, val, testA or testB; of refcocog train, val or test."
    )
    parser.add_argument(
        "--split-by",
        default="",
        metavar="WHO",
        help="Take the split by unc, google or umd (default: the set's usual one).",
    )
    parser.add_argument(
        "--instances",
        type=Path,
        metavar="JSON",
        help="Read COCO's instances here (default: instances.json beside the refs).",
    )


def _add_rec(parser: argparse.ArgumentParser) -> None:
    several = "Make a table of these sets; train leaves out pictures of their val and test splits."
    parser.add_argument("--set", nargs="+", choices=list(SETS), required=True, dest="sets", help=several)
    _add_refs(parser)
    parser.add_argument("--keep-leaks", action="store_true", help="Keep pictures of other sets' val and test splits.")


def _add_categories(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all-categories", action="store_true", help="Keep objects that are no persons, too.")


def _add_points(parser: argparse.ArgumentParser, default: str) -> None:
    text = f"Leave out persons with fewer labelled keypoints (default: {default})."
    parser.add_argument("--min-keypoints", type=whole, metavar="N", help=text)


def _rec_arguments(parser: argparse.ArgumentParser) -> None:
    _add_rec(parser)
    _add_categories(parser)


def _rkpt_arguments(parser: argparse.ArgumentParser) -> None:
    _add_rec(parser)
    keypoints = "Read keypoints from person_keypoints_train2014.json, or of train2017."
    parser.add_argument("--keypoints", type=Path, required=True, metavar="JSON", help=keypoints)
    _add_points(parser, "1 for train, else 0")


def _refhuman_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--annotations", type=Path, required=True, metavar="JSON", help="Read RefHuman_val.json or _train."
    )
    parser.add_argument("--split", required=True, choices=("train", "val"), help="Say which of them it is.")
    _add_points(parser, "1 for train, else 0")


def _humanref_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--annotations", type=Path, required=True, metavar="JSONL", help="Read this annotations.jsonl.")


def _grec_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set", choices=("grefcoco", "humanref"), required=True, dest="set_name", help="Read this data set."
    )
    parser.add_argument("--refs", type=Path, metavar="PATH", help="Of grefcoco, read its folder, or grefs(unc).json.")
    parser.add_argument("--split", help="Of grefcoco, make train, val, testA or testB.")
    parser.add_argument(
        "--instances",
        type=Path,
        metavar="JSON",
        help="Of grefcoco, read COCO's instances here (default: instances.json beside the refs).",
    )
    _add_categories(parser)
    parser.add_argument("--annotations", type=Path, metavar="JSONL", help="Of humanref, read this annotations.jsonl.")


def _rpar_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cihp",
        type=Path,
        required=True,
        metavar="DIR",
        help="Read CIHP in this folder, which holds Training and Validation.",
    )
    parser.add_argument("--split", choices=list(FOLDERS), required=True, help="Make the table of this half of CIHP.")
    captions = "Take expressions from lines id<TAB>text, with ids such as 0000006_0 (default: None for each)."
    parser.add_argument("--captions", type=Path, metavar="TSV", help=captions)
    parser.add_argument(
        "--vq-config", type=Path, help="Make codes by the tokenizer of this model.yaml (default: no codes)."
    )
    parser.add_argument("--vq-ckpt", type=Path, help="Use this model.ckpt of the tokenizer.")
    parser.add_argument("--vq-n-embed", type=positive, help="Say how many codes it has (default: as in the file).")


def _rhrc_arguments(parser: argparse.ArgumentParser) -> None:
    boxes = "Take boxes from this RPar table, or from lines id<TAB>x0,y0,x1,y1<TAB>picture."
    parser.add_argument("--boxes", type=Path, required=True, metavar="TSV", help=boxes)
    parser.add_argument(
        "--captions", type=Path, required=True, metavar="TSV", help="Take captions from lines id<TAB>caption."
    )
    parser.add_argument(
        "--split", choices=list(FOLDERS), required=True, help="Say which half it is, for the table's name."
    )


def _own_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--annotations", type=Path, metavar="JSON", help="Read this COCO-style JSON.")
    source.add_argument(
        "--csv", type=Path, help="Read this CSV with image, expression, x0, y0, x1, y1; of RKpt with keypoints, too."
    )
    parser.add_argument(
        "--texts", type=Path, metavar="TSV", help="Take the texts for --annotations from lines id<TAB>text."
    )
    parser.add_argument("--task", choices=("rec", "rkpt", "rhrc"), required=True, help="Make this kind of table.")
    parser.add_argument("--name", default="own", help="Call the tables NAME_train.tsv and NAME_val.tsv (default: own).")
    share = "Keep this many percent of the pictures to validate on; 0 makes one table NAME.tsv (default: 10)."
    parser.add_argument("--valid", type=_percent, default=10, metavar="N", help=share)
    _add_points(parser, "1")


def _percent(text: str) -> int:
    if whole(text) > 90:
        raise argparse.ArgumentTypeError(f"expected 0 to 90, got {text!r}")
    return int(text)


_ADDERS: dict[str, Callable[[argparse.ArgumentParser], None]] = {
    "rec": _rec_arguments, "rkpt": _rkpt_arguments, "refhuman": _refhuman_arguments, "humanref": _humanref_arguments,
    "grec": _grec_arguments, "rpar": _rpar_arguments, "rhrc": _rhrc_arguments, "own": _own_arguments,
}  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Makes the table or tables, and prints what they hold."""
    if args.what == "rpar":
        _make_rpar(args)
        return
    plan, layout, name = PLANNERS[args.what](args)
    if args.what == "own" and args.valid:
        if len(plan.pictures) < 2:
            raise UserError(f"only {len(plan.pictures)} picture: give --valid 0 to make one table without validation")
        parts = dict(zip((f"{name}_train", f"{name}_val"), divide(plan, args.valid), strict=True))
    else:
        parts = {name: plan}
    folder = PictureFolder(args.images)
    for part_name, part in parts.items():
        pictures = part.located(folder, limit=args.limit)
        embedding = Embedding(layout, jpeg_quality=args.jpeg_quality, clip=args.what == "refhuman")
        target = Target(args.out / f"{part_name}.tsv", _recipe(args), part.inputs, args.partial)
        before = State("", left_out=part.left_out, changed=part.changed, problems=part.problems)
        _report(target, write_table(target, pictures, embedding, before=before, workers=args.workers))


def _make_rpar(args: argparse.Namespace) -> None:
    if (args.vq_config is None) != (args.vq_ckpt is None):
        raise UserError("--vq-config and --vq-ckpt belong together: give both")
    source = find_cihp(args.cihp, args.split)
    captions = read_captions(args.captions) if args.captions else {}
    inputs = [path for path in (args.captions, args.vq_config, args.vq_ckpt) if path is not None]
    finish = _codes_writer(args) if args.vq_config else None
    target = Target(args.out / f"refcihp_{args.split}.tsv", _recipe(args), inputs, args.partial, finish)
    names, work = source.names(partial=args.partial)[: args.limit], PersonMasks(source, args.out, captions)
    _report(target, write_table(target, names, work, before=State(""), workers=args.workers))


def _codes_writer(args: argparse.Namespace) -> Callable[[Path, Path], None]:
    """Writes the codes column; imports torch and reads the tokenizer now, so that an error comes before the work."""
    from ....models.vqgan.tokenizer import load_tokenizer
    from ....training.tokenizer.masks import MaskRows, open_table
    from ....training.tokenizer.scoring import encode
    from ....utils.devices import pick_device

    tokenizer = load_tokenizer(args.vq_config, args.vq_ckpt, n_embed=args.vq_n_embed).to(pick_device(cpu=False))

    def write(table: Path, out: Path) -> None:
        rows = MaskRows(open_table(table), args.out / "annos")
        encode(tokenizer, rows, out=out, batch_size=32, num_workers=0)

    return write


def _recipe(args: argparse.Namespace) -> dict[str, Any]:
    """The flags that decide what is in the table."""
    left = {"command", "action", "workers", "out", "partial"}  # a partial table begins like a complete one
    return {name: _plain(value) for name, value in sorted(vars(args).items()) if name not in left}


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _report(target: Target, manifest: Mapping[str, Any] | None) -> None:
    if manifest is None:
        print(f"{target.path}: exists already, made in the same way")
        return
    print(f"{target.path}: {manifest['rows']} rows about {manifest['pictures']} pictures")
    for title in ("left_out", "changed"):
        counts = ", ".join(f"{count} {kind}" for kind, count in manifest[title].items())
        if counts:
            print(f"  {title.replace('_', ' ')}: {counts}")
    print(f"  see {target.manifest}")
