"""The tab 'Compare': every defence on the same picture."""

import csv
import io
import math
import time
from collections.abc import Iterator
from dataclasses import asdict

import gradio as gr
from gradio.components import Component
from torchvision.transforms.v2.functional import resize

from purifier.pictures.files import quantise
from purifier.readings import read
from purifier.templates import macros
from purifier.ui.comparison import Row, all_defences, defend
from purifier.ui.components import PRIVATE, label, slider
from purifier.ui.controls import COMPARE_DRAWS, purifier_from
from purifier.ui.events import errors_as_messages, redraw, stop_on
from purifier.ui.examples import THUMBNAIL
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status, with_time_left
from purifier.ui.view import picture_tag
from purifier.wording.language import say

INTRO = (
    "<p>The defences that people use, each with the setting that was best for it, and MDDA with the settings of "
    "<b>Try it</b>, on the picture there: the attacked one, or the original where nothing was attacked. Best was the "
    "worst accuracy among clean and attacked validation pictures. This is <b>one</b> picture; what holds on many is "
    "under <b>Robustness</b>. Click a heading to sort.</p>"
)
TYPES = ["html", "str", "str", "number", "number", "number", "number", "number"]


def headers() -> list[str]:
    """Of the table's columns, in the language spoken."""
    return [
        say("Picture"),
        say("Defence"),
        say("Read as"),
        say("As the original, %"),
        say("Draws"),
        say("PSNR, dB"),
        say("SSIM"),
        say("Milliseconds"),
    ]


def add_compare(page: gr.Blocks, session: gr.State, purifier: list[Component]) -> None:
    """Add the tab's components and events to the page that is being built."""
    gr.HTML(label(INTRO))
    with gr.Row(elem_classes="lp-run"):
        draws = slider(COMPARE_DRAWS, 20, "Of each defence that draws noise.")
        start = gr.Button(label("Compare all"), variant="primary", min_width=160)
        stop = gr.Button(label("Stop"), min_width=70)
    said = gr.HTML(status(""))
    table = gr.Dataframe(
        headers=headers(),
        datatype=TYPES,
        interactive=False,
        label=label("Every defence on this picture"),
        max_height=2000,
        wrap=True,
        column_widths=[f"{width}px" for width in (90, 240, 200, 130, 90, 110, 90, 140)],
        elem_classes="lp-compare",
    )
    link = gr.HTML()
    running = start.click(errors_as_messages(compare), [session, draws, *purifier], [table, link, said], **PRIVATE)
    stop_on(stop.click, [running], [said])
    redraw(page.load, lambda: _filled([]), [], table)


def compare(session: Session, draws: int, *settings) -> Iterator[tuple]:
    """The table, a row more each time."""
    need_picture(session)
    draws, purifier = COMPARE_DRAWS.check(draws), purifier_from(*settings)
    classifier = classifier_for_page(session.classifier)
    defences = all_defences(purifier)
    reference = read(classifier, session.original)[0].top
    started, rows, cells = time.monotonic(), [], []
    for done, defence in enumerate(defences, 1):
        row, picture = defend(session, defence, classifier, reference, draws)
        rows.append(row)
        title = say(row.defence)
        alt = say("After {defence}", defence=title)
        thumbnail = picture_tag(quantise(resize(picture, [THUMBNAIL, THUMBNAIL])), alt)
        psnr = round(row.psnr, 1) if math.isfinite(row.psnr) else None
        cells.append(
            [
                thumbnail,
                title,
                say(row.read_as),
                round(row.kept),
                row.draws,
                psnr,
                round(row.ssim, 3),
                round(row.milliseconds),
            ]
        )
        text = say("Compared {done} of {total} defences", done=done, total=len(defences))
        yield _filled(cells), _download(rows), status(with_time_left(text, started, done, len(defences)))


def _filled(cells: list[list]) -> dict:
    """The table's value; Gradio takes new headings only together with new rows."""
    return {"headers": headers(), "data": list(cells)}


def _download(rows: list[Row]) -> str:
    """A link to the table as CSV, which lies in the page itself."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])))
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    text = say("Download the table as CSV")
    return f"<p>{macros('links.html').link(text, 'comparison.csv', 'text/csv', file.getvalue())}</p>"
