import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refhcm.data import vocabulary
from refhcm.data.vocabulary import Vocabulary, read_pieces
from refhcm.utils.errors import UserError

from_pieces = Vocabulary.from_pieces


def test_tiny_vocabulary_by_hand(tiny_vocabulary):
    v = tiny_vocabulary
    assert (v.bos(), v.pad(), v.eos(), v.unk()) == (0, 1, 2, 3)
    assert len(v) == 4 + 3 + 1 + 4 + 20
    assert (v.code_ids, v.bin_ids) == (range(8, 12), range(12, 32))
    assert v[12] == "<bin_0>"
    assert v[99] == v[-1] == "<unk>"
    assert v.index("<bin_19>") == 31
    assert v.index("<bin_20>") == v.unk()
    assert v.index("7") == 5
    assert v.index("8") == v.unk()


def test_sizes_of_the_real_vocabulary(real_vocabulary, bpe_dir):
    v = real_vocabulary
    assert len(v) == 59457
    assert (v.code_ids, v.bin_ids, v.index("<mask>")) == (range(50265, 58457), range(58457, 59457), 50264)
    by_default = Vocabulary.load(bpe_dir)
    assert (by_default.code_ids, by_default.bin_ids) == (v.code_ids, v.bin_ids)
    assert len(from_pieces([])) == 4 + 1 + 8192 + 1000


def test_other_sizes_follow_from_the_dictionary(bpe_dir):
    v = Vocabulary.load(bpe_dir, num_bins=10, code_dict_size=100)
    assert (v.code_ids, v.bin_ids, v.num_bins) == (range(50265, 50365), range(50365, 50375), 10)


def test_bins_round_half_to_even_and_clip(tiny_vocabulary):
    # 19 is the last of 20 bins: on a canvas of 38 px, a bin is 2 px wide. 1 px is 0.5, rounded to 0; 3 px is 1.5, to 2.
    coordinates = torch.tensor([0.0, 1.0, 3.0, 38.0, 38.9, 39.1, -0.9, -1.1])
    assert (tiny_vocabulary.bins(coordinates, 38) - 12).tolist() == [0, 0, 2, 19, 19, 19, 0, 0]
    assert tiny_vocabulary.needs_clipping(coordinates, 38).tolist() == [False] * 5 + [True, False, True]


@given(px=st.floats(0, 512, width=32))
def test_bins_round_trip(px):
    v = from_pieces([], num_bins=100, code_dict_size=1)
    back = v.coordinates(v.bins(torch.tensor([px]), 512), 512)
    assert abs(back.item() - px) <= 512 / 99 / 2 + 1e-3


def test_coordinates_keep_shape_and_are_float32(tiny_vocabulary):
    ids = torch.tensor([[12, 31], [13, 12]])
    back = tiny_vocabulary.coordinates(ids, 38)
    assert back.dtype == np.float32
    assert back.tolist() == [[0, 38], [2, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("11 5\n7\n", r"dict.txt:2: expected 'token count', got '7'"),
        ("11 5\n\n7 1\n", "dict.txt:2: expected"),
        ("11 5\n7 x\n", "dict.txt:2: expected"),
        ("11 5\n7 1\n11 2\n", "dict.txt:3: token '11' comes twice"),
        ("<s> 1\n", "dict.txt:1: token '<s>' comes twice"),
    ],
)
def test_bad_dict_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "dict.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_pieces(tmp_path / "dict.txt")


def test_missing_dict(tmp_path):
    with pytest.raises(UserError, match=r"--bpe-dir: .*dict\.txt: no such file"):
        Vocabulary.load(tmp_path)


def test_missing_and_repeated_symbols(tiny_vocabulary):
    symbols = [tiny_vocabulary[k] for k in range(len(tiny_vocabulary))]
    assert Vocabulary(symbols, num_bins=20, code_dict_size=4).bin_ids == range(12, 32)
    for missing, message in [("<mask>", "lacks <mask>"), ("<bin_7>", "unbroken run of 20 '<bin_{}>'"), ("<s>", "<s>")]:
        with pytest.raises(UserError, match=message):
            Vocabulary([s for s in symbols if s != missing], num_bins=20, code_dict_size=4)
    with pytest.raises(UserError, match="'7' comes twice"):
        Vocabulary([*symbols, "7"], num_bins=20, code_dict_size=4)


@pytest.mark.parametrize("wrong", [11, 32, 0, -1])
def test_an_id_that_is_no_bin_has_no_coordinates(tiny_vocabulary, wrong):
    with pytest.raises(ValueError, match=rf"^id {wrong} \(.*\) is no bin; those have the ids 12\.\.31$"):
        tiny_vocabulary.coordinates(torch.tensor([[12, wrong]]), 38)
    assert tiny_vocabulary.positions(torch.tensor([wrong]), 38).tolist() == [2 * (wrong - 12)]


@pytest.mark.parametrize("num_bins", [1, 0, -3])
def test_at_least_two_bins(num_bins):
    with pytest.raises(UserError, match="vocabulary"):
        from_pieces([], num_bins=num_bins, code_dict_size=1)


@pytest.mark.parametrize("content", [b"1 1\n" * 2_200_000, b"a" * 8_000_000, b"\x1b[31m\n"])
def test_a_file_that_is_no_dictionary_is_one_short_line(tmp_path, content):
    (tmp_path / "dict.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"dict\.txt") as caught:
        read_pieces(tmp_path / "dict.txt")
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_a_large_file_is_refused(tmp_path, monkeypatch):
    (tmp_path / "dict.txt").write_text("11 5\n7 1\n")
    monkeypatch.setattr(vocabulary, "LARGEST_FILE", 9)
    assert read_pieces(tmp_path / "dict.txt") == ["11", "7"]
    monkeypatch.setattr(vocabulary, "LARGEST_FILE", 8)
    with pytest.raises(UserError, match=r"dict\.txt: cannot be read as a fairseq dictionary"):
        read_pieces(tmp_path / "dict.txt")
