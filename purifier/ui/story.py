"""What the page opens with: an example that was attacked and restored, for real, by the default settings."""

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Lock

from purifier.attacks import AttackSettings
from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.pictures.files import quantise, read_image
from purifier.pipeline import Purifier
from purifier.readings import is_right, read
from purifier.runs import Attack, Settings, attack_steps, mean_reading, purified_picture
from purifier.ui.controls import UNKNOWN
from purifier.ui.examples import BUNDLED, example_files, truth_of
from purifier.ui.results import drawn, with_original_read
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.status import status
from purifier.ui.updates import Update
from purifier.wording.language import say

_lock = Lock()  # visitors who come while it is made wait for it


def open_page(session: Session) -> Iterator[Update]:
    """The story, for a visitor who has nothing yet."""
    if session.original is not None:
        return
    yield Update(status=status(say("An example is being attacked and purified.")))
    with _lock:
        told = story()
    shown = drawn(told, classifier_for_page(told.classifier))
    text = say("An example that purification restores, with the default settings. Now try your own.")
    if told.original is None:
        text = say("Choose a picture.")
    yield replace(shown, truth=told.truth or UNKNOWN, status=status(text))


@functools.cache
def story() -> Session:
    """The first bundled example, malignant diagnoses before the others and both in the order of ISIC 2019, that is read
    rightly, made benign (or malignant, where it is not) by the default attack, and brought back by the default
    purifier. Empty where none is."""
    files = sorted(example_files(BUNDLED), key=lambda path: not DIAGNOSES[truth_of(path)].malignant)
    return next((found for path in files if (found := _restored(path)) is not None), Session())


def _restored(path: Path) -> Session | None:
    settings, attack, purifier = Settings(), Attack(settings=AttackSettings()), Purifier()
    classifier, truth = classifier_for_page(settings.classifier), truth_of(path)
    x = quantise(read_image(path))
    if not is_right(read(classifier, x)[0], truth):
        return None
    *_, adv = attack_steps(classifier, x, attack)
    if DIAGNOSES[read(classifier, adv)[0].top].malignant == DIAGNOSES[truth].malignant:
        return None
    mean = mean_reading(classifier, purifier, adv, draws=settings.draws, seed=settings.seed)
    if not is_right(mean, truth):
        return None
    told = Session(
        original=x,
        truth=truth,
        attacked=adv,
        attack=attack,
        purified=purified_picture(purifier, adv, seed=settings.seed),
        purified_reading=mean,
        purifier=purifier,
        seed=settings.seed,
        classifier=settings.classifier,
    )
    return with_original_read(told, classifier)  # once for all visitors
