"""A folder belongs to one run, which removes what killed ones left."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from refhcm.utils import files
from refhcm.utils.errors import DataError, UserError
from refhcm.utils.files import atomic_write, check_output, check_small, claim, end_digest, file_mark


def test_a_folder_belongs_to_one_run(tmp_path):
    claimed = claim(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "run")
    for name in ("run", "link"):
        with pytest.raises(UserError, match="another run writes there"):
            claim(tmp_path / name)
    claimed.close()
    claim(tmp_path / "run").close()


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run: cannot be written to"):
        claim(tmp_path / "file" / "run")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(number, tmp_path, monkeypatch):
    def flock(file, flags):
        raise OSError(number, "no locks")

    monkeypatch.setattr(fcntl, "flock", flock)
    claim(tmp_path / "run").close()


def test_what_a_killed_run_left(tmp_path):
    """Every file that was being written; no other program's, and none while its run goes on."""
    writing = atomic_write(tmp_path / "model.ckpt")
    part = writing.__enter__()
    part.write_text("half")
    other = tmp_path / "weights.pt.part"  # of `refhcm download`, which resumes from it
    other.touch()
    claimed = claim(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "weights.pt.part"]
    part.write_text("half")
    with pytest.raises(UserError):
        claim(tmp_path)
    assert Path(part).exists()
    writing.__exit__(None, None, None)
    claimed.close()


def test_a_large_file_is_read_in_part(tmp_path):
    """Its ends and blocks between them; a change of size is seen anywhere."""
    path = tmp_path / "large.tsv"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 3 * 2**30)  # takes no space
    found = file_mark(path)
    assert found["size"] == 3 * 2**30
    for place in (0, 3 * 2**30 - 1, (3 * 2**30 - files.BLOCK) * 20 // (files.BLOCKS - 1)):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x")
        assert file_mark(path) != found
        found = file_mark(path)
    with pytest.raises(DataError, match=r"absent.tsv: cannot be read"):
        file_mark(tmp_path / "absent.tsv")


@pytest.mark.parametrize(("suffix", "start_counts"), [(".safetensors", True), (".pt", False)])
def test_a_weights_file_is_told_by_its_end_and_where_its_checksum_is(tmp_path, suffix, start_counts):
    path, size = tmp_path / f"weights{suffix}", 3 * files.END
    path.write_bytes(bytes(size))
    known = end_digest(path)
    for place, counts in ((0, start_counts), (size // 2, False), (size - files.END, True), (size - 1, True)):
        content = bytearray(size)
        content[place] = 1
        path.write_bytes(content)
        assert (end_digest(path) != known) == counts
    path.write_bytes(bytes(size + 1))
    assert end_digest(path) != known


def test_a_small_file_has_at_most_so_many_bytes(tmp_path):
    (tmp_path / "a.json").write_bytes(bytes(1000))
    check_small(tmp_path / "a.json", largest=1000)
    with pytest.raises(UserError, match=r"a\.json: is 1\.0 KB large, expected at most 999 bytes"):
        check_small(tmp_path / "a.json", largest=999)


def test_an_output_is_a_file(tmp_path):
    check_output(tmp_path / "new" / "scores.json")
    with pytest.raises(UserError, match="new: is a folder; name a file to write"):
        check_output(tmp_path / "new")
