"""What fairseq's trainer would do wrong: averages of shared and of whole numbers, and batches without rows."""

import argparse
import math
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("fairseq")

from fairseq.dataclass.configs import EMAConfig
from fairseq.distributed import utils as distributed_utils
from fairseq.optim.dynamic_loss_scaler import DynamicLossScaler

from refhcm.data.dataset import BadRowCounter
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.tasks.base import Task
from refhcm.tasks.evaluation import ScoredRow
from refhcm.tasks.fairseq_tasks import ReferringTask
from refhcm.training.trainer import Average, ReferringTrainer
from refhcm.utils.errors import CheckpointError, DataError, UserError

SIZE = {"arch": "refhcm_test", "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "resnet_width": 8}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_average_by_hand(exact, dtype):
    """0.9 of the old and 0.1 of the new, of the matrix with three names, too; counters are the new ones."""
    network = Network(NetworkConfig.from_args(SIZE), 40).to(dtype)
    average = Average(network, EMAConfig(store_ema=True, ema_decay=0.9, ema_fp32=exact))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(1)
        network.encoder.embed_images.bn1.num_batches_tracked.add_(7)
    average.step(network, 5)
    found = average.get_model().state_dict()
    shared = [name for name in found if "embed_tokens" in name or "output_projection" in name]
    assert len(shared) == 3
    for name in [*shared, "decoder.layer_norm.weight"]:
        torch.testing.assert_close(found[name], before[name] + 0.1)
        if exact:
            now = network.state_dict()[name].float()
            torch.testing.assert_close(average.fp32_params[name], 0.9 * before[name].float() + 0.1 * now)
    assert found["encoder.embed_images.bn1.num_batches_tracked"] == 7


@pytest.mark.parametrize("kind", ["training", "validation"])
def test_what_stands_in_counts_for_nothing(kind):
    """In every place of an update, and in its logs; the batch itself is what is computed."""
    task = object.__new__(ReferringTask)
    task.args, task.settings = argparse.Namespace(), SimpleNamespace(eval_acc=True, eval_cider=False)
    task.counter = BadRowCounter(0)
    weight = torch.nn.Parameter(torch.ones(()))
    model = torch.nn.Module()
    model.set_num_updates = lambda number: None
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())

    def criterion(model, sample):
        return weight * 3, 7, {"loss": torch.tensor(3.0), "sample_size": 7}

    counted = {"bad_rows": [], "clipped_rows": ["x:1"], "remarks": [("x:1", "is turned")]}
    stand_in = task_with_rows().stand_in({"target": torch.zeros(2)} | counted)
    assert stand_in.keys() == {"target", "stands_in"}
    if kind == "training":
        loss, size, logged = task.train_step(stand_in, model, criterion, optimizer, 5)
        assert weight.grad == 0
    else:
        loss, size, logged = task.valid_step(stand_in, model, criterion)
    assert (float(loss.detach()), size, float(logged["loss"]), logged["sample_size"]) == (0, 0, 0, 0)


@pytest.mark.parametrize("flat", [False, True])
def test_float32_weights_by_name(flat):
    """Of all names of a matrix; not of what is frozen."""
    network = Network(NetworkConfig.from_args(SIZE), 40).bfloat16()
    frozen = network.decoder.embed_image_positions.weight.requires_grad_(False)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    masters = [torch.full_like(weight, number, dtype=torch.float32) for number, weight in enumerate(trained)]
    given = {0: torch.cat([master.flatten() for master in masters])} if flat else masters
    optimizer = SimpleNamespace(fp16_params=trained, fp32_params=given, has_flat_params=flat)
    found = ReferringTrainer._masters(SimpleNamespace(optimizer=optimizer, get_model=lambda: network))
    expected = {id(weight): number for number, weight in enumerate(trained)}
    named = dict(network.named_parameters(remove_duplicate=False))
    assert named.keys() - found.keys() == {"decoder.embed_image_positions.weight"}
    assert not frozen.requires_grad
    for name, master in found.items():
        assert master.shape == named[name].shape
        assert bool((master == expected[id(named[name])]).all())


def test_validation_generates_as_asked():
    """By --eval-args, or as evaluation does."""
    task = object.__new__(ReferringTask)
    own = GenerationSettings(min_len=52)
    task.plain = SimpleNamespace(generation_settings=lambda: own)
    task.settings = SimpleNamespace(eval_args="{}")
    assert task._generation() is own
    task.settings.eval_args = '{"beam": 2, "max_len_b": 7}'
    assert task._generation() == GenerationSettings(beam=2, max_len_b=7)


def test_answers_are_scored_once():
    """A row that two ranks answered counts once; what is not a number is not logged."""
    task = object.__new__(ReferringTask)
    task.settings = SimpleNamespace(eval_acc=False, eval_cider=True)
    task.plain = SimpleNamespace(summarize=lambda rows: {"sum": sum(rows), "class_iou": {}})
    task.answers = [ScoredRow(4, {}, 10), ScoredRow(1, {}, 3), ScoredRow(4, {}, 10)]
    assert task.end_validation() == {"sum": 13, "count": 2}
    with pytest.raises(DataError, match="nothing to score"):
        task.end_validation()
    task.settings.eval_cider = False
    assert task.end_validation() == {}


