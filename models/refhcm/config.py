"""Sizes and switches of the network; the defaults are the paper's large model (docs/network.md)."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...utils.errors import CheckpointError, UserError, shown
from ...utils.flags import check_fields, option

# Switches of the published scripts that are on in every RefHCM and OFA checkpoint; other networks are not supported.
ALWAYS_ON = (
    "encoder_normalize_before",
    "decoder_normalize_before",
    "share_decoder_input_output_embed",
    "share_all_embeddings",
    "layernorm_embedding",
    "patch_layernorm_embedding",
    "code_layernorm_embedding",
    "add_type_embedding",
)
PATCH = 16  # px of a patch's side: the backbone's stride
BOUNDS = {
    "int": (1, 2**16),
    "float": (0, 1),
    "token_bucket_size": (2, 2045),  # from 2046 on, no bucket is logarithmic
    "attn_scale_factor": (1e-3, 1e3),
    "orig_patch_image_size": (PATCH, 2**16),
}


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes and switches of the network, named as the published flags."""

    encoder_embed_dim: int = option(1024, "width D of encoder and decoder")
    encoder_ffn_embed_dim: int = option(4096, "width F of the feed-forward layers")
    encoder_layers: int = option(12, "number of encoder layers")
    decoder_layers: int = option(12, "number of decoder layers")
    encoder_attention_heads: int = option(16, "heads of the encoder's attention")
    decoder_attention_heads: int = option(16, "heads of the decoder's attention")
    resnet_type: str = option("resnet152", "image backbone: resnet18, 34, 50, 101 or 152")
    resnet_width: int = option(64, "channels of the backbone's first stage; checkpoints of the paper have 64")
    token_bucket_size: int = option(256, "half the number of relative text position buckets")
    image_bucket_size: int = option(42, "largest number of patches along a side of the picture")
    code_image_size: int = option(128, "size of the images that OFA generates; kept for old checkpoints")
    max_source_positions: int = option(1024, "largest number of source symbols")
    max_target_positions: int = option(1024, "largest number of target symbols")
    orig_patch_image_size: int = option(256, "picture size whose grid --interpolate-position resizes from")
    attn_scale_factor: float = option(2.0, "queries are scaled by (d * factor)^-0.5")
    dropout: float = option(0.1, "dropout of embeddings and of each residual branch")
    attention_dropout: float = option(0.0, "dropout of attention weights")
    activation_dropout: float = option(0.0, "dropout after the feed-forward activation")
    resnet_drop_path_rate: float = option(0.0, "stochastic depth of the last block of each backbone stage")
    encoder_drop_path_rate: float = option(0.2, "stochastic depth of the last encoder layer")
    decoder_drop_path_rate: float = option(0.2, "stochastic depth of the last decoder layer")
    scale_attn: bool = option(True, "layer norm after each attention")
    scale_fc: bool = option(True, "layer norm inside the feed-forward layers")
    scale_heads: bool = option(True, "a learned factor for each attention head")
    scale_resids: bool = option(False, "a learned factor on the feed-forward's residual path")
    disable_entangle: bool = option(True, "do not add target positions to the decoder's input")
    entangle_position_embedding: bool = option(False, "add positions to the encoder's input, too")
    sinusoidal_positions: bool = option(False, "the encoder's position embeddings start as sinusoids")
    interpolate_position: bool = option(False, "resize the image positions of the original grid to larger grids")
    freeze_resnet: bool = option(False, "frozen batch norm in the backbone")
    sync_bn: bool = option(False, "batch norm over all ranks in the backbone")
    freeze_encoder_embedding: bool = option(False, "do not train the symbol embedding")
    freeze_decoder_embedding: bool = option(False, "do not train the symbol embedding (it is shared)")
    checkpoint_activations: bool = option(False, "save memory: recompute most activations in the backward pass")

    def __post_init__(self) -> None:
        try:
            check_fields(self, bounds=BOUNDS)
        except UserError as error:
            raise CheckpointError(str(error)) from error
        for heads in (self.encoder_attention_heads, self.decoder_attention_heads):
            if self.encoder_embed_dim % heads:
                raise CheckpointError(f"encoder_embed_dim {self.encoder_embed_dim} is not a multiple of {heads} heads")
        if self.interpolate_position and self.orig_patch_image_size > PATCH * self.image_bucket_size:
            grid = f"image_bucket_size {self.image_bucket_size}"
            raise CheckpointError(f"orig_patch_image_size {self.orig_patch_image_size} is larger than {grid} allows")

    @classmethod
    def from_args(
        cls, args: argparse.Namespace | Mapping[str, Any], *, where: str = "model arguments"
    ) -> "NetworkConfig":
        """Reads flags or a checkpoint's `cfg.model` / `args`; what is absent keeps its default.

        CheckpointError when they describe a network that is not `--arch refhcm`.
        """
        given = dict(args) if isinstance(args, Mapping) else vars(args)
        off = [name for name in ALWAYS_ON if given.get(name, True) is not True]
        if off:
            raise CheckpointError(f"{where}: {', '.join(off)} is off; RefHCM and OFA networks have it on")
        arch = next((given[key] for key in ("arch", "_name") if isinstance(given.get(key), str)), "")
        sizes = SIZES.get(arch, {})
        known = {f.name: given[f.name] for f in fields(cls) if given.get(f.name) is not None}
        try:
            config = cls(**{**sizes, **known})
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from error
        for same in ("encoder_embed_dim", "encoder_ffn_embed_dim"):
            name = same.replace("encoder", "decoder")
            values = shown(given.get(name)), shown(getattr(config, same))  # as text: one may be an array
            if given.get(name) is not None and values[0] != values[1]:
                raise CheckpointError(f"{where}: {name} {values[0]} differs from {same} {values[1]}")
        return config


