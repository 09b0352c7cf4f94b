"""RefHCM in Python: load once, ask many times, get objects back.

    model = refhcm.load("checkpoints/refhcm.pt")
    answer = model.refer("street.jpg", "the woman in red", keypoints=True)
    answer.box_xyxy, answer.keypoints["left_wrist"], answer.scores.box

Every method takes one picture with one question, one picture with a list of questions (its features are computed
once), or two lists of equal length. It gives one answer, or a list in the order of the questions.
A picture is a path, bytes, a Pillow picture or an array uint8 [H, W, 3]; coordinates are its upright pixels.
A Predictor may be asked from several threads: they take turns at the network.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..data.pictures import PictureSource, open_picture
from ..data.text import TextEncoder
from ..models.generation import GenerationSettings
from ..models.refhcm.encoder import ImageFeatures
from ..models.refhcm.network import Network
from ..models.vqgan import VQTokenizer
from ..tasks import TASKS
from ..tasks.base import Annotation, Generated, Task
from ..tasks.chain import chain_instruction
from ..tasks.settings import TaskSettings
from ..utils.devices import move
from ..utils.errors import UserError
from .answers import Answer
from .batch_size import ANSWER_LENGTH, BATCH_MEMORY, BEAMS, LARGEST_BATCH, needed_memory
from .instruction import Instruction, induce
from .questions import (
    Check,
    Question,
    Questions,
    check_box,
    check_expression,
    clip_to_picture,
    is_list,
    is_list_of_boxes,
    pair,
)
from .reading import Context, merge, read

Box = Sequence[float]


@dataclass(frozen=True)
class _Row:
    """A question with its picture on the canvas; the picture itself, which may be large, is not kept."""

    question: Question
    asked: Context


class Predictor:
    """A trained network and all that asking it needs. `refhcm.load` makes one."""

    def __init__(
        self,
        network: Network,
        text: TextEncoder,
        settings: TaskSettings,
        *,
        tokenizer: VQTokenizer | None = None,
        batch_size: int | None = None,
    ) -> None:
        """network: on its device, in evaluation mode. batch_size: None for what fits into `BATCH_MEMORY`."""
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise UserError(f"batch_size: needs a whole number from 1 on, got {batch_size!r}")
        self.network, self.text, self.tokenizer = network, text, tokenizer
        self.settings = replace(settings, share_pictures=True)
        self.batch_size = batch_size or self._fitting()
        self._tasks: dict[str, Task] = {}
        self._lock = threading.RLock()

    def refer(
        self,
        image: PictureSource | Sequence[PictureSource],
        expression: str | Sequence[str],
        *,
        keypoints: bool = False,
        parsing: bool = False,
        parallel: bool = False,
        caption: bool = False,
    ) -> Answer | list[Answer]:
        """The person that an expression describes: a box, and keypoints and parts where they are asked for.

        Keypoints and parsing are two tasks: both are asked, and the box is that of the first. parallel: parts by
        Query Parallel Generation, for checkpoints that have learned it (`rpar_full_mask`). caption: describe the person
        in the box that was found, too.
        """
        names = ["rkpt"] * keypoints + ["rpar_full_mask" if parallel else "rpar"] * parsing
        if parallel and not parsing:
            raise UserError("parallel: is a way to answer parsing, which is not asked for")
        if parsing:
            self._need_tokenizer()
        tasks = [self._task(name) for name in names or ["refcoco"]]

        def answer(rows: Sequence[_Row]) -> list[Answer]:
            first, *others = [self._answer(task, rows) for task in tasks]
            for other in others:
                first = [merge(a, b) for a, b in zip(first, other, strict=True)]
            return self._with_captions(rows, first) if caption else first

        return self._all(image, expression, answer, name="expression", check=check_expression)

    def describe(
        self, image: PictureSource | Sequence[PictureSource], box_xyxy: Box | Sequence[Box]
    ) -> Answer | list[Answer]:
        """What the person in a box looks like: a caption. The box, in image px, is clipped to the picture."""
        task = self._task("rhrc")
        many = is_list_of_boxes(box_xyxy)
        return self._all(image, box_xyxy, lambda rows: self._answer(task, rows), name="box", check=check_box, many=many)

    def instruct(
        self,
        image: PictureSource | Sequence[PictureSource],
        instruction: str | Sequence[str],
        *,
        generation: GenerationSettings | None = None,
    ) -> Answer | list[Answer]:
        """Any instruction in the user's words, `<bin_3>` and `<code_3>` being symbols; what comes back follows from it.

        Raises UserError for a symbol that the model does not have.
        generation: how to search; None: beam 5, 4 to 200 symbols.
        """
        task = self._instruction()
        settings = generation or task.generation_settings()
        answer = partial(self._answer, task, settings=settings)
        return self._all(image, instruction, answer, name="instruction", check=task.check)

    def chain(
        self,
        image: PictureSource | Sequence[PictureSource],
        text: str | Sequence[str],
        *,
        keypoints: bool = False,
        parsing: bool = False,
        generation: GenerationSettings | None = None,
    ) -> Answer | list[Answer]:
        """The person that a text describes, by one instruction that asks several tasks (S1 decoding).

        Where a part can not be induced, the answer is not valid, and its `notes` say so.
        """
        if parsing:
            self._need_tokenizer()
        settings = generation or self._instruction().generation_settings()
        parts = {"keypoints": keypoints, "parsing": parsing}
        chain = partial(self._chain, settings=settings, **parts)
        return self._all(image, text, chain, name="text", check=self._instruction().check_expression)

    def _with_captions(self, rows: Sequence[_Row], answers: Sequence[Answer]) -> list[Answer]:
        """The answers with a caption of each box that was found."""
        with_captions = list(answers)
        boxed = [k for k, answer in enumerate(answers) if answer.box_xyxy is not None]
        asked = [replace(rows[k], question=replace(rows[k].question, box_xyxy=answers[k].box_xyxy)) for k in boxed]
        captions = self._answer(self._task("rhrc"), asked) if boxed else []
        for k, caption in zip(boxed, captions, strict=True):
            with_captions[k] = merge(answers[k], caption)
        return with_captions

    # Pictures and batches

    def _all(
        self,
        image: Any,
        question: Any,
        answer: Callable[[Sequence[_Row]], list[Answer]],
        *,
        name: str,
        check: Check,
        many: bool | None = None,
    ) -> Answer | list[Answer]:
        """Answers of all questions, `batch_size` at a time; no more pictures than those are held."""
        many = is_list(question) if many is None else many
        questions = pair(image, question, name=name, check=check, many=many)
        answers: list[Answer] = []
        placed: dict[int, Context] = {}
        for start in range(0, len(questions.asked), self.batch_size):
            asked = questions.asked[start : start + self.batch_size]
            wanted = list(dict.fromkeys(question.picture for question in asked))
            placed = {k: placed[k] for k in wanted if k in placed} | self._place(questions, wanted, placed)
            answers += answer([self._row(question, placed[question.picture]) for question in asked])
        return answers[0] if questions.one else answers

    def _place(self, questions: Questions, wanted: Sequence[int], placed: Mapping[int, Context]) -> dict[int, Context]:
        """The pictures that are not there yet, image_features at together, once for all that is asked about them."""
        canvas, new = self._task("refcoco").canvas, {}
        for k in wanted:
            if k not in placed:
                image = open_picture(questions.pictures[k], where=questions.names[k])
                new[k] = Context(image.size, canvas.resized(image))
        if not new:
            return {}
        weight = self.network.decoder.output_projection.weight
        images = torch.stack([asked.placed.patch_image for asked in new.values()])
        with self._lock, torch.inference_mode():
            image_features = self.network.encoder.encode_image(images.to(weight.device, weight.dtype))
        return {k: asked._replace(image_features=image_features.one(i)) for i, (k, asked) in enumerate(new.items())}

    @staticmethod
    def _row(question: Question, asked: Context) -> _Row:
        if question.box_xyxy is not None:
            box_xyxy = clip_to_picture(question.box_xyxy, asked.size_wh, where=question.where)
            question = replace(question, box_xyxy=box_xyxy)
        return _Row(question, asked)

    def _fitting(self) -> int:
        """How many questions `BATCH_MEMORY` holds."""
        weight = self.network.decoder.output_projection.weight
        one = needed_memory(
            self.network.config,
            canvas_px=self.settings.patch_image_size,
            source_length=self.settings.max_src_length,
            answer_length=min(ANSWER_LENGTH, self.network.config.max_target_positions),
            beams=BEAMS,
            number_bytes=weight.element_size(),
        )
        return min(max(BATCH_MEMORY // one, 1), LARGEST_BATCH)

    # Asking

    def _answer(self, task: Task, rows: Sequence[_Row], settings: GenerationSettings | None = None) -> list[Answer]:
        generated = self._generate(task, rows, settings or task.asking_settings())
        return self._read(task, rows, generated)

    def _chain(
        self, rows: Sequence[_Row], *, settings: GenerationSettings, keypoints: bool, parsing: bool
    ) -> list[Answer]:
        task, parts = self._instruction(), {"keypoints": keypoints, "parsing": parsing}
        rows = [
            replace(row, question=replace(row.question, text=chain_instruction(row.question.text, **parts)))
            for row in rows
        ]

        def again(which: list[int], starts: list[Tensor], length: int | None) -> list[Generated]:
            exact = {} if length is None else {"min_len": length, "max_len_b": length}
            return self._generate(task, [rows[k] for k in which], replace(settings, **exact), starts=starts)

        chained = induce(task, self._generate(task, rows, settings), again, **parts)
        answers = self._read(task, rows, [one.generated for one in chained])
        return [
            replace(answer, valid=answer.valid and not one.notes, notes=answer.notes + one.notes)
            for answer, one in zip(answers, chained, strict=True)
        ]

    def _generate(
        self, task: Task, rows: Sequence[_Row], settings: GenerationSettings, *, starts: Sequence[Tensor] | None = None
    ) -> list[Generated]:
        """What the network writes to each question. starts: ids that the answers must begin with."""
        batch = task.collate([self._sample(task, row) for row in rows])
        pictures = {id(row.asked.placed.patch_image): row.asked.image_features for row in rows}  # in the batch's order
        del batch["net_input"]["patch_images"]
        batch["net_input"]["image_features"] = ImageFeatures.together(list(pictures.values()))
        if starts is not None:
            pad = self.text.vocabulary.pad()
            batch["prefix_tokens"] = pad_sequence(list(starts), batch_first=True, padding_value=pad)
        weight = self.network.decoder.output_projection.weight
        with self._lock:
            return task.generate(self.network, move(batch, weight.device, weight.dtype), settings)

    def _sample(self, task: Task, row: _Row) -> dict[str, Any]:
        question = row.question
        # In tables the word None stands for "no expression"; of a user it is a word.
        text = "none" if question.text == "None" else question.text
        sample = task.question(Annotation("", question.where, None, question.box_xyxy, text), row.asked.placed)
        length, longest = len(sample["source"]), self.network.config.max_source_positions
        if length > longest:
            raise UserError(f"{question.where}: is {length} symbols long with its prompt, the model reads {longest}")
        return sample

    def _read(self, task: Task, rows: Sequence[_Row], generated: Sequence[Generated]) -> list[Answer]:
        with self._lock, torch.inference_mode():
            predictions = task.parse_batch(generated, self.network.decoder.output_projection.weight.device)
        return [
            read(task, one, prediction, asked=row.asked)
            for one, prediction, row in zip(generated, predictions, rows, strict=True)
        ]

    def _task(self, name: str) -> Task:
        with self._lock:
            if name not in self._tasks:
                self._tasks[name] = task = TASKS[name](self.text, self.settings)
                if self.tokenizer is not None:
                    task.tokenizer = self.tokenizer
            return self._tasks[name]

    def _instruction(self) -> Instruction:
        with self._lock:
            if Instruction.name not in self._tasks:
                self._tasks[Instruction.name] = Instruction(self.text, self.settings, tokenizer=self.tokenizer)
            return self._tasks[Instruction.name]

    def _need_tokenizer(self) -> None:
        if self.tokenizer is None:
            raise UserError(
                "parsing: needs the tokenizer of parsing maps: load(..., tokenizer=FOLDER) with model.yaml and "
                "model.ckpt in it; there is none beside the checkpoint, nor in checkpoints/vqgan"
            )
