"""VQGAN tokenizer of human parsing maps: a label map <-> 48 codes (docs/tokenizer.md).

The network is the taming-transformers VQGAN over one-hot maps; state-dict names are the released checkpoint's.
"""

import logging
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...utils.checkpoints import load_file
from ...utils.errors import CheckpointError, DataError
from .config import GRID_HW, NUM_CODES, VQConfig, read_config
from .layers import Decoder, Encoder, nearest_codes

logger = logging.getLogger(__name__)

_COMMITMENT = 0.25


class Quantized(NamedTuple):
    """What the codebook makes of latents."""

    vectors: Tensor  # [B, embed_dim, h, w], with straight-through gradients
    codes: Tensor  # int64 [B, h, w]
    loss: Tensor  # scalar


@dataclass(frozen=True)
class TokenizerLoss:
    """Terms of the training loss, scalars, and the codes that were used."""

    total: Tensor
    bce: Tensor
    codebook: Tensor
    codes: Tensor  # int64 [B, h, w]


class _Codebook(nn.Module):
    """Rows of vectors; `embedding.weight` [n_embed, embed_dim]."""

    def __init__(self, n_embed: int, embed_dim: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_embed, embed_dim)
        nn.init.uniform_(self.embedding.weight, -1 / n_embed, 1 / n_embed)

    def forward(self, z: Tensor) -> Quantized:
        """[B, embed_dim, h, w] -> the nearest rows, in the same shape."""
        batch, _, height, width = z.shape
        codes = nearest_codes(z.permute(0, 2, 3, 1).flatten(0, 2), self.embedding.weight).view(batch, height, width)
        rows = self.embedding(codes).permute(0, 3, 1, 2).contiguous()
        # The published order: the full weight pulls the encoder, a quarter of it the codebook.
        loss = (rows.detach() - z).pow(2).mean() + _COMMITMENT * (rows - z.detach()).pow(2).mean()
        return Quantized(vectors=z + (rows - z).detach(), codes=codes, loss=loss)


