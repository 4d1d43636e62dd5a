"""The row of cards of 'Try': the original, the attacked and the purified picture, each with its reading, and the
verdict."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from purifier.alarm import Alarm
from purifier.classifiers.classifier import Classifier, measured_scores
from purifier.evaluation.intervals import WHOLE_PERCENT, Score
from purifier.figures import heat_colours
from purifier.pictures.files import quantise
from purifier.readings import Reading, is_out_of_distribution, is_right, read
from purifier.runs import Attack, amplification, perturbation
from purifier.templates import Markup, macros, say_html
from purifier.ui.session import Session
from purifier.ui.status import status
from purifier.ui.updates import Update
from purifier.ui.view import within
from purifier.wording.language import say
from purifier.wording.readings import agreement, can_be_evaded, change, diagnosis, facts, looks
from purifier.wording.runs import so_far

NOT_MEASURED = "How often this classifier is right was not measured here."


def titles() -> dict[str, str]:
    """What the pictures are called."""
    return {"original": say("Original"), "attacked": say("Attacked"), "purified": say("Purified")}


def drawn(session: Session, classifier: Classifier, *, original_stays: bool = False) -> Update:
    """All that the page shows of a session: its verdict and cards; nothing is marked as old, and no report or
    theatre of another session stays. Where the ``original_stays``, with what is said of its classifier, neither is
    drawn again."""
    readings, alarm = dict.fromkeys(titles()), None
    if session.original is not None:
        session = with_original_read(session, classifier)
        readings |= {"original": session.original_reading, "purified": session.purified_reading}
        if session.attacked is not None:
            (readings["attacked"],) = read(classifier, session.attacked)
        alarm = session.run.alarm(classifier, readings)
    of_original = {}
    if not original_stays:
        of_original = dict(
            original_card=_card("original", session.original, readings, session, say("Choose a picture.")),
            about=Markup('<p class="lp-note">{}</p>').format(_how_good(session.classifier)),
        )
    return Update(
        session=session,
        verdict=_verdict(readings, session.truth, session.attack),
        attacked_card=_card("attacked", session.attacked, readings, session, say("Press Attack it.")),
        purified_card=_card("purified", session.purified, readings, session, say("Press Purify it."), alarm),
        attacked_old="",
        purified_old="",
        looking=session.heat is not None,
        theatre="",
        report="",
        report_status=status(""),
        **of_original,
    )


def with_original_read(session: Session, classifier: Classifier) -> Session:
    """With the original's reading, which is made where there is none yet."""
    if session.original_reading is not None:
        return session
    (reading,) = read(classifier, session.original)
    unlike = is_out_of_distribution(classifier, session.original)
    return replace(session, original_reading=replace(reading, out_of_distribution=unlike))


def _verdict(readings: dict[str, Reading | None], truth: str | None, attack: Attack | None) -> Markup:
    sentences = facts(*readings.values(), truth)
    if not sentences and (said := agreement(*readings.values())):
        tops = {reading.top for reading in readings.values() if reading is not None}
        sentences = [(len(tops) == 1, said)]
    if attack is not None and attack.stopped_after is not None and sentences:  # it goes on, or was stopped
        (is_good, first), *rest = sentences
        sentences = [(is_good, f"{so_far(attack)} {first}"), *rest]
    return macros("results.html").verdict(sentences)


def _card(
    name: str,
    x: Tensor | None,
    readings: dict[str, Reading | None],
    session: Session,
    hint: str,
    alarm: Alarm | None = None,
) -> Markup:
    reading, original = readings[name], readings["original"]
    views, notes = [], []
    if name == "original" and x is not None:
        notes.append(say("Its centre square, as the classifier sees it: {side} pixels a side.", side=x.shape[-1]))
    elif x is not None:
        notes.append(change(session.original, x))
    if name == "attacked" and x is not None:
        views = _perturbation(session)
        if session.attack.classifier != session.classifier:
            notes.append(say("Made on {classifier}.", classifier=session.attack.classifier))
    known = alarm is not None and alarm.attacked is not None
    if known:
        notes.append(can_be_evaded())
    return macros("results.html").card(
        name,
        titles()[name],
        x,
        reading,
        hint=hint,
        against=None if name == "original" else original,
        right=None if reading is None else is_right(reading, session.truth),
        views=views,
        note=" ".join(notes),
        classifier=session.classifier,
        alarm=looks(alarm) if known else "",
        heat=None if session.heat is None or x is None else _heat(titles()[name], x, session.heat[name], reading.top),
    )


@dataclass(frozen=True, eq=False)
class Heat:
    """Where the classifier looks on a picture, which is in grey, for what; and the colours from 0 to 1 on mid-grey."""

    picture: Tensor
    alt: str
    what: str
    colours: Tensor


def _heat(title: str, x: Tensor, found: Tensor, label: str) -> Heat:
    what = within(diagnosis(label))
    if found.max() == 0:
        text = say(
            "{title} picture: the network's last features spoke nowhere for {diagnosis}", title=title, diagnosis=what
        )
    else:
        row, column = divmod(int(found.argmax()), found.shape[-1])
        text = say(
            "{title} picture: the network's last features spoke for {diagnosis} most at {across:.0f} % from the left "
            "and {down:.0f} % from the top",
            title=title,
            diagnosis=what,
            across=100 * (column + 0.5) / found.shape[-1],
            down=100 * (row + 0.5) / found.shape[-2],
        )
    return Heat(
        picture=quantise((x.mean(dim=1, keepdim=True) + heat_colours(found)) / 2),
        alt=text,
        what=say("for {diagnosis}", diagnosis=what),
        colours=quantise((0.5 + heat_colours(torch.linspace(0, 1, 64).expand(1, 1, 8, 64))) / 2),
    )


def _perturbation(session: Session) -> list[tuple[str, str, Tensor]]:
    """What the attack added, alone on grey and on the lesion in grey, so much stronger that its structure shows."""
    run = session.run
    alone = perturbation(run)
    lesion = run.original.mean(dim=1, keepdim=True).expand_as(alone)
    return [
        ("alone", say("Change × {factor}", factor=amplification(run)), alone),
        ("on-lesion", say("on lesion"), quantise((lesion + alone) / 2)),
    ]


def _how_good(name: str) -> str:
    """How often a bundled classifier is right on test pictures that nobody attacked, melanomas first."""
    clean = measured_scores(name)
    if clean is None:
        return say(NOT_MEASURED)
    melanomas, nevi = clean["recall"]["MEL"], clean["recall"]["NV"]
    return say_html(
        "How often is the classifier <b>{classifier}</b> right on clean pictures? Of {melanomas} melanomas of the "
        "test split it recognises <b>{recognised}</b>; of all {images} pictures, {nevi} of which are melanocytic nevi, "
        "it reads {right} rightly. More under <b>About</b>.",
        classifier=name,
        melanomas=melanomas["images"],
        recognised=_percent(melanomas),
        images=clean["images"],
        nevi=nevi["images"],
        right=_percent(clean["accuracy"]),
    )


def _percent(score: dict) -> str:
    return Score.read(score).written(WHOLE_PERCENT)
