"""What happens on the page when something is chosen or pressed: from the controls' values to what is drawn, in the
visitor's language."""

import functools
import html
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from dataclasses import replace

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import bundled_classifiers
from purifier.classifiers.hub import PUBLIC
from purifier.classifiers.taxonomy import full_name
from purifier.pictures.files import quantise, read_image, to_picture
from purifier.pipeline import Purifier
from purifier.readings import read
from purifier.runs import ANY, Attack, attack_steps, merged_picture, purify_stages
from purifier.ui.controls import ATTACK_STEPS, BLOCKS, EPSILON, SEED, SIGMA, WEIGHT
from purifier.ui.results import result_cards
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.view import pyramid_row, pyramid_table, within
from purifier.wording.language import ENGLISH, say, say_again, speaking, spoken, wanted
from purifier.wording.readings import diagnosis

EXPECTED = (ValueError, FileNotFoundError, ConnectionError, PermissionError)  # what a visitor can do something about
STOPPED = "Stopped; what was finished stays."
PAUSE = 0.15  # seconds
REFRESH = 0.3  # seconds between two looks at a running attack or download
NO_PYRAMID = '<p class="lp-note">Press Purify to see every scale on its way.</p>'
END = object()  # of a handler's steps


def in_language(handler: Callable) -> Callable:
    """``handler``, every step of it, speaking the language that the visitor's browser asks for.

    Gradio puts the request, which tells it, before the handler's own arguments. Called without one, as in a test,
    the language spoken stays.
    """

    def told(args: tuple) -> tuple[str, tuple]:
        if args and hasattr(args[0], "headers"):
            return wanted(dict(args[0].headers).get("accept-language")), args[1:]
        return spoken(), args

    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def wrapped(*args):
            language, own = told(args)
            with closing(handler(*own)) as steps:
                while True:
                    with speaking(language):  # around each step: Gradio takes them in threads of their own
                        step = next(steps, END)
                    if step is END:
                        return
                    yield step

    else:

        @functools.wraps(handler)
        def wrapped(*args):
            language, own = told(args)
            with speaking(language):
                return handler(*own)

    # Gradio looks for the request in the signature, which functools.wraps takes from the handler.
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    own = inspect.signature(handler)
    wrapped.__signature__ = own.replace(parameters=[request, *own.parameters.values()])
    wrapped.__annotations__ = {**inspect.get_annotations(handler), "request": gr.Request}
    return wrapped


def readable(handler: Callable) -> Callable:
    """``handler`` in the visitor's language; errors that a visitor can do something about become messages, and what is
    on the page stays."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def wrapped(*args):
            with _answered():
                yield from handler(*args)

    else:

        @functools.wraps(handler)
        def wrapped(*args):
            with _answered():
                return handler(*args)

    return in_language(wrapped)


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except EXPECTED as error:
        raise gr.Error(say_again(str(error)), title=say("That did not work"), duration=20) from error


def warn(error: Exception) -> str:
    """Show an error in passing, and give its message to be shown where it stays."""
    message = say_again(str(error))
    gr.Warning(message, duration=20)
    return status(html.escape(message))


def instead(
    event: Callable, running: Sequence[Dependency], handler: Callable, inputs: Sequence[Component],
    outputs: Sequence[Component], *, kept: Component | None = None,
) -> None:  # fmt: skip
    """At ``event`` end what is ``running``; then handle it, waiting for nobody. ``handler`` is a readable one.

    ``kept`` is given the index that the event tells.
    """
    quiet = dict(api_visibility="private", show_progress="hidden")
    first = pause if kept is None else told_index
    ended = event(first, None, kept, cancels=list(running), queue=False, **quiet)
    ended.then(handler, list(inputs), list(outputs), concurrency_id="read", **quiet)


def pause() -> None:
    """Time for the browser to close the stream of what was ended: an answer that comes meanwhile would be lost."""
    time.sleep(PAUSE)


def told_index(event: gr.EventData) -> int:
    pause()
    return event.index


def redraw(
    event: Callable, draw: Callable, inputs: Sequence[Component], outputs: Component | Sequence[Component]
) -> None:
    """``draw`` again at ``event`` what stands on the page in English from the start, for a visitor who speaks another
    language."""

    @functools.wraps(draw)
    def drawn(*args):
        return gr.skip() if spoken() == ENGLISH else draw(*args)

    event(in_language(drawn), inputs, outputs, api_visibility="private", show_progress="hidden", queue=False)


def with_time_left(text: str, started: float, done: int, total: int) -> str:
    """What was done, and how much longer it takes; ``started`` is time.monotonic's."""
    if done >= total:
        return say("{progress}, done.", progress=text)
    seconds = (time.monotonic() - started) / done * (total - done)
    return say("{progress}, {seconds:.0f} s left.", progress=text, seconds=seconds)


def status(text: str) -> str:
    return f'<p role="status" class="lp-status">{text}</p>'


def stopped() -> str:
    return status(say(STOPPED))


def choose(path: str, session: Session, is_own: bool = True):
    """A picture was uploaded or pasted (the visitor's own), or an example chosen. A bad one is refused and the last one
    stays."""
    try:
        x = read_image(path)
    except (ValueError, OSError) as error:
        kept = None if session.original is None else to_picture(session.original)
        return kept, session, gr.skip(), gr.skip(), gr.skip(), warn(error)
    x = quantise(x)
    session = Session(original=x, is_own=is_own, classifier=session.classifier)
    return to_picture(x), *beginning(session), status(say("This is what the classifier reads. Now press Attack."))


def beginning(session: Session) -> tuple:
    """What is drawn of a session before anything was done to its picture, without the status."""
    return session, result_cards(session, classifier_for_page(session.classifier)), *_no_pyramid()


