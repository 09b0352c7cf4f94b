"""Generation on a tiny random network: against teacher forcing, single samples, and the least number of passes."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from refhcm.models.generation import SequenceGenerator
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.qpg import QuerySymbols, decode_parallel
from refhcm.models.refhcm import Network, NetworkConfig
from refhcm.utils.errors import UserError

SYMBOLS, BOS, PAD, EOS = 30, 0, 1, 2
SIZE = {
    "arch": "refhcm_test",
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 32,
    "resnet_width": 8,
    "image_bucket_size": 4,
    "max_target_positions": 70,
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    network = Network(NetworkConfig.from_args(SIZE), SYMBOLS).eval()
    for p in network.parameters():  # larger than at the start, so that answers differ
        p.data += 0.3 * torch.randn_like(p) * (p.dim() > 1)
    return network


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(2)
    source = torch.randint(4, SYMBOLS, (3, 9))
    source[1, 5:] = PAD
    images = torch.randn(3, 3, 32, 48)
    return {"net_input": {"src_tokens": source, "patch_images": images, "patch_masks": torch.ones(3, dtype=torch.bool)}}


def row(batch, i):
    tokens = batch["net_input"]["src_tokens"][i]
    images = batch["net_input"]["patch_images"][i : i + 1]
    return {"net_input": {"src_tokens": tokens[tokens != PAD][None], "patch_images": images, "patch_masks": None}}


def generate(network, batch, prefix=None, **settings):
    return SequenceGenerator(GenerationSettings(**settings)).generate([network], batch, prefix)


def log_probs(network, batch, answer):
    """Teacher-forced log-probabilities of an answer to a batch of one, [T, V]."""
    tokens = torch.tensor([[BOS, *answer[:-1]]])
    with torch.no_grad():
        logits, _ = network(**batch["net_input"], prev_output_tokens=tokens)
    return logits[0].log_softmax(-1)


@pytest.mark.parametrize("beams", [1, 2])
def test_steps_equal_teacher_forcing(network, batch, beams):
    tokens = torch.randint(4, SYMBOLS, (3, beams, 11))
    with torch.no_grad():
        encoder = network.encoder(**batch["net_input"])
        whole = [network.decoder(tokens[:, k], encoder, full_mask_position=(4, 8)) for k in range(beams)]
        state = network.decoder.start(encoder, beams=beams, capacity=11, full_mask_position=(4, 8))
        parts = [network.decoder.extend(part, state) for part in tokens.flatten(0, 1).split([1, 1, 1, 6, 2], dim=1)]
    assert_close(torch.cat(parts, dim=1), torch.stack(whole, dim=1).flatten(0, 1), atol=2e-5, rtol=0)


def test_scores_are_those_of_teacher_forcing(network, batch):
    for i, hypotheses in enumerate(generate(network, batch, beam=3, max_len_b=6)):
        for h in hypotheses:
            answer = h["tokens"].tolist()
            steps = log_probs(network, row(batch, i), answer)[range(len(answer)), answer]
            assert_close(h["positional_scores"], steps, atol=1e-4, rtol=0)
            assert float(h["score"]) == pytest.approx(float(steps.sum()) / len(answer), abs=1e-4)


@pytest.mark.parametrize("limits", [None, "20,26"])
def test_distributions_are_those_of_teacher_forcing(network, batch, limits):
    """Of the best answer's own beam at each step, however the beams have changed places and samples have ended."""
    kept, allowed = [EOS, 20, 23, 25, 27], range(SYMBOLS) if limits is None else [0, 1, 2, 3, *range(20, 26)]
    settings = GenerationSettings(beam=4, max_len_b=9, min_len=2, no_repeat_ngram_size=2, constraint_range=limits)
    found = SequenceGenerator(settings, kept=torch.tensor(kept)).generate([network], batch)
    plain = SequenceGenerator(settings).generate([network], batch)
    for i, (best, *others) in enumerate(found):
        answer = best["tokens"].tolist()
        chosen_from = torch.full((SYMBOLS,), -torch.inf)
        chosen_from[list(allowed)] = 0
        steps = (log_probs(network, row(batch, i), answer) + chosen_from).log_softmax(-1)
        assert_close(best["distributions"], steps[:, kept], atol=1e-4, rtol=0)
        assert not any("distributions" in other for other in others)
        assert best["positional_scores"].tolist() == plain[i][0]["positional_scores"].tolist()


def test_batch_equals_single(network, batch):
    together = generate(network, batch, beam=4, max_len_b=12, no_repeat_ngram_size=2)
    for i, hypotheses in enumerate(together):
        (alone,) = generate(network, row(batch, i), beam=4, max_len_b=12, no_repeat_ngram_size=2)
        assert [h["tokens"].tolist() for h in alone] == [h["tokens"].tolist() for h in hypotheses]
        assert_close([float(h["score"]) for h in alone], [float(h["score"]) for h in hypotheses], atol=1e-4, rtol=0)


