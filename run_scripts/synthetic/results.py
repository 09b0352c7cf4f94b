"""Collects the metrics of evaluate.sh: results.py WORLD OUT reads OUT/*.json, writes OUT/results.json and .md."""

import json
import sys
from pathlib import Path

# key of results.json -> file of OUT, its metric, what it is
KEYS = {
    "rec.acc": ("rec", "score", "REC, Acc@0.5"),
    "rec.invalid": ("rec", "invalid", "REC, share of unreadable answers"),
    "rkpt.box_acc": ("rkpt", "box_score", "RKpt, box Acc@0.5"),
    "rkpt.oks_share": ("rkpt", "oks_score", "RKpt, share with OKS >= 0.5"),
    "rkpt.oks_ap": ("rkpt", "oks_ap", "RKpt, OKS AP 0.50:0.95"),
    "rpar.miou": ("rpar", "miou", "RPar, mIoU"),
    "rpar.tokenizer_miou": ("tokenizer", "miou", "mIoU of the tokenizer's own reconstruction"),
    "rpar_full_mask.miou": ("rpar_full_mask", "miou", "RPar by QPG, mIoU"),
    "rhrc.cider_d": ("rhrc", "cider", "RHrc, CIDEr-D x 100"),
    "unseen.rec_acc": ("unseen", "score", "REC, Acc@0.5, combinations never seen in training"),
}


def main(world: Path, out: Path) -> None:
    """Writes both files and prints the table."""
    metrics = {name: json.loads((out / f"{name}.json").read_text()) for name, _, _ in KEYS.values()}
    results = {key: float(metrics[name][metric]) for key, (name, metric, _) in KEYS.items()}
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    seed = json.loads((world / "world.json").read_text())["seed"]
    counts = ", ".join(f"{name} {metrics[name]['count']}" for name in ("rec", "rkpt", "rpar", "rhrc", "unseen"))
    lines = [f"Drawn people, seed {seed}; rows scored: {counts}.", "", "| what | key | value |", "|---|---|---|"]
    lines += [f"| {what} | `{key}` | {results[key]:.4g} |" for key, (_, _, what) in KEYS.items()]
    (out / "results.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
