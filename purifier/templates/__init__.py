"""HTML from the templates in this folder, which escape whatever they are given, and Markdown, which is written as it
is. The home of Jinja2.

Templates speak as the code does: ``say("...")`` for words, ``say_html("...")`` for words with tags of their own.
"""

import base64
import textwrap
from pathlib import Path
from types import ModuleType

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from torch import Tensor

from purifier.pictures.files import to_png
from purifier.readings import bars, is_malignant, is_right
from purifier.wording.language import as_written, say, spoken
from purifier.wording.readings import diagnosis, headline, of_draws, recognition
from purifier.wording.runs import likeness, scale_name, step_names

LINE = 120  # characters, of Markdown


def say_html(text: str, **values: object) -> Markup:
    """``say`` for a text that holds tags; ``values`` are escaped."""
    found = Markup(say(text))
    return found.format(**as_written(values)) if values else found


def data_url(data: bytes | str, kind: str) -> str:
    """A file of the MIME type ``kind`` as an address that holds it."""
    encoded = base64.b64encode(data.encode() if isinstance(data, str) else data).decode()
    return f"data:{kind};base64,{encoded}"


def png(x: Tensor) -> str:
    """The picture as an address that holds it, to the bit."""
    return data_url(to_png(x), "image/png")


def unbroken(text: str) -> str:
    """``text`` without a line's end between a number and its per-cent sign."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def filled(text: str) -> str:
    """``text`` as one paragraph in lines of the usual length."""
    return textwrap.fill(" ".join(text.split()), LINE, break_long_words=False, break_on_hyphens=False)


_environment = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_environment.filters |= {f.__name__: f for f in (data_url, diagnosis, filled, png, say, unbroken)}
_environment.globals |= {
    f.__name__: f
    for f in (
        say,
        say_html,
        spoken,
        bars,
        is_malignant,
        is_right,
        headline,
        likeness,
        of_draws,
        recognition,
        scale_name,
        step_names,
    )  # fmt: skip
}
_of_markdown = _environment.overlay(autoescape=False, keep_trailing_newline=True)


def render(file: str, **values: object) -> Markup:
    """A whole template, filled in."""
    return Markup(_environment.get_template(file).render(values))


def render_markdown(file: str, **values: object) -> str:
    """A whole template of Markdown, filled in: nothing is escaped."""
    return _of_markdown.get_template(file).render(values)


def macros(file: str) -> ModuleType:
    """The macros of a template, to be called from Python; each gives ``Markup``."""
    return _environment.get_template(file).module
