"""What fairseq's trainer would do wrong: averages of shared and of whole numbers, and patience between two saves."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("fairseq")

from fairseq.dataclass.configs import CheckpointConfig, EMAConfig

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.tasks.checkpointing import Saver
from refhcm.tasks.trainer import Average

SIZE = {"arch": "refhcm_test", "encoder_embed_dim": 32, "encoder_ffn_embed_dim": 64, "resnet_width": 8}


@pytest.mark.parametrize("exact", [False, True])
def test_average_by_hand(exact):
    """0.9 of the old and 0.1 of the new, of the matrix with three names, too; counters are the new ones."""
    network = Network(NetworkConfig.from_args(SIZE), 40)
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
    assert found["encoder.embed_images.bn1.num_batches_tracked"] == 7


def test_the_best_and_patience(tmp_path):
    """Each validation counts, whether a checkpoint is due or not."""
    saver = Saver(CheckpointConfig(save_dir=str(tmp_path), maximize_best_checkpoint_metric=True), SimpleNamespace())
    assert [saver.note(value) for value in (0.5, 0.9, 0.4, 0.9, 0.3, 0.2)] == [True, True, False, True, False, False]
    assert (saver.best, saver.without_improvement) == (0.9, 2)
    other = Saver(saver.options, SimpleNamespace())
    other.restore({"best": 0.9, "without_improvement": 2})
    assert not other.note(0.8)
    assert other.without_improvement == 3
