"""The ranges of the page's controls, which its API keeps too: one call must not hold everyone's queue."""

from dataclasses import dataclass

from purifier.runs import MAX_SEED
from purifier.wording.language import say


@dataclass(frozen=True)
class Range:
    """What a number on the page may be."""

    name: str
    low: float
    high: float
    step: float

    def check(self, value: float | None) -> float:
        """``value`` as a whole number where the step is one; ``ValueError`` for an empty field, for what is no such
        number, and outside the range."""
        whole = isinstance(self.step, int)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        values = dict(name=say(self.name), low=self.low, high=self.high, value=value)
        if not is_number or not self.low <= value <= self.high:
            raise ValueError(say("{name} must be a number from {low} to {high}, and is {value}.", **values))
        if whole and value != int(value):
            raise ValueError(say("{name} must be a whole number from {low} to {high}, and is {value}.", **values))
        return int(value) if whole else float(value)


EPSILON = Range("Epsilon, in 1/255", 1, 16, 1)  # whole levels, so that an 8-bit picture keeps the bound
ATTACK_STEPS = Range("Attack steps", 1, 100, 1)
BLOCKS = Range("Blocks", 1, 6, 1)
SIGMA = Range("Noise sigma, in 1/255", 0, 32, 0.5)
WEIGHT = Range("Denoising weight", 0, 0.1, 0.0025)
DRAWS = Range("Purifications of each picture", 8, 400, 1)
SMOOTHING = Range("Smoothing noise, in 1/255", 4, 64, 1)
CERTIFY_SAMPLES = Range("Noisy draws", 50, 2000, 1)
COMPARE_DRAWS = Range("Draws", 1, 50, 1)
SEED = Range("Seed", 0, MAX_SEED, 1)
