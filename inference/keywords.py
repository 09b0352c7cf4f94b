"""The keywords of `Predictor`'s methods, for their overloads: one question gives one answer, a list a list."""

from typing import TypedDict

from ..models.generation import GenerationSettings


class Refer(TypedDict, total=False):
    """Keywords of `Predictor.refer`."""

    keypoints: bool
    parsing: bool
    parallel: bool
    caption: bool


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
