"""Numbers of symbols that every part of the code agrees on (docs/vocabulary.md)."""

SPECIAL_SYMBOLS = 4  # <s>, <pad>, </s>, <unk>: ids 0..3 of every fairseq dictionary
BOX_SYMBOLS = 4  # an answer about a box begins with the bins of x0, y0, x1, y1
