"""Names and shapes of the state dict, and the computed buffers, against the published ones."""

import hashlib
import json

import pytest
import torch

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.loading import COMPUTED
from refhcm.models.refhcm.positions import code_positions, image_buckets, token_buckets

VARIANTS = {
    "refhcm_large": {},
    "variant_ofa_base_size": {"arch": "ofa_base"},
    "variant_scale_resids_frozenbn": {
        "scale_resids": True,
        "freeze_resnet": True,
        "resnet_type": "resnet50",
        "encoder_layers": 2,
        "decoder_layers": 2,
    },
}
# sha256 of the int64 little-endian values, from golden/state_dict_refhcm_large.json
TOKEN_BUCKETS = "20c31e82a79b5e99e560102fc14acca443cae87bcddffeb9021430a3dd46e46c"
IMAGE_BUCKETS = "f982ef63073e509c2bee49d3c0fcd15ab78c40b214d286478c0f58bad925b756"
CODE_POSITIONS = "496289934acfa8ef488054743cbccd28b21c64fede539cca0bfb8d18daec9d38"


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_and_shapes(golden, variant):
    theirs = json.loads((golden / f"state_dict_{variant}.json").read_text())
    with torch.device("meta"):
        network = Network(NetworkConfig.from_args(VARIANTS[variant]), theirs["vocab"])
    expected = {e["name"]: e["shape"] for e in theirs["entries"] if e["name"].rpartition(".")[2] not in COMPUTED}
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == expected
    assert sum(p.numel() for p in network.parameters()) == theirs["n_params_unique"]


@pytest.mark.parametrize(
    ("values", "digest"),
    [
        (lambda: token_buckets(1024, 256), TOKEN_BUCKETS),
        (lambda: image_buckets(torch.arange(42 * 42 + 1), 42), IMAGE_BUCKETS),
        (lambda: code_positions(42, 128), CODE_POSITIONS),
    ],
)
def test_computed_buffers(values, digest):
    assert hashlib.sha256(values().numpy().astype("<i8").tobytes()).hexdigest() == digest


def test_one_embedding_matrix():
    network = Network(NetworkConfig.from_args({"arch": "refhcm_test"}), 40)
    matrix = network.encoder.embed_tokens.weight
    assert network.decoder.embed_tokens.weight is matrix
    assert network.decoder.output_projection.weight is matrix
