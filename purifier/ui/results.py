"""The result strip of 'Try it': what the classifier reads of the original, the attacked and the purified picture."""

from dataclasses import replace

from purifier.classifiers.classifier import Classifier, measured_scores
from purifier.evaluation.intervals import WHOLE_PERCENT, Score
from purifier.readings import is_out_of_distribution
from purifier.runs import amplified
from purifier.templates import Markup, render, say_html
from purifier.ui.session import Session
from purifier.wording.language import say
from purifier.wording.readings import agreement, change

NOT_MEASURED = "How often this classifier is right was not measured here."


def titles() -> dict[str, str]:
    """What the pictures are called."""
    return {"original": say("Original"), "attacked": say("Attacked"), "purified": say("Purified")}


def result_cards(session: Session, classifier: Classifier) -> Markup:
    """One line with the readings so far and what they say together; then each picture beside its reading."""
    x, adv, clean = session.original, session.attacked, session.purified
    readings = dict.fromkeys(("original", "attacked", "purified"))
    if x is not None:
        readings |= session.run.readings(classifier)
        readings["original"] = replace(readings["original"], out_of_distribution=is_out_of_distribution(classifier, x))
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
    found = {name: reading.top for name, reading in readings.items() if reading is not None}
    return render(
        "results.html",
        titles=names,
        readings=readings,
        labels=list(dict.fromkeys(top for name, top in found.items() if name != "purified")),
        differ=len(set(found.values())) > 1,
        agreement=agreement(*readings.values()),
        cards=[
            ("original", names["original"], x, seen),
            ("attacked", names["attacked"], adv, made),
            ("perturbation", say("Perturbation"), shown, added),
            ("purified", names["purified"], clean, purified),
        ],
        about=_how_good(session.classifier),
    )


def _made(session: Session) -> str:
    """How large the attack was, and on which classifier it was made where that is another."""
    made = change(session.original, session.attacked)
    if session.attack.classifier != session.classifier:
        made += " " + say("Made on {classifier}.", classifier=session.attack.classifier)
    return made


def _how_good(name: str) -> str:
    """How often a bundled classifier is right on test pictures that nobody attacked, melanomas first."""
    clean = measured_scores(name)
    if clean is None:
        return say(NOT_MEASURED)
    melanomas, nevi = clean["recall"]["MEL"], clean["recall"]["NV"]
    return say_html(
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
