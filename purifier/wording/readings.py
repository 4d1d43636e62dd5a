"""Readings in words, in the language spoken."""

from torch import Tensor

from purifier.alarm import Alarm
from purifier.classifiers.classifier import measured_scores
from purifier.classifiers.taxonomy import code_of, full_name
from purifier.evaluation.intervals import WHOLE_PERCENT, Score
from purifier.readings import Reading, distance, is_malignant, is_right
from purifier.wording.language import say


def diagnosis(label: str) -> str:
    """Its full name; a label of nobody's but the classifier's as it is."""
    return say(full_name(label))


def headline(reading: Reading) -> str:
    """The likeliest diagnosis and its probability."""
    percent = 100 * reading.probability(reading.top)
    return say("{diagnosis}, {percent:.0f} %", diagnosis=diagnosis(reading.top), percent=percent)


def agreement(original: Reading | None, attacked: Reading | None, purified: Reading | None) -> str:
    """Whether the readings agree, in a sentence; never that one is right, which nobody here can know. Empty for one."""
    found = [reading.top for reading in (original, attacked, purified) if reading is not None]
    if len(found) < 2:
        return ""
    if len(set(found)) == 1:
        return say("The readings agree, which does not make them right.")
    if None not in (original, attacked, purified) and purified.top == original.top:
        return say("The attack changed the reading, and purification brought the original's back. It may be wrong too.")
    return say("The readings disagree: do not trust any one of them.")


def facts(
    original: Reading | None, attacked: Reading | None, purified: Reading | None, truth: str | None
) -> list[tuple[bool, str]]:
    """What attack and purification did to right readings, in sentences, each with whether it is good news; empty where
    the true diagnosis is not known, or no classifier's word."""
    right, hidden, back = (
        None if reading is None else is_right(reading, truth) for reading in (original, attacked, purified)
    )
    if right is None:
        return []
    if not right:
        return [(False, say("The classifier was wrong before anyone attacked."))]
    found = []
    if hidden is None and back is None:
        found.append((True, say("The classifier reads it rightly.")))
    if hidden is False and truth == "MEL" and not is_malignant(code_of(attacked.top)):
        found.append((False, say("The attack hid a melanoma.")))
    elif hidden is False:
        found.append((False, say("The attack hid the right reading: {diagnosis}.", diagnosis=diagnosis(truth))))
    elif hidden:
        found.append((True, say("The attack did not change the right reading.")))
    if back is not None:
        was_right = hidden is not False
        sentences = {
            (False, True): say("Purification brought the right reading back."),
            (False, False): say("Purification did not help."),
            (True, False): say("Purification broke a right reading."),
            (True, True): say("Purification kept the right reading."),
        }
        found.append((back, sentences[was_right, back]))
    return found


def verdict(
    original: Reading | None, attacked: Reading | None, purified: Reading | None, truth: str | None = None
) -> str:
    """What the readings say together: facts where the true diagnosis is known, else whether they agree."""
    said = " ".join(sentence for _, sentence in facts(original, attacked, purified, truth))
    return said or agreement(original, attacked, purified)


def recognition(classifier: str, reading: Reading) -> str:
    """How often a bundled classifier recognises a melanoma, to stand beside a reading of one or of a nevus; empty
    beside others, and where it was not measured."""
    scores = measured_scores(classifier)
    if scores is None or reading.top not in ("MEL", "NV"):
        return ""
    share = Score.read(scores["recall"]["MEL"]).written(WHOLE_PERCENT)
    return say("It recognises {share} of melanomas that nobody attacked.", share=share)


def of_draws(reading: Reading) -> str:
    """How many draws of a purification a reading is the mean of, and how many of them agree; empty for one draw."""
    if reading.draws == 1:
        return ""
    return say(
        "The mean of {draws} draws is read, the first is shown; {agreeing} of {draws} draws alone read as {diagnosis}.",
        draws=reading.draws,
        agreeing=reading.agreeing,
        diagnosis=diagnosis(reading.top),
    )


def suspicion(alarm: Alarm) -> str:
    """Whether a picture looks attacked, and how often clean ones look so, in a sentence or two."""
    if alarm.attacked is None:
        return say(
            "Whether the picture was attacked cannot be said (score {score:.2f}): how often clean pictures score as "
            "high with this classifier, this purifier and so many draws was not measured.",
            score=alarm.score,
        )
    return f"{looks(alarm)} {can_be_evaded()}"


def looks(alarm: Alarm) -> str:
    """The first of these sentences, where the alarm's false alarms were measured."""
    percent = 100 * alarm.false_alarm_rate
    if alarm.attacked:
        return say("What was purified looks attacked; so do {percent:.1f} % of clean pictures.", percent=percent)
    return say(
        "What was purified does not look attacked; {percent:.1f} % of clean pictures look more so.", percent=percent
    )


def can_be_evaded() -> str:
    """What to know of every alarm."""
    return say("An attacker who knows the alarm can evade it.")


def change(x: Tensor, z: Tensor) -> str:
    """How ``z`` differs from the original ``x``."""
    apart = distance(x, z)
    if apart["psnr"] is None:
        return say("It is the original, to the bit.")
    levels, psnr = round(255 * apart["linf"]), apart["psnr"]
    return say("Against the original: at most {levels} of 255 levels; PSNR {psnr:.1f} dB.", levels=levels, psnr=psnr)
