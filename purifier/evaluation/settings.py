"""What an evaluation measures, with the defaults that the command line shows."""

from dataclasses import dataclass

from purifier.classifiers import DEFAULT, SURROGATE
from purifier.defences import FAMILIES, Defence, get_defence
from purifier.evaluation.attackers import Attacker, get_attacker

EPS = (2.0, 8.0)  # in 1/255
TRIALS = 24  # of tuning, for each defence
COARSE = 28  # cycles a picture: shapes of 8 pixels and more at 224, which no purifier may smooth away


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a run measures. ``eps`` are in 1/255. Raises ``ValueError`` for names and numbers that mean nothing."""

    classifier: str = DEFAULT
    attacks: tuple[str, ...] = ("pgd20",)
    eps: tuple[float, ...] = EPS
    defences: tuple[str, ...] = ("none", "mdda")
    draws: int = 3
    seed: int = 0
    surrogate: str = SURROGATE  # where the transfer attack is made

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, and is {self.draws}.")
        if not self.eps or min(self.eps) <= 0:
            raise ValueError(f"eps must be positive numbers (in 1/255), and are {list(self.eps)}.")
        for attack in self.attacks:
            get_attacker(attack)
        for defence in self.defences:
            find_defence(defence)

    def attackers(self) -> list[Attacker]:
        """The attackers; first of all, without being asked for, nobody."""
        return [get_attacker(name) for name in dict.fromkeys(("none", *self.attacks))]


def find_defence(name: str) -> Defence:
    """A defence of ours or of ART's, which is imported only where it is asked for."""
    if not name.startswith("art-"):
        return get_defence(name)
    from purifier.evaluation import art

    return get_defence(name, families={**FAMILIES, **art.FAMILIES})
