"""The picture of 'Try': many purifications of it, each a dot, and every defence on it."""

import csv
import io
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

import gradio as gr
from gradio.components import Component
from torchvision.transforms.v2.functional import resize

from purifier.classifiers.taxonomy import full_name
from purifier.evaluation.intervals import wilson
from purifier.pictures.files import quantise
from purifier.readings import read
from purifier.runs import purified_readings
from purifier.templates import Markup, macros, say_html
from purifier.ui.comparison import Row, all_defences, defend
from purifier.ui.components import PRIVATE, label, slider
from purifier.ui.controls import COMPARE_DRAWS, DRAWS, purifier_from
from purifier.ui.events import empty_on, errors_as_messages, stop_on
from purifier.ui.examples import THUMBNAIL
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status, with_time_left
from purifier.wording.language import say
from purifier.wording.readings import diagnosis

DRAWN = (
    "<h2>This picture</h2><p>Now the one of <b>Try</b>, with its classifier and settings. The purifier draws noise, "
    "so one purification is one draw: each is a dot. How often does the original's reading return, which may be wrong "
    "itself? And what does purification do to the picture that nobody attacked?</p>"
)
COMPARED = (
    "<h2>Every defence on this picture</h2><p>Each with the setting that was best for it on validation pictures, and "
    "MDDA with the settings of <b>Try</b> and with its other denoiser. This is <b>one</b> picture; what holds on many "
    "stands above.</p>"
)


def add_this_picture(session: gr.State, purifier: list[Component], outdating: Sequence[Callable]) -> None:
    """Add the components and events to the page that is being built; after those ``outdating`` nothing is left of what
    was drawn."""
    gr.HTML(label(DRAWN))
    with gr.Row(elem_classes="lp-run"):
        draws = slider(DRAWS, 50)
        start = gr.Button(label("Purify many times"), variant="primary", min_width=160)
        stop = gr.Button(label("Stop"), min_width=70)
    _wire(many_draws, [session, draws, *purifier], start, stop, outdating)
    gr.HTML(label(COMPARED))
    with gr.Row(elem_classes="lp-run"):
        draws = slider(COMPARE_DRAWS, 20, "Of each defence that draws noise.")
        start = gr.Button(label("Compare all"), variant="primary", min_width=160)
        stop = gr.Button(label("Stop"), min_width=70)
    _wire(every_defence, [session, draws, *purifier], start, stop, outdating)


def _wire(
    handler: Callable, inputs: Sequence[Component], start: gr.Button, stop: gr.Button, outdating: Sequence[Callable]
) -> None:
    """Show below what ``handler`` gives: a result and a status."""
    said, result = gr.HTML(status("")), gr.HTML()
    running = start.click(errors_as_messages(handler), inputs, [result, said], **PRIVATE)
    stop_on(stop.click, [running], [said])
    empty_on(outdating, [running], [result, said])


def many_draws(session: Session, draws: int, *settings) -> Iterator[tuple[str, str]]:
    """What is drawn of the attacked picture and, below it, of the original, growing with the draws."""
    need_picture(session)
    draws, purifier = DRAWS.check(draws), purifier_from(*settings)
    classifier = classifier_for_page(session.classifier)
    pictures = {
        say("The attacked picture"): session.attacked,
        say("The original, which nobody attacked"): session.original,
    }
    pictures = {name: x for name, x in pictures.items() if x is not None}
    reference = read(classifier, session.original)[0].top
    found: dict[str, Counter] = {}
    started = time.monotonic()
    for name, x in pictures.items():
        found[name] = Counter()
        for some in purified_readings(classifier, purifier, x, draws=draws):
            found[name].update(reading.top for reading in some)
            done, total = sum(map(Counter.total, found.values())), draws * len(pictures)
            text = say("Purified {done} of {total} times", done=done, total=total)
            yield dotted(found, reference), status(with_time_left(text, started, done, total))


def dotted(found: dict[str, Counter], reference: str) -> Markup:
    """A dot for each draw of each picture by its diagnosis, the original's reading first, in the same rows for all."""
    labels = [label for label, _ in sum(found.values(), Counter()).most_common() if label != reference]
    shown = [(name, _in_words(counts, reference), counts) for name, counts in found.items()]
    return macros("evidence.html").draws(shown, [reference, *labels])


def _in_words(counts: Counter, reference: str) -> Markup:
    """How often the original's diagnosis was read."""
    total, kept = counts.total(), counts[reference]
    interval = wilson(kept / total, total)
    return say_html(
        "<b>Read as the original ({diagnosis}) in {kept} of {total} draws</b>: {percent:.0f} %, 95 % interval "
        "{low:.0f} to {high:.0f} %. The draws' commonest answer has {most:.0f} % of them.",
        diagnosis=diagnosis(reference),
        kept=kept,
        total=total,
        percent=100 * kept / total,
        low=100 * interval.low,
        high=100 * interval.high,
        most=100 * counts.most_common(1)[0][1] / total,
    )


def every_defence(session: Session, draws: int, *settings) -> Iterator[tuple[str, str]]:
    """A tile for each defence, one more each time."""
    need_picture(session)
    draws, purifier = COMPARE_DRAWS.check(draws), purifier_from(*settings)
    classifier = classifier_for_page(session.classifier)
    defences = all_defences(purifier)
    reference = read(classifier, session.original)[0].top
    started, rows, pictures = time.monotonic(), [], []
    for done, defence in enumerate(defences, 1):
        row, picture = defend(session, defence, classifier, reference, draws)
        rows.append(row)
        pictures.append(quantise(resize(picture, [THUMBNAIL, THUMBNAIL])))
        shown = macros("evidence.html").tiles(list(zip(rows, pictures, strict=True)), full_name(reference))
        # The first does nothing, and is none.
        text = say("Compared {done} of {total} defences", done=done - 1, total=len(defences) - 1)
        yield shown + _download(rows), status(with_time_left(text, started, done, len(defences)))


def _download(rows: Sequence[Row]) -> Markup:
    """A link to all that was measured as CSV, which lies in the page itself."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(asdict(rows[0])))
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    link = macros("links.html").link(
        say("Download the comparison as CSV"), "comparison.csv", "text/csv", file.getvalue()
    )
    return Markup("<p>{}</p>").format(link)
