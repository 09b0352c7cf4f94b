"""Prints measured metrics beside the paper's: beside_paper.py METRICS.json NAME=FIGURE..., ? for a figure not at hand.

METRICS.json is of `refhcm evaluate --metrics-path` or `refhcm score --format json`. Figures are in percent, captions'
times 100.
"""

import json
import sys
from pathlib import Path


def main(path: str, *figures: str) -> None:
    """A line for each figure."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    found = content.get("metrics", content)
    print(f"{'metric':<12}{'ours':>8}{'paper':>8}")
    for name, _, paper in (figure.partition("=") for figure in figures):
        value = found[name]["value"] if isinstance(found[name], dict) else found[name]
        print(f"{name:<12}{value if name == 'cider' else 100 * value:>8.2f}{paper:>8}")
    if any(figure.startswith("oks=") for figure in figures):
        print("Which of oks_score (share with OKS >= 0.5) and oks (mean) the paper's figure is, is not known.")
    if any(figure.endswith("=?") for figure in figures):
        print("?: the paper's figure is not at hand.")


if __name__ == "__main__":
    main(*sys.argv[1:])