def test_a_wide_beam_finds_the_best_of_all(network, batch):
    one, allowed = row(batch, 0), [0, 3, 20, 21, 22]
    found = generate(network, one, beam=25, max_len_b=2, constraint_range="20,23", unnormalized=True)[0]
    totals = {}
    for n in (1, 2):
        for answer in itertools.product(allowed, repeat=n):
            steps = log_probs(network, one, [*answer, EOS])
            kept = torch.full((SYMBOLS,), -torch.inf)
            kept[[*allowed, PAD, EOS]] = 0  # pad is never chosen, but it has its share of the probability
            steps = (steps + kept).log_softmax(-1)  # [n + 1, V]
            totals[(*answer, EOS)] = float(sum(steps[t, s] for t, s in enumerate((*answer, EOS))))
    best = max(totals, key=totals.get)
    assert tuple(found[0]["tokens"].tolist()) == best
    assert float(found[0]["score"]) == pytest.approx(totals[best], abs=1e-4)


def test_greedy_and_lengths(network, batch):
    one = row(batch, 0)
    (best,) = generate(network, one, beam=1, min_len=5, max_len_b=7)[0]
    answer = best["tokens"].tolist()
    assert 5 <= len(answer) - 1 <= 7
    assert answer[-1] == EOS
    for t, symbol in enumerate(answer):
        steps = log_probs(network, one, answer)[t]
        steps[PAD] = -torch.inf
        if t < 5:
            steps[EOS] = -torch.inf
        assert symbol == (EOS if t == 7 else int(steps.argmax()))


def test_prefix_is_forced_for_each_sample(network, batch):
    prefix = torch.tensor([[10, 11, 12], [13, PAD, PAD], [PAD, PAD, PAD]])
    forced = generate(network, batch, prefix, beam=2, max_len_b=6)
    assert all(h["tokens"][:3].tolist() == [10, 11, 12] for h in forced[0])
    assert all(h["tokens"][0] == 13 for h in forced[1])
    free = generate(network, row(batch, 2), beam=2, max_len_b=6)[0]
    assert [h["tokens"].tolist() for h in forced[2]] == [h["tokens"].tolist() for h in free]


def test_constraint_range(network, batch):
    for hypotheses in generate(network, batch, beam=3, min_len=4, max_len_b=4, constraint_range="20,30"):
        for h in hypotheses:
            assert all(symbol < 4 or symbol >= 20 for symbol in h["tokens"].tolist())


def test_ngrams_count_bos():
    generator = SequenceGenerator(GenerationSettings(no_repeat_ngram_size=2))
    tokens = torch.tensor([[[BOS, 5, 6, 5]], [[BOS, 7, 8, BOS]]])
    blocked = generator._block_repeats(torch.zeros(2, 1, 10), tokens, None) == -torch.inf
    assert blocked.nonzero().tolist() == [[0, 0, 6], [1, 0, 7]]


def test_impossible_settings():
    with pytest.raises(UserError, match="--min-len 5 is more than the 4"):
        GenerationSettings(min_len=5, max_len_b=4).max_len(7, 100)
    with pytest.raises(UserError, match="unknown generation settings"):
        GenerationSettings.from_args({"beams": 3})


def counted(modules):
    """A list with one entry for each call of one of the modules so far."""
    calls = []
    for module in modules:
        module.register_forward_hook(lambda *_: calls.append(1))
    return calls


def test_no_work_is_repeated(network, batch):
    encoder, keys = counted([network.encoder]), counted([layer.encoder_attn.k_proj for layer in network.decoder.layers])
    passes = counted([network.decoder.layer_norm])
    generate(network, batch, beam=4, min_len=6, max_len_b=6)
    assert (len(encoder), len(keys), len(passes)) == (1, len(network.decoder.layers), 7)
    for calls in (encoder, keys, passes):
        calls.clear()
    symbols = QuerySymbols(BOS, range(4, 10), range(10, 30), 20, range(21, 29), 29)
    assert decode_parallel(network, batch, symbols).ids.shape == (3, 12)
    # Four cached steps write the box, one reads all codes; the symbol between needs no pass.
    assert (len(encoder), len(keys), len(passes)) == (1, len(network.decoder.layers), 5)


def test_parallel_decoding_batch_equals_single(network, batch):
    symbols = QuerySymbols(BOS, range(4, 10), range(10, 30), 20, range(21, 29), 29)
    together = decode_parallel(network, batch, symbols).ids
    for i in range(3):
        assert torch.equal(decode_parallel(network, row(batch, i), symbols).ids[0], together[i])


def test_parallel_distributions_hold_the_chosen(network, batch):
    symbols = QuerySymbols(BOS, range(4, 10), range(10, 30), 20, range(21, 29), 29)
    found = decode_parallel(network, batch, symbols)
    assert (found.box.shape, found.codes.shape) == ((3, 4, 6), (3, 8, 20))
    best = torch.cat([found.box.max(-1).values, found.codes.max(-1).values], dim=1)
    assert torch.equal(best, found.log_probs)
    assert torch.equal(found.ids[:, :4], found.box.argmax(-1) + 4)
    assert_close(found.codes.exp().sum(-1), torch.ones(3, 8))
