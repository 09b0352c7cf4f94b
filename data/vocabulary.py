"""The symbols of RefHCM: words, codes of parsing maps and bins of coordinates in one list (docs/vocabulary.md)."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ..utils.errors import UserError, reason_of, shown
from ..utils.files import check_small, no_such_file

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # ids 0..3, as in fairseq's Dictionary
MASK = "<mask>"
CODE = "<code_{}>"
BIN = "<bin_{}>"
LARGEST_FILE = 2**23  # bytes of a vocabulary's files: GPT-2's have 1 MB


def read_pieces(path: str | Path) -> list[str]:
    """The tokens of a fairseq `dict.txt`, `token count` on each line, in order."""
    pieces: dict[str, None] = {}
    if not Path(path).exists():
        raise UserError(f"--bpe-dir: {no_such_file(path)}")
    try:
        check_small(Path(path), largest=LARGEST_FILE)
    except UserError as error:
        raise UserError(f"{path}: cannot be read as a fairseq dictionary (--bpe-dir): {error}") from error
    try:
        with open(path, encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                piece, _, count = line.rstrip().rpartition(" ")
                if not piece or not count.isdecimal():
                    raise UserError(f"{path}:{number}: expected 'token count', got {shown(line.rstrip())}")
                if piece in pieces or piece in SPECIALS:
                    raise UserError(f"{path}:{number}: token {shown(piece)} comes twice")
                pieces[piece] = None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a fairseq dictionary (--bpe-dir): {reason_of(error)}") from error
    return list(pieces)


def id_range(vocabulary: "Vocabulary", pattern: str, *, count: int) -> range:
    """Ids of `pattern.format(0)` .. `pattern.format(count - 1)`. Raises UserError unless they are consecutive."""
    ids = [vocabulary.index(pattern.format(k)) for k in range(count)]
    if not ids or vocabulary.unk() in ids or ids != list(range(ids[0], ids[0] + count)):
        raise UserError(f"vocabulary of {len(vocabulary)} symbols lacks an unbroken run of {count} {pattern!r}")
    return range(ids[0], ids[0] + count)


class Vocabulary:
    """Symbol <-> id, with the methods of fairseq's Dictionary that fairseq calls, and coordinates <-> bins.

    bin_ids, code_ids: the ids of `<bin_k>` and `<code_k>`; num_bins: the number of bins.
    """

    def __init__(self, symbols: Sequence[str], *, num_bins: int, code_dict_size: int) -> None:
        """symbols: all of them, by id. Raises UserError if one comes twice or a needed one is missing."""
        self._symbols = list(symbols)
        self._ids = {symbol: k for k, symbol in enumerate(self._symbols)}
        if len(self._ids) != len(self._symbols):
            twice = next(symbol for k, symbol in enumerate(self._symbols) if self._ids[symbol] != k)
            raise UserError(f"vocabulary: symbol {twice!r} comes twice")
        missing = [symbol for symbol in (*SPECIALS, MASK) if symbol not in self._ids]
        if missing:
            raise UserError(f"vocabulary: lacks {', '.join(missing)}")
        self._bos, self._pad, self._eos, self._unk = (self._ids[symbol] for symbol in SPECIALS)
        if num_bins < 2:
            raise UserError(f"vocabulary: num_bins is {num_bins}, expected 2 or more")
        self.num_bins = num_bins
        self.code_ids = id_range(self, CODE, count=code_dict_size)
        self.bin_ids = id_range(self, BIN, count=num_bins)

    @classmethod
    def from_pieces(cls, pieces: Iterable[str], *, num_bins: int = 1000, code_dict_size: int = 8192) -> "Vocabulary":
        """The special symbols, `pieces` (the tokens of a `dict.txt`), the mask, the codes and the bins, in order."""
        codes = (CODE.format(k) for k in range(code_dict_size))
        bins = (BIN.format(k) for k in range(num_bins))
        symbols = [*SPECIALS, *pieces, MASK, *codes, *bins]
        return cls(symbols, num_bins=num_bins, code_dict_size=code_dict_size)

    @classmethod
    def load(cls, bpe_dir: str | Path, *, num_bins: int = 1000, code_dict_size: int = 8192) -> "Vocabulary":
        """From `bpe_dir/dict.txt`. Raises UserError naming a wrong line."""
        pieces = read_pieces(Path(bpe_dir) / "dict.txt")
        return cls.from_pieces(pieces, num_bins=num_bins, code_dict_size=code_dict_size)

    def __len__(self) -> int:
        return len(self._symbols)

    def __getitem__(self, symbol_id: int) -> str:
        """Symbol of an id; `<unk>` outside the vocabulary, as in fairseq."""
        return self._symbols[symbol_id if 0 <= symbol_id < len(self._symbols) else self._unk]

    def bos(self) -> int:
        """Id of `<s>`."""
        return self._bos

    def pad(self) -> int:
        """Id of `<pad>`."""
        return self._pad

    def eos(self) -> int:
        """Id of `</s>`."""
        return self._eos

    def unk(self) -> int:
        """Id of `<unk>`."""
        return self._unk

    def index(self, symbol: str) -> int:
        """Id of a symbol; that of `<unk>` if the vocabulary lacks it."""
        return self._ids.get(symbol, self._unk)

    def bins(self, coordinates_px: ArrayLike, canvas_size: int) -> np.ndarray:
        """Canvas px, float32 [..., N] -> ids of bins, int64 [..., N]; `canvas_size` px is the last bin.

        A coordinate outside the canvas gets the first or last bin (docs/deviations.md, 20).
        """
        quantised = self._quantised(coordinates_px, canvas_size)
        return quantised.clip(0, self.num_bins - 1).astype(np.int64) + self.bin_ids.start

    def needs_clipping(self, coordinates_px: ArrayLike, canvas_size: int) -> np.ndarray:
        """Which coordinates lie outside the bins, bool [..., N]."""
        quantised = self._quantised(coordinates_px, canvas_size)
        outside: np.ndarray = (quantised < 0) | (quantised > self.num_bins - 1)
        return outside

    def coordinates(self, ids: ArrayLike, canvas_size: int) -> np.ndarray:
        """Inverse of `bins` to within half a bin: ids of bins, int64 [..., N] -> canvas px, float32 [..., N].

        ValueError names the first id that is no bin.
        """
        ids = np.asarray(ids, np.int64)
        wrong = ids[(ids < self.bin_ids.start) | (ids >= self.bin_ids.stop)]
        if wrong.size:
            bins = f"{self.bin_ids.start}..{self.bin_ids.stop - 1}"
            raise ValueError(f"id {wrong[0]} ({self[int(wrong[0])]}) is no bin; those have the ids {bins}")
        return self.positions(ids, canvas_size)

    def positions(self, ids: ArrayLike, canvas_size: int) -> np.ndarray:
        """As `coordinates`, but another symbol gets the px that its id would have as a bin, far outside the canvas."""
        bins = (np.asarray(ids, np.int64) - self.bin_ids.start).astype(np.float32)
        return bins / np.float32(self.num_bins - 1) * np.float32(canvas_size)

    def _quantised(self, coordinates_px: ArrayLike, canvas_size: int) -> np.ndarray:
        """Bins as whole float32 numbers, rounded half to even, not clipped."""
        coordinates_px = np.asarray(coordinates_px, np.float32)
        quantised: np.ndarray = coordinates_px / np.float32(canvas_size) * np.float32(self.num_bins - 1)
        return quantised.round()
