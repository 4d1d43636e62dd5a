"""What an evaluation measures, with the defaults that the command line shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module

from torch import Generator, Tensor

from purifier.classifiers.classifier import DEFAULT, SURROGATE
from purifier.defences import FAMILIES, Defence, Family, get_defence
from purifier.evaluation.attackers import Attacker, get_attacker
from purifier.runs import Settings

BATCH = 16  # pictures at a time
EPS = (2.0, 8.0)  # in 1/255
TRIALS = 24  # of tuning, for each defence
DETECTORS = ("alarm", "squeezing")  # of attacked pictures: ours, and feature squeezing
COARSE = 28  # cycles a picture: shapes of 8 pixels and more at 224, which no purifier may smooth away


def _art_median(x: Tensor, side: float, generator: Generator | None) -> Tensor:
    from purifier.evaluation import art  # its import takes seconds

    return art.spatial_smoothing(x, int(side))


def _art_tvm(x: Tensor, norm: float, generator: Generator | None) -> Tensor:
    from purifier.evaluation import art

    return art.total_variation(x, norm, generator)


def _diffpure(x: Tensor, sigma: float, generator: Generator | None) -> Tensor:
    # By its name, when it is asked for: its models are those of the trainings, which evaluate and so stand above.
    return import_module("purifier.training.diffpure").diffpure(x, sigma / 255, generator)


OF_OTHERS: dict[str, Family] = {
    "art-median": Family(
        short="ART's SpatialSmoothing", title="ART's SpatialSmoothing, {number:g} pixels a side",
        function=_art_median, exact=False, whole=True, low=2, high=31, default=3, values=(2, 3, 4, 5, 7),
    ),
    "art-tvm": Family(
        short="ART's TotalVarMin", title="ART's TotalVarMin, lambda {number:g}",
        function=_art_tvm, exact=False, random=True, low=0, high=10, default=0.3, values=(0.1, 0.3, 0.5),
    ),
    "diffpure": Family(
        short="DiffPure", title="DiffPure, noise of {number:g}/255",
        function=_diffpure, random=True, low=1, high=128, default=16, values=(4, 8, 16, 24, 32, 48),
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Grid:
    """What a run measures. ``eps`` are in 1/255; defences get their full names, each once. Raises ``ValueError`` for
    names and numbers that mean nothing."""

    classifier: str = DEFAULT
    attacks: tuple[str, ...] = ("pgd20",)
    eps: tuple[float, ...] = EPS
    defences: tuple[str, ...] = ("none", "mdda")
    draws: int = 3
    seed: int = 0
    batch: int = BATCH  # pictures at a time; which noise each gets depends on it
    surrogate: str = SURROGATE  # where the transfer attack is made

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise ValueError(f"draws must be at least 1, and is {self.draws}.")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, and is {self.batch}.")
        check_eps(self.eps)
        kinds = {get_attacker(name).kind for name in self.attacks}
        if self.classifier == self.surrogate and "transfer" in kinds:
            raise ValueError(f"An attack made on {self.surrogate} does not transfer to itself: give another surrogate.")
        defences = {defence.name: defence for defence in map(find_defence, self.defences)}
        object.__setattr__(self, "defences", tuple(defences))  # by their full names, each once
        if any(name.startswith("art-") for name in defences):
            import_module("purifier.evaluation.art")  # where ART is missing, that is said before anything runs
        if "stand-in" in kinds:
            from purifier.evaluation.stand_ins import stand_in_for  # kornia's import takes seconds

            for defence in defences.values():
                stand_in_for(defence)

    def attackers(self) -> list[Attacker]:
        """The attackers; first of all, without being asked for, nobody."""
        return [get_attacker(name) for name in dict.fromkeys(("none", *self.attacks))]


@dataclass(frozen=True, kw_only=True)
class Detection(Grid):
    """What a run of ``detection.py`` measures. Of ``defences`` there is one, the alarm's purifier, and ``draws`` of its
    noise are averaged."""

    attacks: tuple[str, ...] = ("fgsm", "pgd20", "evade20x4", "evade-squeezing20")
    defences: tuple[str, ...] = ("mdda",)
    draws: int = Settings.draws

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.defences) != 1 or self.defences == ("none",):
            raise ValueError(f"An alarm has one purifier, and these are given: {', '.join(self.defences)}.")
        if any(eps % 1 for eps in self.eps):
            raise ValueError(f"Pictures are shown in 8 bits: eps must be whole numbers (in 1/255), and are {self.eps}.")


def check_eps(eps: Sequence[float]) -> None:
    """``ValueError`` for an epsilon, in 1/255, that no attack has."""
    if not eps or not all(0 < value <= 255 for value in eps):
        raise ValueError(f"eps must be positive numbers (in 1/255), at most 255, and are {list(eps)}.")


def families_with(name: str) -> dict[str, Family]:
    """Ours and, where a defence of theirs is asked for, those that need a library or models that few have."""
    return {**FAMILIES, **OF_OTHERS} if name.startswith(tuple(OF_OTHERS)) else FAMILIES


def find_defence(name: str) -> Defence:
    """A defence of any family, by its name."""
    return get_defence(name, families=families_with(name))
