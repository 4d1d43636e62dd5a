"""The result strip of 'Try it': what the classifier reads of the original, the attacked and the purified picture."""

from dataclasses import replace
from html import escape

from purifier.classifiers.classifier import Classifier, measured_scores
from purifier.evaluation.intervals import WHOLE_PERCENT, Score
from purifier.readings import Reading, is_foreign, read
from purifier.runs import amplified
from purifier.ui.session import Session
from purifier.ui.view import card, cards, mark
from purifier.wording.language import say
from purifier.wording.readings import change, headline, together

NOT_MEASURED = "How often this classifier is right was not measured here."


def titles() -> dict[str, str]:
    """What the pictures are called."""
    return {"original": say("Original"), "attacked": say("Attacked"), "purified": say("Purified")}


def result_cards(session: Session, classifier: Classifier) -> str:
    """One line with the readings so far and what they say together; then each picture beside its reading."""
    x, adv, clean = session.original, session.attacked, session.purified
    present = [z for z in (x, adv, clean) if z is not None]
    readings = iter(read(classifier, *present) if present else [])
    of_x, of_adv, of_clean = (next(readings) if z is not None else None for z in (x, adv, clean))
    if of_x is not None:
        of_x = replace(of_x, foreign=is_foreign(classifier, x))
    seen, made, purified = say("Choose a picture in step 1."), say("Press Attack."), say("Press Purify.")
    shown, added = None, say("What an attack adds, made visible.")
    if x is not None:
        side = classifier.size[0]
        seen = say("Its centre square, as the classifier sees it: {side} pixels a side.", side=side)
    if adv is not None:
        made, factor = _made(session), round(0.5 / session.attack.settings.eps)
        shown = amplified(x, adv, factor)
        added = say("What the attack added, {factor} times as strong; grey is no change.", factor=factor)
    if clean is not None:
        purified = change(x, clean)
    names = titles()
    parts = [
        card("original", names["original"], x, seen, of_x),
        card("attacked", names["attacked"], adv, made, of_adv, against=of_x),
        card("perturbation", say("Perturbation"), shown, added),
        card("purified", names["purified"], clean, purified, of_clean, against=of_x),
    ]
    so_far = {"original": of_x, "attacked": of_adv, "purified": of_clean}
    about = f'<p class="lp-note">{_how_good(session.classifier)}</p>'
    return _strip(so_far) + f'<p class="lp-agreement">{_agreement(of_x, of_adv, of_clean)}</p>' + cards(parts) + about


def _made(session: Session) -> str:
    """How large the attack was, and on which classifier it was made where that is another."""
    made = change(session.original, session.attacked)
    if session.attack.classifier != session.classifier:
        made += " " + say("Made on {classifier}.", classifier=session.attack.classifier)
    return made


def _strip(readings: dict[str, Reading | None]) -> str:
    """Original, then attacked, then purified, in one line."""
    labels = list(dict.fromkeys(r.top for name, r in readings.items() if r is not None and name != "purified"))
    names = titles()
    steps = "".join(
        f"<li{'' if r is None else ' class=lp-known'}><small>{names[name]}</small> "
        f"<b>{'&ndash;' if r is None else f'{mark(r, labels)} {escape(headline(r))}'}</b></li>"
        for name, r in readings.items()
    )
    return f'<ol class="lp-strip" aria-label="{escape(say("Readings so far"))}">{steps}</ol>'


def _agreement(original: Reading | None, attacked: Reading | None, purified: Reading | None) -> str:
    """What the readings say together, with a sign where they differ; one line high also where it is empty."""
    found = {reading.top for reading in (original, attacked, purified) if reading is not None}
    sign = '<span class="lp-changed">&#9888;</span> ' if len(found) > 1 else ""
    return sign + together(original, attacked, purified) or "&nbsp;"


def _how_good(name: str) -> str:
    """How often a bundled classifier is right on test pictures that nobody attacked, melanomas first."""
    clean = measured_scores(name)
    if clean is None:
        return say(NOT_MEASURED)
    melanomas, nevi = clean["recall"]["MEL"], clean["recall"]["NV"]
    return say(
        "How often is <b>{classifier}</b> right on clean pictures? Of {melanomas} melanomas of the test split it "
        "recognises <b>{recognised}</b>; of all {images} pictures, {nevi} of which are melanocytic nevi, it reads "
        "{right} rightly. More under <b>About</b>.",
        classifier=name,
        melanomas=melanomas["images"],
        recognised=_percent(melanomas),
        images=clean["images"],
        nevi=nevi["images"],
        right=_percent(clean["accuracy"]),
    )


def _percent(score: dict) -> str:
    return Score.read(score).written(WHOLE_PERCENT)
