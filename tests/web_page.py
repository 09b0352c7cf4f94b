"""A served page, a browser's options and broken pictures, shared by the tests of the page."""

import io
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 300  # seconds: the machine may be busy
CHROMIUM = Path("/usr/bin/chromium")
BROWSER = {
    "executable_path": str(CHROMIUM),
    "args": [
        *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    ],
}


class Server:
    """`python gradio_demo.py` on a free port of this machine, started outside the project's folder."""

    def __init__(self, *arguments, log, python=sys.executable):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        command = [str(python), str(ROOT / "gradio_demo.py"), *map(str, arguments), f"--port={self.port}"]
        with log.open("wb") as out:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
            self.process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, cwd=log.parent)
        end = time.monotonic() + PATIENCE
        while not self.answers():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < end, "the page did not start"
            time.sleep(0.2)

    def answers(self):
        try:
            return urllib.request.urlopen(self.url, timeout=PATIENCE).status == 200
        except (urllib.error.URLError, ConnectionError):
            return False

    def memory(self):
        """Resident bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        """Ends it as a service manager does (SIGTERM): the exit status."""
        self.process.terminate()
        return self.process.wait(PATIENCE)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def encoded(size_wh=(120, 90), *, kind="PNG", seed=0, **options):
    """An encoded picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size_wh[1], size_wh[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def png_claiming(width, height):
    """A small PNG file whose header claims a large picture, as a decompression bomb does."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


def broken_pictures():
    """Names and bytes of files that are not pictures."""
    png, jpeg = encoded(), encoded(kind="JPEG")
    return {
        "empty.png": b"",
        "words.png": b"This is not a picture.",
        "page.html.jpg": b"<html><script>alert(1)</script></html>",
        "truncated.png": png[: len(png) // 2],
        "truncated.jpg": jpeg[: len(jpeg) // 2],
        "head.jpg": jpeg[:20],
        "flipped.png": png[:60] + bytes(40) + png[100:],
        "bomb.png": png_claiming(30_000, 30_000),
        "huge.png": png_claiming(9_000, 9_000),
        "thin.png": png_claiming(70_000, 1),
        "zeros.gif": b"GIF89a" + bytes(200),
        "svg.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><rect width='9' height='9'/></svg>",
        "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n",
        "exe.png": b"MZ" + bytes(5000),
        "zip.jpg": b"PK\x03\x04" + bytes(300),
        "webp.webp": b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(50),
        "tiff.tif": b"II*\x00\x08\x00\x00\x00" + b"\xff" * 64,
    }
