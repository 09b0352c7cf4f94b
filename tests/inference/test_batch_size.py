"""How many questions fit into the memory that a batch may take, counted by hand for a small network."""

import pytest

from refhcm.inference import batch_size as module
from refhcm.models.refhcm import NetworkConfig
from refhcm.tasks.settings import TaskSettings

CONFIG = NetworkConfig(
    encoder_embed_dim=8, encoder_attention_heads=2, decoder_attention_heads=1, decoder_layers=3, resnet_width=4
)
# 32 x 32 px are 2 x 2 patches; with 6 symbols, 10 states. Keys and values of 3 layers: of 5 beams of 200 symbols and
# eos, and of the states; 4 matrices of each of 2 heads; 6 times the first feature map, 4 channels of 16 x 16.
NUMBERS = 2 * 3 * 5 * 201 * 8 + 2 * 3 * 10 * 8 + 4 * 2 * 10 * 10 + 6 * 4 * 16 * 16


@pytest.mark.parametrize("number_bytes", [2, 4])
@pytest.mark.parametrize(("memory", "expected"), [(3, 3), (2.99, 2), (0.5, 1), (64, 64), (65, 64)])
def test_questions_that_fit(memory, expected, number_bytes, monkeypatch):
    monkeypatch.setattr(module, "BATCH_MEMORY", int(memory * NUMBERS * number_bytes))
    settings = TaskSettings(patch_image_size=32, max_src_length=6)
    assert module.batch_size_of(CONFIG, settings, number_bytes=number_bytes) == expected


def test_short_answers_take_less(monkeypatch):
    config = NetworkConfig(**vars(CONFIG) | {"max_target_positions": 20})
    monkeypatch.setattr(module, "BATCH_MEMORY", 4 * (NUMBERS - 2 * 3 * 5 * 180 * 8))
    settings = TaskSettings(patch_image_size=32, max_src_length=6)
    assert module.batch_size_of(config, settings, number_bytes=4) == 1
    monkeypatch.setattr(module, "BATCH_MEMORY", 8 * (NUMBERS - 2 * 3 * 5 * 180 * 8))
    assert module.batch_size_of(config, settings, number_bytes=4) == 2
