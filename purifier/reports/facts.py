"""What a report tells of a run: how its pictures are read, and its record for JSON."""

import json
import platform
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

from torch import Tensor

from purifier import __version__
from purifier.alarm import Alarm
from purifier.classifiers.classifier import Classifier, digest_of, folder_of
from purifier.denoiser import digest_of_weights
from purifier.readings import Reading, distance, is_out_of_distribution
from purifier.runs import Run, hash_of

NOTICE = "Research and teaching; not a medical device."
LIBRARIES = ("torch", "torchvision", "timm", "numpy")


@dataclass(frozen=True, eq=False)
class Facts:
    """All that a report tells: the run, how its pictures are read, and the record."""

    run: Run
    readings: dict[str, Reading]  # by the names of ``run.pictures()``
    record: dict
    alarm: Alarm | None = None  # of what was purified


def record(
    run: Run, classifier: Classifier, *, attacker: Classifier | None = None, made: datetime | None = None
) -> dict:
    """What a run was made of and what came of it, for JSON; ``Settings.from_json`` finds the settings in it.

    ``attacker`` is the attack's classifier where that is another, and only tells its revision on the Hub. ``made`` is
    the time, now if there is none.
    """
    return facts_of(run, classifier, attacker, made).record


def facts_of(run: Run, classifier: Classifier, attacker: Classifier | None, made: datetime | None) -> Facts:
    """What a report tells. Arguments as of ``record``."""
    readings = run.readings(classifier)
    readings["original"] = replace(
        readings["original"], out_of_distribution=is_out_of_distribution(classifier, run.original)
    )
    made = (made or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    alarm = run.alarm(classifier, readings)
    found = _record(run, readings, classifier, attacker, made)
    if alarm is not None:
        found["alarm"] = {**asdict(alarm), "attacked": alarm.attacked}
    return Facts(run, readings, found, alarm)


def _record(
    run: Run, readings: dict[str, Reading], classifier: Classifier, attacker: Classifier | None, made: str
) -> dict:
    settings, libraries = run.settings, {name: version(name) for name in LIBRARIES}
    found = {
        "notice": NOTICE,
        "settings": asdict(settings),
        "made": made,
        "versions": {"lesion-purifier": __version__, "python": platform.python_version(), **libraries},
        "device": str(classifier.mean.device),
        "classifier": _origin(settings.classifier, classifier.source),
        "pictures": {name: _picture(x, readings[name]) for name, x in run.pictures().items()},
        "out_of_distribution": readings["original"].out_of_distribution,
    }
    if settings.attack is not None and settings.attack.classifier != settings.classifier:
        name = settings.attack.classifier
        found["attacker"] = _origin(name, name if attacker is None else attacker.source)
    if settings.is_learned:
        found["denoiser"] = {"weights_sha256": digest_of_weights()}
    if run.truth is not None:
        found["known_diagnosis"] = run.truth
    if run.purified is not None:
        reading = readings["purified"]
        found["pictures"]["purified"] |= {"draws": reading.draws, "agreeing": reading.agreeing}
    for key, x in (("perturbation", run.attacked), ("purified_against_original", run.purified)):
        if x is not None:
            found[key] = distance(run.original, x)
    return found


def _origin(name: str, source: str) -> dict[str, str]:
    """Which weights a name stands for: those of a Hub repository have a revision, those of a folder a digest."""
    found = {"name": name, "source": source}
    return found if source.startswith("hf-hub:") else {**found, "weights_sha256": digest_of(folder_of(source))}


def _picture(x: Tensor, reading: Reading) -> dict:
    height, width = x.shape[-2:]
    return {
        "sha256": hash_of(x),
        "size": [width, height],
        "reading": dict(zip(reading.labels, reading.probabilities.tolist(), strict=True)),
        "top": reading.top,
        "unsure": reading.unsure,
    }


def as_json(facts: Facts) -> str:
    """The record as text."""
    return json.dumps(facts.record, indent=2, ensure_ascii=False) + "\n"
