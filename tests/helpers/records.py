"""Made-up results, and copies of stored runs."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from purifier.defences import split_name
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.intervals import Score
from purifier.files import ASSETS
from purifier.results.detection import Detected
from purifier.results.record import Record


def record(defence, attack="pgd20", eps=2.0, accuracy=0.5, ahead=None, **more) -> Record:
    """Of attackers and defences whose titles are their names; intervals reach 0.1 to both sides."""
    family, number, _ = split_name(defence)
    about = {"classifier": "augmented", "n": 104, "lesions": 80, "draws": 2, "attack_seconds_per_image": 1.0} | more
    return Record(
        **{"defence_title": defence, "choice": f"{about['n']} pictures", "seconds_per_image": 0.25} | about,
        attacker=replace(get_attacker(attack), words=attack),
        eps=None if attack == "none" else eps,
        defence=defence,
        family=family,
        number=number,
        accuracy=around(accuracy),
        mdda_ahead_by=None if ahead is None else around(ahead),
    )


def around(value: float) -> Score:
    return Score(value=value, low=value - 0.1, high=value + 0.1)


def detected(detector="alarm", attack="pgd20", eps=2.0, area=0.9, share=0.6, **more) -> Detected:
    """Of 80 pictures; intervals reach 0.1 to both sides. Of clean pictures only the share that is called attacked."""
    about = dict(classifier="augmented", detector=detector, attack=attack, n=80, lesions=70, draws=4) | more
    if attack == "none":
        return Detected(**about, eps=None, called=around(share))
    return Detected(**about, eps=eps, auroc=around(area), detected=around(share))


def store_detection(folder: Path, found: Iterable[Detected]) -> None:
    """As ``purifier detect`` leaves it."""
    folder.mkdir(parents=True)
    stored = [asdict(one) | {"draws": None} for one in found]
    (folder / "summary.json").write_text(json.dumps(stored), encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps({"draws": 4}), encoding="utf-8")


def copy_runs(assets: Path, *runs: str) -> None:
    """Stored runs of ``assets/evaluation`` into other assets."""
    for run in runs:
        shutil.copytree(ASSETS / "evaluation" / run, assets / "evaluation" / run)
