"""Text to ids and back: GPT-2's byte-level BPE, prompts, and the cleaning of expressions and captions."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from ..utils.errors import UserError
from .vocabulary import BIN, CODE, Vocabulary, plain_ids

# A closed <bin_...> or <code_...> anywhere in a word, or an unclosed one from the word's start on.
SYMBOL = re.compile(r"(<(?:bin|code)_[^<>]*>|^<(?:bin|code)_.*)")
SYMBOL_STARTS = (BIN.format("")[:-1], CODE.format("")[:-1])
REFERENCE = re.compile(r"\s*\[\d+(?:, \d+)*\]\s*")
NO_PIECE = -1


def load_bpe(bpe_dir: str | Path) -> Tokenizer:
    """GPT-2's BPE from `encoder.json` and `vocab.bpe`, the same ids as fairseq's GPT2BPE (docs/vocabulary.md)."""
    folder = Path(bpe_dir)
    try:
        pieces = json.loads((folder / "encoder.json").read_text(encoding="utf-8"))
        lines = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: can not read encoder.json and vocab.bpe (--bpe-dir): {error}") from error
    merges = [tuple(line.split(" ")) for line in lines[1:] if line]  # the first line names the version
    try:
        bpe = Tokenizer(models.BPE(vocab=pieces, merges=merges))
    except Exception as error:  # tokenizers raises bare Exception for merges that its vocabulary does not hold
        raise UserError(f"{folder}: encoder.json and vocab.bpe do not fit each other: {error}") from error
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


class TextEncoder:
    """Text <-> ids of a vocabulary. `vocabulary` and `bpe` stay at hand as attributes."""

    def __init__(self, vocabulary: Vocabulary, bpe: Tokenizer) -> None:
        """Pieces of `bpe` that the vocabulary does not hold (under their decimal BPE id) become `<unk>`."""
        self.vocabulary = vocabulary
        self.bpe = bpe
        pieces = list(bpe.get_vocab().values())
        self._symbol_ids = torch.full((max(pieces) + 1,), vocabulary.unk())  # by BPE id
        self._piece_ids = [NO_PIECE] * len(vocabulary)  # by symbol id
        for piece in pieces:
            symbol_id = vocabulary.index(str(piece))
            if symbol_id != vocabulary.unk():
                self._symbol_ids[piece] = symbol_id
                self._piece_ids[symbol_id] = piece

    @classmethod
    def load(cls, bpe_dir: str | Path, vocabulary: Vocabulary) -> "TextEncoder":
        """From the folder that also holds the vocabulary's `dict.txt`."""
        return cls(vocabulary, load_bpe(bpe_dir))

    def encode(self, text: str) -> Tensor:
        """Text as it is -> ids of its BPE pieces, int64 [N]."""
        return self._symbol_ids[self.bpe.encode(text, add_special_tokens=False).ids]

    def encode_words(self, text: str) -> Tensor:
        """Text word by word -> ids, int64 [N]: `" " + word` through the BPE, `<bin_k>` and `<code_k>` as symbols.

        Symbols may be glued to each other or to a word; `<bin_k>` out of range is `<unk>` (docs/deviations.md, 13).
        """
        ids = [torch.empty(0, dtype=torch.int64)]
        for word in text.split():
            for part in filter(None, SYMBOL.split(word)):
                is_symbol = part.startswith(SYMBOL_STARTS)
                ids.append(torch.tensor([self.vocabulary.index(part)]) if is_symbol else self.encode(" " + part))
        return torch.cat(ids)

    def unknown_symbols(self, text: str) -> list[str]:
        """The `<bin_k>` and `<code_k>` of a text that the vocabulary does not have."""
        found = [symbol for word in text.lower().split() for symbol in SYMBOL.findall(word)]
        return [symbol for symbol in found if self.vocabulary.index(symbol) == self.vocabulary.unk()]

    def encode_instruction(self, text: str) -> Tensor:
        """What a user asks, in lower case and word by word, between bos and eos: int64 [N]."""
        ids = self.encode_words(text.lower().strip())
        return torch.cat([ids.new_tensor([self.vocabulary.bos()]), ids, ids.new_tensor([self.vocabulary.eos()])])

    def decode(self, ids: Iterable[int] | Tensor) -> str:
        """Text of the BPE pieces among ids [N], joined; everything else is left out. Never raises.

        The leading space of a first word stays. Bytes that are no UTF-8 become U+FFFD.
        """
        return self.bpe.decode([piece for piece in map(self._piece, plain_ids(ids)) if piece != NO_PIECE])

    def is_piece(self, symbol_id: int) -> bool:
        """Whether an id is a BPE piece, whose text `decode` gives."""
        return self._piece(symbol_id) != NO_PIECE

    def transcribe(self, ids: Iterable[int] | Tensor) -> str:
        """The whole answer to read, [N]: bins and codes as symbols, each run of BPE pieces as text. Never raises."""
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

    def _piece(self, symbol_id: int) -> int:
        return self._piece_ids[symbol_id] if 0 <= symbol_id < len(self._piece_ids) else NO_PIECE


def pre_caption(text: str, max_words: int | None = None) -> str:
    """An expression as the prompts hold it: lower case, plain spaces, its first `max_words` words."""
    text = text.lower().lstrip(",.!?*#:;~").replace("-", " ").replace("/", " ").replace("<person>", "person")
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])


def strip_references(caption: str) -> str:
    """References such as `[12, 3]`, with the white space around them, become one space."""
    return REFERENCE.sub(" ", caption)


def clean_caption(caption: str) -> str:
    """RHrc's clean-up in every split: no references, and each run of white space is one space."""
    return re.sub(r"\s+", " ", strip_references(caption))


def first_words(text: str, max_words: int) -> str:
    """The first `max_words` words, one space between them."""
    return " ".join(text.split()[:max_words])
