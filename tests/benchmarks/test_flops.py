"""The formulas of the least work, against torch's FlopCounterMode on small networks."""

import copy

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from refhcm.benchmarks import flops
from refhcm.models.refhcm import Network, NetworkConfig

SYMBOLS, TEXT = 50, 7


@pytest.fixture(scope="module", params=["resnet18", "resnet101"])
def network(request):
    flags = {"arch": "refhcm_test", "encoder_embed_dim": 32, "resnet_width": 8, "resnet_type": request.param}
    return Network(NetworkConfig.from_args(flags), SYMBOLS).eval().requires_grad_(False)


@pytest.fixture(autouse=True)
def products_of_torch(monkeypatch):
    """Torch does not count oneDNN's."""
    monkeypatch.setattr("refhcm.models.refhcm.cpu.linear.mkl_is_slow", lambda: False)


def counted(function):
    """Operations of convolutions and matrix products, as torch counts them."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def encode(network, size, questions=1):
    tokens = torch.full((questions, TEXT), 5)
    return network.encoder(tokens, torch.zeros(questions, 3, size, size))


@pytest.mark.parametrize("size", [64, 96, 80])
def test_backbone(network, size):
    found = counted(lambda: network.encoder.embed_images(torch.zeros(1, 3, size, size)))
    assert flops.backbone(network.config, size).flops == found


def test_one_convolution_by_hand():
    # the first convolution of a 32 x 32 picture: 16 x 16 places, 8 channels of 3 x 7 x 7 multiply-adds
    config = NetworkConfig.from_args({"arch": "refhcm_test", "resnet_width": 8})
    first = 2 * 16 * 16 * 8 * 3 * 49
    stages = 0
    for side_in, side, channels, planes in ((8, 8, 8, 8), (8, 4, 32, 16), (4, 2, 64, 32)):
        branch = side_in**2 * channels * planes + side**2 * planes * planes * 13 + side**2 * channels * 4 * planes
        second = side**2 * (4 * planes * planes + planes * planes * 13)
        stages += 2 * (branch + second)
    assert flops.backbone(config, 32).flops == first + stages


@pytest.mark.parametrize("questions", [1, 3])
def test_encoder(network, questions):
    """The first two calls make the bias, for a text of 32 symbols; the third takes it from the cache."""
    network = copy.deepcopy(network)
    first, _, third = (counted(lambda: encode(network, 64, questions)) for _ in range(3))
    work = flops.encoder(network.config, 64, TEXT, pictures=questions, questions=questions)
    assert third == work.flops
    assert first == third + flops.encoder_bias(network.config, flops.patches(64) + 32).flops


def test_decoding_step_by_step(network):
    with torch.no_grad():
        encoder = encode(network, 64)
    states, decoder, steps, beams = flops.patches(64) + TEXT, network.decoder, [1, 1, 3], 1

    def decode():
        state = decoder.start(encoder, beams=beams, capacity=sum(steps))
        for symbols in steps:
            decoder.project(decoder.extend(torch.full((beams, symbols), 5), state))

    work = flops.decoding(network.config, states, steps, beams=beams, outputs=SYMBOLS)
    assert counted(decode) == work.flops


def test_a_step_reads_weights_once_and_the_caches_of_each_beam():
    config = NetworkConfig.from_args({"arch": "refhcm_test"})  # width 64, feed-forward 128, 2 layers
    step = flops.decoder_step(config, 20, past=4, rows=5, outputs=100)
    weights = 2 * (6 * 64 * 64 + 2 * 64 * 128) + 64 * 100
    caches = 2 * 2 * 64 * (5 * 5 + 20)
    assert step.reads == weights + caches


def test_training_is_three_times_the_forward_pass():
    config = NetworkConfig.from_args({"arch": "refhcm_test"})
    states = flops.patches(64) + TEXT
    forward = flops.encoder(config, 64, TEXT) + flops.decoder_start(config, states, 6)
    forward += flops.encoder_bias(config, states)
    forward += flops.decoder_step(config, states, past=0, symbols=6, rows=1, outputs=SYMBOLS)
    assert flops.training(config, 64, TEXT, 6, SYMBOLS).flops == 3 * forward.flops


def test_training_rows_share_the_biases_only():
    config = NetworkConfig.from_args({"arch": "refhcm_test"})
    states = flops.patches(64) + TEXT
    one, three = (flops.training(config, 64, TEXT, 6, SYMBOLS, rows=rows).flops for rows in (1, 3))
    decoder_biases = flops.decoder_start(config, states, 6, questions=0).flops
    assert 3 * one - three == 2 * 3 * (flops.encoder_bias(config, states).flops + decoder_biases)
