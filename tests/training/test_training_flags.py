"""Flags of fairseq that would end in a traceback, or train nothing."""

import pytest

pytest.importorskip("fairseq")

from refhcm.training.command import parse
from refhcm.utils.errors import UserError

BASE = ["a.tsv,b.tsv", "--task=refcoco", "--arch=refhcm_test", "--criterion=adjust_label_smoothed_cross_entropy"]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--batch-size=0", "--batch-size: needs a whole number of at least 1, got 0"),
        ("--batch-size=-2", "--batch-size: needs a whole number of at least 1, got -2"),
        ("--update-freq=1,0", "--update-freq: needs a whole number of at least 1, got 0"),
        ("--num-workers=-1", "--num-workers: needs a whole number of at least 0, got -1"),
        ("--log-interval=0", "--log-interval: needs"),
        ("--save-interval=0", "--save-interval: needs"),
        ("--fp16", "--fp16 needs a GPU; use --bf16 or --autocast-bf16"),
        ("--memory-efficient-fp16", "--fp16 needs a GPU"),
    ],
)
def test_wrong_flags(flag, message):
    with pytest.raises(UserError, match=message):
        parse([*BASE, "--batch-size=2", "--cpu", flag])


def test_flags_that_are_right():
    assert parse([*BASE, "--batch-size=1", "--num-workers=0", "--update-freq=4"]).update_freq == [4]
