"""Collects the metrics of evaluate.sh: results.py WORLD OUT reads OUT/*.json, writes OUT/results.json and .md."""

import json
import sys
from pathlib import Path
from typing import Any

# key of results.json -> file of OUT, its metric, what it is
KEYS = {
    "rec.acc": ("rec", "score", "REC, Acc@0.5"),
    "rec.invalid": ("rec", "invalid", "REC, share of unreadable answers"),
    "rkpt.box_acc": ("rkpt", "box_score", "RKpt, box Acc@0.5"),
    "rkpt.oks_share": ("rkpt", "oks_score", "RKpt, share with OKS >= 0.5"),
    "rkpt.oks_ap": ("rkpt", "oks_ap", "RKpt, OKS AP 0.50:0.95"),
    "rkpt_by_box.oks_share": ("rkpt_by_box", "oks_score", "RKpt asked by the box, share with OKS >= 0.5"),
    "rpar.miou": ("rpar", "miou", "RPar, mIoU"),
    "rpar_by_box.miou": ("rpar_by_box", "miou", "RPar asked by the box, mIoU"),
    "rpar.tokenizer_miou": ("tokenizer", "miou", "mIoU of the tokenizer's own reconstruction"),
    "rpar_full_mask.miou": ("rpar_full_mask", "miou", "RPar by QPG, mIoU"),
    "rhrc.cider_d": ("rhrc", "cider", "RHrc, CIDEr-D x 100"),
    "unseen.rec_acc": ("unseen", "score", "REC, Acc@0.5, combinations never seen in training"),
    "grec.pr_f1": ("grec", "pr_f1", "generalised REC, share with exactly the right people (F1 = 1)"),
    "grec.n_acc": ("grec", "n_acc", "generalised REC, share of rows about nobody answered with nobody"),
    "grec.t_acc": ("grec", "t_acc", "generalised REC, share of rows about somebody answered with somebody"),
    "grec.blank": ("grec", "rejection_blank", "the same as N-acc, pictures without people"),
    "grec.other": ("grec", "rejection_other", "the same as N-acc, people of other pictures"),
    "rec.box_ece": ("rec", "ece.box", "REC, expected calibration error of the boxes' confidence"),
    "rec.box_auroc": ("rec", "auroc.box", "REC, AUROC of it, right boxes against wrong ones"),
    "rkpt.keypoints_ece": ("rkpt", "ece.keypoints", "the same of each keypoint's, ECE"),
    "rkpt.keypoints_auroc": ("rkpt", "auroc.keypoints", "the same of each keypoint's, AUROC"),
    "rpar.parts_ece": ("rpar", "ece.parts", "the same of each part's, ECE"),
    "rpar.parts_auroc": ("rpar", "auroc.parts", "the same of each part's, AUROC"),
    "grec.found_ece": ("grec", "ece.found", "ECE of the probability that somebody fits"),
    "grec.found_auroc": ("grec", "auroc.found", "AUROC of it, rows about somebody against the others"),
}


def _metric(metrics: dict[str, Any], name: str) -> float | None:
    """A metric by its name, or by "kind.field"; None if the table has no rows for it."""
    kind, _, field = name.partition(".")
    return metrics.get(kind, {}).get(field) if field else metrics.get(kind)


def main(world: Path, out: Path) -> None:
    """Writes both files and prints the table."""
    metrics = {name: json.loads((out / f"{name}.json").read_text()) for name, _, _ in KEYS.values()}
    found = {key: _metric(metrics[name], metric) for key, (name, metric, _) in KEYS.items()}
    results = {key: None if value is None else float(value) for key, value in found.items()}  # None: no such rows
    seed = json.loads((world / "world.json").read_text())["seed"]
    dataset = {"dataset": f"drawn people, seed {seed}"}
    (out / "results.json").write_text(json.dumps(results | dataset, indent=2) + "\n")
    counts = ", ".join(f"{name} {metrics[name]['count']}" for name in ("rec", "rkpt", "rpar", "rhrc", "unseen", "grec"))
    lines = [f"Drawn people, seed {seed}; rows scored: {counts}.", "", "| what | key | value |", "|---|---|---|"]
    shown = {key: "no rows" if value is None else f"{value:.4g}" for key, value in results.items()}
    lines += [f"| {what} | `{key}` | {shown[key]} |" for key, (_, _, what) in KEYS.items()]
    (out / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
