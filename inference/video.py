"""Frames of video files, in order and upright, and clips made of pictures; by PyAV, which is FFmpeg."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image

from ..utils.errors import UserError, reason_of
from ..utils.files import atomic_write

RATE = 25  # frames a second, where a file does not say
RATES = (Fraction(1), Fraction(240))
# Frames that a file announces and does not have: one that was cut off lacks many, a sound one may lack a few.
MISSING = 0.05
TURNS = {
    90: Image.Transpose.ROTATE_90,
    -90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
}


@dataclass(frozen=True)
class Clip:
    """What a video file says of itself."""

    path: Path
    frames: int  # 0: it does not say
    rate: Fraction  # frames a second, on average


def clip_at(path: Path) -> Clip:
    """UserError: no such file, not a video, or only sound."""
    with _opened(path) as stream:
        rate = Fraction(stream.average_rate or RATE)
        return Clip(path, stream.frames, min(max(rate, RATES[0]), RATES[1]))


def frames(clip: Clip) -> Iterator[Image.Image]:
    """Each frame in RGB, upright. UserError, after those that can be read, if the file is cut off or has none."""
    count = 0
    with _opened(clip.path) as stream:
        for frame in _decoded(clip.path, stream):
            count += 1
            turn = TURNS.get(frame.rotation)
            image = frame.to_image()
            yield image if turn is None else image.transpose(turn)
    if not count:
        raise UserError(f"{clip.path}: holds no frame that can be read")
    if count < clip.frames * (1 - MISSING):
        raise UserError(f"{clip.path}: ends after frame {count} of {clip.frames}: the file is not complete")


def batches(clip: Clip, *, most: int, most_bytes: int) -> Iterator[list[Image.Image]]:
    """`frames`, up to so many together. Those before the end of an incomplete file come before its UserError."""
    batch: list[Image.Image] = []
    try:
        for image in frames(clip):
            batch.append(image)
            if len(batch) >= min(most, most_bytes // (3 * image.width * image.height)):
                yield batch
                batch = []
    except UserError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def write_clip(path: Path, images: Iterable[Image.Image], *, rate: Fraction) -> None:
    """Writes pictures of one size as an MP4 file (H.264), without sound. Odd sizes lose a row or a column."""
    av = _av()
    with atomic_write(path) as part, av.open(str(part), "w", format="mp4") as output:
        stream = None
        for image in images:
            if stream is None:
                stream = output.add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate=rate)
                stream.width, stream.height = (max(2, side // 2 * 2) for side in image.size)
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_image(image.crop((0, 0, stream.width, stream.height)))
            output.mux(stream.encode(frame))
        if stream is not None:
            output.mux(stream.encode(None))


def _decoded(path: Path, stream: Any) -> Iterator[Any]:
    try:
        yield from stream.container.decode(stream)
    except _av().error.FFmpegError as error:
        raise UserError(f"{path}: cannot be read further ({_reason(error)})") from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The first video stream of a file."""
    av = _av()
    if not path.is_file():  # FFmpeg would open pipes and addresses, too
        raise UserError(f"{path}: is no regular file" if path.exists() else f"{path}: no such file")
    try:
        container = av.open(str(path.absolute()))
    except av.error.FFmpegError as error:
        raise UserError(f"{path}: cannot be read as a video ({_reason(error)})") from error
    with container:
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise UserError(f"{path}: holds no video stream, only {kinds}")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise UserError(f"{path}: its video codec is not one that FFmpeg knows here")
        stream.thread_type = "AUTO"
        yield stream


def _reason(error: Any) -> str:
    return error.strerror or reason_of(error)


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UserError("video needs PyAV. Run: pip install av") from error
    return av
