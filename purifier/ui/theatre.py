"""The tab 'Pyramid theatre': the purification step by step, every scale at once, played in the browser."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import gradio as gr
from gradio.components import Component
from torch import Tensor

from purifier.classifiers import Classifier
from purifier.figures import as_svg, plot_spectrum, signed_colours
from purifier.pipeline import Purifier, Stage
from purifier.readings import Reading, read
from purifier.runs import Cell, merged_picture, purified_picture, purify_stages
from purifier.taxonomy import full_name
from purifier.ui.components import PRIVATE
from purifier.ui.controls import SEED
from purifier.ui.handlers import purifier_from, readable, status
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.view import STEPS, ZOOM, headline, mark, scale_name, zoomable

HINT = '<p class="lp-note">Choose a picture in <b>Try it</b>; here you then see it purified, scale by scale.</p>'
SCRIPTS = ZOOM + (Path(__file__).parent / "theatre.js").read_text()
REMOVED = "Removed"  # the column of what denoising took away
COLUMNS = (*STEPS[:3], REMOVED, STEPS[3])
STEP_OF = {"Before": 0, "Diffused": 1, "Denoised": 2, REMOVED: 2, "Aggregated": 3}
TRANSPORT = """
<div class="lp-transport" role="group" aria-label="Playback">
<button type="button" data-act="back">&#9664; Back</button>
<button type="button" data-act="play">&#9654; Play</button>
<button type="button" data-act="next">Next &#9654;&#10072;</button>
<label>Step <input type="range" data-act="frame" min="0" max="{last}" value="0" aria-label="Step"></label>
</div>"""


def add_theatre(session: gr.State, purifier: Sequence[Component], seed: Component, tab: gr.Tab) -> None:
    stage, shown = gr.HTML(HINT, js_on_load=SCRIPTS), gr.State(None)
    tab.select(
        readable(perform), [session, shown, *purifier, seed], [stage, shown],
        **PRIVATE,
    )  # fmt: skip


def perform(session: Session, shown: tuple | None, *settings) -> Iterator[tuple]:
    """The whole performance as HTML, unless it is there already: ``shown`` says what of."""
    if session.original is None:
        yield HINT, None
        return
    *controls, seed = settings
    purifier, seed = purifier_from(*controls), SEED.check(seed)
    pictures = [hash(x.numpy().tobytes()) for x in (session.original, session.source)]
    wanted = (*pictures, session.classifier, purifier, seed)
    if wanted == shown:
        yield gr.skip(), shown
        return
    yield status("Every scale is being purified."), None
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
    captions.append("<b>The result.</b> The scales are brought back to the size of the picture and averaged.")
    said = "".join(
        f'<p data-caption{" hidden" if i else ""}>{caption}</p>' for i, caption in enumerate(captions)
    )  # fmt: skip
    head = "".join(f'<th scope="col" data-step="{STEP_OF[name]}">{name}</th>' for name in COLUMNS)
    return (
        f'<div class="lp-theatre" data-frame="0">{TRANSPORT.format(last=len(captions) - 1)}'
        f'<div class="lp-said" role="status">{said}</div>'
        f'<div class="lp-acts"><table><thead><tr><td></td>{head}</tr></thead>{"".join(bodies)}</table>'
        f"{_legend(labels, limit)}</div>"
        f'<div class="lp-result" hidden>{_result(session, classifier, clean)}'
        f"{_spectrum(session, purifier, clean, seed)}</div></div>"
    )


def _caption(purifier: Purifier, block: int, step: int) -> str:
    where = f"<b>Block {block} of {purifier.blocks}: "
    if step == 0:
        begins = "the picture at every scale." if block == 1 else "what the last block left."
        return f"{where}before.</b> It starts from {begins}"
    if step == 1:
        noise = f"{255 * purifier.sigma:.3g}/255"
        return f"{where}diffuse.</b> Gaussian noise of {noise} is added at every scale; fine patterns drown in it."
    if step == 2:
        return (
            f"{where}denoise.</b> Total-variation denoising of weight {purifier.weight:g} takes the noise away, and "
            "much of the attack with it."
        )
    share = f"{100 * purifier.own:.0f} %"
    return f"{where}aggregate.</b> Each scale keeps {share} of itself and takes the rest from its neighbours."


def _row(stage: Stage, cells: Sequence[Cell], labels: list[str], limit: float) -> str:
    name = f"Scale {scale_name(stage.scale)}"
    before = f"lp-{stage.block}-{scale_name(stage.scale).replace('/', '-')}"
    filled = {
        step: _cell(f"Block {stage.block}, {name.lower()}, {step.lower()}", *cell, labels, before, step == STEPS[0])
        for step, cell in zip(STEPS, cells, strict=True)
    }
    removed = signed_colours((stage.diffused - stage.denoised).mean(dim=1, keepdim=True).cpu(), limit)
    alt = f"Block {stage.block}, {name.lower()}, what denoising removed"
    filled[REMOVED] = zoomable(removed, alt)
    columns = "".join(f'<td data-step="{STEP_OF[column]}">{filled[column]}</td>' for column in COLUMNS)
    return f'<tr><th scope="row">{name}<small>{stage.before.shape[-1]} px</small></th>{columns}</tr>'


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
    parts = [f'<span class="lp-same-bar"></span>&#9679; the original&#39;s reading: {escape(full_name(labels[0]))}']
    if len(labels) > 1:
        parts.append(f'<span class="lp-away-bar"></span>&#9650; the attack&#39;s: {escape(full_name(labels[1]))}')
    parts.append(f"what was removed: orange had been added, violet taken away, at most {255 * limit:.3g}/255")
    return f'<p class="lp-key">{"".join(f"<span>{part}</span>" for part in parts)}</p>'


def _result(session: Session, classifier: Classifier, clean: Tensor) -> str:
    pictures = {"Original": session.original, "Attacked": session.attacked, "Purified": clean}
    pictures = {name: x for name, x in pictures.items() if x is not None}
    readings = read(classifier, *pictures.values())
    labels = [readings[0].top, *({readings[1].top} - {readings[0].top} if session.attacked is not None else ())]
    against = "lp-result-attacked" if session.attacked is not None else "lp-result-original"
    cells = "".join(
        f"<figure>{zoomable(x, name, name=f'lp-result-{name.lower()}', against=against)}"
        f"<figcaption><b>{name}</b><br>{mark(reading, labels)} {escape(headline(reading))}</figcaption></figure>"
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
            "the attack's perturbation": session.attacked - session.original,
            "what is left of it after purification": clean - purified_original,
            "what purification does to the original": purified_original - session.original,
        }
    )
    left, added = (clean - purified_original).square().mean().sqrt(), (session.attacked - session.original)
    share = (left / added.square().mean().sqrt()).item()
    return (
        "<h3>What became of the perturbation</h3><p>Its strength by spatial frequency: low ones at the left are coarse "
        "shapes, high ones at the right fine grain. Purification takes away the grain; what an attack does to coarse "
        f"shapes stays. Of this one's length, {100 * share:.0f} % is left.</p>"
        f'<div class="lp-plot" role="img" aria-label="Spectrum of the perturbation before and after">'
        f"{as_svg(figure)}</div>"
    )
