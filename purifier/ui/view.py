"""What the page draws: pictures and plots as HTML. Pictures are batches of one, 8-bit values."""

import warnings

from purifier.figures import Figure, as_svg
from purifier.templates import Markup
from purifier.ui.components import script
from purifier.wording.language import ENGLISH, spoken

ZOOM = script("zoom.js")  # of components whose pictures open large
CARDS = ZOOM + script("cards.js")  # of components with cards


def within(name: str) -> str:
    """A name within a sentence, where English writes it small."""
    return name.lower() if spoken() == ENGLISH else name


def drawing(figure: Figure) -> Markup:
    """A plot as SVG."""
    with warnings.catch_warnings():
        # Matplotlib measures with a font of its own; the browser, which draws the words, has others.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        return Markup(as_svg(figure).replace("<svg ", '<svg overflow="visible" ', 1))  # where its letters are wider
