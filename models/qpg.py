"""Query Parallel Generation: box symbols one by one, then all parsing codes in one step (spec/generation.md)."""

from dataclasses import dataclass
from typing import Any

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


@torch.inference_mode()
def decode_parallel(network: Network, sample: dict[str, Any], symbols: QuerySymbols) -> Tensor:
    """Greedy answers, int64 [B, 4 + 48]: four bins, then one code for each query.

    The encoder runs once and the decoder five times: four cached steps write the box, the fifth reads every code.
    The queries and the closing symbol see each other in both directions, as in the published decoder (training
    leaves the closing symbol out; the numbers of the paper were made with it).
    """
    source = sample["net_input"]
    encoder = network.encoder(source["src_tokens"], source.get("patch_images"), source.get("patch_masks"))
    decoder, count, device = network.decoder, len(encoder.states), encoder.states.device
    closing = symbols.first_query + len(symbols.queries)
    state = decoder.start(encoder, beams=1, capacity=closing + 1, full_mask_position=(symbols.first_query, closing))
    box = torch.full((count, 1), symbols.bos, device=device)
    for _ in range(BOX_SYMBOLS):
        box = torch.cat([box, _argmax(network, decoder.extend(box[:, -1:], state), symbols.bins)], dim=1)
    tail = torch.tensor([symbols.begin, *symbols.queries, symbols.end], device=device).expand(count, -1)
    features = decoder.extend(torch.cat([box[:, -1:], tail], dim=1), state)
    queries = features[:, 2 : 2 + len(symbols.queries)]  # after the box's last bin and `begin`
    return torch.cat([box[:, 1:], _argmax(network, queries, symbols.codes)], dim=1)


def _argmax(network: Network, features: Tensor, ids: range) -> Tensor:
    weight = network.decoder.output_projection.weight[ids.start : ids.stop]
    return network.decoder.project(features, weight).argmax(-1) + ids.start
