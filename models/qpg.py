"""Query Parallel Generation: box symbols one by one, then all parsing codes in one step (docs/generation.md)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .refhcm.network import Network

BOX_SYMBOLS = 4


@dataclass(frozen=True)
class QuerySymbols:
    """Ids that the parallel step is made of: the box's bins, all codes, and the reserved codes around the queries."""

    bos: int
    bins: range
    codes: range
    begin: int
    queries: range
    end: int

    @property
    def first_query(self) -> int:
        """Position of the first query in the decoder's input: bos, the box, `begin`, then the queries."""
        return BOX_SYMBOLS + 2


class ParallelAnswers(NamedTuple):
    """Four bins, then one code for each query."""

    ids: Tensor  # int64 [B, 4 + 48]
    log_probs: Tensor  # float32 [B, 4 + 48]: bins among all bins, codes among all codes


@torch.inference_mode()
def decode_parallel(network: Network, sample: dict[str, Any], symbols: QuerySymbols) -> ParallelAnswers:
    """Greedy answers.

    The encoder runs once and the decoder five times: four cached steps write the box, the fifth reads every code.
    The queries and the closing symbol see each other in both directions, as in the published decoder (training
    leaves the closing symbol out; the numbers of the paper were made with it).
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
    found.append(_best(network, queries, symbols.codes))
    return ParallelAnswers(*(torch.cat(parts, dim=1) for parts in zip(*found, strict=True)))


def _best(network: Network, features: Tensor, ids: range) -> ParallelAnswers:
    """The most probable of `ids` at each position."""
    weight = network.decoder.output_projection.weight[ids.start : ids.stop]
    logits = network.decoder.project(features, weight)  # [B, n, len(ids)]
    best = logits.argmax(-1)
    log_probs = logits.float().log_softmax(-1).gather(-1, best[..., None])[..., 0]
    return ParallelAnswers(best + ids.start, log_probs)
