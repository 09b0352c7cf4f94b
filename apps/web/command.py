"""Serve the web page: ask about a picture in plain words, see the answer drawn on it, and download it.

    refhcm web --checkpoint checkpoints/refhcm.pt --tokenizer checkpoints/vqgan

Without `--checkpoint` it uses the small model that comes with the project. Only this machine can reach the page unless
`--host` or `--share` is given. Ctrl-C stops it and deletes all uploaded pictures.
"""

import argparse
import os
import signal
import tempfile
from contextlib import suppress

from ...inference.predictor import Predictor
from ...utils.errors import UserError
from ..cli.model_flags import add_model_flags, load_model

RANGES = {"port": (1, 65535), "queue_size": (1, 100_000), "concurrency": (1, 1000)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `refhcm web`."""
    add_model_flags(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0: all (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (default: 7860)")
    parser.add_argument("--share", action="store_true", help="publish the page on the internet through gradio.live")
    parser.add_argument("--queue-size", type=int, default=100, help="questions that may wait (default: 100)")
    parser.add_argument("--concurrency", type=int, default=2, help="questions processed at once (default: 2)")


def run(args: argparse.Namespace) -> None:
    """Loads the model and serves the page until it is interrupted, which is its normal end (status 0)."""
    for name in ("SIGTERM", "SIGHUP"):  # SIGHUP: the terminal was closed; Windows has none
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # ignored under nohup
            signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="refhcm-page-") as folder, suppress(KeyboardInterrupt):
        os.environ["GRADIO_TEMP_DIR"] = folder  # uploads and answers
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        _serve(args)


def _serve(args: argparse.Namespace) -> None:
    for name, (low, high) in RANGES.items():
        if not low <= (number := getattr(args, name)) <= high:
            raise UserError(f"--{name.replace('_', '-')}: needs a number from {low} to {high}, got {number}")
    try:
        from .page import launch_options, make_page
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError("the page needs gradio. Run: pip install 'gradio>=6.24,<7'") from error
    model = load_model(args)
    page = make_page(model, about=_about(args.checkpoint, model), concurrency=args.concurrency)
    page.queue(max_size=args.queue_size)
    try:
        page.launch(server_name=args.host, server_port=args.port, share=args.share, **launch_options())
    except OSError as error:
        where = f"--host {args.host} --port {args.port}"
        raise UserError(f"{where}: cannot listen there; another program may be using the port") from error


def _about(checkpoint: str | None, model: Predictor) -> str:
    """Markdown: which model answers, on which device, in which number format."""
    weight = model.network.decoder.output_projection.weight
    where = f"on {weight.device}, {str(weight.dtype).removeprefix('torch.')}"
    if checkpoint is None:
        return (
            f"**This is the small model that comes with the project** ({where}). It has only ever seen drawn people: "
            "try the examples. For photos, start the page with `--checkpoint` and a model trained on photos."
        )
    parts = "" if model.tokenizer else " It cannot show parts: that needs `--tokenizer`."
    return f"Model: `{checkpoint}` ({where}).{parts}"
