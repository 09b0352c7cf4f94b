"""The plan of each table of `refhcm data make`: its rows, its layout, and its name."""

import argparse
from collections.abc import Callable
from typing import Any

from ....tables.making.captions import plan_captions
from ....tables.making.own import plan_coco, plan_csv
from ....tables.making.plan import Plan
from ....tables.making.referring import Referring, plan_grefcoco, plan_referring
from ....tables.making.refhuman import plan_humanref, plan_refhuman
from ....utils.errors import UserError


def _referring(args: argparse.Namespace) -> Referring:
    return Referring(
        sets=tuple(args.sets),
        split=args.split,
        refs=args.refs,
        split_by=args.split_by,
        instances=args.instances,
        all_categories=getattr(args, "all_categories", False),
        keypoints=getattr(args, "keypoints", None),
        min_keypoints=_least(args) if args.what == "rkpt" else 0,
        keep_leaks=args.keep_leaks,
        partial=args.partial,
    )


def _least(args: argparse.Namespace) -> int:
    """--min-keypoints: a test's table keeps persons without any, as the published ones do."""
    default = 0 if getattr(args, "split", "train") != "train" else 1
    least: int = default if args.min_keypoints is None else args.min_keypoints
    return least


def _plan_refs(args: argparse.Namespace) -> tuple[Plan, str, str]:
    sets = args.sets[0] if len(args.sets) == 1 else args.what
    name = f"{sets}_pose_{args.split}" if args.what == "rkpt" and len(args.sets) == 1 else f"{sets}_{args.split}"
    return plan_referring(_referring(args)), args.what, name


def _plan_refhuman(args: argparse.Namespace) -> tuple[Plan, str, str]:
    plan = plan_refhuman(args.annotations, min_keypoints=_least(args), partial=args.partial)
    return plan, "rkpt", f"refhuman_{args.split}"


def _plan_humanref(args: argparse.Namespace) -> tuple[Plan, str, str]:
    return plan_humanref(args.annotations, one_box=True, partial=args.partial), "rec", "humanref"


def _plan_grec(args: argparse.Namespace) -> tuple[Plan, str, str]:
    needed = ("refs", "split") if args.set_name == "grefcoco" else ("annotations",)
    missing = [f"--{name}" for name in needed if getattr(args, name) is None]
    if missing:
        raise UserError(f"--set {args.set_name} needs {' and '.join(missing)}")
    if args.set_name == "humanref":
        return plan_humanref(args.annotations, one_box=False, partial=args.partial), "grec", "humanref"
    source = Referring(
        ("grefcoco",), args.split, args.refs, instances=args.instances,
        all_categories=args.all_categories, partial=args.partial,
    )  # fmt: skip
    return plan_grefcoco(source), "grec", f"grefcoco_{args.split}"


def _plan_captions(args: argparse.Namespace) -> tuple[Plan, str, str]:
    return plan_captions(args.boxes, args.captions, partial=args.partial), "rhrc", f"capcihp_{args.split}"


def _plan_own(args: argparse.Namespace) -> tuple[Plan, str, str]:
    options: dict[str, Any] = {"min_keypoints": _least(args), "partial": args.partial}
    if args.csv is not None:
        if args.texts is not None:
            raise UserError("--texts belongs to --annotations: a CSV has the texts itself")
        return plan_csv(args.csv, args.task, **options), args.task, args.name
    return plan_coco(args.annotations, args.task, texts=args.texts, **options), args.task, args.name


# What to make -> its plan, layout (tables/making/embedding.py) and name, from the flags.
PLANNERS: dict[str, Callable[[argparse.Namespace], tuple[Plan, str, str]]] = {
    "rec": _plan_refs, "rkpt": _plan_refs, "refhuman": _plan_refhuman, "humanref": _plan_humanref, "grec": _plan_grec,
    "rhrc": _plan_captions, "own": _plan_own,
}  # fmt: skip
