"""A small vocabulary from any text: byte-level BPE in the files of GPT-2's, which `--bpe-dir` then names.

    refhcm vocabulary words.txt data.tsv:2 --out dataset/bpe [--size 2000]

A text file gives its lines; FILE:COLUMN the cells of a TSV's column, counted from 0 as in --selected-cols. Prompts and
keypoint names are learned along with the text. Ids of the model follow the loaded dictionary: nothing else changes.
"""

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from ...data.text import clean_caption, pre_caption
from ...data.tsv import TsvFile
from ...tasks import TASKS
from ...utils.captions import REFERENCE_SEPARATOR
from ...utils.errors import DataError, UserError
from ...utils.keypoints import KEYPOINT_NAMES

BYTES = 256
LONGEST_WORD = 1000  # characters; a longer one is a picture in base64


def read_lines(source: str) -> Iterator[str]:
    """Lines of FILE, or cells of the column of FILE:COLUMN. Raises DataError naming file and line."""
    name, _, column = source.rpartition(":")
    if name and column.isdecimal() and not Path(source).exists():
        file = TsvFile(name, (int(column),), names=("text",))
        lines = ((file.where(k), file[k]["text"]) for k in range(len(file)))
    elif source.lower().endswith(".tsv"):
        raise UserError(f"{source}: which column holds the text? Name it, such as {source}:2")
    else:
        lines = _text_lines(Path(source))
    for where, line in lines:
        if max(map(len, line.split()), default=0) > LONGEST_WORD:
            raise DataError(f"{where}: a word of more than {LONGEST_WORD} characters: is this a picture's column?")
        yield line


def _text_lines(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: can not be read as text: {error}") from error
    return [(f"{path}:{number}", line) for number, line in enumerate(lines, start=1)]


def phrases() -> list[str]:
    """What every user of the vocabulary writes: the prompts of all tasks, and the names of the keypoints."""
    prompts = dict.fromkeys(task.prompt.replace("{}", "") for task in TASKS.values())
    return [*prompts, *(f" {name}" for name in KEYPOINT_NAMES)]


def training_texts(lines: Sequence[str]) -> list[str]:
    """Each line as captions hold it and as prompts do (lower case), and each phrase as often as there are lines."""
    captions = [clean_caption(part) for line in lines for part in line.split(REFERENCE_SEPARATOR)]
    forms = [form for caption in captions if caption.strip() for form in (caption, pre_caption(caption))]
    return [" " + form.strip() for form in forms] + phrases() * max(len(lines), 1)


def train(texts: Sequence[str], size: int) -> Tokenizer:
    """Byte-level BPE of at most `size` pieces: ids 0..255 are the bytes in GPT-2's order, then come the merges."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, min_frequency=2, special_tokens=[], show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe


def write(bpe: Tokenizer, texts: Sequence[str], out: Path) -> None:
    """encoder.json, vocab.bpe and dict.txt in `out`, a new or empty folder: all of them, or none."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"--out {out}: is there already, and models may depend on it: name a new or empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        made = Path(temporary) / "made"  # not the temporary folder itself, which only its owner may read
        made.mkdir()
        pieces, merges = bpe.model.save(str(made))
        Path(pieces).rename(made / "encoder.json")
        Path(merges).rename(made / "vocab.bpe")
        counts = Counter(piece for encoded in bpe.encode_batch(texts) for piece in encoded.ids)
        ids = sorted(bpe.get_vocab().values(), key=lambda piece: (-counts[piece], piece))
        lines = "".join(f"{piece} {counts[piece]}\n" for piece in ids)
        (made / "dict.txt").write_text(lines, encoding="utf-8", newline="\n")
        os.replace(made, out)


def make_vocabulary(sources: Sequence[str], out: Path, *, size: int) -> int:
    """Learns and writes a vocabulary; the number of its pieces, fewer than `size` when the text holds no more."""
    lines = [line for source in sources for line in read_lines(source)]
    if not any(line.strip() for line in lines):
        raise DataError(f"{', '.join(sources)}: no text to learn from")
    texts = training_texts(lines)
    bpe = train(texts, size)
    write(bpe, texts, out)
    return bpe.get_vocab_size()


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) < BYTES:
        raise argparse.ArgumentTypeError(
            f"needs a whole number from {BYTES} (one piece for each byte) on, got {text!r}"
        )
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument("text", nargs="+", metavar="TEXT", help="text file, or FILE:COLUMN of a TSV")
    parser.add_argument("--out", type=Path, required=True, help="folder to write, new or empty")
    parser.add_argument("--size", type=_size, default=2000, help="pieces at most (default: 2000)")


def run(args: argparse.Namespace) -> None:
    """Writes the vocabulary and says how many pieces it has."""
    print(f"{args.out}: {make_vocabulary(args.text, args.out, size=args.size)} pieces")
