"""What the page draws: readings, result cards and the pyramid, as HTML, in the language spoken. Pictures are batches of
one, 8-bit values."""

import base64
import warnings
from collections.abc import Sequence
from html import escape

from torch import Tensor

from purifier.figures import Figure, as_svg
from purifier.pictures.files import to_png
from purifier.readings import Reading, bars, is_malignant
from purifier.runs import Cell
from purifier.ui.components import STATIC
from purifier.wording.language import ENGLISH, say, spoken
from purifier.wording.readings import diagnosis, headline
from purifier.wording.runs import scale_name, step_names

ZOOM = (STATIC / "zoom.js").read_text(encoding="utf-8")  # of components whose pictures open large
WIPED = "Left of the line: {left}. Right: {right}."  # zoom.js puts the pictures' names in


def within(name: str) -> str:
    """A name within a sentence, where English writes it small."""
    return name.lower() if spoken() == ENGLISH else name


def drawing(figure: Figure) -> str:
    """A plot as SVG."""
    with warnings.catch_warnings():
        # Matplotlib measures with a font of its own; the browser, which draws the words, has others.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        return as_svg(figure).replace("<svg ", '<svg overflow="visible" ', 1)  # where its letters are wider


def picture_tag(x: Tensor, alt: str, name: str = "") -> str:
    """The picture as a PNG inside the page, so that what is shown is, to the bit, what was read. ``name`` is its id."""
    height, width = x.shape[-2:]
    data = base64.b64encode(to_png(x)).decode()
    named = f' id="{escape(name, quote=True)}"' if name else ""
    return (
        f'<img{named} src="data:image/png;base64,{data}" alt="{escape(alt, quote=True)}" width="{width}" '
        f'height="{height}">'
    )


def zoomable(x: Tensor, alt: str, *, name: str = "", against: str = "") -> str:
    """A picture that a click shows large (zoom.js), wiped against the picture whose id is ``against``."""
    words = {"aria-label": say("{picture}, full size", picture=alt), "data-close": say("Close")}
    if against and against != name:
        words |= {"data-against": against, "data-wiped": say(WIPED)}
    attributes = " ".join(f'{key}="{escape(text, quote=True)}"' for key, text in words.items())
    return f'<button type="button" class="lp-zoom" {attributes}>{picture_tag(x, alt, name)}</button>'


def mark(reading: Reading, labels: Sequence[str]) -> str:
    """A sign for a reading: as ``labels[0]``, the original's; as ``labels[1]``, the attacked picture's; another."""
    return dict(zip(labels, ("&#9679;", "&#9650;"), strict=False)).get(reading.top, "&#9670;")


def example_buttons(examples: Sequence[tuple[Tensor, str]]) -> str:
    """A button with picture and caption for each example, numbered by ``data-index``."""
    if not examples:
        return ""
    buttons = "".join(
        f'<button type="button" data-index="{i}">{picture_tag(x, "")}<span>{escape(text)}</span></button>'
        for i, (x, text) in enumerate(examples)
    )
    return f'<div class="lp-examples" role="group" aria-label="{escape(say("Examples"))}">{buttons}</div>'


def reading_table(reading: Reading) -> str:
    """Every diagnosis with its bar and percentage, in the classifier's own order so that cards can be compared.

    Of a classifier with many labels, the likeliest.
    """
    rows = []
    for label, p in bars(reading):
        kind = "malignant" if is_malignant(label) else "other"
        top = ' class="lp-top"' if label == reading.top else ""
        rows.append(
            f'<tr{top}><th scope="row">{escape(diagnosis(label))}</th>'
            f'<td class="lp-bar"><span class="lp-{kind}" style="width:{100 * p:.1f}%"></span></td>'
            f"<td>{100 * p:.0f}&nbsp;%</td></tr>"
        )
    return f'<table class="lp-reading"><tbody>{"".join(rows)}</tbody></table>'


