"""Cleaning of expressions and captions (docs/vocabulary.md)."""

import re

REFERENCE = re.compile(r"\s*\[\d+(?:, \d+)*\]\s*")


def pre_caption(text: str, max_words: int | None = None) -> str:
    """An expression as prompts hold it: lower case, single spaces, the first `max_words` words."""
    text = text.lower().lstrip(",.!?*#:;~").replace("-", " ").replace("/", " ").replace("<person>", "person")
    text = re.sub(r"\s{2,}", " ", text).rstrip("\n").strip(" ")
    return " ".join(text.split(" ")[:max_words])


def strip_references(caption: str) -> str:
    """Replaces references such as `[12, 3]`, with the white space around them, by one space."""
    return REFERENCE.sub(" ", caption)


def clean_caption(caption: str) -> str:
    """A caption as RHrc has it in every split: no references, single spaces."""
    return re.sub(r"\s+", " ", strip_references(caption))


def first_words(text: str, max_words: int) -> str:
    """The first `max_words` words, separated by single spaces."""
    return " ".join(text.split()[:max_words])
