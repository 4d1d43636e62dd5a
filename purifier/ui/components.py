"""Gradio components as this page has them, and the settings of its events."""

import gradio as gr

from purifier.ui.controls import Range

# One computation at a time: the buttons share a queue.
COMPUTE = dict(concurrency_id="compute", concurrency_limit=1)
PRIVATE = dict(api_visibility="private", show_progress="hidden", **COMPUTE)


def slider(allowed: Range, value: float, info: str | None = None) -> gr.Slider:
    return gr.Slider(allowed.low, allowed.high, value, step=allowed.step, label=allowed.name, info=info)


def unopened(picture: gr.Image) -> gr.Image:
    """Hand over the uploaded file as it is, so that our reader's messages are the ones shown.

    Set on the component and not in a subclass, beside which Gradio would write a file.
    """
    picture.preprocess = lambda payload: None if payload is None else payload.path
    return picture
