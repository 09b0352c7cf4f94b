"""A minute of training on drawn people: a broken training loop can not pass."""

import json

import numpy as np
import pytest
from scripts import run_script, updates

from refhcm.data.synthetic.writer import World, write_world
from refhcm.utils.boxes import box_hits

PICTURES = {"train": 900, "val": 1, "test": 80, "unseen": 1}
SMALL = ["--encoder-embed-dim=128", "--encoder-ffn-embed-dim=256", "--resnet-width=16", "--patch-image-size=64"]
BINS = ["--num-bins=64", "--code-dict-size=96", "--max-image-size=64", "--label-smoothing=0"]
MINUTE = [
    "--batch-size=64",
    "--update-freq=1",
    "--lr=1e-3",
    "--max-epoch=40",
    "--max-update=400",
    "--warmup-ratio=0.05",
]
QUIET = ["--share-pictures", "--rows-together=2", "--disable-validation", "--no-epoch-checkpoints"]
STEADY = ["--dropout=0", "--encoder-drop-path-rate=0", "--decoder-drop-path-rate=0"]


@pytest.mark.slow
def test_boxes_are_learnt_in_a_minute(tmp_path):
    """Acc@0.5 of people never seen, against the one box that fits most of them."""
    pytest.importorskip("fairseq")
    world = tmp_path / "world"
    write_world(world, World(seed=3, pictures=PICTURES), workers=2)
    tables = [world / "rkpt" / f"{split}.tsv" for split in ("train", "test")]
    words = [f"{tables[0]}:2"]
    from refhcm.tasks.make_vocabulary import make_vocabulary

    make_vocabulary(words, tmp_path / "bpe", size=500)
    places = {"BPE_DIR": tmp_path / "bpe", "SAVE_DIR": tmp_path / "run", "RESULTS": tmp_path / "results"}
    columns = ["--selected-cols=0,5,2,3"]
    log = run_script(
        "rec/train_refcoco.sh", *columns, *SMALL, *BINS, *MINUTE, *QUIET, *STEADY, "--log-format=json",
        **places, TRAIN=tables[0], VALID=tables[1],
    ).stdout  # fmt: skip
    losses = [float(step["loss"]) for step in updates(log)]
    assert losses[-1] < 0.6 * losses[0]
    checkpoint = tmp_path / "run" / "checkpoint_last.pt"
    done = run_script("rec/evaluate_refcoco.sh", *columns, **places, EVAL=tables[1], CHECKPOINT=checkpoint)
    accuracy = json.loads(done.stdout.splitlines()[-1])["score"]
    boxes = [
        np.array([line.split("\t")[3].split(",") for line in table.read_text(encoding="utf-8").splitlines()], float)
        for table in tables
    ]
    chance = max(box_hits(np.tile(guess, (len(boxes[1]), 1)), boxes[1]).mean() for guess in boxes[0][::10])
    assert accuracy > chance + 0.15, f"{accuracy:.2f}, and one box for all {chance:.2f}"
