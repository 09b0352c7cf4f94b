"""Names and shapes of the state dict, and the computed buffers, against the published ones."""

import hashlib

import pytest
import torch
from golden_folder import names, numbers

from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.refhcm.loading import COMPUTED
from refhcm.models.refhcm.positions import image_buckets, image_positions, token_buckets

VARIANTS = [name for name in names("state_dict_*.json") if not name.startswith("vqgan")]
# how each computed buffer follows from the published flags
BUFFERS = {
    "token_rp_bucket": lambda args: token_buckets(args["max_source_positions"], args["token_bucket_size"]),
    "image_rp_bucket": lambda args: image_buckets(
        torch.arange(args["image_bucket_size"] ** 2 + 1), args["image_bucket_size"]
    ),
    "image_position_idx": lambda args: torch.cat(
        [  # "no position", the grid of OFA's code image, fillers
            torch.zeros(1, dtype=torch.long),
            image_positions(*[args["code_image_size"] // 8] * 2, args["image_bucket_size"]),
            torch.full((769,), 1024),
        ]
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_and_shapes(variant):
    theirs = numbers(f"state_dict_{variant}")
    with torch.device("meta"):
        network = Network(NetworkConfig.from_args(theirs["resolved_model_args"]), theirs["vocab"])
    expected = {e["name"]: e["shape"] for e in theirs["entries"] if e["name"].rpartition(".")[2] not in COMPUTED}
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == expected
    assert sum(p.numel() for p in network.parameters()) == theirs["n_params_unique"]


def test_arch_names():
    """`--arch refhcm` and `ofa_base` are the published flags of these sizes."""
    for arch, variant in (("refhcm", "refhcm_large"), ("ofa_base", "variant_ofa_base_size")):
        published = NetworkConfig.from_args(numbers(f"state_dict_{variant}")["resolved_model_args"])
        assert NetworkConfig.from_args({"arch": arch}) == published


@pytest.mark.parametrize("name", BUFFERS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_computed_buffers(variant, name):
    theirs = numbers(f"state_dict_{variant}")
    values = BUFFERS[name](theirs["resolved_model_args"])
    checks = [check for buffer, check in theirs["int_buffer_checks"].items() if buffer.endswith(f".{name}")]
    assert checks
    for check in checks:
        assert (int(values.sum()), int(values.min()), int(values.max())) == (check["sum"], check["min"], check["max"])
        assert hashlib.sha256(values.numpy().astype("<i8").tobytes()).hexdigest() == check["sha256_int64_le"]


def test_one_embedding_matrix():
    network = Network(NetworkConfig.from_args({"arch": "refhcm_test"}), 40)
    matrix = network.encoder.embed_tokens.weight
    assert network.decoder.embed_tokens.weight is matrix
    assert network.decoder.output_projection.weight is matrix
