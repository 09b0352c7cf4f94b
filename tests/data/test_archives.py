"""Pictures in tar and Parquet files: the same bytes as the files that were put in, and clear errors."""

import io
import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from refhcm.data import archives
from refhcm.data.pictures import MAX_BYTES, open_picture, read_bytes
from refhcm.utils.errors import DataError

ENDINGS = frozenset({".png", ".jpg"})


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG")
    return file.getvalue()


PICTURES = {"a": png((10, 20, 30)), "b": png((40, 50, 60)), "c": png((70, 80, 90))}


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def tar(tmp_path):
    files = {
        "./0/a.PNG": PICTURES["a"], "./0/a.txt": b" die Frau in Rot\n", "0/b.png": PICTURES["b"],
        "notes.md": b"x",
    }  # fmt: skip
    return write_tar(tmp_path / "shard.tar", files)


@pytest.fixture
def parquet(tmp_path):
    cells = [{"bytes": PICTURES[name], "path": None} for name in "abc"]
    table = pyarrow.table({"id": [1, 2, 3], "image": cells, "text": ["one", None, "three "]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    return tmp_path / "rows.parquet"


def test_members_of_a_tar_with_their_texts(tar):
    assert list(archives.members(tar, ENDINGS)) == [(f"{tar}/0/a.PNG", "die Frau in Rot"), (f"{tar}/0/b.png", None)]


def test_rows_of_parquet_with_their_texts(parquet):
    found = list(archives.members(parquet, ENDINGS))
    assert found == [(f"{parquet}/0", "one"), (f"{parquet}/1", None), (f"{parquet}/2", "three")]


def test_pictures_are_opened_by_name(tar, parquet):
    colours = [
        np.asarray(open_picture(name))[0, 0].tolist()
        for name in (tar / "0" / "a.PNG", str(tar / "0/b.png"), parquet / "0", parquet / "2")
    ]
    assert colours == [[10, 20, 30], [40, 50, 60], [10, 20, 30], [70, 80, 90]]


def test_plain_bytes_in_parquet(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"jpg": [PICTURES["b"]]}), tmp_path / "b.parquet")
    assert archives.read_member(tmp_path / "b.parquet", "0", largest=MAX_BYTES) == PICTURES["b"]


def test_a_rewritten_archive_is_read_anew(tar):
    assert archives.read_member(tar, "0/b.png", largest=MAX_BYTES) == PICTURES["b"]
    write_tar(tar, {"0/b.png": PICTURES["c"]})
    os.utime(tar, ns=(1, 1))
    assert archives.read_member(tar, "0/b.png", largest=MAX_BYTES) == PICTURES["c"]


def test_names_that_are_in_no_archive(tmp_path, tar):
    (tmp_path / "folder.tar").mkdir()
    assert archives.archive_of(tmp_path / "folder.tar" / "a.png") is None
    assert archives.archive_of(Path("a\0.tar/b.png")) is None
    assert archives.archive_of(tar) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("shard.tar/0/gone.png", "it is not in .*shard.tar"),
        ("rows.parquet/3", "it is no row of .*rows.parquet, which has 3"),
        ("rows.parquet/first", "it is no row of"),
    ],
)
def test_pictures_that_are_not_there(tar, parquet, name, message):
    with pytest.raises(DataError, match=f"image: .*{re.escape(name)}: cannot be read .{message}"):
        open_picture(tar.parent / name)


