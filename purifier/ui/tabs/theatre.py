"""The tab 'Pyramid theatre': the purification step by step, every scale at once, played in the browser."""

from collections.abc import Iterator, Sequence
from html import escape

import gradio as gr
from gradio.components import Component
from torch import Tensor

from purifier.classifiers.classifier import Classifier
from purifier.figures import signed_colours
from purifier.pipeline import Purifier, Stage
from purifier.readings import Reading, read
from purifier.runs import Cell, merged_picture, purified_picture, purify_stages
from purifier.ui.components import PRIVATE, STATIC, label
from purifier.ui.controls import SEED, purifier_from
from purifier.ui.events import errors_as_messages
from purifier.ui.plots import plot_spectrum
from purifier.ui.results import titles
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.status import status
from purifier.ui.view import ZOOM, drawing, mark, scale_name, step_names, within, zoomable
from purifier.wording.language import say, spoken
from purifier.wording.readings import diagnosis, headline

HINT = '<p class="lp-note">Choose a picture in <b>Try it</b>; here you then see it purified, scale by scale.</p>'
SCRIPTS = ZOOM + (STATIC / "theatre.js").read_text(encoding="utf-8")
STEP_OF = (0, 1, 2, 2, 3)  # the step at which each column appears


def add_theatre(session: gr.State, purifier: Sequence[Component], seed: Component, tab: gr.Tab) -> None:
    stage, shown = gr.HTML(label(HINT), js_on_load=SCRIPTS), gr.State(None)
    tab.select(errors_as_messages(perform), [session, shown, *purifier, seed], [stage, shown], **PRIVATE)


def perform(session: Session, shown: tuple | None, *settings) -> Iterator[tuple]:
    """The whole performance as HTML, unless it is there already: ``shown`` says what of."""
    if session.original is None:
        yield say(HINT), None
        return
    *controls, seed = settings
    purifier, seed = purifier_from(*controls), SEED.check(seed)
    pictures = [hash(x.numpy().tobytes()) for x in (session.original, session.source)]
    wanted = (*pictures, session.classifier, purifier, seed, spoken())
    if wanted == shown:
        yield gr.skip(), shown
        return
    yield status(say("Every scale is being purified.")), None
    yield performance(session, classifier_for_page(session.classifier), purifier, seed), wanted


def performance(session: Session, classifier: Classifier, purifier: Purifier, seed: int) -> str:
    """Every block with its scales; then the result, and what became of the perturbation."""
    original, attacked = (reading.top for reading in read(classifier, session.original, session.source))
    labels = list(dict.fromkeys((original, attacked)))
    found = list(purify_stages(classifier, purifier, session.source, seed=seed))
    limit = 3 * purifier.sigma or 8 / 255  # of the colours of what was removed
    bodies = []
    for block in range(1, purifier.blocks + 1):
        rows = [_row(stage, cells, labels, limit) for stage, cells in found if stage.block == block]
        bodies.append(f'<tbody data-block="{block}"{" hidden" if block > 1 else ""}>{"".join(rows)}</tbody>')
    clean = merged_picture(purifier, [stage for stage, _ in found if stage.block == purifier.blocks], session.source)
    captions = [_caption(purifier, block, step) for block in range(1, purifier.blocks + 1) for step in range(4)]
    captions.append(say("<b>The result.</b> The scales are brought back to the size of the picture and averaged."))
    said = "".join(f"<p data-caption{' hidden' if i else ''}>{caption}</p>" for i, caption in enumerate(captions))
    head = "".join(
        f'<th scope="col" data-step="{step}">{name}</th>' for step, name in zip(STEP_OF, _columns(), strict=True)
    )
    return (
        f'<div class="lp-theatre" data-frame="0">{_transport(len(captions) - 1)}'
        f'<div class="lp-said" role="status">{said}</div>'
        f'<div class="lp-acts"><table><thead><tr><td></td>{head}</tr></thead>{"".join(bodies)}</table>'
        f"{_legend(labels, limit)}</div>"
        f'<div class="lp-result" hidden>{_result(session, classifier, clean)}'
        f"{_spectrum(session, purifier, clean, seed)}</div></div>"
    )


def _columns() -> list[str]:
    """The steps, and what denoising took away."""
    *first, last = step_names()
    return [*first, say("Removed"), last]


def _transport(last: int) -> str:
    """The controls of theatre.js; ``last`` is the number of the last frame."""
    play, pause, step = f"&#9654; {say('Play')}", f"&#10074;&#10074; {say('Pause')}", say("Step")
    return (
        f'<div class="lp-transport" role="group" aria-label="{escape(say("Playback"))}">'
        f'<button type="button" data-act="back">&#9664; {say("Back")}</button>'
        f'<button type="button" data-act="play" data-play="{play}" data-pause="{pause}">{play}</button>'
        f'<button type="button" data-act="next">{say("Next")} &#9654;&#10072;</button>'
        f'<label>{step} <input type="range" data-act="frame" min="0" max="{last}" value="0" '
        f'aria-label="{escape(step)}"></label></div>'
    )


