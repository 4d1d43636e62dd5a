"""Made-up results."""

from dataclasses import replace

from purifier.defences import split_name
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.intervals import Score
from purifier.results.record import Record


def record(defence, attack="pgd20", eps=2.0, accuracy=0.5, ahead=None, **more) -> Record:
    """Of attackers and defences whose titles are their names; intervals reach 0.1 to both sides."""
    family, number, _ = split_name(defence)
    about = {"classifier": "augmented", "n": 104, "draws": 2, "attack_seconds_per_image": 1.0} | more
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
