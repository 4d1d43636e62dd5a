"""The line that says what is being done, how long it still takes, and what went wrong."""

import os
import re
import time

import gradio as gr

from purifier.templates import Markup
from purifier.texts import OF_DISK, Worded
from purifier.ui.observed import LOG
from purifier.wording.language import say

FOLDERS = re.compile(r"(?<![\w.:/])(?:/|[A-Z]:\\)(?:[^\s/\\'\"]+[/\\])+")  # of a path, from its root
MOST = 600  # characters, of what may repeat what was given
STOPPED = "Nothing runs any more; what was finished stays."


def status(text: str) -> Markup:
    """The status line; ``text`` is escaped unless it is HTML already."""
    return Markup('<p role="status" class="lp-status">{}</p>').format(text)


def words_of(error: Exception) -> str:
    """What a visitor is told of an error, in the language spoken: nothing of where the server's files lie, nor of other
    machines, as the system's own errors name them. Those go to the log."""
    if isinstance(error, OSError) and not isinstance(error, Worded):
        LOG.error("system error: %s", os.strerror(error.errno) if error.errno else type(error).__name__)
        if reason := OF_DISK.get(error.errno):
            return say("The server could not store a file: {reason} Try again later.", reason=reason)
        return say("The server could not open a file. Try again, or tell those who run it.")
    text = FOLDERS.sub("", say(str(error)))
    return text if len(text) <= MOST else f"{text[:MOST]} ..."


def warn(error: Exception) -> str:
    """Show an error in passing, and give its message to be shown where it stays."""
    message = words_of(error)
    gr.Warning(message, title=say("That did not work"), duration=10)
    return status(message)


def with_time_left(text: str, started: float, done: int, total: int) -> str:
    """What was done, and how much longer it takes; ``started`` is time.monotonic's."""
    if done >= total:
        return say("{progress}, done.", progress=text)
    seconds = (time.monotonic() - started) / done * (total - done)
    return say("{progress}, {seconds:.0f} s left.", progress=text, seconds=seconds)
