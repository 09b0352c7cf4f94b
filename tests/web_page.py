"""A served page, a browser's options and broken pictures, shared by the tests of the page."""

import http.client
import io
import json
import os
import signal
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
    """`python gradio_demo.py` on a free port of this machine, started outside the project's folder.

    temporary: the folder for its uploads, which is empty when it has ended.
    """

    def __init__(self, *arguments, log, python=sys.executable, temporary=None):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.temporary = temporary or log.with_suffix(".uploads")
        self.temporary.mkdir(exist_ok=True)
        command = [str(python), str(ROOT / "gradio_demo.py"), *map(str, arguments), f"--port={self.port}"]
        with log.open("wb") as out:
            environment = os.environ | {
                "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2", "TMPDIR": str(self.temporary)
            }  # fmt: skip
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

    def most_memory(self):
        """The most resident bytes since the start, or since `forget_most_memory`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def forget_most_memory(self):
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def send(self, method, path, body=None, headers=None):
        """Sends one request as it is: status, headers and body of the response."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            try:
                return response.status, response.headers, response.read()
            except http.client.IncompleteRead as answer:  # a stream that the server has ended
                return response.status, response.headers, answer.partial
        finally:
            connection.close()

    def ask(self, endpoint, data):
        """Asks as a program without gradio's client does: the last event of the answer."""
        kind = {"Content-Type": "application/json"}
        status, _, body = self.send("POST", f"/gradio_api/call/{endpoint}", json.dumps({"data": data}), kind)
        assert status == 200, body
        return self.send("GET", f"/gradio_api/call/{endpoint}/{json.loads(body)['event_id']}")[2].decode()

    def uploads(self):
        """Files that are not the examples of the page."""
        files = [path for path in self.temporary.rglob("*") if path.is_file()]
        return [path for path in files if path.name != "lock" and not (ROOT / "examples" / path.name).exists()]

    def stop(self, *signals):
        """Ends it as a service manager does (SIGTERM), or by these signals, one right after the other: its status."""
        for number in signals or (signal.SIGTERM,):
            self.process.send_signal(number)
            time.sleep(0.05)
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
