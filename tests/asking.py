"""`refhcm ask` as a function, and a model that knows its answers: shared by the tests of asking."""

import json
from dataclasses import replace

import numpy as np

from refhcm.apps.cli import main as cli
from refhcm.inference.answers import Answer, Confidence, Keypoints
from refhcm.utils.errors import UserError
from refhcm.utils.parsing import CLASS_NAMES


class Model:
    """Answers with a box that is the picture, and all that is asked for. It refuses what has the word "bad" in it."""

    learned, notes = ("grec", "rkpt_by_box"), ()

    def __init__(self, batch_size=4, tokenizer="a tokenizer"):
        self.batch_size, self.tokenizer, self.calls = batch_size, tokenizer, []

    def refer(self, images, texts, *, keypoints, parsing, parallel, caption):
        self.note("refer", images, texts)
        answers = [self.person(image, keypoints=keypoints, parsing=parsing) for image in images]
        return [replace(answer, caption=f"at {answer.box_xyxy.tolist()}" if caption else None) for answer in answers]

    def find(self, images, texts, *, keypoints, parsing, caption, min_confidence):
        """As many people as the text says, from left to right; the k-th has a confidence of .9, .8, ..."""
        self.note("find", images, texts)
        found = []
        for image, text in zip(images, texts, strict=True):
            people = [self.person(image, keypoints=keypoints, parsing=parsing) for _ in range(int(text.split()[0]))]
            people = [replace(one, confidence=Confidence(box=0.9 - k / 10)) for k, one in enumerate(people)]
            found.append([one for one in people if one.confidence.box >= min_confidence])
        return found

    def instruct(self, images, texts):
        self.note("instruct", images, texts)
        return [self.person(image) for image in images]

    def describe(self, images, boxes):
        self.note("describe", images, boxes)
        return [
            Answer(image.size, True, (), f"a person {image.width} wide", caption=f"at {box}")
            for image, box in zip(images, boxes, strict=True)
        ]

    def note(self, method, images, asked):
        assert 0 < len(images) == len(asked) <= self.batch_size
        self.calls.append((method, list(asked)))
        if any("bad" in str(text) for text in asked):
            raise UserError("expression: is bad")

    @staticmethod
    def person(image, *, keypoints=False, parsing=False):
        width, height = image.size
        points = np.zeros((17, 2), np.float32)
        points[0] = (2, 3)
        label_map = np.zeros((height, width), np.uint8)
        label_map[1:3, 1:4] = CLASS_NAMES.index("hair")
        return Answer(
            image.size,
            True,
            ("<bin_0>",),
            "a box",
            np.array([0, 0, width, height], np.float32),
            Keypoints(points, points.any(axis=1)) if keypoints else None,
            label_map if parsing else None,
            None,
            Confidence(box=0.5),
        )


def run(*arguments):
    return cli.main(["ask", *map(str, arguments)])


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def failed(capsys):
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    return message
