"""Serves the page with gradio, behind the gate, until the first signal."""

import logging
import time
from pathlib import Path

import gradio as gr
from gradio.tunneling import CURRENT_TUNNELS
from starlette.middleware import Middleware

from ...data.pictures import MAX_BYTES
from .examples import EXAMPLES
from .folder import Folder
from .gate import Gate
from .page import THEME

CLOSE_SECONDS = 5  # for requests that run when the page ends


def serve(
    page: gr.Blocks, folder: Folder, *, host: str, port: int, share: bool, root_path: str | None, mcp: bool
) -> None:
    """Serves until KeyboardInterrupt; afterwards nothing writes to the folder. OSError: cannot listen there."""
    with folder.swept():
        try:
            page.launch(
                server_name=host,
                server_port=port,
                share=share,
                prevent_thread_lock=True,
                root_path=root_path,
                mcp_server=mcp,
                app_kwargs={"middleware": [Middleware(Gate, page=page, folder=folder, host=host, mcp=mcp)]},
                theme=THEME,
                css_paths=Path(__file__).with_name("page.css"),
                allowed_paths=[str(EXAMPLES)],
                max_file_size=MAX_BYTES,
                show_error=True,
                run_history=False,
                ssr_mode=False,
                footer_links=["api"],
                enable_monitoring=False,
                state_session_capacity=200,
                quiet=True,  # gradio's lines are for those who write a page
            )
            print(f"Open {page.local_url} in a browser. Ctrl-C ends the page.", flush=True)
            while True:
                time.sleep(1)
        finally:
            _close(page)


def _close(page: gr.Blocks) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # no traceback for each browser that is cut off
    server = getattr(page, "server", None)
    if server is not None:  # an open page keeps its connection: only questions are worth waiting for
        server.force_exit = not any(page._queue.active_jobs)
    page.close(verbose=False)
    if server is not None and server.thread.is_alive():  # it waits for visitors that stay connected
        server.force_exit = True
        server.thread.join(CLOSE_SECONDS)
    for tunnel in CURRENT_TUNNELS:
        tunnel.kill()
