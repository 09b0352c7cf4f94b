"""Beam search on arrays gives what `SequenceGenerator` gives: symbols, scores and distributions."""

import types

import numpy as np
import pytest
import torch

from refhcm.models.generation import SequenceGenerator
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.onnx.search import search

SYMBOLS, LENGTH, SAMPLES = 14, 6, 3


class Table:
    """Logits by the sample, the step and the last two symbols, as a network that reads all that was written."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.logits = rng.normal(0, 3, (SAMPLES, LENGTH + 1, SYMBOLS, SYMBOLS, SYMBOLS)).astype(np.float32)

    def of(self, samples, step, histories):
        """samples: [A]; histories: int64 [A, K, 2] -> [A, K, V]."""
        return self.logits[samples[:, None], step, histories[..., 0], histories[..., 1]]


class Stepper:
    """What onnxruntime does: caches follow the rows of the step before."""

    def __init__(self, table):
        self.table, self.step_number, self.samples = table, 0, np.arange(SAMPLES)
        self.last = np.zeros((SAMPLES, 1), np.int64)

    def step(self, tokens, rows):
        before = self.last.reshape(-1)[rows]
        found = self.table.of(self.samples, self.step_number, np.stack([before, tokens], -1))
        self.last, self.step_number = tokens, self.step_number + 1
        return found

    def keep(self, samples):
        self.samples = self.samples[samples]


class _Decoder:
    """As much of a decoder as `SequenceGenerator.search` uses."""

    class State:
        shrinks = True

        def __init__(self):
            self.samples, self.history, self.step = np.arange(SAMPLES), None, 0

        @property
        def caches(self):
            return [types.SimpleNamespace(keys=self.history)]

        def keep(self, rows):
            self.samples = self.samples[rows.numpy()]
            return self

        def reorder(self, rows):
            self.history = self.history[rows.numpy()]

    def __init__(self, table):
        self.table = table
        self.output_projection = torch.nn.Linear(SYMBOLS, SYMBOLS, bias=False)
        self.output_projection.weight = torch.nn.Parameter(torch.eye(SYMBOLS))

    def start(self, encoder, *, beams, capacity):
        state = self.State()
        state.history = np.zeros(SAMPLES * beams, np.int64)
        return state

    def extend(self, tokens, state):
        last = tokens.numpy()[:, 0].reshape(len(state.samples), -1)
        both = np.stack([state.history.reshape(last.shape), last], -1)
        found = self.table.of(state.samples, state.step, both)
        state.history, state.step = last.reshape(-1), state.step + 1
        return torch.from_numpy(found.reshape(-1, 1, SYMBOLS))

    def output(self, symbols):
        return lambda features: features if symbols is None else features[..., [i for one in symbols for i in one]]


class _Encoder:
    states = torch.zeros(SAMPLES, 1, 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "settings",
    [
        GenerationSettings(),
        GenerationSettings(beam=1),
        GenerationSettings(min_len=4, max_len_b=4, no_repeat_ngram_size=3, constraint_range="6,12"),
        GenerationSettings(beam=3, no_repeat_ngram_size=2, unkpen=1.5, lenpen=0.5, temperature=2.0),
        GenerationSettings(beam=4, unnormalized=True, min_len=0),
        GenerationSettings(beam=7, min_len=2, constraint_range="6,8"),
    ],
)
@pytest.mark.parametrize("prefix", [None, [[7, 6], [6, 1], [1, 1]]])
def test_search_is_the_generators(settings, prefix, seed):
    table, kept = Table(seed), torch.tensor([2, 6, 7, 13])
    length = min(settings.max_len_b, LENGTH)
    forced = None if prefix is None else torch.tensor(prefix)
    generator = SequenceGenerator(settings, kept=kept)
    theirs = generator.search(_Decoder(table), _Encoder(), length, prefix_tokens=forced)
    given = {"symbols": SYMBOLS, "max_len": length, "kept": kept.numpy()}
    ours = search(Stepper(table), settings, SAMPLES, prefix=None if prefix is None else np.array(prefix), **given)
    for one, found in zip(ours, theirs, strict=True):
        assert (one is None) == (not found)
        if one is None:
            continue
        assert one.tokens.tolist() == found[0]["tokens"].tolist()
        assert one.score == pytest.approx(float(found[0]["score"]), abs=1e-5)
        assert one.log_probs == pytest.approx(found[0]["positional_scores"].numpy(), abs=1e-5)
        assert np.exp(one.distributions) == pytest.approx(found[0]["distributions"].exp().numpy(), abs=1e-5)