def classifier_choices(translate: Callable = say) -> list[tuple[str, str]]:
    """The menu of classifiers: the bundled ones, then public ones on the Hub."""
    bundled = {  # the menu is narrow
        "augmented": translate("augmented: the default"),
        "robust": translate("robust: attack-trained"),
        "standard": translate("standard: ordinary"),
        "surrogate": translate("surrogate: a ResNet"),
    }
    gated = translate("gated")
    public = [
        (f"{repository} (Hub, {about.format}{f', {gated}' if about.gated else ''})", f"hf-hub:{repository}")
        for repository, about in PUBLIC.items()
    ]
    return [(str(bundled.get(name, name)), name) for name in bundled_classifiers()] + public


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
        yield session, *[gr.skip()] * 4, session.classifier, warn(error)
        return
    session = replace(session, purified=None, blocks=(), classifier=name)
    menu = gr.Dropdown(choices=target_choices(classifier.labels), value=ANY)
    text = _loaded_text(name, classifier.source, received)
    yield session, result_cards(session, classifier), *_no_pyramid(), menu, name, status(text)


def _loading_text(name: str, received: list[tuple[int, int]]) -> str:
    name = html.escape(name.removeprefix("hf-hub:"))
    if not received:
        return say("Loading {classifier}", classifier=name)
    done, total = (round(count / 1e6) for count in received[-1])
    return say("Downloading {classifier}: {done} of {total} MB", classifier=name, done=done, total=total)


def _loaded_text(name: str, source: str, received: list[tuple[int, int]]) -> str:
    if not name.strip().startswith("hf-hub:"):
        return say("Classifier: {classifier}", classifier=source)
    if received:
        return say("Classifier: {classifier} (downloaded)", classifier=source)
    return say("Classifier: {classifier} (from this machine's cache)", classifier=source)


def target_choices(labels: list[str], translate: Callable = say) -> list[tuple[str, str]]:
    """The menu of what an attack may aim at."""
    return [
        (str(translate("Any other diagnosis")), ANY),
        *((str(translate(full_name(label))), label) for label in labels),
    ]


def attack(
    session: Session, method: str, epsilon: int, steps: int, target: str, seed: int, knows: bool, *purifier
) -> Iterator[tuple]:
    """Attack the original, showing the picture on its way; one who ``knows`` attacks through the purifier."""
    need_picture(session)
    classifier, settings = classifier_for_page(session.classifier), attack_from(method, epsilon, steps)
    known = purifier_from(*purifier) if knows else None
    if target != ANY and read(classifier, session.original)[0].top == target:
        name = within(diagnosis(target))
        raise ValueError(say("The picture is read as {diagnosis} already: choose another target.", diagnosis=name))
    total = 1 if method == "fgsm" else settings.steps
    how = Attack(
        settings=settings, target=target, classifier=session.classifier, known=known, seed=SEED.check(seed)
    )  # fmt: skip
    started = shown = time.monotonic()
    for step, adv in enumerate(attack_steps(classifier, session.original, how), 1):
        if 1 < step < total and time.monotonic() - shown < REFRESH:
            continue
        shown = time.monotonic()
        made = replace(how, stopped_after=step if step < total else None)
        session = replace(session, attacked=adv, attack=made, purified=None, blocks=())
        text = with_time_left(say("Attack: step {step} of {total}", step=step, total=total), started, step, total)
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
        caption = say("Block {n} of {count}", n=stage.block, count=purifier.blocks)
        drawn[-1] = pyramid_table([*rows, *waiting], original=original, attacked=attacked, caption=caption)
        session = replace(session, blocks=tuple(drawn))
        shown = result_cards(session, classifier) if stale else gr.skip()  # the last run's picture goes
        stale = False
        text = say("Purify: block {n} of {count}.", n=stage.block, count=purifier.blocks)
        yield session, shown, drawn[-1], _block_menu(len(drawn)), status(text)
    purified = merged_picture(purifier, last_block, session.source)
    session = replace(session, purified=purified, purifier=purifier, seed=seed)
    yield session, result_cards(session, classifier), gr.skip(), gr.skip(), status(say("Purified."))


def attack_from(method: str, epsilon: int, steps: int) -> AttackSettings:
    """The attack that the controls describe; ``epsilon`` in units of 1/255."""
    return AttackSettings(method=method, eps=EPSILON.check(epsilon) / 255, steps=ATTACK_STEPS.check(steps))


def purifier_from(blocks: int, sigma: float, weight: float, scales: list[float] | None) -> Purifier:
    """The purifier that the controls describe; ``sigma`` in units of 1/255."""
    if not isinstance(scales, list) or not all(isinstance(scale, (int, float)) for scale in scales):
        raise ValueError(say("scales must be a list of numbers, and are {scales}.", scales=scales))
    chosen = tuple(sorted((float(scale) for scale in scales), reverse=True))
    sigma, weight = SIGMA.check(sigma) / 255, WEIGHT.check(weight)
    return Purifier(blocks=BLOCKS.check(blocks), sigma=sigma, weight=weight, scales=chosen)


def show_block(session: Session, block: int | None):
    """Look back at a block of the last purification."""
    return session.blocks[block - 1] if block and block <= len(session.blocks) else gr.skip()


def need_picture(session: Session) -> None:
    if session.original is None:
        raise ValueError(say("Choose a picture first (step 1)."))


def _no_pyramid() -> tuple[str, gr.Radio]:
    return say(NO_PYRAMID), gr.Radio(choices=[], value=None, visible=False)


def _block_menu(count: int) -> gr.Radio:
    choices = [(say("Block {n}", n=n), n) for n in range(1, count + 1)]
    return gr.Radio(choices=choices, value=count, visible=True)
