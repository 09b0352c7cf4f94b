"""The paths that are timed, as a user's call runs them, with the settings and shapes of the paper's tasks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..criterions.label_smoothing import position_losses
from ..models.generation import SequenceGenerator
from ..models.generation_settings import GenerationSettings
from ..models.qpg import QuerySymbols, decode_parallel
from ..models.refhcm.network import Network
from . import flops
from .flops import Work

TEXT = 25  # symbols of a prompt with an expression
BINS, CODES = 1000, 8192
BOX, SENTENCE, PARSING, QUERIES = 4, 57, 52, 48  # symbols of an answer; queries of QPG
SMOOTHING = 0.1


@dataclass(frozen=True)
class Case:
    """run: what is timed; work: what it needs at least; baseline: the same answers one by one, to compare with."""

    run: Callable[[], object]
    work: Work
    baseline: Callable[[], object] | None = None


@dataclass(frozen=True)
class Setting:
    """Where a case runs. size: side of the canvas, px; dtype: of the weights, in training of autocast.

    batch: questions, each about its own picture, of the cases that name no number. beam: width of the search.
    """

    network: Network
    size: int
    device: torch.device
    dtype: torch.dtype
    batch: int = 1
    beam: int = 5

    @property
    def states(self) -> int:
        """Length of the encoder's sequence."""
        return flops.patches(self.size) + TEXT

    @property
    def symbols(self) -> int:
        """Size of the vocabulary."""
        return self.network.encoder.embed_tokens.num_embeddings

    @property
    def bins(self) -> tuple[int, int]:
        """First and one past the last id of the bins, which end the vocabulary."""
        return self.symbols - BINS, self.symbols

    def sample(self, *, questions: int = 1, pictures: int = 1) -> dict[str, Any]:
        """A batch of different questions, each about its own picture or all about one."""
        random: dict[str, Any] = {"generator": torch.Generator(self.device).manual_seed(0), "device": self.device}
        images = torch.randn(pictures, 3, self.size, self.size, **random)
        tokens = torch.randint(4, self.symbols, (questions, TEXT), **random)
        rows = None if questions == pictures else torch.zeros(questions, dtype=torch.long, device=self.device)
        return {
            "net_input": {
                "src_tokens": tokens,
                "patch_images": images.to(self.network.encoder.layer_norm.weight.dtype),
                "patch_masks": torch.ones(questions, dtype=torch.bool, device=self.device),
                "patch_rows": rows,
            }
        }

    def part(self, sample: dict[str, Any], i: int) -> dict[str, Any]:
        """Question i of a batch alone, with its picture."""
        source = sample["net_input"]
        images = source["patch_images"]
        picture = i if source["patch_rows"] is None else 0
        alone = {"patch_images": images[picture : picture + 1], "patch_rows": None}
        alone |= {name: source[name][i : i + 1] for name in ("src_tokens", "patch_masks")}
        return {"net_input": alone}


def search_settings(setting: Setting, length: int, *, box: bool) -> GenerationSettings:
    """Answers of exactly `length` symbols; box: restricted to bins."""
    bins = "{},{}".format(*setting.bins) if box else None
    return GenerationSettings(beam=setting.beam, min_len=length, max_len_b=length, constraint_range=bins)


@torch.inference_mode()
def _encode(setting: Setting, sample: dict[str, Any]) -> object:
    return setting.network.encode(sample["net_input"])


def encoder(setting: Setting) -> Case:
    """Each picture and its question."""
    batch = setting.batch
    work = flops.encoder(setting.network.config, setting.size, TEXT, pictures=batch, questions=batch)
    return Case(partial(_encode, setting, setting.sample(questions=batch, pictures=batch)), work)


def _search(
    setting: Setting, length: int, *, box: bool = False, questions: int | None = None, pictures: int | None = None
) -> Case:
    compared = questions is not None  # with asking one by one
    questions = questions or setting.batch
    pictures = pictures or questions
    generator, config = SequenceGenerator(search_settings(setting, length, box=box)), setting.network.config
    sample = setting.sample(questions=questions, pictures=pictures)
    run = partial(generator.generate, [setting.network], sample)
    outputs = BINS + 4 if box else setting.symbols
    shape = {"outputs": outputs, "questions": questions}
    work = flops.encoder(config, setting.size, TEXT, pictures=pictures, questions=questions)
    work += flops.decoding(config, setting.states, [1] * (length + 1), beams=setting.beam, **shape)

    def one_by_one() -> None:
        for i in range(questions):
            generator.generate([setting.network], setting.part(sample, i))

    return Case(run, work, one_by_one if compared else None)


def rec(setting: Setting) -> Case:
    """A box."""
    return _search(setting, BOX, box=True)


def sentence(setting: Setting) -> Case:
    """57 symbols, the length of keypoints or a caption."""
    return _search(setting, SENTENCE)


def rpar(setting: Setting) -> Case:
    """A box and 48 codes."""
    return _search(setting, PARSING)


def qpg(setting: Setting) -> Case:
    """A box, then 48 codes in one step."""
    bins = range(*setting.bins)
    codes = range(bins.start - CODES, bins.start)
    queries = range(codes[42], codes[42] + QUERIES)
    symbols = QuerySymbols(bos=0, bins=bins, codes=codes, begin=codes[40], queries=queries, end=codes[41])
    config, batch = setting.network.config, setting.batch
    sample = setting.sample(questions=batch, pictures=batch)
    run = partial(decode_parallel, setting.network, sample, symbols)
    work = flops.encoder(config, setting.size, TEXT, pictures=batch, questions=batch)
    work += flops.decoding(config, setting.states, [1] * BOX, outputs=BINS, questions=batch)
    tail = {"symbols": QUERIES + 3, "rows": batch, "questions": batch}
    work += flops.decoder_step(config, setting.states, past=BOX, outputs=0, **tail)
    scored = CODES * config.encoder_embed_dim  # only the queries are scored, over the codes
    return Case(run, work + Work(2 * batch * QUERIES * scored, scored))


def four_questions(setting: Setting) -> Case:
    """Four boxes in one picture; baseline: one by one."""
    return _search(setting, BOX, box=True, questions=4, pictures=1)


def eight_pictures(setting: Setting) -> Case:
    """Eight boxes in eight pictures; baseline: one by one."""
    return _search(setting, BOX, box=True, questions=8, pictures=8)


def train(setting: Setting) -> Case:
    """Forward and backward pass of rows as long as RKpt's; a half format is autocast over float32 weights."""
    network, config, batch = setting.network, setting.network.config, setting.batch
    sample = setting.sample(questions=batch, pictures=batch)["net_input"]
    target = torch.randint(4, setting.symbols, (batch, SENTENCE), generator=torch.Generator().manual_seed(1))
    target = target.to(setting.device)
    half = setting.dtype != torch.float32

    def step() -> Tensor:
        network.zero_grad(set_to_none=True)
        with torch.autocast(setting.device.type, setting.dtype if half else None, enabled=half):
            logits, _ = network(**sample, prev_output_tokens=target)
        losses, _, _ = position_losses(logits.flatten(0, 1), target.flatten(), smoothing=SMOOTHING)
        losses.sum().backward()
        return losses

    return Case(step, flops.training(config, setting.size, TEXT, SENTENCE, setting.symbols, rows=batch))


PATHS = (encoder, rec, sentence, rpar, qpg, four_questions, eight_pictures, train)
# train_recompute: with --checkpoint-activations
CASES: Mapping[str, Callable[[Setting], Case]] = {path.__name__: path for path in PATHS} | {"train_recompute": train}
