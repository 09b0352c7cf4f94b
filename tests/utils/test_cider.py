import json
import math
import os
import pickle
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refhcm.utils.cider import CachedFrequencies, cider_d, load_frequencies
from refhcm.utils.errors import UserError

sentences = st.lists(st.sampled_from(["a", "man", "woman", "in", "red", "blue", "coat"]), max_size=7).map(" ".join)
sets = st.lists(st.tuples(sentences, st.lists(sentences, min_size=1, max_size=3)), min_size=1, max_size=6)


def test_by_hand():
    # every word and every pair is in one of two pictures: idf log 2. The first is met in both orders that it has;
    # of the second's two words one is met: cosine 1/2; no caption has three words
    result = cider_d(["red coat", "blue hat"], [["red coat"], ["blue sky"]])
    assert result.scores == pytest.approx([10 * 2 / 4, 10 * 0.5 / 4])
    assert result.mean == pytest.approx(3.125)


def test_penalty_clipping_and_references_by_hand():
    frequencies = CachedFrequencies({}, math.e)  # every n-gram weighs its count
    # "red red red" against "red": clipped to 1 * 1 / (3 * 1) for words, and two words longer
    assert cider_d(["red red red"], [["red"]], document_frequency=frequencies).mean == pytest.approx(
        10 * (1 / 3) / 4 * math.exp(-4 / 72)
    )
    # the mean over the references
    assert cider_d(["red"], [["red", "blue"]], document_frequency=frequencies).mean == pytest.approx(10 / 4 / 2)


def test_one_picture_has_no_frequencies():
    assert cider_d(["red coat"], [["red coat"]]).mean == 0


def test_empty_caption_scores_zero():
    assert cider_d(["", "a"], [["red"], ["a"]]).scores.tolist() == [0, 2.5]


@given(sets)
def test_corpus_scores_do_not_depend_on_the_order(rows):
    forward = cider_d([h for h, _ in rows], [r for _, r in rows])
    backward = cider_d([h for h, _ in rows[::-1]], [r for _, r in rows[::-1]])
    assert forward.scores == pytest.approx(backward.scores[::-1], abs=1e-9)
    assert ((forward.scores >= 0) & (forward.scores <= 10 + 1e-9)).all()


@given(sets, st.integers(1, 4))
def test_cached_scores_do_not_depend_on_the_batch_split(rows, size):
    hypotheses, references = [h for h, _ in rows], [r for _, r in rows]
    whole = Counter(word for picture in references for word in {(w,) for r in picture for w in r.split()})
    sizes = [len(rows[k : k + size]) for k in range(0, len(rows), size)]
    frequencies = CachedFrequencies(whole, len(rows))
    once = cider_d(hypotheses, references, document_frequency=frequencies)
    split = cider_d(hypotheses, references, document_frequency=frequencies, batch_sizes=sizes)
    assert once.scores.tolist() == split.scores.tolist()


def test_corpus_mode_counts_over_the_whole_set():
    # a set that is evaluated in one call does not notice how it was gathered; the published way does (deviation 23)
    hypotheses, references = ["red coat", "blue hat"], [["red coat"], ["blue hat"]]
    assert cider_d(hypotheses, references).scores.tolist() == [5, 5]
    assert cider_d(hypotheses, references, batch_sizes=[1, 1]).scores.tolist() == [0, 0]


@given(sets)
def test_equals_pycocoevalcap(rows):
    scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer").CiderScorer(n=4, sigma=6.0)
    assume(any(any(references) for _, references in rows))  # pycocoevalcap needs one n-gram
    for hypothesis, references in rows:
        scorer += (hypothesis, references)
    _, expected = scorer.compute_score()
    assert cider_d([h for h, _ in rows], [r for _, r in rows]).scores == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("hypotheses", "references", "batches"),
    [([], [], None), (["a"], [], None), (["a"], [[]], None), (["a"], [["a"]], [2])],
)
def test_rows_must_match(hypotheses, references, batches):
    with pytest.raises(ValueError, match="needs a reference"):
        cider_d(hypotheses, references, batch_sizes=batches)


def test_golden_scores(golden):
    # metrics/cider_golden.json, cider_df.p
    numbers = json.loads((golden / "metrics" / "cider_golden.json").read_text())
    cached = load_frequencies(golden / "metrics" / "cider_df.p")
    size = len(cached.counts)
    for document_frequency, name in (("corpus", "corpus"), (cached, "cached")):
        result = cider_d(numbers["res"], numbers["gts"], document_frequency=document_frequency)
        assert result.mean == pytest.approx(numbers[name]["score"], abs=1e-12)
        assert result.scores == pytest.approx(numbers[name]["scores"], abs=1e-12)
    assert cached.num_pictures == 16
    assert len(cached.counts) == size  # unknown n-grams are not entered


def test_golden_evaluation_run(golden):
    # eval/rhrc_cider.json: the published scores depend on the batches (deviation 23)
    numbers = json.loads((golden / "eval" / "rhrc_cider.json").read_text())
    per_batch = cider_d(numbers["hyps"], numbers["refs"], batch_sizes=numbers["batch_sizes"])
    assert per_batch.scores == pytest.approx(numbers["cider_scores_df_corpus_per_batch"], abs=1e-12)
    assert per_batch.mean == pytest.approx(numbers["mean_corpus"])
    cached = load_frequencies(golden / "metrics" / "cider_df.p")
    result = cider_d(numbers["hyps"], numbers["refs"], document_frequency=cached)
    assert result.scores == pytest.approx(numbers["cider_scores_df_cached"], abs=1e-12)
    assert result.mean == pytest.approx(numbers["mean_cached"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_is_read(tmp_path, protocol):
    path = tmp_path / "frequencies.p"
    counts = defaultdict(float, {("a",): 2.0, ("a", "man"): 1})
    path.write_bytes(pickle.dumps({"document_frequency": counts, "ref_len": 3.0}, protocol))
    assert load_frequencies(path) == CachedFrequencies(counts, 3.0)


def test_text_of_python_2_is_read(tmp_path):
    path = tmp_path / "frequencies.p"
    path.write_bytes(b"\x80\x02}(U\x12document_frequency}U\x05caf\xc3\xa9\x85K\x01sU\x07ref_lenK\x02u.")
    assert load_frequencies(path) == CachedFrequencies({("café",): 1}, 2)


class Shell:
    def __reduce__(self):
        return os.system, ("touch harmed",)


def test_a_pickle_that_runs_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "frequencies.p"
    path.write_bytes(pickle.dumps({"document_frequency": {}, "ref_len": Shell()}))
    with pytest.raises(UserError, match=r"frequencies.p: .*(posix|nt)\.system.*refused"):
        load_frequencies(path)
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"document_frequency": {}}),
        pickle.dumps([1, 2]),
        pickle.dumps({"document_frequency": {"a": 1}, "ref_len": 2}),
        pickle.dumps({"document_frequency": {("a",): "many"}, "ref_len": 2}),
        pickle.dumps({"document_frequency": {("a",): 1}, "ref_len": 0}),
        pickle.dumps({"document_frequency": {("a",): 1}, "ref_len": np.float64(3)}),
        b"not a pickle",
        b"",
        pickle.dumps({"document_frequency": {}, "ref_len": 1})[:-5],
    ],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "frequencies.p"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"frequencies\.p: "):
        load_frequencies(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"none\.p"):
        load_frequencies(tmp_path / "none.p")
