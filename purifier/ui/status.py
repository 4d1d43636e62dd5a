"""The line that says what is being done, how long it still takes, and what went wrong."""

import time

import gradio as gr

from purifier.templates import Markup
from purifier.wording.language import say

STOPPED = "Stopped; what was finished stays."


def status(text: str) -> Markup:
    """The status line; ``text`` is escaped unless it is HTML already."""
    return Markup('<p role="status" class="lp-status">{}</p>').format(text)


def warn(error: Exception) -> str:
    """Show an error in passing, and give its message to be shown where it stays."""
    message = say(str(error))
    gr.Warning(message, duration=20)
    return status(message)


def with_time_left(text: str, started: float, done: int, total: int) -> str:
    """What was done, and how much longer it takes; ``started`` is time.monotonic's."""
    if done >= total:
        return say("{progress}, done.", progress=text)
    seconds = (time.monotonic() - started) / done * (total - done)
    return say("{progress}, {seconds:.0f} s left.", progress=text, seconds=seconds)
