"""Text to ids and back: GPT-2's byte-level BPE, prompts, and the cleaning of expressions and captions."""

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor

from ..utils.errors import UserError
from .vocabulary import BIN, CODE, Vocabulary

# A closed <bin_...> or <code_...> anywhere in a word, or an unclosed one that begins the word.
SYMBOL = re.compile(r"(<(?:bin|code)_[^<>]*>|^<(?:bin|code)_.*)")
SYMBOL_STARTS = (BIN.format("")[:-1], CODE.format("")[:-1])
REFERENCE = re.compile(r"\s*\[\d+(?:, \d+)*\]\s*")


def load_bpe(bpe_dir: str | Path) -> Tokenizer:
    """GPT-2's BPE from `encoder.json` and `vocab.bpe`, the same ids as fairseq's GPT2BPE (docs/vocabulary.md)."""
    folder = Path(bpe_dir)
    try:
        bpe = Tokenizer(models.BPE.from_file(str(folder / "encoder.json"), str(folder / "vocab.bpe")))
    except Exception as error:  # tokenizers raises nothing narrower
        raise UserError(
            f"{folder}: encoder.json and vocab.bpe cannot be read as GPT-2's BPE (--bpe-dir): {error}"
        ) from error
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    return bpe


class TextEncoder:
    """Text <-> ids of a vocabulary. Attributes: `vocabulary`, `bpe`."""

    def __init__(self, vocabulary: Vocabulary, bpe: Tokenizer) -> None:
        """The vocabulary names a piece of `bpe` by its BPE id in decimal; pieces that it lacks become `<unk>`."""
        self.vocabulary = vocabulary
        self.bpe = bpe
        pieces = list(bpe.get_vocab().values())
        self._symbol_ids = torch.full((max(pieces) + 1,), vocabulary.unk())  # symbol id by BPE id
        self._piece_ids: dict[int, int] = {}  # BPE id by symbol id
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
        """Text, unchanged -> ids of its BPE pieces, int64 [N]."""
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
        """The `<bin_k>` and `<code_k>` in a text that the vocabulary lacks."""
        found = [symbol for word in text.lower().split() for symbol in SYMBOL.findall(word)]
        return [symbol for symbol in found if self.vocabulary.index(symbol) == self.vocabulary.unk()]

    def encode_instruction(self, text: str) -> Tensor:
        """A user's instruction in lower case, word by word, between bos and eos: int64 [N]."""
        ids = self.encode_words(text.lower().strip())
        return torch.cat([ids.new_tensor([self.vocabulary.bos()]), ids, ids.new_tensor([self.vocabulary.eos()])])

    def decode(self, ids: Iterable[int] | Tensor) -> str:
        """Joined text of the BPE pieces among ids [N]; other ids are skipped. Never raises.

        The leading space of a first word stays. Bytes that are not UTF-8 become U+FFFD.
        """
        return self.bpe.decode([self._piece_ids[k] for k in plain_ids(ids) if k in self._piece_ids])

    def is_piece(self, symbol_id: int) -> bool:
        """Whether an id is a BPE piece, that is, text."""
        return symbol_id in self._piece_ids

    def transcribe(self, ids: Iterable[int] | Tensor) -> str:
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


def plain_ids(ids: Iterable[int] | Tensor) -> Iterable[int]:
    """Ids as Python integers."""
    return ids.tolist() if isinstance(ids, Tensor) else ids


def pre_caption(text: str, max_words: int | None = None) -> str:
    """An expression as prompts hold it: lower case, single spaces, the first `max_words` words."""
    text = text.lower().lstrip(",.!?*#:;~").replace("-", " ").replace("/", " ").replace("<person>", "person")
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])


def strip_references(caption: str) -> str:
    """Replaces references such as `[12, 3]`, with the white space around them, by one space."""
    return REFERENCE.sub(" ", caption)


def clean_caption(caption: str) -> str:
    """A caption as RHrc has it in every split: no references, single spaces."""
    return re.sub(r"\s+", " ", strip_references(caption))


def first_words(text: str, max_words: int) -> str:
    """The first `max_words` words, separated by single spaces."""
    return " ".join(text.split()[:max_words])
