"""The file of answers: what tells two pictures, or two models, of one name apart."""

import os
from pathlib import Path

import pytest

from refhcm.apps.cli.ask import records
from refhcm.apps.cli.ask.records import content_mark


@pytest.mark.parametrize(("suffix", "start_counts"), [(".safetensors", True), (".pt", False)])
def test_all_of_a_picture_and_the_ends_of_a_larger_file_are_marked(tmp_path, monkeypatch, suffix, start_counts):
    """A picture has at most 300 bytes here, and an end 100; torch's files have checksums there."""
    monkeypatch.setattr(records, "MAX_BYTES", 300)
    monkeypatch.setattr(records, "END", 100)
    path = tmp_path / f"file{suffix}"

    def seen(size, place):
        path.write_bytes(bytes(size))
        before = content_mark(path)
        content = bytearray(size)
        content[place] = 1
        path.write_bytes(content)
        return content_mark(path) != before

    assert all(seen(300, place) for place in (0, 150, 299))
    assert [seen(301, place) for place in (0, 150, 201, 300)] == [start_counts, False, True, True]
    assert content_mark(tmp_path) is content_mark(tmp_path / "none") is content_mark("a\0b") is None


def test_a_device_holds_no_answers_and_is_not_cut():
    """Such as --out /dev/null; it is not locked here, as runs at the same time share it."""
    with open(os.devnull, "ab+") as file:
        assert records._read(file, Path(os.devnull)) == []
