"""The reliability diagram of `refhcm evaluate --reliability`: how often answers are right, by their confidence."""

from collections.abc import Sequence
from pathlib import Path

from ...inference.answers import JUDGED_FIELDS
from ...inference.calibration import Judged
from ...utils.calibration import auroc, ece, reliability
from ...utils.errors import UserError
from ...utils.files import atomic_write

SIDE_INCHES = 3.2


def draw_reliability(judged: Sequence[Judged], path: Path) -> None:
    """Writes a PNG with a panel for each field: share of right ones by confidence, and below it their numbers.

    On the dashed line confidence is the probability of being right; for `found`, of fitting somebody. Raises UserError
    if the file cannot be written.
    """
    from matplotlib.figure import Figure  # comes with supervision; slow to import

    fields = [field for field in JUDGED_FIELDS if any(one.field == field for one in judged)]
    figure = Figure((SIDE_INCHES * max(len(fields), 1), SIDE_INCHES * 1.35), layout="constrained")
    panels = figure.subplots(2, max(len(fields), 1), squeeze=False, sharex=True, height_ratios=(3, 1))
    for field, upper, lower in zip(fields, *panels[:, : len(fields)], strict=True):
        numbers, right = zip(*((one.raw, one.right) for one in judged if one.field == field), strict=True)
        table = reliability(numbers, right)
        filled = table[table[:, 0] > 0]
        ranks = auroc(numbers, right)
        title = f"{field}: ECE {ece(numbers, right):.3f}" + (f", AUROC {ranks:.3f}" if ranks is not None else "")
        upper.set_title(title, fontsize="medium")
        upper.plot([0, 1], [0, 1], "--", color="grey", linewidth=1)
        upper.plot(filled[:, 1], filled[:, 2], "o-", markersize=4)
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="share right")
        lower.bar([(k + 0.5) / len(table) for k in range(len(table))], table[:, 0], 0.9 / len(table))
        lower.set(xlabel="confidence", ylabel="answers")
    try:
        with atomic_write(path) as part:
            figure.savefig(part, format="png", dpi=120)
    except OSError as error:
        raise UserError(f"--reliability {path}: cannot be written ({error.strerror})") from error
