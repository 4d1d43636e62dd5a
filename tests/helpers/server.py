"""The page, served by this process or by one of its own."""

import gc
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gradio as gr

from purifier.ui.page import LAUNCH
from tests.helpers.paths import ROOT


@contextmanager
def serving(demo: gr.Blocks) -> Iterator[str]:
    """The address of a page that this process serves meanwhile."""
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    try:
        yield url
    finally:
        demo.close()
        gc.collect()  # the server's loops and sockets go here, where their warnings are expected, not in a later test


def free_port() -> int:
    """One of this machine's that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start_app(log: Path, port: int | None = None, **environment: str) -> tuple[subprocess.Popen, str]:
    """``python app.py`` on that port, or a free one, and its first answer. Raises ``RuntimeError`` with what it wrote
    to ``log`` where it ends, or is silent for five minutes."""
    port = port or free_port()
    address = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    env = {**os.environ, **environment, **address}
    with log.open("a", encoding="utf-8") as file:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=file, stderr=file)
    until = time.monotonic() + 300
    while server.poll() is None and time.monotonic() < until:
        try:
            return server, urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read().decode()
        except OSError:
            time.sleep(0.05)
    server.kill()
    server.wait()
    raise RuntimeError(log.read_text(encoding="utf-8"))
