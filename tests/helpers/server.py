"""The page in a process of its own."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tests.helpers.paths import ROOT


def start_app(log: Path) -> tuple[subprocess.Popen, str]:
    """``python app.py`` on a free port, and its first answer. Raises ``RuntimeError`` with what it wrote to ``log``
    where it ends, or is silent for two minutes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=file, stderr=file)
    until = time.monotonic() + 120
    while server.poll() is None and time.monotonic() < until:
        try:
            return server, urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).read().decode()
        except OSError:
            time.sleep(0.05)
    server.kill()
    server.wait()
    raise RuntimeError(log.read_text(encoding="utf-8"))