def _size(width: int, ffn: int, layers: tuple[int, int], heads: int, resnet: str) -> dict[str, Any]:
    return {
        "encoder_embed_dim": width,
        "encoder_ffn_embed_dim": ffn,
        "encoder_layers": layers[0],
        "decoder_layers": layers[1],
        "encoder_attention_heads": heads,
        "decoder_attention_heads": heads,
        "resnet_type": resnet,
    }


# `--arch` name -> what differs from the defaults. `ofa_*` are the same networks under OFA's names.
_LARGE = _size(1024, 4096, (12, 12), 16, "resnet152")
_PUBLISHED = {
    "tiny": _size(256, 1024, (4, 4), 4, "resnet50"),
    "medium": _size(512, 2048, (4, 4), 8, "resnet101"),
    "base": _size(768, 3072, (6, 6), 12, "resnet101"),
    "large": _LARGE,
    "huge": _size(1280, 5120, (24, 12), 16, "resnet152"),
}
SIZES: dict[str, dict[str, Any]] = {
    "refhcm": _LARGE,
    **{f"{family}_{name}": size for family in ("refhcm", "ofa") for name, size in _PUBLISHED.items()},
    # The shipped model of the drawn people, 7 million parameters. No dropout: on a CPU it costs more than it gains.
    # Positions are added to the embeddings, too: trained from scratch, biases alone learn positions very slowly.
    "refhcm_small": _size(256, 512, (5, 3), 4, "resnet18")
    | {
        "resnet_width": 32,
        "entangle_position_embedding": True,
        "disable_entangle": False,
        "sinusoidal_positions": True,
        "token_bucket_size": 64,
        "image_bucket_size": 12,
        "max_source_positions": 160,
        "max_target_positions": 160,
        "dropout": 0.0,
        "encoder_drop_path_rate": 0.0,
        "decoder_drop_path_rate": 0.0,
    },
    # For tests, and to try out a script on a CPU.
    "refhcm_test": _size(64, 128, (2, 2), 4, "resnet18") | {"token_bucket_size": 64, "image_bucket_size": 12},
}
