"""The network, `--arch refhcm`, in plain PyTorch (docs/network.md)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...utils.errors import UserError
from .config import NetworkConfig
from .cpu.linear import Linear, mkl_is_slow
from .cuda_graphs import StepGraphs
from .decoder import Decoder
from .encoder import Encoder, EncoderOutput
from .layers import SymbolEmbedding


class Network(nn.Module):
    """ResNet, Transformer encoder and decoder; one embedding matrix serves encoder, decoder and output.

    Parameter names are those of the published checkpoints.
    """

    def __init__(self, config: NetworkConfig, num_symbols: int, *, padding_idx: int = 1) -> None:
        super().__init__()
        self.config = config
        embed_tokens = SymbolEmbedding(num_symbols, config.encoder_embed_dim, padding_idx)
        self.encoder = Encoder(config, embed_tokens)
        self.decoder = Decoder(config, embed_tokens)
        if not embed_tokens.weight.is_meta:  # on `meta` there are no values yet: a checkpoint gives them
            self._initialise()
        if config.freeze_encoder_embedding or config.freeze_decoder_embedding:
            embed_tokens.weight.requires_grad_(False)

    @torch.no_grad()
    def _initialise(self) -> None:
        self.apply(_initialise)
        embed_tokens = self.encoder.embed_tokens
        embed_tokens.weight[embed_tokens.padding_idx] = 0  # last: the output projection shares this matrix
        if self.config.sinusoidal_positions:
            self.encoder.start_from_sinusoids()

    def share_embedding(self) -> None:
        """Makes decoder and output use the encoder's embedding matrix, after weights were assigned apart."""
        self.decoder.embed_tokens.weight = self.encoder.embed_tokens.weight
        self.decoder.output_projection.weight = self.encoder.embed_tokens.weight

    def for_answers(self, *, cuda_graphs: bool = False) -> "Network":
        """Makes this network faster for answering only: it can then neither be trained nor saved.

        Call it on the final device and dtype: see `ResNet.fold` and `Linear.pack`.
        cuda_graphs: decode by `StepGraphs`, one search at a time; UserError without a GPU.
        """
        device = self.encoder.layer_norm.weight.device
        if cuda_graphs:
            if device.type != "cuda":
                raise UserError(f"CUDA graphs need a GPU, and the model is on {device}: leave them out")
            self.decoder.graphs = StepGraphs(self.decoder.step)
        self.decoder.answers_only = True
        self.encoder.embed_images.fold()
        all_of_it = self.encoder.layer_norm.weight.dtype != torch.float32 or mkl_is_slow()
        for module in (
            self if all_of_it else self.decoder
        ).modules():  # else float32 gains only where there are few rows
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
        """A batch's `net_input` (docs/data.md) -> logits [B, T, V], and None, which fairseq expects.

        src_lengths is part of the interface but unused: padding is read off src_tokens.
        """
        encoder = self.encoder(src_tokens, patch_images, patch_masks, patch_rows)
        features = self.decoder(
            prev_output_tokens, encoder, full_mask_position=full_mask_position, full_mask_rows=full_mask_rows
        )
        return self.decoder.project(features), None

    def encode(self, net_input: Mapping[str, Any]) -> EncoderOutput:
        """Runs the encoder on a batch's `net_input`."""
        names = ("patch_images", "patch_masks", "patch_rows", "image_features")
        return self.encoder(net_input["src_tokens"], **{name: net_input.get(name) for name in names})


def _initialise(module: nn.Module) -> None:
    """BERT's initialisation for the Transformer, He's for the backbone's convolutions."""
    if isinstance(module, nn.Linear | nn.Embedding):
        module.weight.normal_(0, 0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.zero_()
    elif isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
