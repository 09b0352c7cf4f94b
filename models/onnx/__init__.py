"""The network and the tokenizer's decoder as ONNX graphs: writing them, and running them without torch."""
