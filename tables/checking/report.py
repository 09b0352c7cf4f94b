"""What was found, for people and as JSON."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...utils.errors import printable
from .findings import ERROR, KINDS, WARNING, Finding
from .leaks import Leak
from .tally import Report

SHOWN = 5  # findings of a kind and a table
DRAWN = 24  # rows, as many as `refhcm view` draws by default


def as_text(reports: Sequence[Report], leaks: Sequence[Leak], *, root: Path) -> str:
    """The findings, at most `SHOWN` of a kind, a summary, and the commands that draw such rows."""
    lines = [line for report in reports for line in _table(report)]
    lines += [f"{leak.train} and {leak.other} share {leak.pictures} pictures" for leak in leaks]
    for severity in (ERROR, WARNING):
        counts = sum((report.counts(severity) for report in reports), Counter[str]())
        said = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        lines.append(f"{severity}s: {said or 'none'}")
    commands = [command for report in reports if (command := _view_command(report, root)) is not None]
    lines += ["to look at such rows:", *(f"  {command}" for command in commands)] if commands else []
    return "\n".join(map(printable, lines))


def as_json(reports: Sequence[Report], leaks: Sequence[Leak]) -> dict[str, Any]:
    """Every finding: table, line (null: the whole table), id, kind, severity, what, expected."""
    findings = [_record(report, finding) for report in reports for finding in report.findings]
    summary = {
        f"{severity}s": dict(sum((report.counts(severity) for report in reports), Counter[str]()).most_common())
        for severity in (ERROR, WARNING)
    }
    tables = [
        {
            "table": str(report.path),
            "task": report.task,
            "task_guessed": report.guessed,
            "rows": report.rows,
            "pictures": len(report.pictures),
            "labelled_keypoints": report.points.labelled,
            "keypoints_outside_boxes": report.points.outside,
            "without_codes": report.without_codes,
        }
        for report in reports
    ]
    return {"tables": tables, "summary": summary, "leaks": [vars(leak) for leak in leaks], "findings": findings}


def _record(report: Report, finding: Finding) -> dict[str, Any]:
    return {
        "table": str(report.path),
        "line": None if finding.row is None else finding.row + 1,
        "id": finding.id,
        "kind": finding.kind,
        "severity": finding.severity,
        "what": finding.what,
        "expected": finding.expected,
    }


def _table(report: Report) -> Iterator[str]:
    task = f"{report.task} (guessed from its columns)" if report.guessed else report.task
    points = report.points
    notes = [f"{points.outside} of {points.labelled} keypoints outside their boxes"] if points.labelled else []
    notes += ["no codes yet (refhcm tokenizer encode)"] if report.without_codes else []
    counts = f"{report.rows} rows, {len(report.pictures)} pictures"
    yield f"{report.path}: task {task}; {'; '.join([counts, *notes])}"
    seen: Counter[str] = Counter()
    for finding in report.findings:
        seen[finding.kind] += 1
        if seen[finding.kind] <= SHOWN:
            line = "" if finding.row is None else f":{finding.row + 1}"
            whose = f" id {finding.id}:" if finding.id else ""
            said = f"{finding.kind}: {finding.what}; expected {finding.expected}"
            yield f"{report.path}{line}:{whose} {finding.severity} {said}"
    for kind, count in seen.items():
        if count > SHOWN:
            yield f"{report.path}: {count - SHOWN} more of {kind} (all: --json)"


def _view_command(report: Report, root: Path) -> str | None:
    """Draws the rows with the most findings, of those that can be drawn; None if there are none."""
    found: Counter[int] = Counter()
    undrawn = {finding.row for finding in report.findings if not KINDS[finding.kind].drawn}
    for finding in report.findings:
        if finding.row is not None and finding.row not in undrawn:
            found[finding.row] += 1
    if not found:
        return None
    rows = ",".join(map(str, sorted(row for row, _ in found.most_common(DRAWN))))
    words = ["refhcm", "view", str(report.path), "--task", report.task, "--rows", rows]
    words += ["--annotation-root", str(root)] if report.task.startswith("rpar") else []
    return shlex.join([*words, "--out", f"{report.path.stem}_faults.png"])