class VQTokenizer(nn.Module):
    """Parsing maps of one person, at the tokenizer's size, to an 8 x 6 grid of codes and back."""

    def __init__(self, config: VQConfig, *, n_embed: int | None = None) -> None:
        """n_embed: how many of the codebook's rows are used, the first ones; all of them when None."""
        super().__init__()
        self.config = config
        self.n_embed = config.n_embed if n_embed is None else n_embed
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = _Codebook(config.n_embed, config.embed_dim)
        self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, kernel_size=1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, kernel_size=1)

    @property
    def input_size_hw(self) -> tuple[int, int]:
        """Height and width of the label maps that `encode` takes and `decode` gives."""
        return self.config.input_size_hw

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.quantize.embedding.weight.device

    def latents(self, label_maps: Tensor) -> Tensor:
        """int64 [B, H, W] of any size that the levels divide -> [B, embed_dim, h, w], before the codebook."""
        one_hot = self._one_hot(label_maps)
        return self.quant_conv(self.encoder(one_hot))

    def logits(self, vectors: Tensor) -> Tensor:
        """[B, embed_dim, h, w] -> class logits [B, n_labels, H, W]."""
        return self.decoder(self.post_quant_conv(vectors))

    @torch.no_grad()
    def encode(self, label_maps: Tensor) -> Tensor:
        """int64 [B, *input_size_hw] of classes -> codes, int64 [B, 48], row-major. DataError on another size."""
        if label_maps.dim() != 3 or tuple(label_maps.shape[1:]) != self.input_size_hw:
            height, width = self.input_size_hw
            raise DataError(f"label maps are {list(label_maps.shape)}, expected [B, {height}, {width}]")
        latents = self.latents(label_maps)
        flat = latents.permute(0, 2, 3, 1).flatten(0, 2)
        return nearest_codes(flat, self.quantize.embedding.weight[: self.n_embed]).view(-1, NUM_CODES)

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes [B, 48], clamped to 0..n_embed-1 -> label maps, int64 [B, *input_size_hw]."""
        return self.decode_logits(codes).argmax(dim=1)

    def decode_logits(self, codes: Tensor) -> Tensor:
        """The same, class logits [B, n_labels, *input_size_hw], with gradients of the decoder."""
        if codes.dim() != 2 or codes.shape[1] != NUM_CODES:
            raise DataError(f"codes are {list(codes.shape)}, expected [B, {NUM_CODES}]")
        grid = codes.to(self.device).long().clamp(0, self.n_embed - 1).view(-1, *GRID_HW)
        rows = self.quantize.embedding(grid).detach()
        return self.logits(rows.permute(0, 3, 1, 2).contiguous())

    def forward(self, label_maps: Tensor, *, quantized: bool = True) -> TokenizerLoss:
        """Training loss of label maps, int64 [B, H, W]: mean BCE with logits against the one-hot map + codebook loss.

        quantized: False lets the latents through as they are (the warm-up of the training command).
        """
        z = self.latents(label_maps)
        seen = self.quantize(z)
        logits = self.logits(seen.vectors if quantized else z)
        bce = F.binary_cross_entropy_with_logits(logits.float(), self._one_hot(label_maps).float())
        total = bce + seen.loss if quantized else bce
        return TokenizerLoss(total=total, bce=bce, codebook=seen.loss.detach(), codes=seen.codes)

    def _one_hot(self, label_maps: Tensor) -> Tensor:
        weight = self.quantize.embedding.weight
        labels = label_maps.to(weight.device).long()
        low, high = (int(edge) for edge in labels.aminmax())
        if low < 0 or high >= self.config.n_labels:
            raise DataError(f"label maps hold classes {low}..{high}, expected 0..{self.config.n_labels - 1}")
        # In one block: torch's GroupNorm on a CPU takes 80 times as long for channels that lie innermost.
        return F.one_hot(labels, self.config.n_labels).permute(0, 3, 1, 2).to(weight.dtype).contiguous()


def load_tokenizer(yaml_path: str | Path, ckpt_path: str | Path, *, n_embed: int | None = None) -> VQTokenizer:
    """The tokenizer of `model.yaml` with the weights of `model.ckpt`, on the CPU, in evaluation mode.

    n_embed: the number of codes used (`--vq_n_embed`). A smaller number than the file's uses its first rows, as
    published; a larger one is a CheckpointError, as is every mismatch of the two files.
    """
    config = read_config(yaml_path)
    if n_embed is not None and not 0 < n_embed <= config.n_embed:
        raise CheckpointError(
            f"{yaml_path}: the codebook has n_embed = {config.n_embed} codes, but {n_embed} are to be used"
        )
    if n_embed is not None and n_embed < config.n_embed:
        logger.warning("%s: only the first %d of %d codes are used", yaml_path, n_embed, config.n_embed)
    tokenizer = VQTokenizer(config, n_embed=n_embed)
    load_weights(tokenizer, read_lightning_checkpoint(ckpt_path), where=f"{ckpt_path} does not match {yaml_path}")
    return tokenizer.eval()


def load_weights(tokenizer: VQTokenizer, checkpoint: dict[str, Any], *, where: str) -> None:
    """Loads `state_dict` of a checkpoint strictly. CheckpointError names the first name or shape that differs."""
    # Training leaves its loss network and a drawing aid beside the weights.
    weights = {k: value for k, value in checkpoint["state_dict"].items() if not k.startswith(("loss.", "colorize"))}
    _check_matches(tokenizer.state_dict(), weights, where)
    tokenizer.load_state_dict(weights)


def _check_matches(expected: dict[str, Tensor], found: dict[str, Any], where: str) -> None:
    for problem, keys in (("lacks", expected.keys() - found.keys()), ("also has", found.keys() - expected.keys())):
        if keys:
            raise CheckpointError(f"{where}: it {problem} {len(keys)} names, the first is {min(keys)}")
    for key, weight in expected.items():
        shape = list(getattr(found[key], "shape", []))
        if shape != list(weight.shape):
            raise CheckpointError(f"{where}: {key} is {shape} in the checkpoint, {list(weight.shape)} by the yaml")


class _Inert:
    """Stands in for a class of Lightning that a checkpoint mentions: keeps nothing, does nothing."""

    def __setstate__(self, state: object) -> None:
        """Drops the state."""


# What a Lightning checkpoint of a VQGAN holds beside tensors: callback classes (keys of `callbacks`) and settings.
_LIGHTNING = [
    *(
        (_Inert, f"{package}.callbacks.{name}")
        for package in ("pytorch_lightning", "lightning.pytorch")
        for name in (
            "model_checkpoint.ModelCheckpoint",
            "early_stopping.EarlyStopping",
            "lr_monitor.LearningRateMonitor",
        )
    ),
    *(
        (OrderedDict, f"{package}.utilities.parsing.AttributeDict")
        for package in ("pytorch_lightning", "lightning.pytorch")
    ),
]


def read_lightning_checkpoint(path: str | Path) -> dict[str, Any]:
    """A tokenizer's checkpoint, on the CPU, read without running any code of the file. CheckpointError: why not."""
    with torch.serialization.safe_globals(_LIGHTNING):
        checkpoint = load_file(path)
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        found = ", ".join(map(str, list(checkpoint)[:6])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        raise CheckpointError(f"{path}: not a tokenizer's checkpoint: expected `state_dict`, found {found}")
    return checkpoint