def test_each_split_has_its_file_and_order():
    """Training files take turns and are shuffled after the curriculum's epochs; validation never is."""
    task = object.__new__(ReferringTask)
    task.datasets, task.files = {}, ["a", "b", "valid"]
    task.settings = SimpleNamespace(eval_acc=False, eval_cider=False)
    task.args = SimpleNamespace(seed=7, curriculum=2)
    opened = SimpleNamespace(order=lambda epoch, **how: {"epoch": epoch} | how)
    task.plain = SimpleNamespace(training_file=Task.training_file, open=lambda path, training: opened)
    found = []
    for split, epoch in (("train", 1), ("train", 2), ("train", 3), ("valid", 3)):
        task.load_dataset(split, epoch=epoch)
        rows = task.datasets[split]
        rows.set_epoch(epoch)
        found.append((rows.path, rows.ordered_indices()))
    order = [
        {"epoch": epoch, "seed": 7, "shuffle_after": after} for epoch, after in ((1, 2), (2, 2), (3, 2), (3, math.inf))
    ]
    assert found == list(zip(("a", "b", "a", "valid"), order, strict=True))
    task.load_dataset("valid", epoch=4)
    assert task.datasets["valid"] is rows  # it stays open
    assert [batch.tolist() for batch in rows.batch_by_size(torch.arange(5), max_sentences=2)] == [[0, 1], [2, 3], [4]]


class Rows(list):
    """A dataset of one batch for each row."""

    def collater(self, items):
        return items[0]


def task_with_rows(*batches, valid=None, limit=5):
    """A task whose data are rows that become these batches."""
    task = object.__new__(ReferringTask)
    task.counter = BadRowCounter(limit)
    task.datasets = {"train": Rows(batches)} | ({"valid": Rows(valid)} if valid else {})
    for name, rows in task.datasets.items():
        rows.path = f"{name}.tsv"
    return task


GOOD = {"target": torch.ones(1), "bad_rows": []}


def test_a_good_row_stands_in_for_a_batch_of_bad_ones():
    found = task_with_rows({"bad_rows": ["a"]}, GOOD).stand_in({"bad_rows": ["b", "c"]})
    assert found == {"target": GOOD["target"], "stands_in": True}


@pytest.mark.parametrize(
    ("train", "valid", "limit", "message"),
    [
        ("aa", "", 5, "train.tsv: no row can be used; the first: 1 is bad"),
        ("+a", "aab", 5, "valid.tsv: no row can be used; the first: 1 is bad"),
        ("aaaa+", "", 2, "3 is bad: bad row 3, --skip-bad-rows allows 2"),
        ("aaaa", "", 0, "1 is bad: bad row 1, --skip-bad-rows allows 0"),
    ],
)
def test_a_table_without_a_good_row(train, valid, limit, message):
    """Of training or validation: nothing stands in for it."""

    def batches(text):
        return [GOOD if letter == "+" else {"bad_rows": [f"{k} is bad"]} for k, letter in enumerate(text, 1)]

    with pytest.raises(DataError, match=f"^{message}$"):
        task_with_rows(*batches(train), valid=batches(valid), limit=limit).stand_in({"bad_rows": ["first"]})


def test_ranks_drop_other_units():
    """One seed for each update and rank; that of the first rank is fairseq's."""
    drawn = []
    for rank, update in ((0, 5), (1, 5), (1, 6), (1, 5)):
        cfg = SimpleNamespace(common=SimpleNamespace(seed=3))
        trainer = SimpleNamespace(cfg=cfg, data_parallel_rank=rank, get_num_updates=lambda update=update: update)
        ReferringTrainer._set_seed(trainer)
        drawn.append(float(torch.rand(())))
    torch.manual_seed(8)
    assert drawn[0] == float(torch.rand(()))
    assert len(set(drawn)) == 3
    assert drawn[1] == drawn[3]