def card(
    name: str,
    title: str,
    x: Tensor | None,
    note: str,
    reading: Reading | None = None,
    *,
    against: Reading | None = None,
) -> str:
    """One result: its picture, a line about it, and the classifier's view; ``against`` is the original's. ``name`` is
    part of the picture's id."""
    frame, body = '<div class="lp-empty" aria-hidden="true"></div>', ""
    if x is not None:
        alt = say("{title} picture", title=title)
        if reading is not None:
            alt = say("{title} picture, read as {reading}", title=title, reading=headline(reading))
        frame = zoomable(x, alt, name=f"lp-card-{name}", against="" if reading is None else "lp-card-original")
    if reading is not None:
        said = f'<p class="lp-headline">{escape(headline(reading))} {_verdict(reading, against)}</p>'
        body = said + _group(reading) + reading_table(reading)
        if reading.out_of_distribution:
            body = f'<p class="lp-foreign">&#9888; {say("This does not look like a dermoscopic picture.")}</p>{body}'
    return (
        f'<figure class="lp-card" aria-label="{escape(title, quote=True)}"><figcaption>{escape(title)}</figcaption>'
        f'<div class="lp-frame">{frame}</div><p class="lp-note">{escape(note)}</p>{body}</figure>'
    )


def _verdict(reading: Reading, against: Reading | None) -> str:
    """Whether it is still the original's reading, and whether it is sure."""
    verdict = ""
    if against is not None and reading.top == against.top:
        verdict = f'<span class="lp-same">&#10003; {say("as the original")}</span>'
    elif against is not None:
        verdict = f'<span class="lp-changed">&#9888; {say("changed")}</span>'
    if reading.unsure:
        why = escape(say("Its confidence is below the threshold set on validation pictures"), quote=True)
        verdict += f' <span class="lp-unsure" title="{why}">? {say("unsure")}</span>'
    return verdict


def _group(reading: Reading) -> str:
    share = reading.malignant()
    if share is None:
        return ""
    text = say("malignant or precancerous, together: <b>{percent:.0f}&nbsp;%</b>", percent=100 * share)
    return f'<p class="lp-group"><span class="lp-malignant"></span>{text}</p>'


def cards(parts: Sequence[str]) -> str:
    return f'<div class="lp-cards">{"".join(parts)}</div>'


def pyramid_row(scale: float, cells: Sequence[Cell] | None, original: str = "", attacked: str = "") -> str:
    """A scale's four steps with their readings; None for a scale still to come.

    ``original`` and ``attacked`` are the labels that those pictures were given, for the marks.
    """
    size, filled = "", '<td><div class="lp-empty" aria-hidden="true"></div></td>' * len(step_names())
    if cells is not None:
        size = f"{cells[0][0].shape[-1]} px"
        filled = "".join(
            _cell(scale_name(scale), step, *cell, original, attacked)
            for step, cell in zip(step_names(), cells, strict=True)
        )
    name = say("Scale {scale}", scale=scale_name(scale))
    return f'<tr><th scope="row">{name}<small>{size}</small></th>{filled}</tr>'


def pyramid_table(rows: Sequence[str], *, original: str, attacked: str, caption: str) -> str:
    """One block: its rows, and what the marks mean."""
    head = "".join(f'<th scope="col">{step}</th>' for step in step_names())
    legend = f"&#9679; {say('read as the original ({diagnosis})', diagnosis=escape(diagnosis(original)))}"
    if attacked != original:
        away = say("read as the attacked picture ({diagnosis})", diagnosis=escape(diagnosis(attacked)))
        legend += f" &nbsp; &#9650; {away}"
    rest = say("another reading. The purified picture is the mean of all scales that the last block left.")
    return (
        f'<div class="lp-pyramid"><table><caption>{escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="lp-legend">{legend} &nbsp; &#9670; {rest}</p>'
    )


def _cell(scale: str, step: str, x: Tensor, reading: Reading, original: str, attacked: str) -> str:
    sign, text = mark(reading, [original, attacked][: 1 + (attacked != original)]), escape(headline(reading))
    alt = say("Scale {scale}, {step}", scale=scale, step=within(step))
    return f"<td>{zoomable(x, alt)}<span>{sign} {text}</span></td>"
