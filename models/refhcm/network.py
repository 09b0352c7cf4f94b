"""The network: `--arch refhcm` without any framework (docs/network.md)."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import NetworkConfig
from .cpu.linear import Linear
from .decoder import Decoder
from .encoder import Encoder, EncoderOutput


class SymbolEmbedding(nn.Embedding):
    """Symbols of encoder and decoder, whose matrix is the output projection's, too."""

    def forward(self, ids: Tensor) -> Tensor:
        """On a CPU the gradient is one of the rows looked up alone: it is added to the output's, which has all rows."""
        return F.embedding(ids, self.weight, self.padding_idx, sparse=self.weight.device.type == "cpu")


class Network(nn.Module):
    """ResNet + Transformer encoder-decoder with the checkpoints' parameter names.

    One embedding matrix serves encoder, decoder and output.
    """

    def __init__(self, config: NetworkConfig, num_symbols: int, *, padding_idx: int = 1) -> None:
        super().__init__()
        self.config = config
        embed_tokens = SymbolEmbedding(num_symbols, config.encoder_embed_dim, padding_idx)
        self.encoder = Encoder(config, embed_tokens)
        self.decoder = Decoder(config, embed_tokens)
        if not embed_tokens.weight.is_meta:  # there a checkpoint gives all values
            self._start()
        if config.freeze_encoder_embedding or config.freeze_decoder_embedding:
            embed_tokens.weight.requires_grad_(False)

    def _start(self) -> None:
        """The weights before any training."""
        self.apply(_initialise)
        embed_tokens = self.encoder.embed_tokens
        with torch.no_grad():  # after the output projection, whose matrix it is, too
            embed_tokens.weight[embed_tokens.padding_idx] = 0
        if self.config.sinusoidal_positions:
            self.encoder.start_from_sinusoids()

    def share_embedding(self) -> None:
        """Makes decoder and output use the encoder's embedding matrix (again)."""
        self.decoder.embed_tokens.weight = self.encoder.embed_tokens.weight
        self.decoder.output_projection.weight = self.encoder.embed_tokens.weight

    def for_answers(self) -> "Network":
        """This network in evaluation mode, faster, but no longer with a checkpoint's weights.

        To be called where it will run, in its number format: see `ResNet.fold` and `Linear.pack`.
        """
        self.encoder.embed_images.fold()
        half = self.encoder.layer_norm.weight.dtype != torch.float32
        for module in (self if half else self.decoder).modules():  # the encoder has many rows: see `Linear.pack`
            if isinstance(module, Linear):
                module.pack()
        return self.eval()

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        *,
        prev_output_tokens: Tensor,
        patch_images: Tensor | None = None,
        patch_masks: Tensor | None = None,
        patch_rows: Tensor | None = None,
        full_mask_position: tuple[int, int] | None = None,
        full_mask_rows: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        """A batch's `net_input` (docs/data.md) -> logits [B, T, V], and fairseq's unused second value.

        src_lengths is part of the interface and not needed: padding is read off src_tokens.
        """
        encoder = self.encoder(src_tokens, patch_images, patch_masks, patch_rows)
        features = self.decoder(
            prev_output_tokens, encoder, full_mask_position=full_mask_position, full_mask_rows=full_mask_rows
        )
        return self.decoder.project(features), None

    def encode(self, net_input: Mapping[str, Any]) -> EncoderOutput:
        """The encoder's part of a batch's `net_input`."""
        names = ("patch_images", "patch_masks", "patch_rows", "image_features")
        return self.encoder(net_input["src_tokens"], **{name: net_input.get(name) for name in names})


@torch.no_grad()
def _initialise(module: nn.Module) -> None:
    """BERT's initialisation for the Transformer, He's for the backbone's convolutions."""
    if isinstance(module, nn.Linear | nn.Embedding):
        module.weight.normal_(0, 0.02)
        if getattr(module, "bias", None) is not None:
            module.bias.zero_()
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
