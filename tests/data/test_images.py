import base64
import contextlib
import io
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from refhcm.data import pictures
from refhcm.data.images import decode_base64, read_picture, read_size
from refhcm.data.pictures import open_picture
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
    with pytest.raises(DataError, match=r"a\.tsv:3: column picture: .*1\.png: cannot be read \(No such file"):
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
    for mode in ("L", "P", "RGBA", "LA", "1"):
        file = io.BytesIO()
        # Pillow warns of a palette with transparency.
        transparency = {"transparency": bytes([0, 9])} if mode == "P" else {}
        picture.convert("L").convert(mode).save(file, "PNG", **transparency)
        image = read_picture(base64.b64encode(file.getvalue()).decode(), where=WHERE).image
        assert (image.mode, image.size) == ("RGB", (8, 4))


def cell(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return base64.b64encode(file.getvalue()).decode()


def marked(orientation):
    """40 x 30 px, white in the first stored pixels, and an EXIF orientation."""
    image, exif = Image.new("RGB", (40, 30)), Image.Exif()
    image.paste((255, 255, 255), (0, 0, 8, 8))
    exif[0x0112] = orientation
    return {"image": image, "exif": exif.tobytes()}


RGBA = Image.new("RGBA", (8, 4), (0, 0, 0, 0))
RAMP = (np.arange(32, dtype=np.uint16) * 2000).reshape(4, 8)  # 16 bits


@pytest.mark.parametrize(
    "text",
    [
        *(cell(**marked(k), kind=kind) for k in (1, 3, 6, 8) for kind in ("JPEG", "PNG", "WEBP", "TIFF")),
        cell(Image.fromarray(RAMP)),
        cell(Image.fromarray(RAMP), "TIFF"),
        cell(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
        cell(RGBA),
        cell(RGBA.convert("LA")),
        cell(RGBA, "WEBP", lossless=True),
        cell(Image.new("P", (8, 4), 3), transparency=3),
        cell(Image.new("CMYK", (8, 4), (0, 90, 0, 20)), "TIFF"),
        cell(Image.new("L", (8, 4), 90), "GIF", save_all=True, append_images=[Image.new("L", (8, 4))]),
    ],
)
def test_tables_and_asking_see_the_same_picture(text):
    asked = open_picture(base64.b64decode(text))
    image = read_picture(text, where=WHERE).image
    assert image.mode == asked.mode == "RGB"
    assert np.array_equal(np.asarray(image), np.asarray(asked))
    assert read_size(text, where=WHERE) == asked.size


CORNERS = [(1, 1), (38, 1), (38, 28), (1, 28), (1, 1), (28, 1), (28, 38), (1, 38)]  # by EXIF's table, from 1 on


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(("orientation", "corner"), [*enumerate(CORNERS, start=1)])
def test_a_table_s_picture_is_upright(orientation, corner, kind):
    text = cell(**marked(orientation), kind=kind)
    picture = read_picture(text, where=WHERE)
    assert picture.image.size == read_size(text, where=WHERE) == ((30, 40) if orientation >= 5 else (40, 30))
    assert min(picture.image.getpixel(corner)) > 240
    assert picture.turned == (orientation != 1)


@pytest.mark.parametrize("exif", [b"", b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12", marked(0)["exif"], marked(9)["exif"]])
def test_no_or_a_broken_orientation_turns_nothing(exif, recwarn):
    text = cell(marked(1)["image"], exif=exif)
    picture = read_picture(text, where=WHERE)
    assert (picture.image.size, picture.turned) == ((40, 30), False)
    assert read_size(text, where=WHERE) == (40, 30)
    assert not recwarn.list


def test_grey_of_16_bits_is_scaled_and_transparency_is_white():
    text = cell(Image.fromarray(RAMP))
    assert np.array_equal(np.asarray(read_picture(text, where=WHERE).image)[..., 0], RAMP >> 8)
    assert np.asarray(read_picture(cell(RGBA), where=WHERE).image).min() == 255


@pytest.mark.parametrize("pixels", [np.full((4, 8), 0.5, np.float32), np.full((4, 8), -1, np.int32)])
def test_numbers_that_are_no_colours_are_refused(pixels):
    with pytest.raises(DataError, match=r"^a\.tsv:3: column image: needs pixels of 8 or 16 bits, got numbers from"):
        read_picture(cell(Image.fromarray(pixels), "TIFF"), where=WHERE)


def test_tables_have_the_limits_of_asking(monkeypatch, png, png_base64, tmp_path):
    (tmp_path / "1.png").write_bytes(png)
    monkeypatch.setattr(pictures, "MAX_PIXELS", 31)
    for text in (png_base64, "1.png"):
        for read in (read_picture, read_size):
            with pytest.raises(DataError, match=r"^a\.tsv:3: column image: .*is 8 x 4 px, needs at most .* megapixels"):
                read(text, root=tmp_path, where=WHERE)
    monkeypatch.setattr(pictures, "MAX_BYTES", 20)
    with pytest.raises(DataError, match="holds more than 20 bytes"):
        read_picture("1.png", root=tmp_path, where=WHERE)
