"""What happens on the page when something is chosen or pressed: from the controls' values to what is drawn."""

import functools
import html
import inspect
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace

import gradio as gr

from purifier.attacks import AttackSettings
from purifier.classifiers import bundled_classifiers
from purifier.hub import PUBLIC
from purifier.images import quantise, read_image, to_picture
from purifier.pipeline import Purifier
from purifier.readings import read
from purifier.runs import ANY, Attack, attack_steps, merged_picture, purify_stages
from purifier.taxonomy import full_name
from purifier.ui.controls import ATTACK_STEPS, BLOCKS, EPSILON, SEED, SIGMA, WEIGHT
from purifier.ui.results import result_cards
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.view import pyramid_row, pyramid_table

EXPECTED = (ValueError, FileNotFoundError, ConnectionError, PermissionError)  # what a visitor can do something about
STOPPED = "Stopped; what was finished stays."
REFRESH = 0.3  # seconds between two looks at a running attack or download
BUNDLED = {  # what the menu says of the classifiers that come with the package; it is narrow
    "augmented": "the default",
    "robust": "attack-trained",
    "standard": "ordinary",
    "surrogate": "a ResNet",
}
NO_PYRAMID = '<p class="lp-note">Press Purify to see every scale on its way.</p>'


def readable(handler: Callable) -> Callable:
    """Errors that a visitor can do something about become messages; what is on the page stays."""

    def message(error: Exception) -> gr.Error:
        return gr.Error(str(error), title="That did not work", duration=20)

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def wrapped(*args):
            try:
                yield from handler(*args)
            except EXPECTED as error:
                raise message(error) from error

    else:

        @functools.wraps(handler)
        def wrapped(*args):
            try:
                return handler(*args)
            except EXPECTED as error:
                raise message(error) from error

    return wrapped


def time_left(started: float, done: int, total: int) -> str:
    """How much longer it takes, to stand behind what was done; ``started`` is time.monotonic's."""
    left = (time.monotonic() - started) / done * (total - done)
    return f", {left:.0f} s left." if done < total else ", done."


def status(text: str) -> str:
    return f'<p role="status" class="lp-status">{text}</p>'


def choose(path: str, session: Session, is_own: bool = True):
    """A picture was uploaded or pasted (the visitor's own), or an example chosen. A bad one is refused and the last one
    stays."""
    try:
        x = read_image(path)
    except (ValueError, OSError) as error:
        gr.Warning(str(error), duration=20)
        kept = None if session.original is None else to_picture(session.original)
        return kept, session, gr.skip(), gr.skip(), gr.skip(), status(str(error))
    x = quantise(x)
    session = Session(original=x, is_own=is_own, classifier=session.classifier)
    classifier = classifier_for_page(session.classifier)
    text = status("This is what the classifier reads. Now press Attack.")
    return to_picture(x), session, result_cards(session, classifier), *_no_pyramid(), text


def classifier_choices() -> list[tuple[str, str]]:
    """The menu of classifiers: the bundled ones, then public ones on the Hub."""
    public = [
        (f"{repository} (Hub, {about.format}{', gated' if about.gated else ''})", f"hf-hub:{repository}")
        for repository, about in PUBLIC.items()
    ]
    bundled = [(f"{name}: {BUNDLED[name]}" if name in BUNDLED else name, name) for name in bundled_classifiers()]
    return bundled + public


def change_classifier(name: str, session: Session) -> Iterator[tuple]:
    """Read the same pictures with another classifier; an attack made on the last one stays, to see it transfer.

    While it loads, the status says how far its download is. One that cannot be loaded is refused, and the last stays.
    """
    received: list[tuple[int, int]] = []  # bytes so far, of how many
    with ThreadPoolExecutor(max_workers=1) as pool:
        loading = pool.submit(classifier_for_page, name, lambda *progress: received.append(progress))
        while not wait([loading], timeout=REFRESH).done:
            yield *[gr.skip()] * 6, status(_loading_text(name, received))
    try:
        classifier = loading.result()
    except EXPECTED as error:
        gr.Warning(str(error), duration=20)
        yield session, *[gr.skip()] * 4, session.classifier, status(str(error))
        return
    session = replace(session, purified=None, blocks=(), classifier=name)
    menu = gr.Dropdown(choices=target_choices(classifier.labels), value=ANY)
    text = status(f"Classifier: {classifier.source}{_origin(name, received)}")
    yield session, result_cards(session, classifier), *_no_pyramid(), menu, name, text


def _loading_text(name: str, received: list[tuple[int, int]]) -> str:
    name = html.escape(name.removeprefix("hf-hub:"))
    if not received:
        return f"Loading {name}"
    done, total = (round(count / 1e6) for count in received[-1])
    return f"Downloading {name}: {done} of {total} MB"


