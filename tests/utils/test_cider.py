import math
import os
import pickle
from collections import Counter, defaultdict

import numpy as np
import pytest
from golden_folder import numbers
from hypothesis import assume, given
from hypothesis import strategies as st

from refhcm.utils.cider import CachedFrequencies, cider_d, load_frequencies
from refhcm.utils.errors import UserError

sentences = st.lists(st.sampled_from(["a", "man", "woman", "in", "red", "blue", "coat"]), max_size=7).map(" ".join)
sets = st.lists(st.tuples(sentences, st.lists(sentences, min_size=1, max_size=3)), min_size=1, max_size=6)


def test_by_hand():
    # Every word and every pair is in one of two pictures: idf log 2. The first caption matches in both orders that it
    # has; of the second, one of two words matches: cosine 1/2. No caption has three words.
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


def in_batches(hypotheses, references, sizes, **options):
    """The scores of consecutive batches, each by itself, as the published evaluation takes them (deviation 23)."""
    ends = np.cumsum(sizes)
    batches = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return np.concatenate([cider_d(hypotheses[b], references[b], **options).scores for b in batches])


@given(sets, st.integers(1, 4))
def test_cached_scores_do_not_depend_on_the_batch_split(rows, size):
    hypotheses, references = [h for h, _ in rows], [r for _, r in rows]
    whole = Counter(word for picture in references for word in {(w,) for r in picture for w in r.split()})
    sizes = [len(rows[k : k + size]) for k in range(0, len(rows), size)]
    options = {"document_frequency": CachedFrequencies(whole, len(rows))}
    once = cider_d(hypotheses, references, **options)
    assert once.scores.tolist() == in_batches(hypotheses, references, sizes, **options).tolist()


def test_corpus_mode_counts_over_all_given_rows():
    hypotheses, references = ["red coat", "blue hat"], [["red coat"], ["blue hat"]]
    assert cider_d(hypotheses, references).scores.tolist() == [5, 5]
    assert in_batches(hypotheses, references, [1, 1]).tolist() == [0, 0]


@given(sets)
def test_equals_pycocoevalcap(rows):
    scorer = pytest.importorskip("pycocoevalcap.cider.cider_scorer").CiderScorer(n=4, sigma=6.0)
    assume(any(any(references) for _, references in rows))  # pycocoevalcap needs one n-gram
    for hypothesis, references in rows:
        scorer += (hypothesis, references)
    _, expected = scorer.compute_score()
    assert cider_d([h for h, _ in rows], [r for _, r in rows]).scores == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("hypotheses", "references"), [([], []), (["a"], []), (["a"], [[]]), (["a", "b"], [["a"], []])]
)
def test_rows_must_match(hypotheses, references):
    with pytest.raises(ValueError, match="needs a reference"):
        cider_d(hypotheses, references)


def test_golden_scores(golden):
    # metrics/cider_golden.json, cider_df.p
    published = numbers("metrics/cider_golden")
    cached = load_frequencies(golden / "metrics" / "cider_df.p")
    size = len(cached.counts)
    for document_frequency, name in (("corpus", "corpus"), (cached, "cached")):
        result = cider_d(published["res"], published["gts"], document_frequency=document_frequency)
        assert result.mean == pytest.approx(published[name]["score"], abs=1e-12)
        assert result.scores == pytest.approx(published[name]["scores"], abs=1e-12)
    assert cached.num_pictures == pickle.loads((golden / "metrics" / "cider_df.p").read_bytes())["ref_len"]
    assert len(cached.counts) == size  # unknown n-grams are not entered


def test_golden_evaluation_run(golden):
    # eval/rhrc_cider.json: the published scores depend on the batches (deviation 23)
    published = numbers("eval/rhrc_cider")
    per_batch = in_batches(published["hyps"], published["refs"], published["batch_sizes"])
    assert per_batch == pytest.approx(published["cider_scores_df_corpus_per_batch"], abs=1e-12)
    assert per_batch.mean() == pytest.approx(published["mean_corpus"])
    cached = load_frequencies(golden / "metrics" / "cider_df.p")
    result = cider_d(published["hyps"], published["refs"], document_frequency=cached)
    assert result.scores == pytest.approx(published["cider_scores_df_cached"], abs=1e-12)
    assert result.mean == pytest.approx(published["mean_cached"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol_is_read(tmp_path, protocol):
    path = tmp_path / "frequencies.p"
    counts = defaultdict(float, {("a",): 2.0, ("a", "man"): 1})
    for num_pictures in (3.0, 1):
        path.write_bytes(pickle.dumps({"document_frequency": counts, "ref_len": num_pictures}, protocol))
        assert load_frequencies(path) == CachedFrequencies(counts, num_pictures)


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
