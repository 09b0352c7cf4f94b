"""The training loss without a task: shared by its tests. Needs fairseq."""

from types import SimpleNamespace

from refhcm.criterions.adjust_label_smoothed_cross_entropy import (
    AdjustLabelSmoothedCrossEntropy,
    AdjustLabelSmoothedCrossEntropyConfig,
)


def criterion(**options):
    """With label smoothing of 0.1, where nothing else is said."""
    smoothing = {"label_smoothing": 0.1, "sentence_avg": False}
    dictionary = SimpleNamespace(pad=lambda: 1, eos=lambda: 2)
    config = AdjustLabelSmoothedCrossEntropyConfig(**(smoothing | options))
    return AdjustLabelSmoothedCrossEntropy(SimpleNamespace(target_dictionary=dictionary), config)
