"""Decoding steps as CUDA graphs, recorded once for a shape and replayed (docs/speed.md, "CUDA graphs").

A step of the decoder is some hundred kernels. Where there are few rows, a GPU finishes each sooner than the CPU
launches the next; a graph launches all of them at once. Its kernels read and write the same memory in each replay, so
everything that a step needs lies in buffers of fixed shapes. They are kept for the shapes that were asked for last.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from .decoding_state import DecodingState, KeyValueCache

STATES = 32  # the encoder's states are filled up to a multiple of this, so that texts of many lengths share buffers
LENGTHS = 16  # a step reads the positions so far, rounded up to a multiple of this
MOST = 8  # shapes whose buffers and graphs are kept

Replay = Callable[[], object]
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Replay]]
"""Takes what a step runs; gives the tensor of its result, and what fills it anew."""


class Step(Protocol):
    """`Decoder.step`."""

    def __call__(self, tokens: Tensor, state: DecodingState, at: Tensor, end: int) -> Tensor: ...


def record(run: Callable[[], Tensor]) -> tuple[Tensor, Replay]:
    """As a CUDA graph. `run` is called twice and must give the same each time."""
    side, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # kernels that set themselves up when first called must not do so in the recording
        run()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):  # others may pin memory meanwhile
        result = run()
    return result, graph.replay


class _Cache(KeyValueCache):
    """A cache in which a step's positions are a tensor: [rows, H, capacity, d]."""

    at: Tensor  # int64 [n]
    end: int  # positions that are read

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes [rows, H, n, d] to the positions `at`, and returns the first `end`."""
        self.keys.index_copy_(2, self.at, keys)
        self.values.index_copy_(2, self.at, values)
        return self.keys[:, :, : self.end], self.values[:, :, : self.end]

    def select(self, rows: Tensor) -> None:
        """Row i becomes the former row `rows[i]`, as far as is read."""
        for buffer in (self.keys, self.values):
            buffer[:, :, : self.end] = buffer[:, :, : self.end].index_select(0, rows)


@dataclass
class _Fixed(DecodingState):
    """A state whose tensors stay where they are, and where all samples stay to the end."""

    rows: Tensor | None = None  # of the next step, as `reorder` was told; None: no beam changes its place

    def reorder(self, rows: Tensor) -> None:
        """As part of the next step."""
        self.rows = rows


@dataclass
class _Recorded:
    """A step of n symbols that reads a certain number of positions."""

    tokens: Tensor  # int64 [rows, n]
    at: Tensor  # int64 [n]
    result: Tensor  # [rows, n, D]
    replay: Replay


@dataclass
class _Shape:
    """The buffers of one shape, with the steps that were recorded in them."""

    state: _Fixed
    caches: list[_Cache]
    mask: Tensor  # additive [B, 1, 1, S]
    rows: Tensor  # int64 [B * beams], the former row of each
    places: Tensor  # int64 [B * beams], 0, 1, 2, ...
    steps: dict[tuple[int, int], _Recorded] = field(default_factory=dict)


class StepGraphs:
    """Steps of a decoder in fixed buffers. One state is decoded at a time: `place` ends the one before."""

    def __init__(self, step: Step, *, record: Record = record) -> None:
        self._step, self._record = step, record
        self._shapes: OrderedDict[tuple[object, ...], _Shape] = OrderedDict()
        self._current: _Shape | None = None

    def place(self, state: DecodingState) -> DecodingState:
        """Copies a state, before its first step, into the buffers of its shape."""
        count, states = state.memory[0][0].shape[0], state.memory[0][0].shape[2]
        rows, capacity = len(state.caches[0].keys), state.cross_bias.shape[2]
        filled = -(-states // STATES) * STATES
        key = (count, filled, rows, capacity)
        shape = self._shapes.pop(key, None) or _new_shape(state, filled)
        self._shapes[key] = shape  # the newest is the last
        while len(self._shapes) > MOST:
            self._shapes.popitem(last=False)
        fixed = shape.state
        for buffers, given in zip(fixed.memory, state.memory, strict=True):
            for buffer, one in zip(buffers, given, strict=True):
                buffer[:, :, :states] = one
        for buffer, one in zip(fixed.self_bias, state.self_bias, strict=True):
            buffer.copy_(one)
        fixed.cross_bias[..., :states] = state.cross_bias
        shape.mask.fill_(-torch.inf)
        shape.mask[..., :states] = 0 if state.attn_mask is None else state.attn_mask
        fixed.length, fixed.rows = 0, None
        self._current = shape
        return fixed

    def extend(self, tokens: Tensor, state: DecodingState, start: int) -> Tensor:
        """Like `Decoder.step` for the positions from `start` on. The next step overwrites the result."""
        shape, n = self._current, tokens.shape[1]
        if shape is None or state is not shape.state:
            raise RuntimeError("this state was replaced by another one")
        capacity = shape.state.cross_bias.shape[2]
        end = min(-(-(start + n) // LENGTHS) * LENGTHS, capacity)
        waiting, shape.state.rows = shape.state.rows, None
        recorded = shape.steps.get((n, end))
        if recorded is None:
            shape.rows.copy_(shape.places)  # the recording runs the step, too, which must not move beams twice
            recorded = shape.steps[n, end] = self._new_step(shape, tokens, start, end)
        shape.rows.copy_(shape.places if waiting is None else waiting)
        recorded.tokens.copy_(tokens)
        torch.arange(start, start + n, out=recorded.at)
        recorded.replay()
        return recorded.result

    def _new_step(self, shape: _Shape, tokens: Tensor, start: int, end: int) -> _Recorded:
        tokens, at = tokens.clone(), torch.arange(start, start + tokens.shape[1], device=tokens.device)
        state, many = shape.state, len(shape.rows) > len(shape.state.memory[0][0])

        def run() -> Tensor:
            for cache in shape.caches:
                cache.at, cache.end = at, end
                if many:
                    cache.select(shape.rows)
            return self._step(tokens, state, at, end)

        return _Recorded(tokens, at, *self._record(run))


def _new_shape(state: DecodingState, states: int) -> _Shape:
    """Empty buffers like this state's, for so many states of the encoder."""
    rows, (_, heads, capacity, filled) = len(state.caches[0].keys), state.cross_bias.shape
    rest = (0, 0, 0, states - filled)
    memory = [(F.pad(keys, rest), F.pad(values, rest)) for keys, values in state.memory]
    caches = [_Cache(keys, capacity, rows=rows) for keys, _ in memory]
    for cache in caches:  # what is not written yet is masked, but 0 * NaN would be NaN
        cache.keys.zero_()
        cache.values.zero_()
    places = torch.arange(rows, device=state.cross_bias.device)
    mask = state.cross_bias.new_empty(len(memory[0][0]), 1, 1, states)
    cross_bias = state.cross_bias.new_zeros(1, heads, capacity, states)
    self_bias = [torch.empty_like(bias) for bias in state.self_bias]
    fixed = _Fixed(memory, self_bias, cross_bias, mask, list(caches), shrinks=False)
    return _Shape(fixed, caches, mask, places.clone(), places)
