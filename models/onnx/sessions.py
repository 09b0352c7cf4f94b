"""A model in ONNX at work, on onnxruntime alone: pictures and prompts in, answers as ids out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...utils.errors import CheckpointError, UserError
from ..generation_settings import GenerationSettings
from .files import MAPS, PARTS, check_running, open_session, path_of
from .search import Hypothesis, search

CPU = ("CPUExecutionProvider",)


@dataclass(frozen=True)
class Sizes:
    """Sizes that config.json gives, and that the files must have."""

    symbols: int  # of the vocabulary
    canvas_px: int  # side of a picture
    decoder_layers: int
    max_source_positions: int
    max_target_positions: int


class OnnxModel:
    """The network and the tokenizer's decoder."""

    def __init__(
        self,
        folder: Path,
        expected: Mapping[str, str],
        sizes: Sizes,
        *,
        threads: int | None = None,
        providers: Sequence[str] = CPU,
    ) -> None:
        """expected: the mark of each file. CheckpointError for a file that is missing or does not fit.

        UserError without onnxruntime, and for threads or providers that it does not have.
        """
        check_running(threads, providers)
        self.sizes = sizes
        at = {part: path_of(folder, part) for part in PARTS}
        if path_of(folder, MAPS).exists():
            at[MAPS] = path_of(folder, MAPS)
        opened = {part: open_session(path, expected, threads=threads, providers=providers) for part, path in at.items()}
        self._picture, self._encoder, self._decoder = (opened[part] for part in PARTS)
        self._maps = opened.get(MAPS)
        self._memory = [one.name for one in self._encoder.get_outputs()]
        logits, *present = self._decoder.get_outputs()
        self._present = [one.name for one in present]
        _, _, self._heads, _, self._width = present[0].shape
        for part, what, found, wanted in (
            ("picture", "pictures of {} px", self._picture.get_inputs()[0].shape[2], sizes.canvas_px),
            ("decoder", "{} symbols", logits.shape[2], sizes.symbols),
            ("decoder", "{} layers", len(present) // 2, sizes.decoder_layers),
        ):
            if found != wanted:
                raise CheckpointError(
                    f"{at[part]}: is for {what.format(found)}, but config.json says {wanted}: export the model again"
                )

    @property
    def draws(self) -> bool:
        """Whether there is a tokenizer."""
        return self._maps is not None

    def encode_images(self, patch_images: np.ndarray) -> np.ndarray:
        """float32 [P, 3, S, S] -> image features [P, h * w, D]."""
        (patches,) = self._picture.run(None, {"patch_images": patch_images})
        return patches

    def draw(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes, int64 [B, 48] -> label maps, int64 [B, h, w], and `soft_overlaps`, float32 [B, classes]."""
        if self._maps is None:
            raise UserError("parsing: this model in ONNX was exported without a tokenizer")
        label_maps, overlaps = self._maps.run(None, {"codes": codes})
        return label_maps, overlaps

    def generate(
        self,
        patches: np.ndarray,
        src_tokens: np.ndarray,
        settings: GenerationSettings,
        *,
        kept: np.ndarray | None = None,
        prefix: np.ndarray | None = None,
    ) -> list[Hypothesis | None]:
        """patches: [B, h * w, D]; src_tokens: int64 [B, T], right-padded -> the best answers; see `search`."""
        max_len = settings.max_len(src_tokens.shape[1], self.sizes.max_target_positions)
        memory = dict(zip(self._memory, self._encode(patches, src_tokens), strict=True))
        empty = np.zeros((len(patches), 1, self._heads, 0, self._width), np.float32)
        decoding = _Decoding(self._decoder, self._present, memory, empty)
        count, symbols = len(patches), self.sizes.symbols
        return search(decoding, settings, count, symbols=symbols, max_len=max_len, kept=kept, prefix=prefix)

    def _encode(self, patches: np.ndarray, src_tokens: np.ndarray) -> list[Any]:
        from onnxruntime import OrtValue

        value = OrtValue.ortvalue_from_numpy
        given = {"patches": value(patches), "src_tokens": value(src_tokens)}
        found: list[Any] = self._encoder.run_with_ort_values(self._memory, given)
        return found


class _Decoding:
    """What decoding carries from step to step; the caches stay where onnxruntime has put them."""

    def __init__(self, session: Any, present: list[str], memory: dict[str, Any], empty: np.ndarray) -> None:
        from onnxruntime import OrtValue

        self._value = OrtValue.ortvalue_from_numpy
        self._session, self._present, self._memory = session, present, memory
        self._past = [self._value(empty)] * len(present)

    def step(self, tokens: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See `Stepper`."""
        past = {f"past_{name}": value for name, value in zip(self._present, self._past, strict=True)}
        given = {"tokens": self._value(np.ascontiguousarray(tokens)), "rows": self._value(np.ascontiguousarray(rows))}
        logits, *self._past = self._session.run_with_ort_values(["logits", *self._present], given | self._memory | past)
        found: np.ndarray = logits.numpy()
        return found

    def keep(self, samples: np.ndarray) -> None:
        """See `Stepper`. `positions` are the same for all samples; the caches follow by the next step's rows."""
        for name, value in self._memory.items():
            if name != "positions":
                self._memory[name] = self._value(value.numpy()[samples])
