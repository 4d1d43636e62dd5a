"""Serve the page: ``python app.py``. GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where (127.0.0.1:7860)."""

import sys

from purifier.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["serve"]))
