"""What the page draws: readings, result cards and the pyramid, as HTML. Pictures are batches of one, 8-bit values."""

import base64
from collections.abc import Sequence
from fractions import Fraction
from html import escape
from pathlib import Path

from torch import Tensor

from purifier.images import to_png
from purifier.readings import Reading
from purifier.runs import Cell
from purifier.taxonomy import DIAGNOSES, full_name

MOST_ROWS = 12
ZOOM = (Path(__file__).parent / "zoom.js").read_text()  # of components whose pictures open large
STEPS = ("Before", "Diffused", "Denoised", "Aggregated")


def headline(reading: Reading) -> str:
    return f"{full_name(reading.top)}, {100 * reading.probability(reading.top):.0f} %"


def scale_name(scale: float) -> str:
    return str(Fraction(scale).limit_denominator(64))


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
    data = f' data-against="{escape(against, quote=True)}"' if against and against != name else ""
    return (
        f'<button type="button" class="lp-zoom"{data} aria-label="{escape(alt, quote=True)}, full size">'
        f"{picture_tag(x, alt, name)}</button>"
    )


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
    return f'<div class="lp-examples" role="group" aria-label="Examples">{buttons}</div>'


def reading_table(reading: Reading) -> str:
    """Every diagnosis with its bar and percentage, in the classifier's own order so that cards can be compared.

    Of a classifier with many labels, the likeliest.
    """
    rows, pairs = [], list(zip(reading.labels, reading.probabilities.tolist(), strict=True))
    if len(pairs) > MOST_ROWS:
        pairs = sorted(pairs, key=lambda pair: -pair[1])[:MOST_ROWS]
    for label, p in pairs:
        kind = "malignant" if label in DIAGNOSES and DIAGNOSES[label].malignant else "other"
        top = ' class="lp-top"' if label == reading.top else ""
        rows.append(
            f'<tr{top}><th scope="row">{escape(full_name(label))}</th>'
            f'<td class="lp-bar"><span class="lp-{kind}" style="width:{100 * p:.1f}%"></span></td>'
            f"<td>{100 * p:.0f}&nbsp;%</td></tr>"
        )
    return f'<table class="lp-reading"><tbody>{"".join(rows)}</tbody></table>'


def card(
    title: str, x: Tensor | None, note: str, reading: Reading | None = None, *, against: Reading | None = None
) -> str:
    """One result: its picture, a line about it, and the classifier's view; ``against`` is the original's."""
    frame, body = '<div class="lp-empty" aria-hidden="true"></div>', ""
    if x is not None:
        alt = f"{title} picture" + (f", read as {headline(reading)}" if reading else "")
        frame = zoomable(x, alt, name=f"lp-card-{title.lower()}", against="" if reading is None else "lp-card-original")
    if reading is not None:
        verdict = ""
        if against is not None:
            same = reading.top == against.top
            verdict = (
                '<span class="lp-same">&#10003; as the original</span>' if same
                else '<span class="lp-changed">&#9888; changed</span>'
            )  # fmt: skip
        if reading.unsure:
            verdict += (
                ' <span class="lp-unsure" title="Its confidence is below the threshold set on validation pictures">'
            )
            verdict += "? unsure</span>"
        said = f'<p class="lp-headline">{escape(headline(reading))} {verdict}</p>'
        body = said + _group(reading) + reading_table(reading)
        if reading.foreign:
            body = f'<p class="lp-foreign">&#9888; This does not look like a dermoscopic picture.</p>{body}'
    return (
        f'<figure class="lp-card" aria-label="{escape(title, quote=True)}"><figcaption>{escape(title)}</figcaption>'
        f'<div class="lp-frame">{frame}</div><p class="lp-note">{escape(note)}</p>{body}</figure>'
    )


def _group(reading: Reading) -> str:
    malignant = reading.malignant()
    if malignant is None:
        return ""
    share = f"{100 * malignant:.0f}&nbsp;%"
    return (
        f'<p class="lp-group"><span class="lp-malignant"></span>malignant or precancerous, together: <b>{share}</b></p>'
    )


def cards(parts: Sequence[str]) -> str:
    return f'<div class="lp-cards">{"".join(parts)}</div>'


def pyramid_row(scale: float, cells: Sequence[Cell] | None, original: str = "", attacked: str = "") -> str:
    """A scale's four steps with their readings; None for a scale still to come.

    ``original`` and ``attacked`` are the labels that those pictures were given, for the marks.
    """
    name, size = f"Scale {scale_name(scale)}", ""
    filled = '<td><div class="lp-empty" aria-hidden="true"></div></td>' * len(STEPS)
    if cells is not None:
        size = f"{cells[0][0].shape[-1]} px"
        filled = "".join(_cell(name, step, *cell, original, attacked) for step, cell in zip(STEPS, cells, strict=True))
    return f'<tr><th scope="row">{name}<small>{size}</small></th>{filled}</tr>'


def pyramid_table(rows: Sequence[str], *, original: str, attacked: str, caption: str) -> str:
    """One block: its rows, and what the marks mean."""
    head = "".join(f'<th scope="col">{step}</th>' for step in STEPS)
    legend = f"&#9679; read as the original ({escape(full_name(original))})"
    if attacked != original:
        legend += f" &nbsp; &#9650; read as the attacked picture ({escape(full_name(attacked))})"
    legend += (
        " &nbsp; &#9670; another reading. The purified picture is the mean of all scales that the last block left."
    )
    return (
        f'<div class="lp-pyramid"><table><caption>{escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="lp-legend">{legend}</p>'
    )


def _cell(name: str, step: str, x: Tensor, reading: Reading, original: str, attacked: str) -> str:
    sign, text = mark(reading, [original, attacked][: 1 + (attacked != original)]), escape(headline(reading))
    return f"<td>{zoomable(x, f'{name}, {step.lower()}')}<span>{sign} {text}</span></td>"
