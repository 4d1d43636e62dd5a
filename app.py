"""Serve the page: ``python app.py``. GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where (127.0.0.1:7860)."""

from purifier.ui.page import LAUNCH, build_page

demo = build_page()

if __name__ == "__main__":
    demo.launch(**LAUNCH)
