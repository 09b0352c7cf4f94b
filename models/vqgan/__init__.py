"""The parsing-map tokenizer: a VQGAN that reads and writes label maps as codes."""

from .tokenizer import VQTokenizer, load_tokenizer
