"""The network, its answers, and the parsing-map tokenizer."""
