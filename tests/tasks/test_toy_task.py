"""Adding a task takes one class: here is one, trained by the real loop and evaluated."""

import base64
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from scripts import TINY

from refhcm.data.annotation import Prediction
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.refhcm.loading import load_network
from refhcm.tasks import Task
from refhcm.tasks.base import mean_of
from refhcm.tasks.evaluation import evaluate
from refhcm.tasks.settings import TaskSettings
from refhcm.utils.checkpoints import read_checkpoint

fairseq = pytest.importorskip("fairseq")


class Quarter(Task):
    """Expression -> the quarter of the picture that holds the middle of the box: one of the bins 0..3."""

    name = "quarter"
    columns = ("id", "image", "expression", "box")
    default_cols = "0,5,2,3"
    prompt = " which quarter? {}"
    generation = GenerationSettings(max_len_b=1)

    def quarter(self, box_xyxy, w_resize_ratio, h_resize_ratio):
        """0 and 1 above, 2 and 3 below; odd on the right."""
        middle = (box_xyxy[:2] + box_xyxy[2:]) / 2 * [w_resize_ratio, h_resize_ratio]
        right, below = middle > self.settings.patch_image_size / 2
        return int(right) + 2 * int(below)

    def target(self, annotation, placed, *, training):
        quarter = self.quarter(annotation.box_xyxy, placed.w_resize_ratio, placed.h_resize_ratio)
        return torch.tensor([self.vocabulary.bin_ids[quarter]])

    def parse(self, ids):
        quarter = int(ids[0]) - self.vocabulary.bin_ids.start if len(ids) else -1
        return Prediction(valid=0 <= quarter < 4, codes=np.array([quarter]))

    def record(self, prediction, labels):
        return {"uniq_id": str(labels["id"]), "quarter": int(prediction.codes[0])}

    def statistics(self, prediction, labels):
        right = self.quarter(labels["region_coords"], labels["w_resize_ratios"], labels["h_resize_ratios"])
        return {"hit": prediction.codes[0] == right, "invalid": not prediction.valid}

    def summarize(self, statistics):
        return {"accuracy": mean_of(statistics, "hit"), "invalid": mean_of(statistics, "invalid")}


def settings_of(world):
    """The flags of evaluation."""
    return TaskSettings(bpe_dir=str(world / "bpe"), num_bins=100, code_dict_size=96, patch_image_size=64)


@pytest.fixture
def table(tmp_path):
    """Eight rows, two in each quarter; each picture has one bright box."""
    path = tmp_path / "quarters.tsv"
    with path.open("w", encoding="utf-8") as lines:
        for i, (x, y) in enumerate([(2, 3), (55, 5), (4, 50), (60, 55)] * 2):
            box = (x, y, x + 25 + i, y + 25 + i)
            picture, file = Image.new("RGB", (100, 90)), io.BytesIO()
            picture.paste((255, 255, 0), box)
            picture.save(file, "PNG")
            cells = (
                f"q{i}",
                "0",
                "abcdefgh"[i],
                ",".join(map(str, box)),
                "",
                base64.b64encode(file.getvalue()).decode(),
            )
            lines.write("\t".join(cells) + "\n")
    return path


@pytest.mark.filterwarnings("ignore:'pin_memory' argument:UserWarning")  # fairseq asks for it without a GPU, too
@pytest.mark.filterwarnings("default")  # of fairseq and hydra
def test_a_new_task_trains_and_answers(world, table, small_text, tmp_path):
    from refhcm.tasks.fairseq_tasks import register
    from refhcm.training.command import configure, parse
    from refhcm.training.loop import train

    register(Quarter)
    args = parse(
        [
            *[f"{table},{table}", "--task=quarter", "--arch=refhcm_test", *TINY, f"--bpe-dir={world / 'bpe'}"],
            *["--num-bins=100", "--code-dict-size=96", "--patch-image-size=64", "--freeze-resnet", "--cpu"],
            *["--criterion=adjust_label_smoothed_cross_entropy", "--optimizer=adam", "--lr=1e-3", "--clip-norm=1"],
            *["--lr-scheduler=polynomial_decay", "--warmup-ratio=0.1", "--batch-size=8", "--seed=3"],
            *["--max-epoch=200"],
            *["--dropout=0", "--encoder-drop-path-rate=0", "--decoder-drop-path-rate=0", "--num-workers=0"],
            *["--eval-acc", "--best-checkpoint-metric=accuracy", "--maximize-best-checkpoint-metric"],
            *["--validate-interval=200", "--save-interval=200", "--no-epoch-checkpoints", f"--save-dir={tmp_path}"],
            *["--no-progress-bar", "--log-interval=10"],
        ]
    )
    train(configure(args), args)
    checkpoint = read_checkpoint(tmp_path / "checkpoint_best.pt")
    best = checkpoint.rest["extra_state"]["best"]  # validation asked the same eight rows
    assert best >= 0.75  # chance is a quarter

    task = Quarter.from_settings(settings_of(world))
    network = load_network(checkpoint, len(small_text.vocabulary))
    rows = task.open(table, training=False)
    metrics, records = evaluate(task, network, rows, settings=task.generation_settings(), batch_size=3)
    assert metrics == {"accuracy": best, "invalid": 0.0, "count": 8}
    assert sum(r["quarter"] == q for r, q in zip(records, [0, 1, 2, 3] * 2, strict=True)) == 8 * best
    assert json.dumps(records)


def test_rubbish_is_invalid(small_text, world):
    task = Quarter(small_text, settings_of(world))
    assert [task.parse(torch.tensor(ids)).valid for ids in ([], [2], [task.vocabulary.bin_ids[3]])] == [
        False,
        False,
        True,
    ]
