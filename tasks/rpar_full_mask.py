"""RPar by Query Parallel Generation: all 48 codes in one step (paper, section 3; docs/vocabulary.md, "QPG")."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.annotation import Annotation
from ..data.tables import TABLES
from ..data.text import TextEncoder
from ..data.vocabulary import CODE
from ..models.generated import Generated
from ..models.generation_settings import GenerationSettings
from ..models.qpg import ParallelAnswers, QuerySymbols, decode_parallel
from ..models.refhcm.network import Network
from ..models.vqgan.config import NUM_CODES
from ..utils.errors import UserError
from ..utils.symbols import BOX_SYMBOLS
from .base import Batch
from .rpar import ReferringParsing
from .settings import TaskSettings

BEGIN, END, FIRST_QUERY = 40, 41, 42  # reserved codes


class ReferringParsingParallel(ReferringParsing):
    """`rpar` with query placeholders. It has no box-conditioned form: `None` is an expression like any other."""

    name = "rpar_full_mask"
    asks_by_box = TABLES["rpar_full_mask"].asks_by_box

    def __init__(self, text: TextEncoder, settings: TaskSettings, *, with_labels: bool = True) -> None:
        super().__init__(text, settings, with_labels=with_labels)
        if len(self.vocabulary.code_ids) < FIRST_QUERY + NUM_CODES or settings.vq_n_embed > BEGIN:
            raise UserError(
                f"rpar_full_mask reserves {CODE.format(BEGIN)}..{CODE.format(FIRST_QUERY + NUM_CODES - 1)}: it needs "
                f"--code-dict-size {FIRST_QUERY + NUM_CODES} or more and --vq-n-embed {BEGIN} or less"
            )
        code = self.vocabulary.code_ids.start
        queries = range(code + FIRST_QUERY, code + FIRST_QUERY + NUM_CODES)
        self.symbols = QuerySymbols(
            self.vocabulary.bos(), self.vocabulary.bin_ids, self.vocabulary.code_ids, code + BEGIN, queries, code + END
        )

    def sample(self, annotation: Annotation, *, training: bool) -> dict[str, Any]:
        """Each query predicts its own code; the position of `begin` has no target."""
        sample = super().sample(annotation, training=training)
        symbols, target = self.symbols, sample["target"]
        box, codes, eos = target[:BOX_SYMBOLS], target[BOX_SYMBOLS:-1], target[-1:]
        begin, pad = torch.tensor([symbols.begin]), torch.tensor([self.vocabulary.pad()])
        bos, end = torch.tensor([symbols.bos]), torch.tensor([symbols.end])
        first = symbols.first_query
        return sample | {
            "target": torch.cat([box, begin, pad, codes, eos]),
            "prev_output_tokens": torch.cat([bos, box, begin, torch.tensor(symbols.queries), end]),
            "full_mask_position": (first, first + NUM_CODES - 1),
        }

    def generate(
        self, network: Network, batch: Batch, settings: GenerationSettings, *, distributions: bool = False
    ) -> list[Generated]:
        """Greedy: the box, then all codes at once. Generation settings do not apply."""
        answers = decode_parallel(network, batch, self.symbols)
        kept = self._kept(answers).cpu() if distributions else [None] * len(answers.ids)
        return [
            Generated(ids, log_probs=log_probs, distributions=own)
            for ids, log_probs, own in zip(answers.ids.cpu(), answers.log_probs.cpu(), kept, strict=True)
        ]

    def _kept(self, answers: ParallelAnswers) -> Tensor:
        """The probabilities of `kept_symbols`, float32 [B, 4 + 48, C]: bins for the box, then codes."""
        codes = answers.codes[..., : self.settings.vq_n_embed]
        bins, found = answers.box.shape[-1], codes.shape[-1]
        box = F.pad(answers.box, (1, found), value=-torch.inf)
        return torch.cat([box, F.pad(codes, (1 + bins, 0), value=-torch.inf)], dim=1)
