"""The least work of each path: operations, and numbers that must be read from memory.

Only convolutions and matrix products count, two operations for each multiply-add. Norms, softmax, GELU and table
look-ups count as nothing, so the limit is a lower bound. A decoding step reads the weights of its layers once, whatever
the number of beams, and the keys and values so far.

The formulas count what the paths need, not what the code does: torch's FlopCounterMode would count repeated work, too,
and it does not see oneDNN's packed layers. The tests compare the two.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..models.refhcm.config import NetworkConfig
from ..models.refhcm.resnet import BLOCKS


@dataclass(frozen=True)
class Work:
    """flops: operations; reads: numbers (not bytes) that decoding steps must read from memory."""

    flops: float = 0
    reads: float = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.reads + other.reads)

    def __mul__(self, times: float) -> "Work":
        return Work(self.flops * times, self.reads * times)


def patches(size: int) -> int:
    """Patches of a picture of size x size px."""
    return _half(_half(_half(_half(size)))) ** 2


def _half(side: int) -> int:
    return (side + 1) // 2  # every stride of the backbone rounds up


def backbone(config: NetworkConfig, size: int) -> Work:
    """The backbone over one picture of size x size px."""
    width, side = config.resnet_width, _half(size)
    macs = side**2 * width * 3 * 49
    side, channels = _half(side), width
    for stage, blocks in enumerate(BLOCKS[config.resnet_type]):
        planes = width * 2**stage
        for block in range(blocks):
            macs += side**2 * channels * planes  # conv1, before the stride
            side = _half(side) if block == 0 and stage > 0 else side
            macs += side**2 * planes * planes * (9 + 4)  # conv2, conv3
            macs += side**2 * channels * 4 * planes if block == 0 else 0  # downsample
            channels = 4 * planes
    return Work(2 * macs)


def encoder(config: NetworkConfig, size: int, text: int, *, pictures: int = 1, questions: int = 1) -> Work:
    """Each picture through the backbone, each question of `text` symbols through the layers."""
    width, ffn = config.encoder_embed_dim, config.encoder_ffn_embed_dim
    states = patches(size) + text
    channels = 16 * config.resnet_width
    features = backbone(config, size) + Work(2 * patches(size) * channels * width)
    layer = Work(8 * states * width**2 + 4 * states * width * ffn + 4 * states**2 * width)
    return features * pictures + layer * (config.encoder_layers * questions)


def encoder_bias(config: NetworkConfig, states: int) -> Work:
    """The absolute bias of all layers, which an answering encoder caches."""
    width = config.encoder_embed_dim
    return Work(4 * states * width**2 + 2 * states**2 * width)


def decoder_start(config: NetworkConfig, states: int, length: int, *, questions: int = 1) -> Work:
    """Keys and values of the encoder's states in each layer, and the biases of `length` positions."""
    width = config.encoder_embed_dim
    memory = Work(4 * states * width**2) * (config.decoder_layers * questions)
    self_bias = Work(4 * length * width**2 + 2 * length**2 * width)
    cross_bias = Work(2 * (length + states) * width**2 + 2 * length * states * width)
    return memory + self_bias + cross_bias


def decoder_step(
    config: NetworkConfig, states: int, *, past: int, symbols: int = 1, rows: int, outputs: int, questions: int = 1
) -> Work:
    """The next `symbols` positions of `rows` answers, after `past` positions, scored over `outputs` symbols."""
    width, ffn, layers = config.encoder_embed_dim, config.encoder_ffn_embed_dim, config.decoder_layers
    weights = 6 * width**2 + 2 * width * ffn  # self-attention, queries and output of cross-attention, feed-forward
    attended = past + symbols + states
    flops = rows * symbols * (layers * (2 * weights + 4 * attended * width) + 2 * width * outputs)
    caches = 2 * width * (rows * (past + symbols) + questions * states)
    return Work(flops, layers * (weights + caches) + width * outputs)


def decoding(
    config: NetworkConfig, states: int, steps: Iterable[int], *, beams: int = 1, outputs: int, questions: int = 1
) -> Work:
    """All steps of an answer to each question; steps: how many positions each step adds."""
    work, past, shape = Work(), 0, {"outputs": outputs, "questions": questions}
    for symbols in steps:
        rows = questions * (1 if past == 0 else beams)  # at the first step all beams are the same
        work += decoder_step(config, states, past=past, symbols=symbols, rows=rows, **shape)
        past += symbols
    return decoder_start(config, states, past, questions=questions) + work


def training(config: NetworkConfig, size: int, text: int, length: int, outputs: int, *, rows: int = 1) -> Work:
    """Forward and backward pass of pictures with an answer of `length` symbols each: three times the forward pass."""
    states = patches(size) + text
    forward = encoder(config, size, text, pictures=rows, questions=rows) + encoder_bias(config, states)
    forward += decoder_start(config, states, length, questions=rows)
    forward += decoder_step(config, states, past=0, symbols=length, rows=rows, outputs=outputs, questions=rows)
    return Work(3 * forward.flops)