def _origin(name: str, received: list[tuple[int, int]]) -> str:
    if not name.strip().startswith("hf-hub:"):
        return ""
    return " (downloaded)" if received else " (from this machine's cache)"


def target_choices(labels: list[str]) -> list[tuple[str, str]]:
    """The menu of what an attack may aim at."""
    return [("Any other diagnosis", ANY), *((full_name(label), label) for label in labels)]


def attack(
    session: Session, method: str, epsilon: int, steps: int, target: str, seed: int, knows: bool, *purifier
) -> Iterator[tuple]:
    """Attack the original, showing the picture on its way; one who ``knows`` attacks through the purifier."""
    need_picture(session)
    classifier, settings = classifier_for_page(session.classifier), attack_from(method, epsilon, steps)
    known = purifier_from(*purifier) if knows else None
    if target != ANY and read(classifier, session.original)[0].top == target:
        raise ValueError(f"The picture is read as {full_name(target).lower()} already: choose another target.")
    total = 1 if method == "fgsm" else settings.steps
    how = Attack(
        settings=settings, target=target, classifier=session.classifier, known=known, seed=SEED.check(seed)
    )  # fmt: skip
    started = shown = time.monotonic()
    for step, adv in enumerate(attack_steps(classifier, session.original, how), 1):
        if 1 < step < total and time.monotonic() - shown < REFRESH:
            continue
        shown = time.monotonic()
        session = replace(session, attacked=adv, attack=how, purified=None, blocks=())
        text = f"Attack: step {step} of {total}{time_left(started, step, total)}"
        yield session, result_cards(session, classifier), *_no_pyramid(), status(text)


def purify(
    session: Session, blocks: int, sigma: float, weight: float, scales: list[float], seed: int
) -> Iterator[tuple]:
    """Purify the attacked picture, or the original where nothing was attacked, showing every stage."""
    need_picture(session)
    classifier, purifier = classifier_for_page(session.classifier), purifier_from(blocks, sigma, weight, scales)
    seed = SEED.check(seed)
    stale, session = session.purified is not None, replace(session, purified=None, blocks=())
    original, attacked = (reading.top for reading in read(classifier, session.original, session.source))
    last_block, rows, drawn = [], [], []
    for stage, cells in purify_stages(classifier, purifier, session.source, seed=seed):
        if stage.block > len(drawn):
            last_block, rows, drawn = [], [], [*drawn, ""]
        last_block.append(stage)
        rows.append(pyramid_row(stage.scale, cells, original, attacked))
        waiting = [pyramid_row(scale, None) for scale in purifier.scales[len(rows) :]]
        caption = f"Block {stage.block} of {purifier.blocks}"
        drawn[-1] = pyramid_table([*rows, *waiting], original=original, attacked=attacked, caption=caption)
        session = replace(session, blocks=tuple(drawn))
        shown = result_cards(session, classifier) if stale else gr.skip()  # the last run's picture goes
        stale = False
        yield session, shown, drawn[-1], _block_menu(len(drawn)), status(f"Purify: {caption.lower()}.")
    purified = merged_picture(purifier, last_block, session.source)
    session = replace(session, purified=purified, purifier=purifier, seed=seed)
    yield session, result_cards(session, classifier), gr.skip(), gr.skip(), status("Purified.")


def attack_from(method: str, epsilon: int, steps: int) -> AttackSettings:
    """The attack that the controls describe; ``epsilon`` in units of 1/255."""
    return AttackSettings(method=method, eps=EPSILON.check(epsilon) / 255, steps=ATTACK_STEPS.check(steps))


def purifier_from(blocks: int, sigma: float, weight: float, scales: list[float] | None) -> Purifier:
    """The purifier that the controls describe; ``sigma`` in units of 1/255."""
    if not isinstance(scales, list) or not all(isinstance(scale, (int, float)) for scale in scales):
        raise ValueError(f"scales must be a list of numbers, and are {scales}.")
    chosen = tuple(sorted((float(scale) for scale in scales), reverse=True))
    sigma, weight = SIGMA.check(sigma) / 255, WEIGHT.check(weight)
    return Purifier(blocks=BLOCKS.check(blocks), sigma=sigma, weight=weight, scales=chosen)


def show_block(session: Session, block: int | None):
    """Look back at a block of the last purification."""
    return session.blocks[block - 1] if block and block <= len(session.blocks) else gr.skip()


def need_picture(session: Session) -> None:
    if session.original is None:
        raise ValueError("Choose a picture first (step 1).")


def _no_pyramid() -> tuple[str, gr.Radio]:
    return NO_PYRAMID, gr.Radio(choices=[], value=None, visible=False)


def _block_menu(count: int) -> gr.Radio:
    return gr.Radio(choices=[(f"Block {n}", n) for n in range(1, count + 1)], value=count, visible=True)
