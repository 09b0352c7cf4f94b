"""RefHCM in Python: load once, ask many times, get objects back.

    model = refhcm.load("checkpoints/refhcm.pt")
    answer = model.refer("street.jpg", "the woman in red", keypoints=True)
    answer.box_xyxy, answer.keypoints["left_wrist"], answer.confidence.box

Every method takes one picture with one question, one picture with a list of questions (the picture is encoded once),
or two lists of equal length. It returns one answer, or a list in the order of the questions.
A picture is a path, bytes, a Pillow picture or an array uint8 [H, W, 3]; coordinates are pixels of the upright picture.
A Predictor may be asked from several threads: they take turns at the network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, overload

from ..data.pictures import PictureSource, open_picture
from ..data.text import TextEncoder
from ..models.generation_settings import GenerationSettings
from ..tasks.base import Task
from ..tasks.rpar import ReferringParsing
from ..tasks.settings import TaskSettings
from ..utils.errors import UserError
from .answers import Answer
from .batch_size import fitting_batch_size
from .calibration import Calibration
from .chaining import chained
from .engine import Engine, Row
from .finding import everyone, probabilities
from .instruction import Instruction
from .joining import by_box, with_file, with_task
from .keywords import Box, Chain, Find, Instruct, Pictures, Refer, Texts
from .learned import EVERYONE, check_learned, described, in_order
from .model_card import LICENSE
from .questions import (
    Check,
    Question,
    check_box,
    check_expression,
    check_probability,
    clip_to_picture,
    is_list_of_boxes,
    pair,
)
from .reading import Context

if TYPE_CHECKING:  # asking in ONNX imports this module without torch
    from ..models.refhcm.network import Network
    from ..models.vqgan import VQTokenizer
    from .publishing import Sources

T = TypeVar("T")


class Predictor:
    """A trained network and everything needed to ask it. `refhcm.load` makes one."""

    def __init__(
        self,
        network: Network,
        text: TextEncoder,
        settings: TaskSettings,
        *,
        tokenizer: VQTokenizer | None = None,
        batch_size: int | None = None,
        calibration: Calibration | None = None,
        learned: Sequence[str] = (),
        notes: Sequence[str] = (),
        name: str = "",
        sources: Sources | None = None,
    ) -> None:
        """network: on its device, in evaluation mode. batch_size: questions answered together; None: what fits.

        calibration: of this network's confidences; None leaves them raw. learned: further tasks, of `learned_by`.
        notes: what users of the model should know. name: what `repr` calls the weights. sources: what `push_to_hub`
        publishes.
        """
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise UserError(f"batch_size: needs a whole number from 1 on, got {batch_size!r}")
        self.network, self.text, self.tokenizer = network, text, tokenizer
        self.settings = replace(settings, share_pictures=True)
        self.learned, self.notes, self.name = in_order(learned), tuple(notes), name
        self.batch_size = batch_size or fitting_batch_size(network, settings)
        self._instruction = Instruction(text, self.settings, tokenizer=tokenizer)
        self._engine = Engine(network, self._instruction.canvas, calibration=calibration)
        self._tasks: dict[tuple[str, int | None], Task] = {}
        self._sources = sources

    def __repr__(self) -> str:
        held = described(self.network, self.learned, parsing=self.tokenizer is not None)
        return f"Predictor({self.name or 'no name'}, {held})"

    @overload
    def refer(self, image: PictureSource, expression: str, **wanted: Unpack[Refer]) -> Answer: ...
    @overload
    def refer(self, image: Pictures, expression: Texts, **wanted: Unpack[Refer]) -> list[Answer]: ...
    def refer(
        self,
        image: Pictures,
        expression: str | Texts,
        *,
        keypoints: bool = False,
        parsing: bool = False,
        parallel: bool = False,
        caption: bool = False,
        beam: int | None = None,
    ) -> Answer | list[Answer]:
        """The person that an expression describes: a box, with keypoints, parts and a caption on request.

        Keypoints and parsing are two tasks: with both, the box is that of the keypoints, and parts of somebody else are
        asked again by that box. parallel: parts by Query Parallel Generation, for checkpoints that have learned it.
        caption: of the person in the box. `found` is known where the checkpoint has learned it (`learned`). beam: how
        many answers are followed at once; None: as many as in evaluation, with which confidences were calibrated.
        """
        names = ["rkpt"] * keypoints + ["rpar_full_mask" if parallel else "rpar"] * parsing
        if parallel and not parsing:
            raise UserError("parallel: needs parsing=True")
        if parsing:
            self._need_tokenizer()
        tasks = [self._task(name, beam) for name in names or ["refcoco"]]

        def answer(rows: Sequence[Row]) -> list[Answer]:
            first = self._engine.answer(tasks[0], rows)
            for task in tasks[1:]:
                size, rpar = self.batch_size, self._task("rpar", beam)
                first = with_task(self._engine, task, rows, first, by_box_task=rpar, size=size)
            if EVERYONE in self.learned:
                found = probabilities(self._engine, self._task(EVERYONE), rows)
                first = [replace(one, found=there) for one, there in zip(first, found, strict=True)]
            return self._by_box(rows, first, "rhrc", beam) if caption else first

        return self._ask(image, expression, answer, name="expression", check=check_expression)

    @overload
    def find(self, image: PictureSource, expression: str, **wanted: Unpack[Find]) -> list[Answer]: ...
    @overload
    def find(self, image: Pictures, expression: Texts, **wanted: Unpack[Find]) -> list[list[Answer]]: ...
    def find(
        self,
        image: Pictures,
        expression: str | Texts,
        *,
        keypoints: bool = False,
        parsing: bool = False,
        caption: bool = False,
        min_confidence: float = 0.0,
    ) -> list[Answer] | list[list[Answer]]:
        """Everyone whom an expression fits, from left to right; an empty list for nobody.

        Keypoints, parts and captions are asked by each one's box, so there is no `parallel`: Query Parallel Generation
        is asked by an expression alone. min_confidence: of a box, in 0..1; the others are left out. Where nothing of
        an answer can be read, it is one without a box, not valid. Raises UserError for a checkpoint that has not
        learned it (`learned`); `refer` works with all.
        """
        check_learned(self.learned, keypoints=keypoints)
        least = check_probability(min_confidence, "min_confidence")
        if parsing:
            self._need_tokenizer()
        names = ["rkpt"] * keypoints + ["rpar"] * parsing + ["rhrc"] * caption

        def answer(rows: Sequence[Row]) -> list[list[Answer]]:
            found = everyone(self._engine, self._task(EVERYONE), rows, min_confidence=least)
            of_person = [row for row, people in zip(rows, found, strict=True) for _ in people]
            people = [one for each in found for one in each]
            for name in names:
                people = self._by_box(of_person, people, name)
            rest = iter(people)
            return [list(islice(rest, len(each))) for each in found]

        return self._ask(image, expression, answer, name="expression", check=check_expression)

    @overload
    def describe(self, image: PictureSource, box_xyxy: Box) -> Answer: ...
    @overload
    def describe(self, image: Pictures, box_xyxy: Sequence[Box]) -> list[Answer]: ...
    def describe(self, image: Pictures, box_xyxy: Box | Sequence[Box]) -> Answer | list[Answer]:
        """A caption of the person in a box. The box, in image px, is clipped to the picture.

        Boxes may also come as an array [N, 4], which is a list.
        """
        answer = partial(self._engine.answer, self._task("rhrc"))
        many = is_list_of_boxes(box_xyxy)
        return self._ask(image, box_xyxy, answer, name="box", check=check_box, many=many)

    @overload
    def instruct(self, image: PictureSource, instruction: str, **how: Unpack[Instruct]) -> Answer: ...
    @overload
    def instruct(self, image: Pictures, instruction: Texts, **how: Unpack[Instruct]) -> list[Answer]: ...
    def instruct(
        self, image: Pictures, instruction: str | Texts, *, generation: GenerationSettings | None = None
    ) -> Answer | list[Answer]:
        """Any instruction in the user's words, in which `<bin_3>` and `<code_3>` are symbols; any kind of answer.

        generation: how to search; None: beam 5, 4 to 200 symbols. Raises UserError for a symbol unknown to the model.
        """
        task = self._instruction
        answer = partial(self._engine.answer, task, settings=generation)
        return self._ask(image, instruction, answer, name="instruction", check=task.check)

    @overload
    def chain(self, image: PictureSource, text: str, **wanted: Unpack[Chain]) -> Answer: ...
    @overload
    def chain(self, image: Pictures, text: Texts, **wanted: Unpack[Chain]) -> list[Answer]: ...
    def chain(
        self,
        image: Pictures,
        text: str | Texts,
        *,
        keypoints: bool = False,
        parsing: bool = False,
        generation: GenerationSettings | None = None,
    ) -> Answer | list[Answer]:
        """The person that a text describes, asked for several tasks in one instruction (S1 decoding).

        Where a part cannot be induced, the answer is not valid, and its `notes` say so.
        """
        if parsing:
            self._need_tokenizer()
        settings = generation or self._instruction.generation_settings()
        answer = partial(
            chained, self._engine, self._instruction, settings=settings, keypoints=keypoints, parsing=parsing
        )
        return self._ask(image, text, answer, name="text", check=self._instruction.check_expression)

    def push_to_hub(
        self, repo: str, *, revision: str | None = None, private: bool = False, license: str = LICENSE
    ) -> str:
        """Publishes the model that was loaded as OWNER/NAME on the Hugging Face hub; returns the commit's address.

        Weights are those of the file, as they are stored there. revision: a branch. UserError if it cannot be done.
        """
        if self._sources is None:
            raise UserError("push_to_hub: this Predictor was not made by refhcm.load, so its files are not known")
        from .publishing import publish

        return publish(self._sources, repo, revision=revision, private=private, license=license)

    def _ask(
        self,
        image: Any,
        question: Any,
        answer: Callable[[Sequence[Row]], list[T]],
        *,
        name: str,
        check: Check,
        many: bool | None = None,
    ) -> T | list[T]:
        """Answers all questions, `batch_size` at a time; only the pictures of one batch are held.

        many: whether `question` is a list; None: decided by its type.
        """
        many = isinstance(question, list | tuple) if many is None else many
        questions = pair(image, question, name=name, check=check, many=many)
        answers: list[T] = []
        contexts: dict[int, Context] = {}
        for start in range(0, len(questions.asked), self.batch_size):
            asked = questions.asked[start : start + self.batch_size]
            wanted = dict.fromkeys(question.picture for question in asked)
            contexts = {k: contexts[k] for k in wanted if k in contexts}
            new = [k for k in wanted if k not in contexts]
            images = (open_picture(questions.pictures[k], where=questions.names[k]) for k in new)
            contexts |= zip(new, self._engine.contexts(images), strict=True)
            found = answer([_row(question, contexts[question.picture]) for question in asked])
            answers += [with_file(one, questions.file(row.picture)) for row, one in zip(asked, found, strict=True)]
        return answers if many else answers[0]

    def _by_box(
        self, rows: Sequence[Row], people: Sequence[Answer], name: str, beam: int | None = None
    ) -> list[Answer]:
        return by_box(self._engine, self._task(name, beam), rows, people, size=self.batch_size)

    def _task(self, name: str, beam: int | None = None) -> Task:
        from ..tasks import TASKS  # all of them, which need torch

        if (name, beam) not in self._tasks:
            task = TASKS[name](self.text, self.settings)
            if beam is not None:
                task.generation = replace(task.generation, beam=beam)
            if self.tokenizer is not None and isinstance(task, ReferringParsing):
                task.tokenizer = self.tokenizer
            self._tasks[name, beam] = task
        return self._tasks[name, beam]

    def _need_tokenizer(self) -> None:
        if self.tokenizer is None:
            raise UserError(
                "parsing: no tokenizer of parsing maps is beside the checkpoint or in checkpoints/vqgan; "
                "name its folder, load(..., tokenizer=FOLDER), or run: refhcm download tokenizer"
            )


def _row(question: Question, context: Context) -> Row:
    if question.box_xyxy is not None:
        box_xyxy = clip_to_picture(question.box_xyxy, context.size_wh, where=question.where)
        question = replace(question, box_xyxy=box_xyxy)
    return Row(question, context)
