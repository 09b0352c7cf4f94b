"""A report as text, Markdown, LaTeX or JSON (docs/scoring.md)."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...utils.bootstrap import Estimate
from .scoring import Report, Scored

ALREADY_PERCENT = ("cider", "bleu1", "bleu2", "bleu3", "bleu4", "rouge_l", "meteor")


@dataclass(frozen=True)
class Grid:
    """A table: its title, the head of each column, and rows of cells."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def grids(report: Report) -> list[Grid]:
    """The report's tables, in percent."""
    scored, other = report.scored, report.against
    found = [Grid(_title(report), ("metric", "value", "95 % interval"), _rows(scored.estimates, scored.extra))]
    if other is not None:
        rows = [
            (name, _percent(name, other.estimates[name].value), _signed(name, d.value), _range(name, d), f"{d.p:.4f}")
            for name, d in report.differences.items()
        ]
        found.append(Grid(f"against {other.path}", ("metric", "other", "difference", "95 % interval", "p"), rows))
    for group, (count, estimates) in report.groups.items():
        title = f"{report.options.by} = {group} ({count} rows)"
        found.append(Grid(title, ("metric", "value", "95 % interval"), _rows(estimates, {})))
    if report.risk is not None:
        shares = report.risk["table"]
        kept = [(f"{100 * row['coverage']:.0f}", str(row["rows"]), f"{100 * row['quality']:.2f}") for row in shares]
        title = f"the most confident answers: {report.risk['of']}; AURC {100 * report.risk['aurc']:.2f}"
        found.append(Grid(title, ("coverage", "rows", "mean"), kept))
    return found


def _title(report: Report) -> str:
    return f"{report.scored.path}: {report.options.task}, {_answered(report)} in {report.pictures} pictures"


def _answered(report: Report) -> str:
    counts = report.scored.counts
    return f"{counts['answered']} of {counts['rows']} rows answered"


def _rows(estimates: Mapping[str, Estimate], extra: Mapping[str, float]) -> list[tuple[str, ...]]:
    rows = [(name, _percent(name, one.value), _range(name, one)) for name, one in estimates.items()]
    return [*rows, *((name, _percent(name, value), "-") for name, value in extra.items())]


def _scale(name: str) -> float:
    return 1.0 if name in ALREADY_PERCENT else 100.0


def _percent(name: str, value: float) -> str:
    return "-" if math.isnan(value) else f"{_scale(name) * value:.2f}"


def _signed(name: str, value: float) -> str:
    return "-" if math.isnan(value) else f"{_scale(name) * value:+.2f}"


def _range(name: str, interval: Any) -> str:
    low, high = _percent(name, interval.low), _percent(name, interval.high)
    return "-" if "-" in (low, high) else f"{low} to {high}"


def text(report: Report) -> str:
    """Aligned columns, with the remarks."""
    lines = []
    for grid in grids(report):
        columns = list(zip(grid.head, *grid.rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        lines += [grid.title]
        for row in (grid.head, *grid.rows):
            first, *rest = (cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in
                            enumerate(zip(row, widths, strict=True)))  # fmt: skip
            lines.append("  ".join([f"  {first}", *rest]))
        lines.append("")
    return "\n".join([*lines, *_remarks(report)]).rstrip()


def markdown(report: Report) -> str:
    """Tables of Markdown, with the remarks as a list."""
    lines = []
    for grid in grids(report):
        ruler = ["---", *["---:"] * (len(grid.head) - 1)]
        rows = (grid.head, ruler, *grid.rows)
        lines += [f"**{grid.title}**", "", *("| " + " | ".join(map(_in_cell, row)) + " |" for row in rows), ""]
    return "\n".join([*lines, *(f"- {remark}" for remark in _remarks(report))]).rstrip()


def _in_cell(cell: str) -> str:
    return cell.replace("|", "\\|")


def latex(report: Report) -> str:
    """Tabulars with booktabs' rules, with the remarks as comments."""
    lines = []
    for grid in grids(report):
        rows = [" & ".join(map(_escaped, row)) + r" \\" for row in (grid.head, *grid.rows)]
        columns = "l" + "r" * (len(grid.head) - 1)
        begin, end = rf"\begin{{tabular}}{{{columns}}}", r"\end{tabular}"
        lines += [f"% {grid.title}", begin, r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", end, ""]
    return "\n".join([*lines, *(f"% {remark}" for remark in _remarks(report))]).rstrip()


def _escaped(cell: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in cell)


def _remarks(report: Report) -> list[str]:
    files = [report.scored] if report.against is None else [report.scored, report.against]
    return [f"{scored.path}: {remark}" for scored in files for remark in scored.remarks]


def as_json(report: Report) -> str:
    """Everything, with metrics as they are computed (0..1, but captions' x100); null for what is not known."""
    content: dict[str, Any] = {
        "task": report.options.task,
        "table": str(report.options.table),
        "pictures": report.pictures,
        "resamples": report.options.resamples,
        "seed": report.options.seed,
        **_file(report.scored),
    }
    if report.against is not None:
        compared = {name: asdict(one) for name, one in report.differences.items()}
        content["against"] = _file(report.against) | {"differences": compared}
    if report.groups:
        content["by"] = report.options.by
        content["groups"] = {
            group: {"rows": count, "metrics": {name: asdict(one) for name, one in estimates.items()}}
            for group, (count, estimates) in report.groups.items()
        }
    if report.risk is not None:
        content["risk"] = report.risk
    return json.dumps(_known(content), ensure_ascii=False, indent=1, allow_nan=False)


def _file(scored: Scored) -> dict[str, Any]:
    metrics: dict[str, Any] = {name: asdict(one) for name, one in scored.estimates.items()}
    metrics |= {name: {"value": value, "low": None, "high": None} for name, value in scored.extra.items()}
    return {"answers": str(scored.path), "counts": scored.counts, "remarks": scored.remarks, "metrics": metrics}


def _known(value: Any) -> Any:
    """With None for NaN, at any depth."""
    if isinstance(value, dict):
        return {key: _known(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_known(inner) for inner in value]
    return None if isinstance(value, float) and math.isnan(value) else value


FORMATS: dict[str, Callable[[Report], str]] = {"text": text, "markdown": markdown, "latex": latex, "json": as_json}
