"""The parsing-map tokenizer, a VQGAN: label map <-> codes."""

from .tokenizer import VQTokenizer, load_tokenizer

__all__ = ["VQTokenizer", "load_tokenizer"]
