"""Types of `Predictor`'s methods, and their keywords for overloads: one question gives one answer, a list a list."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from ..data.pictures import PictureSource
from ..models.generation_settings import GenerationSettings

Pictures = PictureSource | Sequence[PictureSource]
Texts = list[str] | tuple[str, ...]
Box = Sequence[float] | np.ndarray


class Refer(TypedDict, total=False):
    """Keywords of `Predictor.refer`."""

    keypoints: bool
    parsing: bool
    parallel: bool
    caption: bool
    beam: int | None


class Find(TypedDict, total=False):
    """Keywords of `Predictor.find`."""

    keypoints: bool
    parsing: bool
    caption: bool
    min_confidence: float


class Chain(TypedDict, total=False):
    """Keywords of `Predictor.chain`."""

    keypoints: bool
    parsing: bool
    generation: GenerationSettings | None


class Instruct(TypedDict, total=False):
    """Keywords of `Predictor.instruct`."""

    generation: GenerationSettings | None
