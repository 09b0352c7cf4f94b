"""How weights are made: the loop on fairseq's trainer, the tokenizer's training, pretraining."""
