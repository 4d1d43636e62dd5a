"""For those who want to know more of the picture of 'Try': the spectrum of what was done to it, and a certified
radius."""

import time
from collections.abc import Callable, Iterator, Sequence

import gradio as gr
import torch
from gradio.components import Component
from torch import Tensor

from purifier.runs import purified_picture
from purifier.smoothing import Certificate, certificate, noisy_counts
from purifier.templates import Markup, macros, say_html
from purifier.texts import UserError
from purifier.ui.components import PRIVATE, label, slider
from purifier.ui.controls import CERTIFY_SAMPLES, SEED, SMOOTHING, purifier_from
from purifier.ui.events import empty_on, errors_as_messages, stop_on
from purifier.ui.plots import plot_spectrum
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status, with_time_left
from purifier.ui.view import drawing
from purifier.wording.language import say
from purifier.wording.readings import diagnosis

FIRST = 32  # draws that choose the class whose radius is certified
ABOUT_SPECTRUM = (
    "<h2>What becomes of the perturbation</h2><p>Its strength by spatial frequency: low ones at the left are coarse "
    "shapes, high ones at the right fine grain. Purification takes away the grain; what an attack does to coarse "
    "shapes stays.</p>"
)
ABOUT_RADIUS = (
    "<h2>A certified radius</h2><p>Randomised smoothing (Cohen et al. 2019) with the purifier as its denoiser: the "
    "answer given most often under strong noise can be <i>proved</i> to stay, whatever the attacker knows, within a "
    "radius in the L2 norm. It is small; compare it with the length of the attack.</p>"
)


def add_for_researchers(
    session: gr.State, purifier: list[Component], seed: Component, outdating: Sequence[Callable]
) -> None:
    """Add the components and events to the page that is being built; ``seed`` is of the purifier's noise. After the
    events ``outdating`` nothing is left of what was drawn."""
    with gr.Accordion(label("For researchers"), open=False, elem_classes="lp-evidence-more"):
        gr.HTML(label(ABOUT_SPECTRUM))
        draw = gr.Button(label("Draw the spectrum"), variant="primary", elem_classes="lp-evidence-one")
        spectrum = gr.HTML()
        gr.HTML(label(ABOUT_RADIUS))
        with gr.Row(elem_classes="lp-run"):
            smoothing = slider(SMOOTHING, 16, "Stronger noise reaches further, and costs accuracy.")
            samples = slider(CERTIFY_SAMPLES, 200, "More of them bring the proof closer to the truth.")
            certify = gr.Button(label("Certify"), variant="primary", min_width=160)
            stop = gr.Button(label("Stop"), min_width=70)
        said, radius = gr.HTML(status("")), gr.HTML()
    drawing_it = draw.click(errors_as_messages(spectrum_of), [session, seed, *purifier], spectrum, **PRIVATE)
    certifying = certify.click(
        errors_as_messages(certified), [session, smoothing, samples, *purifier], [radius, said], **PRIVATE
    )
    stop_on(stop.click, [certifying], [said])
    empty_on(outdating, [drawing_it, certifying], [spectrum, radius, said])


def spectrum_of(session: Session, seed: int, *settings) -> Markup:
    """How strong the perturbation is at every spatial frequency, and how much of it is left."""
    need_picture(session)
    if session.attacked is None:
        raise UserError("Attack the picture of Try first.")
    purifier, seed = purifier_from(*settings), SEED.check(seed)
    original, attacked = (purified_picture(purifier, x, seed=seed) for x in (session.original, session.attacked))
    added, left = session.attacked - session.original, attacked - original
    figure = plot_spectrum(
        {
            say("the attack's perturbation"): added,
            say("what is left of it after purification"): left,
            say("what purification does to the original"): original - session.original,
        }
    )
    percent = 100 * (left.square().mean().sqrt() / added.square().mean().sqrt()).item()
    text = say("Of the length of this attack, {percent:.0f} % is left.", percent=percent)
    return macros("evidence.html").figure(drawing(figure), say("Spectrum of the perturbation before and after"), text)


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
        text = say_html(
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
