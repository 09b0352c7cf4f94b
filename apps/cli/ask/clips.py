"""Clips of `refhcm ask --video`: a frame is a question, its person is followed, and its answer is a line.

A frame's picture is called CLIP/NAME_000012, and its question has `followed`.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from ....inference.answers import Answer
from ....inference.drawing import draw_answer
from ....inference.following import Follower
from ....inference.predictor import Predictor
from ....inference.video import Clip, batches, clip_at, frames, write_clip
from ....utils.errors import UserError, printable
from .answering import HELD_BYTES
from .lines import Record, answer_of
from .questions import PARTS, Job
from .records import Records, clip_of, content_mark

FRAMES = 32  # that are held at once, at most
FRAME = re.compile(r"_[0-9]{6,9}$")  # at the end of a frame's name


@dataclass
class Clips:
    """Answers the questions about clips, frame by frame."""

    model: Callable[[], Predictor]  # called when something is asked
    name: str  # the model's, in the lines
    records: Records
    jobs: list[Job] = field(default_factory=list)  # of all frames that could be read
    answered: int = 0  # of those, now
    problems: list[str] = field(default_factory=list)

    def answer(self, jobs: Sequence[Job]) -> None:
        """jobs: questions about clips, whose names stand in the place of pictures; those of a clip are neighbours."""
        for path, group in groupby(jobs, lambda job: job.image):
            try:
                self._clip(clip_at(Path(path)), [job.asked for job in group])
            except UserError as error:  # the others are still answered
                self.problems.append(str(error))

    def _clip(self, clip: Clip, asked: Sequence[Mapping[str, object]]) -> None:
        followers = [self._follower(question) for question in asked]
        done = 0
        name, hidden = printable(clip.path.name), self.records.on_terminal
        with tqdm(total=clip.frames or None, desc=name, unit="frame", disable=hidden) as bar:
            for batch in batches(clip, most=FRAMES, most_bytes=HELD_BYTES):
                names = [f"{clip.path}/{clip.path.stem}_{k:06d}" for k in range(done, done + len(batch))]
                for follower, question in zip(followers, asked, strict=True):
                    self._batch(follower, [Job(name, question) for name in names], batch)
                done += len(batch)
                bar.update(len(batch))

    def _follower(self, asked: Mapping[str, object]) -> Follower:
        parts = {name: bool(asked.get(name)) for name in PARTS}
        least = asked.get("min_confidence")

        def about(images: Sequence[Image.Image]) -> list[Answer]:
            return self.model().refer(list(images), [str(asked["refer"])] * len(images), **parts)

        return Follower(about, min_confidence=least if isinstance(least, float) else 0.0)

    def _batch(self, follower: Follower, jobs: Sequence[Job], images: Sequence[Image.Image]) -> None:
        """Frames without a line are asked together; those with one only say where the person was."""
        for has_line, group in groupby(range(len(jobs)), lambda k: self.records.has_answer(jobs[k], self.name)):
            places = list(group)
            if has_line:
                self.jobs += [jobs[k] for k in places]
                for k in places:
                    follower.known(self.records.of(jobs[k], self.name)["box"])
                continue
            try:
                found = follower.answers([images[k] for k in places])
            except torch.OutOfMemoryError as error:
                raise UserError(f"{jobs[places[0]].image}: out of memory; ask with a lower --batch-size") from error
            for k, answer in zip(places, found, strict=True):
                self.records.add(jobs[k], self.name, answer, notes=self.model().notes)
            self.jobs += [jobs[k] for k in places]
            self.answered += len(places)

    def sentences(self) -> list[str]:
        """For each question about a clip, in how many frames the person was found; and what went wrong."""
        total, found = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for job in self.jobs:
            key = str(Path(job.image).parent), str(job.asked["refer"])
            total[key] += 1
            found[key] += self.records.of(job, self.name)["box"] is not None
        lines = [
            f'{printable(clip)}: "{printable(text)}" is followed through {found[clip, text]} of {count} frames'
            for (clip, text), count in total.items()
        ]
        return lines + [f"not answered: {printable(problem)}" for problem in self.problems]


def is_frame(record: Record) -> bool:
    """Whether a line is about a frame of a clip."""
    return "followed" in record["question"] and FRAME.search(record["image"]) is not None


def draw_clips(named: Sequence[tuple[str, Record]], folder: Path, *, problems: list[str]) -> list[Path]:
    """A clip for each question about one, with its answers drawn; frames without an answer stay as they are.

    named: frames' records and the names of their files; the first one's is the clip's. problems: gets what is wrong.
    """
    written = []
    for (path, _), group in groupby(sorted(named, key=_order), lambda one: _order(one)[:2]):
        found = list(group)
        records = {int(record["image"].rpartition("_")[2]): record for _, record in found}
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{found[0][0]}.mp4"
        try:
            if found[0][1].get("picture") not in (None, content_mark(path)):
                raise UserError(f"{path}: not drawn (the clip is missing or has changed)")
            clip = clip_at(Path(path))
            write_clip(target, _drawn(clip, records), rate=clip.rate)
            written.append(target)
        except UserError as error:  # the others are still drawn
            problems.append(str(error))
    return written


def _order(named: tuple[str, Record]) -> tuple[str, str, str]:
    """Clip, question, frame."""
    image, question = named[1]["image"], named[1]["question"]
    return clip_of(image) or str(Path(image).parent), repr(sorted(question.items())), image


def _drawn(clip: Clip, records: Mapping[int, Record]) -> Iterator[Image.Image]:
    for k, image in enumerate(frames(clip)):
        yield draw_answer(image, answer_of(records[k])) if k in records else image
