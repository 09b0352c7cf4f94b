"""What is in a text that a user gave."""


def has_word(text: str) -> bool:
    """Whether a text has a letter or a digit, of any script."""
    return any(letter.isalnum() for letter in text)
