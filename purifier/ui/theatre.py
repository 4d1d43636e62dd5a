"""The pyramid theatre of 'Try': the purification step by step, every scale at once, played in the browser."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from purifier.classifiers.classifier import Classifier
from purifier.figures import signed_colours
from purifier.pipeline import Purifier, Stage
from purifier.readings import Reading, read
from purifier.runs import Cell as Pair
from purifier.runs import Run, purify_stages
from purifier.templates import Markup, render, say_html
from purifier.texts import UserError
from purifier.ui.components import script
from purifier.ui.results import titles
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.status import status
from purifier.ui.updates import Update
from purifier.ui.view import ZOOM, within
from purifier.wording.language import say
from purifier.wording.runs import scale_name, step_names

SCRIPTS = ZOOM + script("theatre.js")


@dataclass(frozen=True, eq=False)
class Cell:
    """A picture of the performance; ``against`` is the id of the picture that it is wiped against."""

    x: Tensor
    alt: str
    name: str = ""
    against: str = ""
    reading: Reading | None = None


def watch(session: Session) -> Iterator[Update]:
    """The performance of the purification on the page. Raises ``ValueError`` where nothing was purified."""
    if session.purified is None:
        raise UserError("Purify the picture first; then you can watch how.")
    yield Update(theatre=status(say("Every scale is being purified.")))
    yield Update(theatre=performance(session, classifier_for_page(session.classifier)))


def performance(session: Session, classifier: Classifier) -> Markup:
    """Every block with its scales, of the first draw; then the result."""
    purifier, seed = session.purifier, session.seed
    original, attacked = (reading.top for reading in read(classifier, session.original, session.source))
    labels = list(dict.fromkeys((original, attacked)))
    found = list(purify_stages(classifier, purifier, session.source, seed=seed))
    sigma = found[0][0].sigma.item()
    limit = 3 * sigma or 8 / 255  # of the colours of what was removed
    blocks = range(1, purifier.blocks + 1)
    rows = {n: [(stage, _row(stage, cells, limit)) for stage, cells in found if stage.block == n] for n in blocks}
    captions = [_caption(purifier, sigma, block, step) for block in blocks for step in range(4)]
    captions.append(_of_the_result(purifier))
    results = _results(session.run, classifier)
    shown = [cell.reading for stages in rows.values() for _, row in stages for cell in row]
    shown += [reading for *_, reading in results]
    return render(
        "theatre.html",
        blocks=rows.values(),
        captions=captions,
        labels=labels,
        is_another=any(reading is not None and reading.top not in labels for reading in shown),
        most=255 * limit,
        results=results,
        against="original" if session.attacked is None else "attacked",
    )


def _caption(purifier: Purifier, sigma: float, block: int, step: int) -> Markup:
    place = dict(block=block, blocks=purifier.blocks)
    if step == 0 and block == 1:
        return say_html("<b>Block {block} of {blocks}: before.</b> It starts from the picture at every scale.", **place)
    if step == 0:
        return say_html("<b>Block {block} of {blocks}: before.</b> It starts from what the last block left.", **place)
    if step == 1:
        return say_html(
            "<b>Block {block} of {blocks}: diffuse.</b> Gaussian noise of {sigma:.3g}/255 is added at every scale; "
            "fine patterns drown in it.",
            **place,
            sigma=255 * sigma,
        )
    if step == 2 and purifier.denoiser == "learned":
        return say_html(
            "<b>Block {block} of {blocks}: denoise.</b> A network that was trained on dermoscopic pictures takes the "
            "noise away, and much of the attack with it.",
            **place,
        )
    if step == 2:
        return say_html(
            "<b>Block {block} of {blocks}: denoise.</b> Total-variation denoising of weight {weight:g} takes the noise "
            "away, and much of the attack with it.",
            **place,
            weight=purifier.weight,
        )
    if len(purifier.scales) == 1:
        return say_html(
            "<b>Block {block} of {blocks}: aggregate.</b> There is one scale alone, which stays as it is.", **place
        )
    return say_html(
        "<b>Block {block} of {blocks}: aggregate.</b> Each scale keeps {percent:.0f} % of itself and takes the rest "
        "from its neighbours.",
        **place,
        percent=100 * purifier.own,
    )


def _of_the_result(purifier: Purifier) -> Markup:
    if purifier.tilt:
        return say_html(
            "<b>The result.</b> The scales are brought back to the size of the picture and averaged, where finer ones "
            "count more. Click the purified picture, and wipe it against what it was made from."
        )
    return say_html(
        "<b>The result.</b> The scales are brought back to the size of the picture and averaged. Click the purified "
        "picture, and wipe it against what it was made from."
    )


def _row(stage: Stage, cells: Sequence[Pair], limit: float) -> list[Cell]:
    """The steps, and before the last of them what denoising took away."""
    scale = scale_name(stage.scale)
    before = f"lp-{stage.block}-{scale.replace('/', '-')}"
    where = dict(block=stage.block, scale=scale)
    shown = []
    for name, (x, reading) in zip(step_names(), cells, strict=True):
        alt = say("Block {block}, scale {scale}, {step}", **where, step=within(name))
        shown.append(Cell(x, alt, "" if shown else before, before, reading))
    removed = signed_colours((stage.diffused - stage.denoised).mean(dim=1, keepdim=True).cpu(), limit)
    shown.insert(3, Cell(removed, say("Block {block}, scale {scale}, what denoising removed", **where)))
    return shown


def _results(done: Run, classifier: Classifier) -> list[tuple[str, str, Tensor, Reading]]:
    """What the pictures are called, and how they are read."""
    readings = done.readings(classifier)
    return [(name, titles()[name], x, readings[name]) for name, x in done.pictures().items()]
