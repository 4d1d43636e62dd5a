"""The tab 'How often?': many purifications of the same picture, and a certified radius."""

import time
from collections import Counter
from collections.abc import Iterator

import gradio as gr
import torch
from gradio.components import Component
from torch import Tensor

from purifier.evaluation.intervals import wilson
from purifier.readings import read
from purifier.runs import purified_readings
from purifier.smoothing import Certificate, certificate, noisy_counts
from purifier.templates import Markup, macros, say_html
from purifier.ui.components import PRIVATE, label, slider
from purifier.ui.controls import CERTIFY_SAMPLES, DRAWS, SMOOTHING, purifier_from
from purifier.ui.events import errors_as_messages, stop_on
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status, with_time_left
from purifier.wording.language import say
from purifier.wording.readings import diagnosis

FIRST = 32  # draws that choose the class whose radius is certified
INTRO = (
    "<p>The purifier draws noise, so one purification is one draw. How often does the original's reading return (which "
    "may be wrong itself)? And what does purification do to the picture that nobody attacked? Picture, classifier and "
    "settings are those of <b>Try it</b>.</p>"
)
ABOUT_RADIUS = (
    "<h2>A certified radius</h2><p>Randomised smoothing (Cohen et al. 2019) with the purifier as its denoiser: the "
    "answer given most often under strong noise can be <i>proved</i> to stay, whatever the attacker knows, within a "
    "radius in the L2 norm. It is small; compare it with the length of the attack.</p>"
)


def add_how_often(session: gr.State, purifier: list[Component]) -> None:
    """Add the tab's components and events to the page that is being built."""
    gr.HTML(label(INTRO))
    with gr.Row(elem_classes="lp-run"):
        draws = slider(DRAWS, 50)
        start = gr.Button(label("Purify many times"), variant="primary", min_width=160)
        stop = gr.Button(label("Stop"), min_width=70)
    said = gr.HTML(status(""))
    result = gr.HTML()
    gr.HTML(label(ABOUT_RADIUS), elem_classes="lp-section")
    with gr.Row(elem_classes="lp-run"):
        smoothing = slider(SMOOTHING, 16, "Stronger noise reaches further, and costs accuracy.")
        samples = slider(CERTIFY_SAMPLES, 200, "More of them bring the proof closer to the truth.")
        certify = gr.Button(label("Certify"), variant="primary", min_width=160)
        stop_certify = gr.Button(label("Stop"), min_width=70)
    said_radius = gr.HTML(status(""))
    radius = gr.HTML()

    drawing = start.click(errors_as_messages(how_often), [session, draws, *purifier], [result, said], **PRIVATE)
    certifying = certify.click(
        errors_as_messages(certified), [session, smoothing, samples, *purifier], [radius, said_radius], **PRIVATE
    )
    stop_on(stop.click, [drawing], [said])
    stop_on(stop_certify.click, [certifying], [said_radius])


def how_often(session: Session, draws: int, *settings) -> Iterator[tuple[str, str]]:
    """What is drawn of the attacked picture and of the original, growing with the draws."""
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
            yield (
                "".join(_answers(n, counts, reference) for n, counts in found.items()),
                status(with_time_left(text, started, done, total)),
            )


def _answers(name: str, counts: Counter, reference: str) -> Markup:
    """How often each diagnosis was read, and how often the original's."""
    total, kept = counts.total(), counts[reference]
    interval = wilson(kept / total, total)
    text = say_html(
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
    return macros("how_often.html").answers(name, counts, reference, text)


def certified(session: Session, smoothing: float, samples: int, *settings) -> Iterator[tuple[str, str]]:
    """The certified radius around what Purify would work on."""
    need_picture(session)
    sigma, samples = SMOOTHING.check(smoothing) / 255, CERTIFY_SAMPLES.check(samples)
    classifier, purifier = classifier_for_page(session.classifier), purifier_from(*settings)
    noise = torch.Generator().manual_seed(0)

    def base(z: Tensor) -> Tensor:
        return classifier(purifier(z.clamp(0, 1), noise))  # a base classifier may do anything to the noisy picture

    x, generator = session.source.to(classifier.mean.device), torch.Generator().manual_seed(1)
    started, counts, found = time.monotonic(), [], None
    for part, count in enumerate((FIRST, samples)):  # one choice, then draws that know nothing of it
        for found in noisy_counts(base, x, sigma=sigma, samples=count, generator=generator):
            done, total = int(found.sum()) + part * FIRST, FIRST + samples
            text = say("Draw {done} of {total}", done=done, total=total)
            yield gr.skip(), status(with_time_left(text, started, done, total))
        counts.append(found)
    result = certificate(int(counts[0].argmax()), counts[1], sigma=sigma)
    yield _radius(session, result, classifier.labels, counts[1]), status(say("Done."))


def _radius(session: Session, found: Certificate, labels: list[str], counts: Tensor) -> str:
    confidence, total = f"{100 * (1 - found.alpha):g} %", int(counts.sum())
    which = say("Of the original:") if session.attacked is None else say("Of the attacked picture:")
    if found.label is None:
        best = diagnosis(labels[int(counts.argmax())])
        text = say(
            "<b>Nothing can be guaranteed for this picture</b>: it abstains. Under this noise the commonest answer, "
            "{diagnosis}, is given in {count} of {total} draws, too few to be sure that it is given in more than half "
            "(confidence {confidence}). Less noise may allow a guarantee within a smaller radius.",
            diagnosis=best,
            count=int(counts.max()),
            total=total,
            confidence=confidence,
        )
        return f"<p>{which} {text}</p>"
    text = say_html(
        "<b>{diagnosis}, within an L2 radius of {radius:.3f}</b> (pixels from 0 to 1; confidence {confidence}; {count} "
        "of {total} noisy draws, which proves at least {share:.1f} %).",
        diagnosis=diagnosis(labels[found.label]),
        radius=found.radius,
        confidence=confidence,
        count=int(counts[found.label]),
        total=total,
        share=100 * found.share,
    )
    return f"<p>{which} {text}{_length(session, found.radius)}</p>"


def _length(session: Session, radius: float) -> str:
    """Where the attack on the page lies, which may be out of reach."""
    if session.attacked is None:
        return ""
    length = (session.attacked - session.original).norm().item()
    if length < radius:
        text = say(
            "The attack on this page changed the picture by {length:.3f}: inside of what can be proved.", length=length
        )
    elif length > 2 * radius:
        text = say(
            "The attack on this page changed the picture by {length:.3f}: far outside of what can be proved.",
            length=length,
        )
    else:
        text = say(
            "The attack on this page changed the picture by {length:.3f}: outside of what can be proved.", length=length
        )
    return f" {text}"
