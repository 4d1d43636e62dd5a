"""Gradio components as this page has them, and the settings of its events."""

from pathlib import Path
from typing import TypeVar

import gradio as gr
from gradio.i18n import I18nData

from purifier.ui.controls import Range
from purifier.wording.language import ENGLISH, catalogue, languages

C = TypeVar("C", gr.Image, gr.UploadButton, gr.Number, gr.Slider)
STATIC = Path(__file__).parent / "static"
# What the browser translates; the server translates what it draws (purifier.wording.language.say).
I18N = gr.I18n(**{code: dict(catalogue(code)) for code in languages()})

# The page's buttons share a queue, from which ``turns`` takes one computation of a visitor after another: what one asks
# for next begins with what came of the last. Programs' requests know nothing of each other.
COMPUTE = dict(concurrency_id="compute", concurrency_limit=2)
LOAD = dict(concurrency_id="load", concurrency_limit=8)  # classifiers: who waits for the Hub keeps nobody waiting
PROGRAMS = dict(concurrency_id="programs", concurrency_limit=4)
QUIET = dict(api_visibility="private", show_progress="hidden", queue=False)  # at once, and out of every queue
PRIVATE = dict(api_visibility="private", show_progress="hidden", **COMPUTE)


def label(text: str) -> I18nData:
    """A text that stands on the page from the start, which the browser shows in its own language."""
    I18N.translations[ENGLISH][text] = text
    return I18N(text)


def slider(allowed: Range, value: float, info: str | None = None, *, interactive: bool = True) -> gr.Slider:
    """A slider over ``allowed``; ``info`` is said below it."""
    made = gr.Slider(
        allowed.low,
        allowed.high,
        value,
        step=allowed.step,
        label=label(allowed.name),
        info=info and label(info),
        interactive=interactive,
    )
    return as_given(made)


def as_given(component: C) -> C:
    """Hand over what was typed, or the path of the uploaded file, as it is: our own checks say in the visitor's
    language what it may be, and no empty file is left behind for each picture.

    Set on the component and not in a subclass, beside which Gradio would write a file.
    """
    component.preprocess = lambda payload: getattr(payload, "path", payload)
    return component


def script(name: str) -> str:
    """A function in JavaScript that Gradio runs in the browser."""
    return (STATIC / name).read_text(encoding="utf-8")
