"""How to search for an answer (docs/generation.md). Needs no torch."""

from dataclasses import dataclass, fields
from typing import Any

from ..utils.errors import UserError
from ..utils.flags import check_fields, id_pair, option
from ..utils.symbols import SPECIAL_SYMBOLS

LARGEST = 2**20
BOUNDS = {
    "int": (0, LARGEST),
    "beam": (1, 2**10),
    "max_len_a": (0, LARGEST),
    "lenpen": (-10, 10),  # 200 symbols to a power of 17 are too many for float32
    "float": (-LARGEST, LARGEST),
    "temperature": (1e-6, LARGEST),
}


@dataclass(frozen=True)
class GenerationSettings:
    """Flags of generation, named as fairseq's. constraint_range: "a,b" allows ids a..b-1 and the special symbols."""

    beam: int = option(5, "follow this many answers at once")
    min_len: int = option(1, "write at least this many symbols")
    max_len_a: float = option(0, "write at most A times the prompt's length plus --max-len-b symbols")
    max_len_b: int = option(200, "write at most this many symbols, plus those of --max-len-a")
    no_repeat_ngram_size: int = option(0, "never repeat a run of this many symbols; 0 allows it")
    lenpen: float = option(1.0, "divide an answer's score by its length to this power")
    unnormalized: bool = option(False, "compare answers by their scores, not divided by their lengths")
    unkpen: float = option(0.0, "subtract this from the score of the unknown symbol")
    temperature: float = option(1.0, "divide the network's scores by this number")
    constraint_range: str | None = option(None, "allow only the ids a,b from a to b-1, and the special symbols")

    def __post_init__(self) -> None:
        if isinstance(self.beam, int) and self.beam < 1:
            raise UserError(f"--beam must be at least 1, got {self.beam}")
        if isinstance(self.temperature, int | float) and not self.temperature > 0:
            raise UserError(f"--temperature must be above 0, got {self.temperature}")
        check_fields(self, bounds=BOUNDS)
        if self.constraint_range is not None:
            id_pair(self.constraint_range, "--constraint-range")

    @classmethod
    def from_args(cls, given: dict[str, Any]) -> "GenerationSettings":
        """From `--eval-args` or flags. UserError names an unknown setting."""
        unknown = set(given) - {f.name for f in fields(cls)}
        if unknown:
            raise UserError(f"unknown generation settings {sorted(unknown)}; known: {[f.name for f in fields(cls)]}")
        return cls(**given)

    def allowed_range(self, count: int) -> tuple[range, range] | None:
        """The special symbols and the constraint's, of a vocabulary of `count`; None when every symbol is allowed.

        UserError when the constraint begins beyond the vocabulary.
        """
        if self.constraint_range is None:
            return None
        first, last = id_pair(self.constraint_range, "--constraint-range")
        if first >= count:
            raise UserError(f"--constraint-range {first},{last} is beyond the vocabulary, whose last id is {count - 1}")
        return range(SPECIAL_SYMBOLS), range(max(first, SPECIAL_SYMBOLS), min(last, count))

    def max_len(self, source_length: int, max_positions: int) -> int:
        """The largest number of symbols before eos. UserError when --min-len is more than that."""
        longest = min(int(self.max_len_a * source_length + self.max_len_b), max_positions - 1)
        if self.min_len > longest:
            raise UserError(f"--min-len {self.min_len} is more than the {longest} symbols that --max-len-a/b allow")
        return longest
