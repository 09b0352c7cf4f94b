"""Pictures that users give: every form of a picture gives the same pixels, anything else a clear error."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from refhcm.data import pictures
from refhcm.data.pictures import open_picture, reading, stored_pixels
from refhcm.utils.errors import UserError


@pytest.fixture
def array():
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_pixels_are_counted_without_decoding(array, monkeypatch):
    decoded = []
    # Pillow decodes a PNG when it is asked for its EXIF.
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: decoded.append(image.format))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1200)
    for kind in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        assert stored_pixels(encoded(Image.fromarray(array), kind)) == 30 * 40
    assert not decoded
    with pytest.raises(UserError, match="a: is 41 x 30 px"), reading("a"):
        stored_pixels(encoded(Image.new("L", (41, 30))))
    with pytest.raises(UserError, match="unknown format"), reading("a"):
        stored_pixels(b"words")


def test_all_forms_are_the_same_picture(array, tmp_path):
    image = Image.fromarray(array)
    path = tmp_path / "picture.png"
    image.save(path)
    for source in (array, image, path, str(path), path.read_bytes(), bytearray(path.read_bytes()), Image.open(path)):
        found = open_picture(source)
        assert found.mode == "RGB"
        assert (np.asarray(found) == array).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_become_white(mode):
    """Whatever colour hides below; a half transparent black is grey."""
    image = Image.new("RGBA", (3, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    image.putpixel((2, 0), (0, 0, 0, 128) if mode != "P" else (0, 0, 0, 255))
    found = np.asarray(open_picture(encoded(image.convert(mode))))[0, :, 0].tolist()
    assert found == [255, 0, 127 if mode != "P" else 0]


def test_an_array_that_is_not_contiguous(array):
    view = array[::-1, :, ::-1]
    assert (np.asarray(open_picture(view)) == view).all()


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, (0, 0)), (3, (39, 29)), (6, (29, 0)), (8, (0, 39)), (2, (39, 0))]
)
def test_exif_turns_the_picture(orientation, corner, tmp_path):
    image = Image.new("RGB", (40, 30))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, exif=exif)
    for source in (data, Image.open(io.BytesIO(data)), open_picture(data)):  # the last is upright already
        found = open_picture(source)
        assert found.size == ((30, 40) if orientation in (6, 8) else (40, 30))
        assert found.getpixel(corner) == (255, 255, 255)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF:UserWarning")
@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12", b"Exif\0\0MM\0*", b"junk"])
def test_corrupt_exif_does_not_spoil_the_picture(array, exif):
    data = encoded(Image.fromarray(array), exif=exif)
    assert (np.asarray(open_picture(data)) == array).all()


def test_broken_pixels_are_an_error(array):
    data = bytearray(encoded(Image.fromarray(array)))
    data[60:100] = bytes(40)
    with pytest.raises(UserError, match="picture: "):
        open_picture(bytes(data), where="picture")


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1", "I;16"])
def test_other_modes_become_rgb(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((5, 6), 128 * 256 + 7, np.uint16))
        expected = (128, 128, 128)
    else:
        image, expected = Image.new("RGB", (6, 5), (255, 255, 255)).convert(mode), (255, 255, 255)
    found = open_picture(image)
    assert found.mode == "RGB"
    assert found.getpixel((2, 2)) == expected


def test_16_bits_are_turned_like_others():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(np.full((30, 40), 128 * 256, np.uint16)), exif=exif.tobytes())
    assert open_picture(data).size == (30, 40)


@pytest.mark.parametrize("pixels", [np.full((4, 4), 0.5, np.float32), np.full((4, 4), 70_000, np.int32)])
def test_32_bits_are_refused(pixels):
    with pytest.raises(UserError, match=r"^image: needs pixels of 8 or 16 bits, got numbers from"):
        open_picture(Image.fromarray(pixels))
    for value, seen in ((200, 200), (200 * 256, 200)):
        assert open_picture(Image.fromarray(np.full((4, 4), value, np.int32))).getpixel((0, 0)) == (seen,) * 3


def bomb():
    """A PNG whose header promises 60000 x 60000 px."""
    png = bytearray(encoded(Image.new("RGB", (1, 1))))
    png[16:24] = (60_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    return bytes(png)


WHOLE = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "needs a path, bytes"),
        (7, "got int"),
        (["a.png"], "got list"),
        (b"", "cannot be read as a picture"),
        (b"text", r"cannot be read as a picture \(unknown format\)"),
        (WHOLE[: len(WHOLE) // 2], "cannot be read as a picture"),
        (bomb(), "cannot be read as a picture"),
        ("/no/such/file.png", "/no/such/file.png: cannot be read"),
        ("\0", "cannot be read"),
        ("https://example.org/a.jpg", "https://example.org/a.jpg: is an address; download the picture"),
        ("/", "cannot be read"),
        (np.zeros((4, 4), np.uint8), r"uint8 \[H, W, 3\], got uint8 \[4, 4\]"),
        (np.zeros((4, 4, 4), np.uint8), "got uint8"),
        (np.zeros((4, 4, 3)), "got float64"),
        (np.zeros((0, 4, 3), np.uint8), "got uint8"),
        (Image.new("RGB", (70_000, 1)), "sides of 1 to 65535 px"),
        (Image.new("RGB", (0, 5)), "0 x 5 px"),
    ],
)
def test_anything_else_is_refused(source, message):
    with pytest.raises(UserError, match=message) as caught:
        open_picture(source, where="images[3]")
    assert str(caught.value).startswith("images[3]: ")
    assert "\n" not in str(caught.value)


def test_truncated_pillow_picture():
    with pytest.raises(UserError, match="truncated"):
        open_picture(Image.open(io.BytesIO(WHOLE[:-200])))


def test_limits():
    """The numbers that the documents give."""
    assert (pictures.MAX_BYTES, pictures.MAX_PIXELS) == (64 * 1024 * 1024, 80_000_000)


def test_large_files_and_pictures_are_refused(array, monkeypatch, tmp_path):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 1199)
    with pytest.raises(UserError, match=r"is 40 x 30 px, needs at most 0\.001199 megapixels"):
        open_picture(array)
    monkeypatch.setattr(pictures, "MAX_BYTES", 100)
    path = tmp_path / "large.png"
    Image.fromarray(array).save(path)
    for source in (path, path.read_bytes()):
        with pytest.raises(UserError, match="more than 100 bytes"):
            open_picture(source)


def test_what_is_just_small_enough(array, monkeypatch, tmp_path):
    path = tmp_path / "picture.png"
    Image.fromarray(array).save(path)
    limits = {"MAX_BYTES": path.stat().st_size, "MAX_PIXELS": 40 * 30, "MAX_SIDE": 40}
    for name, limit in limits.items():
        monkeypatch.setattr(pictures, name, limit)
    for source in (path, path.read_bytes()):
        assert (np.asarray(open_picture(source)) == array).all()
    for name, limit in limits.items():
        monkeypatch.setattr(pictures, name, limit - 1)
        with pytest.raises(UserError):
            open_picture(path)
        monkeypatch.setattr(pictures, name, limit)
