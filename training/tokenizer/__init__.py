"""The parsing-map tokenizer's training, scores, and adaptation."""
