"""What the buttons of 'Try' do: from the controls' values to an ``Update`` of the page, in the language spoken."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import gradio as gr

from purifier.pictures.files import quantise, read_image
from purifier.readings import mean_of, read
from purifier.runs import ANY, Attack, attack_steps, purified_draws
from purifier.texts import UserError
from purifier.ui.components import LOAD
from purifier.ui.controls import MEAN_DRAWS, SEED, UNKNOWN, attack_from, purifier_from, target_choices
from purifier.ui.events import EXPECTED
from purifier.ui.examples import truth_of
from purifier.ui.heat import heat_maps
from purifier.ui.results import drawn
from purifier.ui.session import Session, classifier_for_page, need_picture
from purifier.ui.status import status, warn, with_time_left
from purifier.ui.updates import Update
from purifier.ui.view import within
from purifier.wording.language import say
from purifier.wording.readings import diagnosis

LOADS = ThreadPoolExecutor(LOAD["concurrency_limit"], "load")  # the download of one who left keeps no handler waiting
REFRESH = 0.3  # seconds between two looks at a running attack or download


def choose(path: str | bytes, session: Session, is_own: bool = True, truth: str | None = None) -> Update:
    """A picture was uploaded or pasted (the visitor's own), or an example chosen, which brings its ``truth``. A bad one
    is refused and the last one stays; otherwise the last one's file goes."""
    try:
        x = read_image(path)
    except (ValueError, OSError) as error:
        return Update(status=warn(error))
    truth, upload = truth if is_own else truth_of(Path(path)), Path(path) if is_own and isinstance(path, str) else None
    if session.upload not in (None, upload):
        session.upload.unlink(missing_ok=True)
    session = Session(original=quantise(x), is_own=is_own, upload=upload, truth=truth, classifier=session.classifier)
    text = say("This is what the classifier reads. Now press Attack it.")
    shown = drawn(session, classifier_for_page(session.classifier))
    return replace(shown, truth=truth or UNKNOWN, source="", status=status(text))


def set_truth(truth: str, session: Session) -> Update:
    """The visitor says what the picture really shows."""
    if (truth or None) == session.truth:
        return Update()
    session = replace(session, truth=truth or None)
    shown = drawn(session, classifier_for_page(session.classifier))
    return replace(shown, attacked_old=gr.skip(), purified_old=gr.skip(), theatre=gr.skip())


def change_classifier(name: str, session: Session) -> Iterator[Update]:
    """Load another classifier, which ``use_classifier`` then takes; meanwhile the status says how far its download is.

    One that cannot be loaded is refused, and the last stays. The download of one who leaves goes on for the next.
    """
    received: list[tuple[int, int]] = []  # bytes so far, of how many
    loading = LOADS.submit(classifier_for_page, name, lambda *progress: received.append(progress))
    while not wait([loading], timeout=REFRESH).done:
        yield Update(status=status(_loading_text(name, received)))
    try:
        source = loading.result().source
    except EXPECTED as error:
        yield Update(classifier=session.classifier, status=warn(error))
        return
    is_other = name != session.classifier  # else a menu was opened and left
    yield Update(classifier=name, status=status(_loaded_text(name, source, received) if is_other else ""))


def use_classifier(name: str, session: Session) -> Update:
    """Read the pictures that are there now with a classifier that is loaded; an attack made on the last one stays, to
    see it transfer."""
    if name == session.classifier:
        return Update()
    classifier = classifier_for_page(name)
    menu = gr.Dropdown(choices=target_choices(classifier.labels), value=ANY)
    return replace(drawn(session.read_by(name), classifier), target=menu)


def _loading_text(name: str, received: list[tuple[int, int]]) -> str:
    name = name.removeprefix("hf-hub:")
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


def attack(
    session: Session, method: str, epsilon: int, steps: int, target: str, seed: int, knows: bool, *purifier
) -> Iterator[Update]:
    """Attack the original, showing the picture on its way; one who ``knows`` attacks through the purifier."""
    need_picture(session)
    classifier, settings = classifier_for_page(session.classifier), attack_from(method, epsilon, steps)
    known = purifier_from(*purifier) if knows else None
    if target != ANY and read(classifier, session.original)[0].top == target:
        name = within(diagnosis(target))
        raise UserError("The picture is read as {diagnosis} already: choose another target.", diagnosis=name)
    total, was_looking = 1 if method == "fgsm" else settings.steps, session.heat is not None
    how = Attack(settings=settings, target=target, classifier=session.classifier, known=known, seed=SEED.check(seed))
    started = shown = time.monotonic()
    for step, adv in enumerate(attack_steps(classifier, session.original, how), 1):
        if 1 < step < total and time.monotonic() - shown < REFRESH:
            continue
        shown = time.monotonic()
        made = replace(how, stopped_after=step if step < total else None)
        text = with_time_left(say("Attack: step {step} of {total}", step=step, total=total), started, step, total)
        session = replace(session.unpurified(), attacked=adv, attack=made)
        is_looking = was_looking and step == total
        if is_looking:
            session = replace(session, heat=heat_maps(session, classifier))
        update = drawn(session, classifier, original_stays=step > 1 and not is_looking)
        yield replace(update, status=status(text))
        session = update.session


def purify(
    session: Session,
    blocks: int,
    sigma: float,
    weight: float,
    scales: list[float],
    denoiser: str,
    seed: int,
    draws: int,
) -> Iterator[Update]:
    """Purify the attacked picture, or the original where nothing was attacked, and read the mean of all draws."""
    need_picture(session)
    purifier = purifier_from(blocks, sigma, weight, scales, denoiser)
    classifier = classifier_for_page(session.classifier)
    seed, draws = SEED.check(seed), MEAN_DRAWS.check(draws)
    was_looking, session = session.heat is not None, session.unpurified()
    text = status(say("Purify: draw {n} of {count}.", n=1, count=draws))
    yield replace(drawn(session, classifier), attacked_old=gr.skip(), status=text)  # the last run's picture goes
    purified, readings = None, []
    for pictures, some in purified_draws(classifier, purifier, session.source, draws=draws, seed=seed):
        purified = pictures[:1] if purified is None else purified
        readings += some
        yield Update(status=status(say("Purify: draw {n} of {count}.", n=len(readings), count=draws)))
    mean = mean_of(readings)
    session = replace(session, purified=purified, purified_reading=mean, purifier=purifier, seed=seed)
    if was_looking:
        session = replace(session, heat=heat_maps(session, classifier))
    shown = drawn(session, classifier)
    yield replace(shown, attacked_old=gr.skip(), status=status(say("Purified.")))
