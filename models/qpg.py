"""Query Parallel Generation (QPG): the box symbol by symbol, then all parsing codes in one step.

The mask that lets the queries see each other, the QPG mask, is `causal_mask` in `refhcm/decoder.py`
(docs/generation.md, "QPG decoding").
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..utils.symbols import BOX_SYMBOLS
from .refhcm.network import Network


@dataclass(frozen=True)
class QuerySymbols:
    """Ids of QPG: bins of the box, codes of the map, and the reserved codes: begin, one for each query, end."""

    bos: int
    bins: range
    codes: range
    begin: int
    queries: range
    end: int

    @property
    def first_query(self) -> int:
        """Position of the first query in the decoder's input, which is bos, the box, `begin`, the queries, `end`."""
        return BOX_SYMBOLS + 2


class ParallelAnswers(NamedTuple):
    """Four bins of the box, then one code for each query."""

    ids: Tensor  # int64 [B, 4 + 48]
    log_probs: Tensor  # float32 [B, 4 + 48]: bins among all bins, codes among all codes
    box: Tensor  # float32 [B, 4, bins], log-probabilities of all bins
    codes: Tensor  # float32 [B, 48, codes], log-probabilities of all codes


class _Step(NamedTuple):
    ids: Tensor  # int64 [B, n]
    log_probs: Tensor  # float32 [B, n]
    distributions: Tensor  # float32 [B, n, symbols]


@torch.inference_mode()
def decode_parallel(network: Network, sample: dict[str, Any], symbols: QuerySymbols) -> ParallelAnswers:
    """Greedy answers: the encoder runs once, the decoder five times. Four cached steps write the box, one all codes.

    The QPG mask opens the queries and the closing symbol to each other, as in the published decoder, which made the
    paper's numbers; training opens the queries only.
    """
    source = sample["net_input"]
    encoder = network.encode(source)
    decoder, count, device = network.decoder, len(encoder.states), encoder.states.device
    closing = symbols.first_query + len(symbols.queries)
    state = decoder.start(encoder, beams=1, capacity=closing + 1, full_mask_position=(symbols.first_query, closing))
    last, found = torch.full((count, 1), symbols.bos, device=device), []
    for _ in range(BOX_SYMBOLS):
        found.append(_best(network, decoder.extend(last, state), symbols.bins))
        last = found[-1].ids
    tail = torch.tensor([symbols.begin, *symbols.queries, symbols.end], device=device).expand(count, -1)
    features = decoder.extend(torch.cat([last, tail], dim=1), state)
    queries = features[:, 2 : 2 + len(symbols.queries)]  # after the box's last bin and `begin`
    codes = _best(network, queries, symbols.codes)
    ids, log_probs = (torch.cat([getattr(step, name) for step in (*found, codes)], dim=1) for name in _Step._fields[:2])
    return ParallelAnswers(
        ids, log_probs, torch.cat([step.distributions for step in found], dim=1), codes.distributions
    )


def _best(network: Network, features: Tensor, ids: range) -> _Step:
    """The most probable of `ids` at each position."""
    logits = network.decoder.output((ids,))(features)  # [B, n, len(ids)]
    best = logits.argmax(-1)
    distributions = logits.float().log_softmax(-1)
    return _Step(best + ids.start, distributions.gather(-1, best[..., None])[..., 0], distributions)
