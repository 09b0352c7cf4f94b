import base64
import contextlib
import io
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from refhcm.data.images import decode_base64, read_label_map, read_picture
from refhcm.utils.errors import DataError

WHERE = "a.tsv:3"


@given(data=st.binary(min_size=1, max_size=40), url_safe=st.booleans(), padded=st.booleans())
def test_both_alphabets_padded_or_not(data, url_safe, padded):
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    assert decode_base64(text if padded else text.rstrip("="), where=WHERE, column="image") == data


def test_base64_picture(picture, png_base64):
    image = read_picture(png_base64, where=WHERE).image
    assert image.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(picture))


def test_path_below_root(tmp_path, picture, png):
    (tmp_path / "imgs" / "train").mkdir(parents=True)
    (tmp_path / "imgs" / "train" / "1.png").write_bytes(png)
    image = read_picture("train/../train/1.png", root=tmp_path / "imgs", where=WHERE).image
    assert np.array_equal(np.asarray(image), np.asarray(picture))


def test_links_below_root_are_followed(tmp_path, png):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(png)
    (tmp_path / "imgs").mkdir()
    (tmp_path / "imgs" / "train").symlink_to(tmp_path / "elsewhere")
    assert read_picture("train/1.png", root=tmp_path / "imgs", where=WHERE).image.size == (8, 4)


@pytest.mark.parametrize("text", ["../secret.png", "train/../../secret.png", "/etc/secret.png", "a\0.png"])
def test_paths_outside_root(tmp_path, png, text):
    (tmp_path / "secret.png").write_bytes(png)
    (tmp_path / "imgs").mkdir()
    with pytest.raises(DataError, match=r"a\.tsv:3: column image: .*leads out of"):
        read_picture(text, root=tmp_path / "imgs", where=WHERE)


def test_a_picture_has_one_key_however_it_is_stored(png, png_base64, tmp_path):
    """Tables that hold it as base64 and as a file share it in a batch."""
    (tmp_path / "1.png").write_bytes(png)
    stored = read_picture(png_base64, where=WHERE), read_picture("1.png", root=tmp_path, where=WHERE)
    assert stored[0].key == stored[1].key
    Image.new("RGB", (8, 4), "red").save(tmp_path / "2.png")
    assert read_picture("2.png", root=tmp_path, where=WHERE).key != stored[0].key


def test_path_without_root_and_missing_file(tmp_path):
    with pytest.raises(DataError, match="no annotation root was given"):
        read_picture("1.png", where=WHERE)
    with pytest.raises(DataError, match=r"a\.tsv:3: column picture: .*1\.png: cannot be read as a picture"):
        read_picture("1.png", root=tmp_path, where=WHERE, column="picture")


@pytest.mark.parametrize("text", ["", "man in red", "caf\u00e9", "AAAAA", base64.b64encode(b"no picture").decode()])
def test_cells_without_a_picture(text):
    with pytest.raises(DataError, match=r"a\.tsv:3: column image: "):
        read_picture(text, where=WHERE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_truncated_pictures(kind):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, kind)
    data = file.getvalue()
    for length in (10, len(data) // 3, len(data) * 3 // 4):
        with pytest.raises(DataError, match="cannot be read as a picture"):
            read_picture(base64.b64encode(data[:length]).decode(), where=WHERE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damaged_pictures_are_read_or_a_data_error(kind, picture):
    file = io.BytesIO()
    picture.save(file, kind)
    rng = random.Random(0)
    for _ in range(100):
        data = bytearray(file.getvalue())
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(DataError):
            assert read_picture(base64.b64encode(data).decode(), where=WHERE).image.mode == "RGB"


@pytest.mark.parametrize("factor", [1.5, 3])  # Pillow warns above its limit, and raises above twice that
def test_decompression_bombs(monkeypatch, png_base64, factor):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(32 / factor))
    with pytest.raises(DataError, match="DecompressionBomb"):
        read_picture(png_base64, where=WHERE)


def test_grey_palette_and_alpha_become_rgb(picture):
    for mode in ("L", "P", "RGBA", "LA", "1", "I;16"):
        file = io.BytesIO()
        # Pillow warns of a palette with transparency.
        transparency = {"transparency": bytes([0, 9])} if mode == "P" else {}
        picture.convert("L").convert(mode).save(file, "PNG", **transparency)
        image = read_picture(base64.b64encode(file.getvalue()).decode(), where=WHERE).image
        assert (image.mode, image.size) == ("RGB", (8, 4))


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
        (np.full((4, 5), 20), r"needs classes 0\.\.19, got 20\.\.20"),
        (np.full((4, 5), -1), r"got -1\.\.-1"),
        (np.full((4, 5), None), "cannot be read"),  # would be unpickled
    ],
)
def test_label_maps_that_do_not_fit(tmp_path, array, message):
    np.save(tmp_path / "1.npy", array)
    with pytest.raises(DataError, match=rf"a\.tsv:3: column mask: .*1\.npy.*{message}"):
        read_label_map("1.npy", (5, 4), root=tmp_path, where=WHERE)


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
