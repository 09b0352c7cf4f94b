"""Masks of tables: .npy and PNG give the same labels, anything else a clear error."""

import contextlib
import os
import random
import zlib

import numpy as np
import pytest
from PIL import Image

from refhcm.data.images import read_label_map
from refhcm.utils.errors import DataError

WHERE = "a.tsv:3"


def test_label_map(tmp_path):
    label_map = np.arange(20, dtype=np.uint8).reshape(4, 5)
    np.save(tmp_path / "1.npy", label_map)
    assert np.array_equal(read_label_map("1.npy", (5, 4), root=tmp_path, where=WHERE), label_map)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 4), np.int64), "is 4 x 5, its picture 5 x 4 px"),
        (np.zeros((4, 5)), r"needs a 2-D array of integers, got float64 \(4, 5\)"),
        (np.zeros((4, 5, 1), np.int64), "needs a 2-D array"),
        (np.full((4, 5), 20), r"needs classes 0\.\.19, or 255 \(ignored\), got 20\.\.20"),
        (np.full((4, 5), -1), r"got -1\.\.-1"),
        (np.array([[-1, 0, 3, 5, 19]] * 4), r"got -1\.\.19"),
        (np.array([[255] * 4 + [254]] * 4), r"got 254\.\.254"),
        (np.full((4, 5), None), "cannot be read"),  # would be unpickled
    ],
)
def test_label_maps_that_do_not_fit(tmp_path, array, message):
    np.save(tmp_path / "1.npy", array)
    with pytest.raises(DataError, match=rf"a\.tsv:3: column mask: .*1\.npy.*{message}"):
        read_label_map("1.npy", (5, 4), root=tmp_path, where=WHERE)


def test_a_map_of_another_size_is_not_read(tmp_path):
    with open(tmp_path / "1.npy", "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(10**12 + 500)  # on disk it has a few bytes
    with pytest.raises(DataError, match="is 1000000 x 1000000, its picture 5 x 4 px"):
        read_label_map("1.npy", (5, 4), root=tmp_path, where=WHERE)
    Image.new("L", (5000, 5000)).save(tmp_path / "1.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:60])  # its pixels cannot be decoded
    with pytest.raises(DataError, match="is 5000 x 5000, its picture 5 x 4 px"):
        read_label_map("1.png", (5, 4), root=tmp_path, where=WHERE)


def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "1.npy")
    with pytest.raises(DataError, match=r"1\.npy: is no regular file"):
        read_label_map("1.npy", (5, 4), root=tmp_path, where=WHERE)


LABELS = np.array([[0, 5, 19, 255, 3]] * 4, np.uint8)


@pytest.mark.parametrize("name", ["1.png", "1.PNG", "1"])
def test_label_maps_as_png(tmp_path, name):
    for image in (Image.fromarray(LABELS), Image.fromarray(LABELS).convert("P"), paletted(LABELS)):
        image.save(tmp_path / name, "PNG")
        assert read_label_map(name, (5, 4), root=tmp_path, where=WHERE).tolist() == LABELS.tolist()


def paletted(labels):
    """With the palette of VOC, whose indices are the labels and whose colours are others."""
    image = Image.fromarray(labels)
    image.putpalette([k * 7 % 256 for k in range(768)])
    return image


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_of_few_bits_has_the_same_labels(tmp_path, bits):
    labels = np.arange(20, dtype=np.uint8).reshape(4, 5) % 2**bits
    paletted(labels).save(tmp_path / "1.png", bits=bits)
    assert (tmp_path / "1.png").read_bytes()[24] == bits
    assert np.array_equal(read_label_map("1.png", (5, 4), root=tmp_path, where=WHERE), labels)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_255_is_ignored_and_stays(tmp_path, kind):
    for labels in (LABELS, np.full((4, 5), 255)):
        np.save(tmp_path / "1.npy", labels.astype(kind))
        assert read_label_map("1.npy", (5, 4), root=tmp_path, where=WHERE).tolist() == labels.tolist()


def test_pictures_that_are_no_label_map(tmp_path):
    colours = Image.fromarray(np.zeros((4, 5, 3), np.uint8))
    colours.save(tmp_path / "colours.png")
    Image.fromarray(LABELS.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.new("1", (5, 4)).save(tmp_path / "bits.png")
    colours.save(tmp_path / "colours.jpg")
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(tmp_path / "turned.png")
    Image.fromarray(LABELS + 1).save(tmp_path / "classes.png")
    (tmp_path / "half.png").write_bytes((tmp_path / "classes.png").read_bytes()[:50])
    for name, message in {
        "colours.png": r"needs a \.npy file, or a PNG of mode L with 8 bits or of mode P, got a PNG of mode RGB with 8",
        "deep.png": "mode I;16 with 16 bits",
        "bits.png": "mode 1 with 1 bits",
        "colours.jpg": r"needs a \.npy file, or a PNG of mode L or P: it is neither",
        "turned.png": "is 4 x 5, its picture 5 x 4 px",
        "classes.png": r"needs classes 0\.\.19, or 255 \(ignored\), got 0\.\.20",
        "half.png": "cannot be read",
    }.items():
        with pytest.raises(DataError, match=rf"^a\.tsv:3: column mask: .*{name}: .*{message}"):
            read_label_map(name, (5, 4), root=tmp_path, where=WHERE)


@pytest.mark.parametrize("name", ["1.png", "1.npy"])
def test_damaged_label_maps_are_read_or_a_data_error(tmp_path, name):
    Image.fromarray(LABELS).save(tmp_path / "1.png")
    np.save(tmp_path / "1.npy", LABELS)
    whole, rng = (tmp_path / name).read_bytes(), random.Random(0)
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / name).write_bytes(data)
        with contextlib.suppress(DataError):
            assert read_label_map(name, (5, 4), root=tmp_path, where=WHERE).shape == (4, 5)


def test_grey_of_few_bits_is_refused(tmp_path):
    """Pillow would scale the labels 0..3 to 0, 85, 170 and 255."""

    def chunk(name, data):
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    head = (4).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([2, 0, 0, 0, 0])  # 4 x 1 px, 2 bits, grey
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes([0, 0b00011011]))) + chunk(b"IEND", b"")
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    with pytest.raises(DataError, match="mode L with 2 bits"):
        read_label_map("1.png", (4, 1), root=tmp_path, where=WHERE)


def test_unreadable_label_maps(tmp_path):
    np.save(tmp_path / "whole.npy", np.zeros((40, 50), np.int64))
    whole = (tmp_path / "whole.npy").read_bytes()
    np.savez(tmp_path / "archive.npy.npz", a=np.zeros(3))
    for data in (b"", b"junk", whole[:20], whole[:500], (tmp_path / "archive.npy.npz").read_bytes()):
        (tmp_path / "1.npy").write_bytes(data)
        with pytest.raises(DataError, match=r"a\.tsv:3: column mask: .*1\.npy"):
            read_label_map("1.npy", (50, 40), root=tmp_path, where=WHERE)
    for text in ("absent.npy", "../1.npy"):
        with pytest.raises(DataError, match=r"a\.tsv:3"):
            read_label_map(text, (50, 40), root=tmp_path, where=WHERE)
