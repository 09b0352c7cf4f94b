"""Steps recorded in fixed buffers give the same answers."""

import pytest
import torch
from recorder import Recorder
from torch.testing import assert_close

from refhcm.models.generation import SequenceGenerator
from refhcm.models.generation_settings import GenerationSettings
from refhcm.models.qpg import QuerySymbols, decode_parallel
from refhcm.models.refhcm import Network, NetworkConfig, cuda_graphs
from refhcm.models.refhcm.cuda_graphs import StepGraphs
from refhcm.utils.errors import UserError

SYMBOLS, PAD = 40, 1
SIZE = {
    "arch": "refhcm_test",
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 32,
    "resnet_width": 8,
    "image_bucket_size": 4,
    "max_target_positions": 80,
}
SEARCHES = [
    {"beam": 1, "max_len_b": 40},
    {"beam": 4, "max_len_b": 37, "min_len": 20, "no_repeat_ngram_size": 2},
    {"beam": 3, "max_len_b": 5, "constraint_range": "20,36"},
]


def new_network():
    torch.manual_seed(1)
    network = Network(NetworkConfig.from_args(SIZE), SYMBOLS)
    for p in network.parameters():  # larger than at the start, so that answers differ
        p.data += 0.3 * torch.randn_like(p) * (p.dim() > 1)
    return network.for_answers()


@pytest.fixture(scope="module")
def plain():
    return new_network()


@pytest.fixture
def recorder():
    return Recorder(traced=True)


@pytest.fixture
def recorded(recorder):
    network = new_network()
    network.decoder.graphs = StepGraphs(network.decoder.step, record=recorder)
    return network


def questions(count, length, seed=2):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(4, SYMBOLS, (count, length), generator=generator)
    tokens[1:, length - 3 :] = PAD
    images = torch.randn(count, 3, 32, 48, generator=generator)
    return {"net_input": {"src_tokens": tokens, "patch_images": images, "patch_masks": torch.ones(count).bool()}}


def found(network, batch, settings):
    generator = SequenceGenerator(GenerationSettings(**settings), kept=torch.tensor([2, 21, 25]))
    return generator.generate([network], batch)


def assert_same(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert [h["tokens"].tolist() for h in one] == [h["tokens"].tolist() for h in other]
        for h, wanted in zip(one, other, strict=True):
            assert_close(h["positional_scores"], wanted["positional_scores"], atol=1e-5, rtol=0)
        assert_close(one[0]["distributions"], other[0]["distributions"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("settings", SEARCHES)
def test_the_same_answers(plain, recorded, recorder, settings, monkeypatch):
    monkeypatch.setattr("refhcm.models.generation.looks_every", lambda device: 8)
    batches = [questions(4, 9), questions(4, 9, seed=3), questions(1, 12), questions(4, 9)]
    wanted = [found(plain, batch, settings) for batch in batches]
    assert len({h[0]["tokens"].tolist().__repr__() for batch in wanted for h in batch}) > 1
    for batch, answers in zip(batches, wanted, strict=True):
        assert_same(found(recorded, batch, settings), answers)
    lengths = -(-settings["max_len_b"] // cuda_graphs.LENGTHS)  # of the positions that are read
    assert recorder.recorded <= 2 * lengths  # two shapes
    assert recorder.replayed > 2 * recorder.recorded


def test_parallel_queries(plain, recorded, recorder):
    symbols = QuerySymbols(bos=0, bins=range(20, 28), codes=range(28, 36), begin=36, queries=range(30, 36), end=37)
    for seed in (2, 3, 4):
        ours, theirs = (decode_parallel(one, questions(3, 9, seed=seed), symbols) for one in (recorded, plain))
        assert torch.equal(ours.ids, theirs.ids)
        assert_close(ours.log_probs, theirs.log_probs, atol=1e-5, rtol=0)
    assert recorder.recorded == 2  # a bin of the box, and all queries
    assert recorder.replayed == 3 * 5


def test_forgets_the_shapes_asked_for_longest_ago(recorded, recorder, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MOST", 2)
    for count in (1, 2, 1, 3, 1, 2):
        found(recorded, questions(count, 9), SEARCHES[2])
    assert recorder.recorded == 4  # of 1, 2, 3, and of 2 again


def test_a_replaced_state_is_refused(recorded):
    with torch.inference_mode():
        encoder = recorded.encode(questions(1, 9)["net_input"])
        first = recorded.decoder.start(encoder, beams=1, capacity=4)
        recorded.decoder.start(encoder, beams=1, capacity=5)
        with pytest.raises(RuntimeError, match="replaced"):
            recorded.decoder.extend(torch.zeros(1, 1, dtype=torch.long), first)


def test_graphs_need_a_gpu():
    with pytest.raises(UserError, match="GPU"):
        new_network().for_answers(cuda_graphs=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("settings", SEARCHES)
def test_the_same_answers_on_a_gpu(settings):
    plain, recorded = (new_network().cuda() for _ in range(2))
    recorded.decoder.graphs = StepGraphs(recorded.decoder.step)
    for seed in (2, 3, 2):
        batch = {"net_input": {k: v.cuda() for k, v in questions(4, 9, seed=seed)["net_input"].items()}}
        assert_same(found(recorded, batch, settings), found(plain, batch, settings))
