"""What a checkpoint says that it has learned, whoever wrote it."""

import pytest
from commands import refhcm

from refhcm.apps.cli.export import export
from refhcm.inference.learned import learned_by
from refhcm.utils.checkpoints import read_checkpoint


class Flags:
    """A checkpoint of which only the flags are read."""

    def __init__(self, **flags):
        self._flags = flags

    def flags(self):
        return self._flags


@pytest.mark.parametrize(
    ("flags", "learned"),
    [
        ({}, ()),
        ({"task": "multitask"}, ()),
        ({"task": "grec"}, ("grec",)),
        ({"task": "multitask", "refgrec_dataset": "grec.tsv"}, ("grec",)),
        ({"task": "multitask", "refgrec_dataset": None}, ()),
        ({"learned": ["rkpt_by_box", "grec"]}, ("grec", "rkpt_by_box")),
        ({"learned": ["rkpt_by_box"], "task": "grec"}, ("grec", "rkpt_by_box")),
        ({"learned": ["flying"]}, ()),
        ({"learned": "grec"}, ()),
        ({"learned": [{}]}, ()),
    ],
)
def test_flags(flags, learned):
    assert learned_by(Flags(**flags)) == learned


def test_export_writes_it(golden_checkpoint, tmp_path):
    whole = read_checkpoint(golden_checkpoint("refcoco"))
    export([whole], tmp_path / "plain.pt")
    assert learned_by(read_checkpoint(tmp_path / "plain.pt")) == ()
    more = (golden_checkpoint("refcoco"), tmp_path / "more.pt", "--learned", "rkpt_by_box", "grec")
    assert refhcm("export", *more) == 0
    assert learned_by(read_checkpoint(tmp_path / "more.pt")) == ("grec", "rkpt_by_box")
    export([read_checkpoint(tmp_path / "more.pt")], tmp_path / "again.pt")
    assert learned_by(read_checkpoint(tmp_path / "again.pt")) == ("grec", "rkpt_by_box")
