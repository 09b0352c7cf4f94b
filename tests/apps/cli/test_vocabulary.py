"""A vocabulary made from text: complete, in GPT-2's format, the same each time."""

import json

import pytest
from commands import refhcm
from hypothesis import given
from hypothesis import strategies as st

from refhcm.apps.cli import vocabulary as command
from refhcm.data.text import TextEncoder
from refhcm.data.vocabulary import Vocabulary
from refhcm.tasks import TASKS
from refhcm.utils.errors import DataError, UserError
from refhcm.utils.keypoints import KEYPOINT_NAMES

FILES = ("dict.txt", "encoder.json", "vocab.bpe")
TEXT = "the zebra umpire on the left\nA ZEBRA umpire [12, 3] with a hat&&a zebra\n\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A vocabulary of three lines."""
    folder = tmp_path_factory.mktemp("vocabulary")
    (folder / "words.txt").write_text(TEXT, encoding="utf-8")
    assert refhcm("vocabulary", str(folder / "words.txt"), "--out", str(folder / "bpe"), "--size", "600") == 0
    return folder / "bpe"


@pytest.fixture(scope="module")
def made(folder):
    return TextEncoder.load(folder, Vocabulary.load(folder))


def test_files_are_gpt2s(folder):
    assert sorted(path.name for path in folder.iterdir()) == list(FILES)
    pieces = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    merges = (folder / "vocab.bpe").read_text(encoding="utf-8")
    assert merges.startswith("#version")
    assert merges.endswith("\n")  # fairseq drops what follows the last newline
    pairs = [line.split(" ") for line in merges.split("\n")[1:-1]]
    assert sorted(pieces.values()) == list(range(256 + len(pairs)))
    assert [pieces["".join(pair)] for pair in pairs] == list(range(256, 256 + len(pairs)))


def test_bytes_have_gpt2s_ids(folder, bpe_dir):
    ours, real = (json.loads((where / "encoder.json").read_text(encoding="utf-8")) for where in (folder, bpe_dir))
    assert {piece: k for piece, k in ours.items() if k < 256} == {piece: k for piece, k in real.items() if k < 256}


def test_dictionary_is_by_frequency_and_whole(folder):
    lines = [line.split(" ") for line in (folder / "dict.txt").read_text(encoding="utf-8").splitlines()]
    counts = [int(count) for _, count in lines]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > 0
    pieces = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
    assert sorted(int(piece) for piece, _ in lines) == sorted(pieces.values())


def test_words_of_the_text_are_learned_in_both_cases(made):
    assert len(made.encode(" zebra")) == len(made.encode(" umpire")) == 1
    assert len(made.encode("12")) == 2  # a reference is not text


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_prompts_are_made_of_words(made, task):
    for part in task.prompt.split("{}"):
        ids = made.encode(part)
        assert made.decode(ids) == part
        assert len(ids) <= len(part.split()) + 3  # quotation mark, question mark, full stop


def test_keypoint_names_are_made_of_words(made):
    for name in KEYPOINT_NAMES:
        assert len(made.encode(" " + name)) <= 3  # left, _, ear


@given(text=st.text(max_size=60))
def test_any_text_comes_back(made, text):
    ids = made.encode(text)
    assert made.vocabulary.unk() not in ids
    assert made.decode(ids) == text


def test_the_same_text_gives_the_same_files(folder, tmp_path):
    refhcm("vocabulary", str(folder.parent / "words.txt"), "--out", str(tmp_path / "again"), "--size", "600")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_columns_of_tables(world, tmp_path, capsys):
    tables = [f"{world / 'rkpt' / 'train.tsv'}:2", f"{world / 'rhrc' / 'train.tsv'}:1"]
    assert refhcm("vocabulary", *tables, "--out", str(tmp_path / "bpe"), "--size", "300") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'bpe'}: 300 pieces\n"
    assert len(Vocabulary.load(tmp_path / "bpe", num_bins=20, code_dict_size=4)) == 4 + 300 + 1 + 4 + 20


def test_lines_of_a_column(world):
    path = world / "rkpt" / "train.tsv"
    expected = [line.split("\t")[2] for line in path.read_text(encoding="utf-8").splitlines()]
    assert list(command.read_lines(f"{path}:2")) == expected


def test_mistakes_are_named(world, tmp_path):
    table = world / "rkpt" / "train.tsv"
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for source, error, message in (
        (str(table), UserError, "which column"),
        (f"{table}:5", DataError, r"train\.tsv:1: a word of more than 1000"),
        (f"{table}:9", DataError, r"train\.tsv:1: has 6 columns"),
        (str(tmp_path / "none.txt"), DataError, r"none\.txt: cannot be read"),
        (str(tmp_path / "latin.txt"), DataError, r"latin\.txt: cannot be read"),
        (str(tmp_path / "empty.txt"), DataError, "no text"),
    ):
        with pytest.raises(error, match=message):
            command.make_vocabulary([source], tmp_path / "bpe", size=300)
    assert not (tmp_path / "bpe").exists()


def test_a_vocabulary_in_use_is_not_overwritten(folder, capsys):
    before = (folder / "dict.txt").read_bytes()
    assert refhcm("vocabulary", str(folder.parent / "words.txt"), "--out", str(folder)) == 2
    assert "exists, and models may depend on it" in capsys.readouterr().err
    assert (folder / "dict.txt").read_bytes() == before
    assert not list(folder.parent.glob(".bpe*"))


def test_fewer_pieces_than_bytes_are_refused(tmp_path):
    with pytest.raises(SystemExit, match="2"):
        refhcm("vocabulary", "words.txt", "--out", str(tmp_path / "bpe"), "--size", "255")