def _caption(purifier: Purifier, block: int, step: int) -> str:
    place = dict(block=block, blocks=purifier.blocks)
    if step == 0 and block == 1:
        return say("<b>Block {block} of {blocks}: before.</b> It starts from the picture at every scale.", **place)
    if step == 0:
        return say("<b>Block {block} of {blocks}: before.</b> It starts from what the last block left.", **place)
    if step == 1:
        return say(
            "<b>Block {block} of {blocks}: diffuse.</b> Gaussian noise of {sigma:.3g}/255 is added at every scale; "
            "fine patterns drown in it.",
            **place,
            sigma=255 * purifier.sigma,
        )
    if step == 2:
        return say(
            "<b>Block {block} of {blocks}: denoise.</b> Total-variation denoising of weight {weight:g} takes the noise "
            "away, and much of the attack with it.",
            **place,
            weight=purifier.weight,
        )
    return say(
        "<b>Block {block} of {blocks}: aggregate.</b> Each scale keeps {percent:.0f} % of itself and takes the rest "
        "from its neighbours.",
        **place,
        percent=100 * purifier.own,
    )


def _row(stage: Stage, cells: Sequence[Cell], labels: list[str], limit: float) -> str:
    scale = scale_name(stage.scale)
    before = f"lp-{stage.block}-{scale.replace('/', '-')}"
    where = dict(block=stage.block, scale=scale)
    filled = [
        _cell(
            say("Block {block}, scale {scale}, {step}", **where, step=within(name)),
            *cell,
            labels,
            before,
            is_before=i == 0,
        )
        for i, (name, cell) in enumerate(zip(step_names(), cells, strict=True))
    ]
    removed = signed_colours((stage.diffused - stage.denoised).mean(dim=1, keepdim=True).cpu(), limit)
    filled.insert(3, zoomable(removed, say("Block {block}, scale {scale}, what denoising removed", **where)))
    columns = "".join(f'<td data-step="{step}">{cell}</td>' for step, cell in zip(STEP_OF, filled, strict=True))
    size, name = f"{stage.before.shape[-1]} px", say("Scale {scale}", scale=scale)
    return f'<tr><th scope="row">{name}<small>{size}</small></th>{columns}</tr>'


def _cell(alt: str, x: Tensor, reading: Reading, labels: list[str], before: str, is_before: bool) -> str:
    picture = zoomable(x, alt, name=before if is_before else "", against=before)
    text = escape(headline(reading)).replace(" %", "&nbsp;%")
    return f"{picture}<span>{mark(reading, labels)} {text}</span>{_bars(reading, labels)}"


def _bars(reading: Reading, labels: list[str]) -> str:
    """The probability of the original's reading, and of the attacked picture's."""
    bars = "".join(
        f'<i class="lp-{kind}" style="width:{100 * reading.probability(label):.1f}%"></i>'
        for kind, label in zip(("same-bar", "away-bar"), labels, strict=False)
    )
    return f'<span class="lp-two" aria-hidden="true">{bars}</span>'


def _legend(labels: list[str], limit: float) -> str:
    first = say("the original's reading: {diagnosis}", diagnosis=diagnosis(labels[0]))
    parts = [f'<span class="lp-same-bar"></span>&#9679; {escape(first)}']
    if len(labels) > 1:
        second = say("the attack's: {diagnosis}", diagnosis=diagnosis(labels[1]))
        parts.append(f'<span class="lp-away-bar"></span>&#9650; {escape(second)}')
    most = 255 * limit
    parts.append(say("what was removed: orange had been added, violet taken away, at most {most:.3g}/255", most=most))
    return f'<p class="lp-key">{"".join(f"<span>{part}</span>" for part in parts)}</p>'


def _result(session: Session, classifier: Classifier, clean: Tensor) -> str:
    pictures = {"original": session.original, "attacked": session.attacked, "purified": clean}
    pictures = {name: x for name, x in pictures.items() if x is not None}
    readings = read(classifier, *pictures.values())
    labels = [readings[0].top, *({readings[1].top} - {readings[0].top} if session.attacked is not None else ())]
    against = "lp-result-attacked" if session.attacked is not None else "lp-result-original"
    names = titles()
    cells = "".join(
        f"<figure>{zoomable(x, names[name], name=f'lp-result-{name}', against=against)}"
        f"<figcaption><b>{names[name]}</b><br>{mark(reading, labels)} {escape(headline(reading))}</figcaption></figure>"
        for (name, x), reading in zip(pictures.items(), readings, strict=True)
    )
    return f'<div class="lp-outcome">{cells}</div>'


def _spectrum(session: Session, purifier: Purifier, clean: Tensor, seed: int) -> str:
    """How strong the perturbation is at every spatial frequency, and what is left of it."""
    if session.attacked is None:
        return ""
    purified_original = purified_picture(purifier, session.original, seed=seed)  # with the same noise
    figure = plot_spectrum(
        {
            say("the attack's perturbation"): session.attacked - session.original,
            say("what is left of it after purification"): clean - purified_original,
            say("what purification does to the original"): purified_original - session.original,
        }
    )
    left, added = (clean - purified_original).square().mean().sqrt(), (session.attacked - session.original)
    share = (left / added.square().mean().sqrt()).item()
    text = say(
        "Its strength by spatial frequency: low ones at the left are coarse shapes, high ones at the right fine grain. "
        "Purification takes away the grain; what an attack does to coarse shapes stays. Of this one's length, "
        "{percent:.0f} % is left.",
        percent=100 * share,
    )
    described = escape(say("Spectrum of the perturbation before and after"), quote=True)
    return (
        f"<h3>{say('What became of the perturbation')}</h3><p>{text}</p>"
        f'<div class="lp-plot" role="img" aria-label="{described}">{drawing(figure)}</div>'
    )
