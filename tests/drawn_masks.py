"""Drawn masks of people, tables of them, and a tokenizer small enough to train on them."""

from pathlib import Path

import numpy as np
import yaml
from commands import refhcm
from PIL import Image

TINY = {
    "n_labels": 20,
    "n_embed": 32,
    "embed_dim": 16,
    "ddconfig": {
        "double_z": False,
        "z_channels": 32,
        "resolution": 32,
        "in_channels": 20,
        "out_ch": 20,
        "ch": 32,
        "ch_mult": [1, 1, 1],
        "num_res_blocks": 1,
        "attn_resolutions": [],
        "dropout": 0.0,
    },
}


def draw_person(seed: int, height: int = 128, width: int = 96) -> np.ndarray:
    """A person that fills the picture, uint8 [height, width]; a few dozen seeds show every class."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] + 0.5
    y, x = y / height, x / width
    mask = np.zeros((height, width), dtype=np.uint8)

    def ellipse(center, radii, label):
        mask[((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2 < 1] = label

    def limb(start, end, radius, label):
        start, along = np.array(start), np.array(end) - start
        t = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / (along @ along), 0, 1)
        mask[(x - start[0] - t * along[0]) ** 2 + (y - start[1] - t * along[1]) ** 2 < radius**2] = label

    middle, hip, spread = rng.uniform(0.42, 0.58), rng.uniform(0.48, 0.56), rng.uniform(0.08, 0.2)
    skirt, dress, coat = rng.random(3) < (0.3, 0.2, 0.3)
    hat, sunglasses, scarf = rng.random(3) < 0.4
    for side, arm, leg, shoe in ((1, 14, 16, 18), (-1, 15, 17, 19)):
        foot = (middle + side * spread, rng.uniform(0.9, 0.94))
        limb((middle + side * 0.09, hip), foot, 0.075, leg if skirt or dress else 9)
        if rng.random() < 0.4:
            limb((foot[0], foot[1] - 0.1), foot, 0.07, 8)
        ellipse((foot[0] + side * 0.03, 0.955), (0.11, 0.042), shoe)
        hand = (middle + side * rng.uniform(0.25, 0.42), rng.uniform(0.3, 0.62))
        limb((middle + side * 0.18, 0.26), hand, 0.05, arm)
        if rng.random() < 0.4:
            ellipse(hand, (0.07, 0.05), 3)
    limb((middle, 0.3), (middle, 0.62 if dress else hip), 0.18, 6 if dress else 7 if coat else 5)
    if coat and not dress:
        limb((middle, 0.32), (middle, hip), 0.06, 5)
    if skirt and not dress:
        ellipse((middle, hip + 0.07), (0.24, 0.12), 12)
    ellipse((middle, 0.24), (0.11, 0.08), 10)
    if scarf:
        ellipse((middle, 0.22), (0.15, 0.04), 11)
    ellipse((middle, 0.11), (0.15, 0.105), 2)
    ellipse((middle, 0.125), (0.11, 0.08), 13)
    if sunglasses:
        ellipse((middle, 0.11), (0.1, 0.025), 4)
    if hat:
        ellipse((middle, 0.035), (0.16, 0.045), 1)
    return mask


def make_table(folder: Path, name: str, seeds: range) -> Path:
    """Writes a table without codes in `folder`; each person's box has a margin of background."""
    rows = []
    for kind in ("imgs", "gts"):
        (folder / kind).mkdir(exist_ok=True)
    for seed in seeds:
        mask = np.pad(draw_person(seed), ((8, 4), (10, 6)))  # [140, 112]
        np.save(folder / "gts" / f"{seed}.npy", mask)
        Image.new("1", (112, 140)).save(folder / "imgs" / f"{seed}.png")
        rows.append(f"{seed}\tsomeone\t10,8,106,136\t{seed}.npy\t{seed}.png\n")
    (folder / name).write_text("".join(rows))
    return folder / name


def make_world(folder: Path) -> Path:
    """Writes a table of 6 rows and model.yaml of a tokenizer in `folder`."""
    make_table(folder, "rows.tsv", range(6))
    (folder / "model.yaml").write_text(yaml.safe_dump({"model": {"params": TINY}}))
    return folder


def run_tokenizer(world: Path, name: str, *arguments: object, data: str = "rows.tsv") -> int:
    """Runs `refhcm tokenizer NAME` on a table of the world."""
    shared = ["--data", world / data, "--annotation-root", world, "--vq-config", world / "model.yaml", "--cpu"]
    return refhcm("tokenizer", name, *shared, *arguments)
