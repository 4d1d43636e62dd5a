"""The tab 'About': method, classifiers, limits, privacy, citation, versions. See wording/catalogues/about.*.md."""

import functools

import gradio as gr
import torch

from purifier import __version__
from purifier.classifiers.classifier import MODELS, bundled_classifiers, default_device, digest_of
from purifier.ui.events import redraw
from purifier.wording.language import ENGLISH, FOLDER, spoken

DELIMITERS = [{"left": "$$", "right": "$$", "display": True}, {"left": "$", "right": "$", "display": False}]
CARDS = "<!-- The cards stand here. -->"  # where the text is cut


def add_about(page: gr.Blocks) -> None:
    """Add the tab's components and events to the page that is being built."""
    text, versions = about()
    before = gr.Markdown(text, latex_delimiters=DELIMITERS)
    for name in bundled_classifiers():
        with gr.Accordion(name, open=False):
            gr.Markdown(card(name), elem_classes="lp-model-card")
    redraw(page.load, about, [], [before, gr.Markdown(versions)])


def about() -> tuple[str, str]:
    """What stands before the classifiers' cards and after them, in the language spoken; in English where it is not
    translated."""
    file = FOLDER / f"about.{spoken()}.md"
    if not file.is_file():
        file = FOLDER / f"about.{ENGLISH}.md"
    before, after = file.read_text(encoding="utf-8").split(CARDS)
    weights = ", ".join(f"{name} `{digest[:12]}`" for name, digest in digests().items())
    device = default_device().type
    return before, after.format(version=__version__, torch=torch.__version__, device=device, weights=weights)


@functools.cache
def digests() -> dict[str, str]:
    """SHA-256 of the bundled weights, which are read for it."""
    return {name: digest_of(MODELS / name) for name in bundled_classifiers()}


def card(name: str) -> str:
    """A bundled classifier's model card without its front matter, its headings two levels further down."""
    text = (MODELS / name / "README.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    return "".join(f"##{line}" if line.startswith("#") else line for line in text.splitlines(keepends=True))