@pytest.mark.parametrize("ranks", [1, 2])
def test_ranks_validate_with_the_same_statistics(ranks, monkeypatch):
    """Those of the first rank's batch norms; the large tables that the sizes imply stay where they are."""
    network, sent = Network(NetworkConfig.from_args(SIZE), 40), []
    trainer = object.__new__(ReferringTrainer)
    trainer.task = SimpleNamespace(begin_valid_epoch=lambda epoch, model: sent.append("begun"))
    monkeypatch.setattr(trainer, "get_model", lambda: network, raising=False)
    monkeypatch.setattr(ReferringTrainer, "data_parallel_world_size", ranks)
    monkeypatch.setattr(ReferringTrainer, "data_parallel_process_group", None)
    monkeypatch.setattr("torch.distributed.broadcast", lambda buffer, src, group: sent.append((buffer.data_ptr(), src)))
    trainer.begin_valid_epoch(1)
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    expected = [(b.data_ptr(), 0) for name, b in network.named_buffers() if name.endswith(statistics)]
    assert expected
    assert sent == (expected if ranks == 2 else []) + ["begun"]


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    """A trainer after six updates, which writes nothing but the name of its dump."""
    trainer = object.__new__(ReferringTrainer)
    trainer.cfg = SimpleNamespace(checkpoint=SimpleNamespace(save_dir=str(tmp_path), no_save=False))
    trainer._num_updates, trainer._grad_norm_buf = 6, None
    monkeypatch.setattr(trainer, "consolidate_optimizer", lambda: None, raising=False)
    monkeypatch.setattr(trainer, "save_checkpoint", lambda path, state: Path(path).write_text(""), raising=False)
    return trainer


@pytest.mark.parametrize("norm", [math.nan, math.inf, -math.inf])
def test_gradients_that_are_not_finite(norm, trainer, tmp_path):
    trainer._check_grad_norms(torch.tensor(3.0))
    assert not list(tmp_path.iterdir())
    dump = re.escape(str(tmp_path / "crash.pt"))
    with pytest.raises(UserError, match=rf"^update 7: the gradients are not finite .* {dump}: try a lower --lr$"):
        trainer._check_grad_norms(torch.tensor(norm))
    assert (tmp_path / "crash.pt").exists()


@pytest.mark.parametrize("of_other", [2.0, math.nan])
def test_gradients_that_differ_between_ranks(of_other, trainer, monkeypatch):
    trainer._grad_norm_buf = torch.zeros(2, dtype=torch.float64)
    trainer.cfg.common = SimpleNamespace(amp=False)
    monkeypatch.setattr(ReferringTrainer, "data_parallel_rank", 0)
    monkeypatch.setattr(ReferringTrainer, "data_parallel_process_group", None)
    monkeypatch.setattr(distributed_utils, "all_reduce", lambda buffer, group: buffer[1].fill_(of_other))
    with pytest.raises(UserError, match=r"^update 7: the ranks have different gradients.*--ddp-backend=legacy_ddp$"):
        trainer._check_grad_norms(torch.tensor(3.0))


def test_the_least_loss_scale(trainer, monkeypatch):
    scaler = DynamicLossScaler(init_scale=2**-13, min_loss_scale=1e-4)
    optimizer = SimpleNamespace(clip_grad_norm=lambda norm, **_: scaler.check_overflow(math.inf))
    monkeypatch.setattr(ReferringTrainer, "optimizer", optimizer)
    monkeypatch.setattr(ReferringTrainer, "is_fsdp", False)
    message = r"^update 7: --fp16: Minimum loss scale reached \(0.0001\); .*: try --bf16, or a lower --lr$"
    with pytest.raises(UserError, match=message):
        trainer.clip_grad_norm(1.0)


def test_a_dump_that_cannot_be_written_does_not_hide_the_reason(trainer, monkeypatch):
    def full(path, state):
        raise UserError(f"{path}: cannot be written (disk full)")

    monkeypatch.setattr(trainer, "save_checkpoint", full)
    with pytest.raises(UserError, match=r"update 7: the gradients are not finite .*crash.pt: cannot be written"):
        trainer._check_grad_norms(torch.tensor(math.nan))
    trainer.cfg.checkpoint.no_save = True
    with pytest.raises(UserError, match=r"^update 7: the gradients are not finite \(NaN or infinity\): try"):
        trainer._check_grad_norms(torch.tensor(math.nan))


@pytest.mark.parametrize("rest", [{}, {"extra_state": {}}, {"extra_state": None}])
def test_weights_without_a_run_are_not_resumed(rest, trainer, tmp_path):
    """Of a dump, an export, or another program."""
    torch.save({"model": {"a": torch.ones(1)}, "args": {"arch": "refhcm_test"}} | rest, tmp_path / "crash.pt")
    trainer.cfg.ema = EMAConfig()
    with pytest.raises(CheckpointError, match=r"crash.pt: no run can resume from it; use --finetune-from-model"):
        trainer.load_checkpoint(str(tmp_path / "crash.pt"))


def test_one_rank_writes_the_checkpoint(tmp_path, monkeypatch):
    trainer, path = object.__new__(ReferringTrainer), tmp_path / "a.pt"
    monkeypatch.setattr(trainer, "state_dict", lambda: {"extra_state": {"old": 1}, "model": {}}, raising=False)
    for writes in (False, True):
        monkeypatch.setattr(ReferringTrainer, "should_save_checkpoint_on_current_rank", writes)
        trainer.save_checkpoint(str(path), {"new": 2})
        assert path.exists() == writes
    assert torch.load(path)["extra_state"] == {"old": 1, "new": 2}
