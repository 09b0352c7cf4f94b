"""Makes a small vocabulary from any text: byte-level BPE in the same files as GPT-2's, for --bpe-dir.

    refhcm vocabulary words.txt --out dataset/bpe
    refhcm vocabulary words.txt data.tsv:2 --out dataset/bpe --size 4000

A text file gives its lines, FILE:COLUMN the cells of a TSV's column, counted from 0 as in --selected-cols. The prompts
and the names of the keypoints are always learned, too. A model has to be trained with the vocabulary it is used with.
"""

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer

from ...data.cleaning import clean_caption, pre_caption
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
    lines: Iterable[tuple[str, str]]
    if name and column.isdecimal() and not Path(source).exists():
        file = TsvFile(name, (int(column),), names=("text",))
        lines = ((file.where(k), file[k]["text"]) for k in range(len(file)))
    elif source.lower().endswith(".tsv"):
        raise UserError(f"{source}: which column holds the text? Name it, such as {source}:2")
    else:
        try:
            content = Path(source).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source}: cannot be read as text: {error}") from error
        lines = ((f"{source}:{number}", line) for number, line in enumerate(content, start=1))
    for where, line in lines:
        if max(map(len, line.split()), default=0) > LONGEST_WORD:
            raise DataError(f"{where}: a word of more than {LONGEST_WORD} characters; is this a column of pictures?")
        yield line


def training_texts(lines: Sequence[str]) -> list[str]:
    """Each line as in captions and, in lower case, as in prompts; each prompt and keypoint name once for every line."""
    captions = [clean_caption(part) for line in lines for part in line.split(REFERENCE_SEPARATOR)]
    forms = [form for caption in captions if caption.strip() for form in (caption, pre_caption(caption))]
    prompts = dict.fromkeys(task.prompt.replace("{}", "") for task in TASKS.values())
    phrases = [*prompts, *(f" {name}" for name in KEYPOINT_NAMES)]
    return [" " + form.strip() for form in forms] + phrases * max(len(lines), 1)


def write(bpe: ByteLevelBPETokenizer, texts: list[str], out: Path) -> None:
    """Writes encoder.json, vocab.bpe and dict.txt to `out`, a new or empty folder: all of them or none."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UserError(f"--out {out}: exists, and models may depend on it; name a new or empty folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as temporary:
        made = Path(temporary) / "made"  # a temporary folder itself is readable by its owner only
        made.mkdir()
        for written, name in zip(bpe.save_model(str(made)), ("encoder.json", "vocab.bpe"), strict=True):
            Path(written).rename(made / name)
        counts = Counter(piece for encoded in bpe.encode_batch(texts) for piece in encoded.ids)
        ids = sorted(range(bpe.get_vocab_size()), key=lambda piece: (-counts[piece], piece))
        lines = "".join(f"{piece} {counts[piece]}\n" for piece in ids)
        (made / "dict.txt").write_text(lines, encoding="utf-8", newline="\n")
        os.replace(made, out)


def make_vocabulary(sources: Sequence[str], out: Path, *, size: int) -> int:
    """Learns and writes a vocabulary: ids 0..255 are the bytes in GPT-2's order, then come the merges.

    Returns the number of its pieces, which is below `size` where the text holds no more.
    """
    lines = [line for source in sources for line in read_lines(source)]
    if not any(line.strip() for line in lines):
        raise DataError(f"{', '.join(sources)}: no text to learn from")
    texts = training_texts(lines)
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(iter(texts), vocab_size=size, show_progress=False)
    write(bpe, texts, out)
    return bpe.get_vocab_size()


def _size(text: str) -> int:
    if not text.isdecimal() or int(text) < BYTES:
        raise argparse.ArgumentTypeError(f"expected {BYTES} (a piece for each byte) or more, got {text!r}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line."""
    parser.add_argument(
        "text", nargs="+", metavar="TEXT", help="Learn from this text file, or from FILE:COLUMN of a TSV."
    )
    parser.add_argument("--out", type=Path, required=True, help="Write into this folder, which is new or empty.")
    parser.add_argument("--size", type=_size, default=2000, help="Learn at most this many pieces (default: 2000).")


def run(args: argparse.Namespace) -> None:
    """Writes the vocabulary and prints how many pieces it has."""
    print(f"{args.out}: {make_vocabulary(args.text, args.out, size=args.size)} pieces")
