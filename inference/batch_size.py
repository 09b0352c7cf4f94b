"""How many questions are asked together: as many as a given memory holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..models.refhcm.config import PATCH, NetworkConfig
from ..tasks.settings import TaskSettings

if TYPE_CHECKING:
    from ..models.refhcm.network import Network

BATCH_MEMORY = 2 * 2**30  # bytes for the questions asked together
LARGEST_BATCH = 64
BEAMS, ANSWER_LENGTH = 5, 200  # of the largest question


def fitting_batch_size(network: Network, settings: TaskSettings) -> int:
    """How many questions `BATCH_MEMORY` holds, 1 to `LARGEST_BATCH`."""
    weight = network.decoder.output_projection.weight
    return batch_size_of(network.config, settings, number_bytes=weight.element_size())


def batch_size_of(config: NetworkConfig, settings: TaskSettings, *, number_bytes: int) -> int:
    """The same for a network of these sizes, in numbers of `number_bytes`.

    For each question it counts the large buffers as if all reached their peaks together: the caches of every beam, the
    picture's keys and values, the attention of an encoder layer (bias, weights, and their copies), and the backbone's
    first feature maps.
    """
    canvas_px = settings.patch_image_size
    width, layers = config.encoder_embed_dim, config.decoder_layers
    states = (canvas_px // PATCH) ** 2 + settings.max_src_length
    answer_length = min(ANSWER_LENGTH, config.max_target_positions)
    caches = 2 * layers * BEAMS * (answer_length + 1) * width
    memory = 2 * layers * states * width
    attention = 4 * config.encoder_attention_heads * states**2
    backbone = 6 * config.resnet_width * (canvas_px // 2) ** 2
    numbers = caches + memory + attention + backbone
    question = numbers * number_bytes
    return min(max(BATCH_MEMORY // question, 1), LARGEST_BATCH)
