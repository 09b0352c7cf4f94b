"""How much memory asking takes, to choose how many questions are asked together."""

from ..models.refhcm.config import NetworkConfig

BATCH_MEMORY = 2 * 2**30  # bytes: what the questions asked together may need, where `batch_size` does not say
LARGEST_BATCH = 64
BEAMS, ANSWER_LENGTH = 5, 200  # of the largest question
PATCH = 16  # px of the canvas for each patch


def needed_memory(
    config: NetworkConfig, *, canvas_px: int, source_length: int, answer_length: int, beams: int, number_bytes: int = 4
) -> int:
    """Bytes of one question's large buffers at their peaks together: an estimate from above.

    The caches of every beam, the picture's keys and values, the attention of an encoder layer (bias, weights, and
    their copies), and the backbone's first feature maps.
    """
    width, layers = config.encoder_embed_dim, config.decoder_layers
    states = (canvas_px // PATCH) ** 2 + source_length
    caches = 2 * layers * beams * (answer_length + 1) * width
    memory = 2 * layers * states * width
    attention = 4 * config.encoder_attention_heads * states**2
    backbone = 6 * config.resnet_width * (canvas_px // 2) ** 2
    return number_bytes * (caches + memory + attention + backbone)
