"""Finds the faults of tables, row by row and across tables, without torch (docs/data.md, "Checking a table").

    refhcm data check dataset/rec/refcoco_train.tsv dataset/rec/refcoco_testA.tsv
    refhcm data check dataset/rpar/refcihp_train.tsv --annotation-root dataset/rpar/annos --json > faults.json

Exit status 1 if there are errors; warnings alone give 0.
"""

import argparse
import json
import os
from pathlib import Path

from ....data.tables import TABLES
from ....tables.checking.checking import Options, check_tables
from ....tables.checking.report import as_json, as_text
from ....utils.flags import positive


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("tables", type=Path, nargs="+", metavar="TABLE", help="Check this TSV table.")
    parser.add_argument(
        "--task", choices=sorted(TABLES), help="Say which task the tables are of (default: guessed from their columns)."
    )
    root = "Find the imgs/ and gts/ that RPar's tables name in this folder (default: %(default)s)."
    parser.add_argument("--annotation-root", type=Path, default="../../dataset/rpar/annos", metavar="DIR", help=root)
    parser.add_argument(
        "--vq-n-embed", type=positive, default=32, help="Say how many codes the tokenizer has (default: 32)."
    )
    parser.add_argument("--partial", action="store_true", help="Do not expect all rows of a data set's split.")
    parser.add_argument(
        "--limit", type=positive, metavar="N", help="Check the first N rows of each table only (default: all)."
    )
    parser.add_argument("--json", action="store_true", help="Print every finding as JSON.")
    cores = os.cpu_count() or 1
    parser.add_argument(
        "--workers", type=positive, default=cores, help=f"Work with this many threads (default: {cores})."
    )


def run(args: argparse.Namespace) -> int:
    """Prints what was found; 1 if there are errors."""
    options = Options(args.task, args.annotation_root, args.vq_n_embed, args.workers, args.partial, args.limit)
    reports, leaks = check_tables(args.tables, options)
    if args.json:
        print(json.dumps(as_json(reports, leaks), indent=1, ensure_ascii=False))
    else:
        print(as_text(reports, leaks, root=args.annotation_root))
    return int(any(report.faulty for report in reports))
