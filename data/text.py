"""Text to ids and back: GPT-2's byte-level BPE, and instructions word by word."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from ..utils.errors import UserError, reason_of
from ..utils.files import check_small
from .vocabulary import BIN, CODE, LARGEST_FILE, Vocabulary

if TYPE_CHECKING:
    from torch import Tensor

# A closed <bin_...> or <code_...> anywhere in a word, or an unclosed one that begins the word.
SYMBOL = re.compile(r"(<(?:bin|code)_[^<>]*>|^<(?:bin|code)_.*)")
SYMBOL_STARTS = (BIN.format("")[:-1], CODE.format("")[:-1])
Ids = Union[Iterable[int], np.ndarray, "Tensor"]


def load_bpe(bpe_dir: str | Path) -> Tokenizer:
    """GPT-2's BPE from `encoder.json` and `vocab.bpe`, the same ids as fairseq's GPT2BPE (docs/vocabulary.md)."""
    folder = Path(bpe_dir)
    files = folder / "encoder.json", folder / "vocab.bpe"
    where = f"{folder}: encoder.json and vocab.bpe cannot be read as GPT-2's BPE (--bpe-dir)"
    try:
        for file in files:
            check_small(file, largest=LARGEST_FILE)
        bpe = Tokenizer(models.BPE.from_file(*map(str, files)))
    except Exception as error:  # tokenizers raises nothing narrower
        raise UserError(f"{where}: {reason_of(error)}") from error
    except BaseException as error:  # what its Rust code panics with is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise UserError(f"{where}: {reason_of(error)}") from error
    pieces = bpe.get_vocab()
    if not pieces or len(set(pieces.values())) < len(pieces):
        raise UserError(f"{where}: encoder.json {'gives two pieces one id' if pieces else 'is empty'}")
    if pieces != json.loads(files[0].read_bytes()):  # `tokenizers` keeps 32 bits of an id
        raise UserError(f"{where}: encoder.json has ids that are not whole numbers below 2^32")
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


class TextEncoder:
    """Text <-> ids of a vocabulary. Attributes: `vocabulary`, `bpe`, and its `merges`, in order."""

    def __init__(self, vocabulary: Vocabulary, bpe: Tokenizer, merges: Sequence[str] = ()) -> None:
        """The vocabulary names a piece of `bpe` by its BPE id in decimal; pieces that it lacks become `<unk>`."""
        self.vocabulary, self.bpe, self.merges = vocabulary, bpe, tuple(merges)
        self._symbol_ids: dict[int, int] = {}  # symbol id by BPE id; a file may choose BPE ids of any size
        self._piece_ids: dict[int, int] = {}  # BPE id by symbol id
        for piece in bpe.get_vocab().values():
            symbol_id = vocabulary.index(str(piece))
            if symbol_id != vocabulary.unk():
                self._symbol_ids[piece] = symbol_id
                self._piece_ids[symbol_id] = piece

    @classmethod
    def load(cls, bpe_dir: str | Path, vocabulary: Vocabulary) -> "TextEncoder":
        """From the folder that also holds the vocabulary's `dict.txt`."""
        bpe = load_bpe(bpe_dir)
        lines = (Path(bpe_dir) / "vocab.bpe").read_text(encoding="utf-8").splitlines()
        return cls(vocabulary, bpe, [line.strip() for line in lines if not line.startswith("#version")])

    def digest(self) -> str:
        """sha256 of all symbols, of the BPE's pieces, and of its merges. Checkpoints name their vocabulary by it."""
        symbols = (self.vocabulary[k] for k in range(len(self.vocabulary)))
        pieces = sorted(f"{number} {piece}" for piece, number in self.bpe.get_vocab().items())
        return hashlib.sha256("\n".join([*symbols, *pieces, *self.merges]).encode()).hexdigest()

    def encode(self, text: str) -> np.ndarray:
        """Text, unchanged -> ids of its BPE pieces, int64 [N]."""
        pieces = self.bpe.encode(text, add_special_tokens=False).ids
        unk = self.vocabulary.unk()
        return np.array([self._symbol_ids.get(piece, unk) for piece in pieces], np.int64)

    def encode_words(self, text: str) -> np.ndarray:
        """Text word by word -> ids, int64 [N]: `" " + word` through the BPE, `<bin_k>` and `<code_k>` as symbols.

        Symbols may be glued to each other or to a word; `<bin_k>` out of range is `<unk>` (docs/deviations.md, 13).
        """
        ids = [np.empty(0, np.int64)]
        for word in text.split():
            for part in filter(None, SYMBOL.split(word)):
                is_symbol = part.startswith(SYMBOL_STARTS)
                ids.append(np.array([self.vocabulary.index(part)]) if is_symbol else self.encode(" " + part))
        return np.concatenate(ids)

    def unknown_symbols(self, text: str) -> list[str]:
        """The `<bin_k>` and `<code_k>` in a text that the vocabulary lacks."""
        found = [symbol for word in text.lower().split() for symbol in SYMBOL.findall(word)]
        return [symbol for symbol in found if self.vocabulary.index(symbol) == self.vocabulary.unk()]

    def encode_instruction(self, text: str) -> np.ndarray:
        """A user's instruction in lower case, word by word, between bos and eos: int64 [N]."""
        ids = self.encode_words(text.lower().strip())
        return np.concatenate([[self.vocabulary.bos()], ids, [self.vocabulary.eos()]])

    def decode(self, ids: Ids) -> str:
        """Joined text of the BPE pieces among ids [N]; other ids are skipped. Never raises.

        The leading space of a first word stays. Bytes that are not UTF-8 become U+FFFD.
        """
        return self.bpe.decode([self._piece_ids[k] for k in plain_ids(ids) if k in self._piece_ids])

    def is_piece(self, symbol_id: int) -> bool:
        """Whether an id is a BPE piece, that is, text."""
        return symbol_id in self._piece_ids

    def transcribe(self, ids: Ids) -> str:
        """A readable form of ids [N]: bins and codes as symbols, each run of BPE pieces as text. Never raises."""
        parts: list[str] = []
        run: list[int] = []
        for symbol_id in plain_ids(ids):
            if self.is_piece(symbol_id):
                run.append(symbol_id)
            elif symbol_id in self.vocabulary.bin_ids or symbol_id in self.vocabulary.code_ids:
                parts += [self.decode(run).strip(), self.vocabulary[symbol_id]]
                run = []
        parts.append(self.decode(run).strip())
        return " ".join(filter(None, parts))


def plain_ids(ids: Ids) -> list[int]:
    """Ids as Python integers."""
    found: list[int] = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    return found