def test_damaged_archives(tmp_path, tar):
    write_tar(tmp_path / "packed.tar", {"a.png": PICTURES["a"]}, mode="w:gz")
    (tmp_path / "text.parquet").write_text("no")
    pyarrow.parquet.write_table(pyarrow.table({"id": [1]}), tmp_path / "bare.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"image": [7]}), tmp_path / "number.parquet")
    for name, message in {
        "packed.tar": "cannot be read as an uncompressed tar file",
        "text.parquet": "cannot be read as Parquet",
        "bare.parquet": r"no column holds pictures \(image, .*\); it has id",
    }.items():
        with pytest.raises(DataError, match=message):
            list(archives.members(tmp_path / name, ENDINGS))
    with pytest.raises(DataError, match="the cell holds 7, not a picture's bytes"):
        archives.read_member(tmp_path / "number.parquet", "0", largest=MAX_BYTES)


@pytest.mark.parametrize(
    ("start", "stop", "message"),
    [
        (3072, 99999, "is cut off or damaged after 2 files"),  # at a file's end
        (3272, 99999, "is cut off or damaged after 2 files"),  # within a header
        (4096, 99999, "cannot be read as an uncompressed tar file: unexpected end"),  # within a file
        (1540, 1541, "is cut off or damaged after 1 files"),  # a letter of a name
        (1536, 2048, "is cut off or damaged after 1 files"),  # a header
    ],
)
def test_damaged_tar_files(tmp_path, start, stop, message):
    """Each of three files has 512 bytes of header and 1024 of content; the bytes start..stop-1 are lost."""
    path = write_tar(tmp_path / "a.tar", {f"{name}.png": b"x" * 600 for name in "abc"})
    assert len(list(archives.members(path, ENDINGS))) == 3
    whole = path.read_bytes()
    damaged = whole[:start] if stop > len(whole) else whole[:start] + bytes(stop - start) + whole[stop:]
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=rf"a\.tar: {message}"):
        list(archives.members(path, ENDINGS))


def test_folders_and_links_in_a_tar_are_no_pictures(tar):
    with tarfile.open(tar, "a") as file:
        for name, kind in (("d.png", tarfile.DIRTYPE), ("s.png", tarfile.SYMTYPE), ("p.png", tarfile.FIFOTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "0/b.png"
            file.addfile(member)
    assert [one.name for one in archives.members(tar, ENDINGS)] == [f"{tar}/0/a.PNG", f"{tar}/0/b.png"]


def test_half_an_end_of_a_tar_is_enough(tar):
    with tarfile.open(tar) as file:
        end = file.getmembers()[-1].offset_data + tarfile.BLOCKSIZE
    tar.write_bytes(tar.read_bytes()[: end + tarfile.BLOCKSIZE])
    assert len(list(archives.members(tar, ENDINGS))) == 2


def test_every_picture_listed_can_be_opened(tmp_path):
    files = {"/abs/a.png": PICTURES["a"], "/abs/a.txt": b"one", "x/./b.png": PICTURES["b"], "./x//c.png": PICTURES["c"]}
    path = write_tar(tmp_path / "names.tar", files)
    held = list(archives.members(path, ENDINGS))
    assert [one.name for one in held] == [f"{path}/{name}" for name in ("abs/a.png", "x/b.png", "x/c.png")]
    assert [one.text for one in held] == ["one", None, None]
    assert [read_bytes(Path(one.name)) for one in held] == list(PICTURES.values())
    assert archives.read_member(path, "/abs/a.png", largest=MAX_BYTES) == PICTURES["a"]


@pytest.mark.parametrize(
    ("text", "message"), [(b"x" * 70000, "holds more than 65536 bytes"), (b"\xff", "is not UTF-8")]
)
def test_a_text_that_cannot_be_read_is_named(tmp_path, text, message):
    path = write_tar(tmp_path / "texts.tar", {"a.png": PICTURES["a"], "a.txt": text})
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}/a\.txt: {message}"):
        list(archives.members(path, ENDINGS))


def test_a_damaged_row_group_is_named(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pyarrow.table({"image": [PICTURES[name] for name in "abc"], "text": ["one", "two", "three"]})
    pyarrow.parquet.write_table(table, path, row_group_size=1)
    column = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(1)
    start = column.dictionary_page_offset or column.data_page_offset
    content = path.read_bytes()
    path.write_bytes(content[:start] + b"\xff" * 12 + content[start + 12 :])
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: row group 1 cannot be read: "):
        list(archives.members(path, ENDINGS))


def test_sizes_are_checked_before_anything_is_read(tar, parquet):
    for archive, name in ((tar, "0/a.PNG"), (parquet, "0")):
        with pytest.raises(DataError, match="holds more than 10 bytes"):
            archives.read_member(archive, name, largest=10)
