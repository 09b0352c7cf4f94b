"""What is in a text that a user gave."""

import string
from unicodedata import category


def is_punctuation(text: str) -> bool:
    """Whether a text has nothing but punctuation, spaces and control characters, or nothing at all."""
    return all(letter in string.punctuation or category(letter)[0] in "PZC" for letter in text)
