"""Faults that only show in a whole table: repeated rows, boxes in another format, counts."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .boxes import BoxCounts
from .counting import count_faults
from .findings import ERROR, Finding
from .keypoints import PointCounts
from .rows import Facts

MOST_OUTSIDE = 0.2  # of a table's labelled keypoints; COCO has 3 %
FEWEST_POINTS, FEWEST_BOXES = 20, 10  # to judge their format by
MOST_IMPOSSIBLE, MOST_AS_XYWH = 0.2, 0.95  # of a table's boxes


@dataclass
class Report:
    """A table that was checked. partial: not all of it was, or it is said to be a part.

    image_ids, pictures: first row of each; pictures by digest of their files.
    """

    path: Path
    task: str
    guessed: bool
    rows: int = 0
    image_ids: dict[str, int] = field(default_factory=dict)
    pictures: dict[bytes, int] = field(default_factory=dict)
    points: PointCounts = field(default_factory=PointCounts)
    without_codes: bool = False
    findings: list[Finding] = field(default_factory=list)

    def counts(self, severity: str) -> Counter[str]:
        """Findings by kind."""
        return Counter(finding.kind for finding in self.findings if finding.severity == severity)

    @property
    def faulty(self) -> bool:
        """Whether there is an error."""
        return any(finding.severity == ERROR for finding in self.findings)


class Tally:
    """Takes the rows of a table in their order; `finish` adds what shows only at its end."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._boxes = BoxCounts()
        self._ids: dict[str, int] = {}
        self._contents: dict[bytes, int] = {}
        self._picture_of: dict[str, bytes] = {}
        self._columns: list[tuple[int, int, str]] = []  # row, number, id
        self._codes: dict[bool, list[tuple[int, str]]] = {True: [], False: []}

    def add(self, facts: Facts) -> None:
        """Counts a row."""
        report, row = self.report, facts.row
        report.rows += 1
        for kind, what in facts.faults:
            self._find(kind, what, facts)
        if not facts.columns:
            return
        self._columns.append((row, facts.columns, facts.id))
        self._repeated(facts)
        report.points += facts.points
        self._boxes += facts.boxes
        if facts.has_codes is not None:
            self._codes[facts.has_codes].append((row, facts.id))
        if facts.image_id:
            report.image_ids.setdefault(facts.image_id, row)
        if facts.picture:
            if facts.turned and facts.picture not in report.pictures:
                self._find("turned-picture", "its EXIF orientation turns it", facts)
            report.pictures.setdefault(facts.picture, row)

    def _repeated(self, facts: Facts) -> None:
        if facts.id.strip():
            first = self._ids.setdefault(facts.id, facts.row)
            if first != facts.row:
                self._find("repeated-id", f"also in line {first + 1}", facts)
        if facts.content:
            first = self._contents.setdefault(facts.content, facts.row)
            if first != facts.row:
                self._find("repeated-row", f"picture, box and text of line {first + 1}", facts)
        if facts.image_id and facts.picture:
            known = self._picture_of.setdefault(facts.image_id, facts.picture)
            if known != facts.picture:
                line = self.report.image_ids[facts.image_id] + 1
                self._find("image-id-reused", f"image id {facts.image_id} has another picture in line {line}", facts)

    def finish(self, *, whole: bool) -> None:
        """whole: the table is said to hold a whole split, and all of it was checked."""
        self._check_columns()
        self._check_format()
        with_codes, without = self._codes[True], self._codes[False]
        self.report.without_codes = bool(without) and not with_codes
        if with_codes:
            self.report.findings += [Finding("missing-codes", "an empty cell", row, row_id) for row, row_id in without]
        if whole:
            faults = count_faults(self.report.path, rows=self.report.rows, pictures=len(self.report.pictures))
            self.report.findings += [Finding(kind, what) for kind, what in faults]
        self.report.findings.sort(key=lambda finding: -1 if finding.row is None else finding.row)

    def _check_columns(self) -> None:
        usual = Counter(count for _, count, _ in self._columns).most_common(1)
        for row, count, row_id in self._columns:
            if count != usual[0][0]:
                self.report.findings.append(
                    Finding("column-count", f"{count} columns, others have {usual[0][0]}", row, row_id)
                )

    def _check_format(self) -> None:
        points, boxes = self.report.points, self._boxes
        if points.labelled >= FEWEST_POINTS and points.outside > MOST_OUTSIDE * points.labelled:
            better = points.outside_as_xywh < points.outside / 2
            said = f"{points.outside} of {points.labelled} labelled keypoints lie outside their boxes"
            said += f", {points.outside_as_xywh} if they are x,y,width,height" if better else ""
            self.report.findings.append(Finding("boxes-xywh" if better else "keypoints-outside-boxes", said))
        elif (
            boxes.total >= FEWEST_BOXES
            and boxes.impossible > MOST_IMPOSSIBLE * boxes.total
            and boxes.as_xywh >= MOST_AS_XYWH * boxes.total
        ):
            said = f"{boxes.impossible} of {boxes.total} boxes have x1 <= x0 or y1 <= y0"
            said += f", and {boxes.as_xywh} would be in their pictures as x,y,width,height"
            self.report.findings.append(Finding("boxes-xywh", said))

    def _find(self, kind: str, what: str, facts: Facts) -> None:
        self.report.findings.append(Finding(kind, what, facts.row, facts.id))
