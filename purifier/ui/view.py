"""What the page draws: readings, result cards and the pyramid, as HTML, in the language spoken. Pictures are batches of
one, 8-bit values."""

import warnings
from collections.abc import Sequence

from torch import Tensor

from purifier.figures import Figure, as_svg
from purifier.runs import Cell
from purifier.templates import Markup, macros
from purifier.ui.components import STATIC
from purifier.wording.language import ENGLISH, say, spoken
from purifier.wording.runs import scale_name, step_names

ZOOM = (STATIC / "zoom.js").read_text(encoding="utf-8")  # of components whose pictures open large


def within(name: str) -> str:
    """A name within a sentence, where English writes it small."""
    return name.lower() if spoken() == ENGLISH else name


def drawing(figure: Figure) -> Markup:
    """A plot as SVG."""
    with warnings.catch_warnings():
        # Matplotlib measures with a font of its own; the browser, which draws the words, has others.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        return Markup(as_svg(figure).replace("<svg ", '<svg overflow="visible" ', 1))  # where its letters are wider


def picture_tag(x: Tensor, alt: str) -> str:
    """The picture as a PNG inside the page, so that what is shown is, to the bit, what was read."""
    return str(macros("picture.html").picture(x, alt))


def pyramid_row(scale: float, cells: Sequence[Cell] | None, labels: Sequence[str] = ()) -> Markup:
    """A scale's four steps with their readings; None for a scale still to come.

    ``labels`` are those that the original and the attacked picture were given, for the marks.
    """
    name = scale_name(scale)
    alts = [say("Scale {scale}, {step}", scale=name, step=within(step)) for step in step_names()]
    return macros("pyramid.html").row(scale, cells, labels, alts)
