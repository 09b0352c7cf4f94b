"""What fairseq's trainer would do wrong: averages of shared and of whole numbers, and batches without rows."""

import argparse
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("fairseq")

from fairseq.dataclass.configs import EMAConfig

from refhcm.models.generation import GenerationSettings
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.tasks.fairseq_tasks import ReferringTask
from refhcm.training.trainer import Average, ReferringTrainer

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
    weight = torch.nn.Parameter(torch.ones(()))
    model = torch.nn.Module()
    model.set_num_updates = lambda number: None
    optimizer = SimpleNamespace(backward=lambda loss: loss.backward())

    def criterion(model, sample):
        return weight * 3, 7, {"loss": torch.tensor(3.0), "sample_size": 7}

    stand_in = task_with_rows().stand_in({"target": torch.zeros(2), "bad_rows": [], "clipped_rows": ["x:1"]})
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


class Rows(list):
    """A dataset of one batch for each row."""

    def collater(self, items):
        return items[0]


def task_with_rows(*batches):
    """A task whose data are rows that become these batches."""
    task = object.__new__(ReferringTask)
    task.datasets = {"train": Rows(batches)}
    return task


def test_a_good_row_stands_in_for_a_batch_of_bad_ones():
    good = {"target": torch.ones(1), "bad_rows": []}
    found = task_with_rows({"bad_rows": ["a"]}, good).stand_in({"bad_rows": ["b", "c"]})
    assert found == {"target": good["target"], "stands_in": True}


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
