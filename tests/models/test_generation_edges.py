"""Edge cases of beam search: dead ends, forced ends, lengths, penalties, and samples that leave the batch."""

import itertools

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from refhcm.models.beams import Beams
from refhcm.models.generation import SequenceGenerator
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.models.whole_boxes import BoxesGenerator
from refhcm.utils.errors import UserError

SYMBOLS, BOS, PAD, EOS, UNK = 24, 0, 1, 2, 3
SIZE = {"arch": "refhcm_test", "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16, "max_target_positions": 12}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(2)
    network = Network(NetworkConfig.from_args(SIZE), SYMBOLS).eval()
    for p in network.parameters():  # larger than at the start, so that answers differ in length
        p.data += 0.6 * torch.randn_like(p) * (p.dim() > 1)
    return network


@pytest.fixture(scope="module")
def source():
    torch.manual_seed(6)
    tokens = torch.randint(4, SYMBOLS, (6, 8))
    tokens[1, 3:], tokens[4, 5:] = PAD, PAD
    return tokens


def generate(network, source, prefix=None, **settings):
    generator = SequenceGenerator(GenerationSettings(**settings))
    return generator.generate([network], {"net_input": {"src_tokens": source}}, prefix)


def log_probs(network, source, answer, temperature=1.0):
    """Log-probability of each symbol of an answer to a source of one row, [T]."""
    with torch.inference_mode():
        logits, _ = network(source[source != PAD][None], prev_output_tokens=torch.tensor([[BOS, *answer[:-1]]]))
    return (logits[0] / temperature).log_softmax(-1)[range(len(answer)), answer]


def test_finished_sentences_leave_the_batch(network, source):
    rows = []
    hook = network.decoder.layer_norm.register_forward_hook(lambda _, __, out: rows.append(len(out)))
    found = generate(network, source, beam=1, max_len_b=9)
    hook.remove()
    lengths = [len(hypotheses[0]["tokens"]) for hypotheses in found]
    assert len(set(lengths)) > 1
    assert rows == [sum(length > step for length in lengths) for step in range(max(lengths))]
    for i in range(len(source)):
        (alone,) = generate(network, source[i : i + 1], beam=1, max_len_b=9)
        assert alone[0]["tokens"].tolist() == found[i][0]["tokens"].tolist()


def test_a_dead_end_gives_no_answer(network, source):
    """At least six symbols of four, none twice: no finite candidate is left, and no NaN comes out."""
    settings = {"beam": 3, "min_len": 6, "max_len_b": 6, "constraint_range": "20,22", "no_repeat_ngram_size": 1}
    assert generate(network, source[:2], **settings) == [[], []]


def test_fewer_symbols_than_beams(network, source):
    (found,) = generate(network, source[:1], beam=8, max_len_b=2, constraint_range="20,21")
    answers = [tuple(h["tokens"].tolist()) for h in found]
    assert len(set(answers)) == len(answers) == 8
    assert all(set(answer) <= {0, 2, 3, 20} for answer in answers)


def test_no_answer_is_there_twice(network, source):
    for hypotheses in generate(network, source, beam=5, max_len_b=8):
        answers = [tuple(h["tokens"].tolist()) for h in hypotheses]
        assert len(set(answers)) == len(answers) == 5
        assert all(answer.count(EOS) == 1 and answer[-1] == EOS and PAD not in answer for answer in answers)
        scores = [float(h["score"]) for h in hypotheses]
        assert scores == sorted(scores, reverse=True)


def test_a_prefix_may_end_the_answer(network, source):
    found = generate(network, source[:2], torch.tensor([[7, EOS], [8, 9]]), beam=2, min_len=3, max_len_b=5)
    assert [h["tokens"].tolist() for h in found[0]] == [[7, EOS]]
    assert all(h["tokens"][:2].tolist() == [8, 9] and len(h["tokens"]) > 3 for h in found[1])


def test_a_prefix_stays_with_its_sentence_when_others_have_ended(network, source):
    prefix = torch.tensor([[EOS, PAD, PAD, PAD], [8, 9, 10, 11]])
    found = generate(network, source[:2], prefix, beam=1, max_len_b=6)
    assert found[0][0]["tokens"].tolist() == [EOS]
    assert found[1][0]["tokens"][:4].tolist() == [8, 9, 10, 11]


def test_a_prefix_outside_the_range_has_no_answer(network, source):
    settings = GenerationSettings(beam=2, max_len_b=5, constraint_range="20,24")
    generator = SequenceGenerator(settings, kept=torch.tensor([EOS, 20]))
    batch, prefix = {"net_input": {"src_tokens": source[:2]}}, torch.tensor([[7], [20]])
    nothing, (best, *others) = generator.generate([network], batch, prefix)
    assert nothing == []
    assert all(h["tokens"][0] == 20 for h in (best, *others))
    assert best["distributions"][0, 1] == best["positional_scores"][0]


def test_a_prefix_counts_in_the_score(network, source):
    (found,) = generate(network, source[:1], torch.tensor([[7, 8]]), beam=2, max_len_b=5)
    for h in found:
        assert_close(h["positional_scores"], log_probs(network, source[:1], h["tokens"].tolist()), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("settings", "prefix", "chosen"), [({}, 5, {5}), ({}, EOS, {EOS}), ({"min_len": 1}, PAD, {4, 5})]
)
def test_of_boxes_a_probable_end_gives_way(settings, prefix, chosen):
    """To a forced start, and to the least length: the answer goes on as if eos were not probable."""
    generator = BoxesGenerator(GenerationSettings(**settings))
    beams = Beams(1, 1, torch.device("cpu"), bos=BOS, eos=EOS)
    scores = torch.tensor([[[0.0, 0.0, 0.9, 0.0, 0.06, 0.04]]]).log()  # of bos, pad, eos, unk and two bins
    left = generator._restrict(scores, beams, None, step=0, last=False, prefix=torch.tensor([[prefix]]))
    assert set(left[0, 0].isfinite().nonzero()[:, 0].tolist()) == chosen


def test_scores(network, source):
    one = source[:1]
    for settings, power in (({"lenpen": 0.4}, 0.4), ({"unnormalized": True}, 0.0), ({}, 1.0)):
        (found,) = generate(network, one, beam=3, max_len_b=6, temperature=1.5, **settings)
        for h in found:
            steps = log_probs(network, one, h["tokens"].tolist(), temperature=1.5)
            assert_close(h["positional_scores"], steps, atol=1e-4, rtol=0)
            assert float(h["score"]) == pytest.approx(float(steps.sum()) / len(steps) ** power, abs=1e-4)


def test_unk_penalty(network, source):
    (prefixed,) = generate(network, source[:1], torch.tensor([[UNK]]), beam=1, max_len_b=3, unkpen=2.5)
    plain = log_probs(network, source[:1], prefixed[0]["tokens"].tolist())
    assert float(prefixed[0]["positional_scores"][0]) == pytest.approx(float(plain[0]) - 2.5, abs=1e-4)
    (never,) = generate(network, source[:1], beam=4, max_len_b=6, unkpen=1e4)
    assert not any(UNK in h["tokens"] for h in never)


def test_lengths_by_the_source(network, source):
    settings = GenerationSettings(max_len_a=0.5, max_len_b=1)
    assert settings.max_len(8, 100) == 5
    assert settings.max_len(7, 100) == 4  # rounded down
    assert settings.max_len(1000, 12) == 11  # as many positions as there are
    for hypotheses in generate(network, source, beam=3, min_len=5, max_len_a=0.5, max_len_b=1):
        assert {len(h["tokens"]) for h in hypotheses} == {6}
    with pytest.raises(UserError, match="--min-len 12 is more than the 11"):
        generate(network, source, min_len=12)


def test_ngrams_never_come_twice(network, source):
    for hypotheses in generate(network, source, beam=4, min_len=9, max_len_b=9, no_repeat_ngram_size=2):
        for h in hypotheses:
            symbols = [BOS, *h["tokens"].tolist()]
            pairs = list(itertools.pairwise(symbols))
            assert len(set(pairs)) == len(pairs)


def test_a_range_equals_masked_logits(network, source):
    """Scoring only the allowed symbols equals scoring all with the others at -inf."""
    (found,) = generate(network, source[:1], beam=1, min_len=4, max_len_b=4, constraint_range="9,15")
    allowed = torch.tensor([0, 1, 2, 3, *range(9, 15)])
    answer = found[0]["tokens"].tolist()
    with torch.inference_mode():
        logits, _ = network(source[:1], prev_output_tokens=torch.tensor([[BOS, *answer[:-1]]]))
    masked = torch.full_like(logits[0], -torch.inf)
    masked[:, allowed] = logits[0][:, allowed]
    expected = masked.log_softmax(-1)[range(5), answer]
    assert_close(found[0]["positional_scores"], expected, atol=1e-4, rtol=0)


class Waits(TorchDispatchMode):
    """Counts what makes a CPU wait for a GPU: values that are read, and shapes that depend on them."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            one is not None and one.dtype == torch.bool for one in args[1]
        )
        self.count += masks or name in ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "settings",
    [
        {"beam": 1, "max_len_b": 9},
        {"beam": 3, "max_len_b": 9, "min_len": 2, "no_repeat_ngram_size": 2},
        {"beam": 3, "max_len_b": 9, "constraint_range": "4,12"},
    ],
)
def test_the_search_seldom_looks_and_finds_the_same(network, source, settings, monkeypatch):
    """With a look every 4 steps: two in nine steps, each one test, and one more where some have ended."""
    wanted = generate(network, source, **settings)
    monkeypatch.setattr("refhcm.models.generation.looks_every", lambda device: 4)
    batch = {"net_input": {"src_tokens": source}}
    generator = SequenceGenerator(GenerationSettings(**settings))
    with torch.inference_mode():
        encoder = network.encode(batch["net_input"])
        with Waits() as waits, monkeypatch.context() as context:
            context.setattr("refhcm.models.beams.Beams.answers", lambda self, penalty: (waits.count, self))
            count, beams = generator.search(network.decoder, encoder, 9)
    before = int("constraint_range" in settings)  # the allowed symbols, once for the search
    assert count <= before + 2 * 2 + 1
    found = beams.answers(1.0)
    for hypotheses, others in zip(found, wanted, strict=True):
        assert [h["tokens"].tolist() for h in hypotheses] == [h["tokens"].tolist() for h in others]
        for one, other in zip(hypotheses, others, strict=True):
            assert_close(one["positional_scores"], other["positional_scores"])
