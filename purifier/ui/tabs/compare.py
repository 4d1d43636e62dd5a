"""The tab 'Compare': every defence on the same picture."""

import base64
import csv
import io
import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import gradio as gr
from gradio.components import Component
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from purifier.classifiers.classifier import Classifier
from purifier.classifiers.taxonomy import full_name
from purifier.defences import FAMILIES, Defence, get_defence
from purifier.pictures.files import quantise
from purifier.pipeline import Purifier
from purifier.readings import read
from purifier.ui.components import PRIVATE, label, slider
from purifier.ui.controls import COMPARE_DRAWS
from purifier.ui.examples import THUMBNAIL
from purifier.ui.handlers import need_picture, purifier_from, readable, redraw, status, stopped, with_time_left
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.view import picture_tag
from purifier.wording.language import say, say_again

INTRO = (
    "<p>The defences that people use, each with the setting that was best for it, and MDDA with the settings of "
    "<b>Try it</b>, on the picture there: the attacked one, or the original where nothing was attacked. Best was the "
    "worst accuracy among clean and attacked validation pictures. This is <b>one</b> picture; what holds on many is "
    "under <b>Robustness</b>. Click a heading to sort.</p>"
)
TYPES = ["html", "str", "str", "number", "number", "number", "number", "number"]


@dataclass(frozen=True)
class Row:
    """A defence on one picture, in English. ``kept`` is the share of the draws that are read as the original, in per
    cent; PSNR and SSIM are against the original, of the first draw."""

    defence: str
    read_as: str
    kept: float
    draws: int
    psnr: float
    ssim: float
    milliseconds: float


def headers() -> list[str]:
    return [
        say("Picture"), say("Defence"), say("Read as"), say("As the original, %"), say("Draws"), say("PSNR, dB"),
        say("SSIM"), say("Milliseconds"),
    ]  # fmt: skip


def add_compare(page: gr.Blocks, session: gr.State, purifier: list[Component]) -> None:
    gr.HTML(label(INTRO))
    with gr.Row(elem_classes="lp-run"):
        draws = slider(COMPARE_DRAWS, 20, "Of each defence that draws noise.")
        start = gr.Button(label("Compare all"), variant="primary", min_width=160)
        stop = gr.Button(label("Stop"), min_width=70)
    said = gr.HTML(status(""))
    table = gr.Dataframe(
        headers=headers(), datatype=TYPES, interactive=False, label=label("Every defence on this picture"),
        max_height=2000, wrap=True, column_widths=[f"{width}px" for width in (90, 240, 200, 130, 90, 110, 90, 140)],
        elem_classes="lp-compare",
    )  # fmt: skip
    link = gr.HTML()
    running = start.click(readable(compare), [session, draws, *purifier], [table, link, said], **PRIVATE)
    stop.click(readable(stopped), None, said, cancels=[running], api_visibility="private", queue=False)
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
        title = say_again(row.defence)
        alt = say("After {defence}", defence=title)
        thumbnail = picture_tag(quantise(resize(picture, [THUMBNAIL, THUMBNAIL])), alt)
        psnr = round(row.psnr, 1) if math.isfinite(row.psnr) else None
        cells.append([
            thumbnail, title, say(row.read_as), round(row.kept), row.draws, psnr, round(row.ssim, 3),
            round(row.milliseconds),
        ])  # fmt: skip
        text = say("Compared {done} of {total} defences", done=done, total=len(defences))
        yield _filled(cells), _download(rows), status(with_time_left(text, started, done, len(defences)))


def _filled(cells: list[list]) -> dict:
    """The table's value; Gradio takes new headings only together with new rows."""
    return {"headers": headers(), "data": list(cells)}


def all_defences(purifier: Purifier) -> list[Defence]:
    """None, MDDA with the settings of ``purifier``, and every peer with its tuned one."""
    return [get_defence("none"), get_defence("mdda", purifier), *(get_defence(name) for name in FAMILIES)]


def defend(
    session: Session, defence: Defence, classifier: Classifier, reference: str, draws: int
) -> tuple[Row, Tensor]:
    """One row, and the first draw's picture."""
    from purifier.evaluation.defended import apply_defence  # its import takes seconds, which the page's start is spared

    x, draws = session.source.to(classifier.mean.device), draws if defence.random else 1
    shown = replace(defence, function=lambda x, generator: quantise(defence(x, generator)))  # what is shown is read
    found = [apply_defence(shown, classifier, x, seed) for seed in range(draws)]
    counts = Counter(classifier.labels[int(one.probabilities.argmax())] for one in found)
    row = Row(
        defence=defence.title,
        read_as=full_name(counts.most_common(1)[0][0]),
        kept=100 * counts[reference] / draws,
        draws=draws,
        psnr=found[0].psnr(session.original).item(),
        ssim=found[0].ssim(session.original).item(),
        milliseconds=1000 * sum(one.seconds for one in found) / draws,
    )
    return row, found[0].pictures.cpu()


def _download(rows: list[Row]) -> str:
    """A link to the table as CSV, which lies in the page itself."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])))
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    data = base64.b64encode(file.getvalue().encode()).decode()
    text = say("Download the table as CSV")
    return f'<p><a download="comparison.csv" href="data:text/csv;base64,{data}">{text}</a></p>'
