"""Serve the web page: ask about a picture in plain words, see the answer drawn on it, and download it.

    refhcm web --checkpoint checkpoints/refhcm.pt --tokenizer checkpoints/vqgan

Without `--checkpoint` it uses the small model that comes with the project. Only this machine can reach the page unless
`--host` or `--share` is given. Ctrl-C stops it and deletes all uploaded pictures.
"""

import argparse
import logging
import os
import sys
from importlib.util import find_spec
from typing import NoReturn

from ...inference.predictor import Predictor
from ...utils.errors import UserError
from ..cli.model_flags import add_model_flags, load_model
from .folder import Folder, page_folder
from .stopping import Stop

RANGES = {"port": (1, 65535), "queue_size": (1, 100_000), "concurrency": (1, 1000)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `refhcm web`."""
    add_model_flags(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", help="Listen on this address, 0.0.0.0 for all (default: 127.0.0.1)."
    )
    parser.add_argument("--port", type=int, default=7860, help="Listen on this port (default: 7860).")
    parser.add_argument("--share", action="store_true", help="Publish the page on the internet through gradio.live.")
    parser.add_argument(
        "--root-path", help="Name the address at which a proxy shows the page, such as https://that.name/refhcm."
    )
    parser.add_argument("--mcp", action="store_true", help="Serve the questions as tools for assistants, too (MCP).")
    parser.add_argument("--queue-size", type=int, default=100, help="Let this many questions wait (default: 100).")
    parser.add_argument("--concurrency", type=int, default=2, help="Process this many questions at once (default: 2).")


def run(args: argparse.Namespace) -> NoReturn:
    """Loads the model and serves the page until it is interrupted, which is its normal end (status 0)."""
    stop = Stop()
    with page_folder() as folder:
        os.environ["GRADIO_TEMP_DIR"] = str(folder.path)  # uploads and answers
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        stop.during(lambda: _serve(args, folder))
    # Not by the interpreter's own end: a question may still run, and PyTorch aborts when its thread is ended.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _serve(args: argparse.Namespace, folder: Folder) -> None:
    for name, (low, high) in RANGES.items():
        if not low <= (number := getattr(args, name)) <= high:
            raise UserError(f"--{name.replace('_', '-')}: needs a number from {low} to {high}, got {number}")
    if args.root_path is not None and not args.root_path.startswith(("/", "http://", "https://")):
        raise UserError(f"--root-path: needs a path such as /refhcm, or a whole address, got {args.root_path!r}")
    try:
        from .page import make_page
        from .serving import serve
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError("the page needs gradio. Run: pip install 'gradio>=6.24,<7'") from error
    if args.mcp and find_spec("mcp") is None:
        raise UserError("--mcp needs gradio's extra of that name. Run: pip install 'gradio[mcp]>=6.24,<7'")
    model = load_model(args)
    page = make_page(model, about=_about(args.checkpoint, model), concurrency=args.concurrency)
    page.queue(max_size=args.queue_size, api_open=False)  # nobody passes the queue by
    try:
        serve(
            page,
            folder,
            host=args.host,
            port=args.port,
            share=args.share,
            root_path=args.root_path,
            mcp=args.mcp,
        )
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
            "try the examples. For photographs run `refhcm download photos`, then start the page with "
            "`--checkpoint checkpoints/refhcm.pt`."
        )
    parts = "" if model.tokenizer else " It cannot show parts: that needs `--tokenizer`."
    return f"Model: `{checkpoint}` ({where}).{parts}"
