"""Scores and their 95 % intervals: of shares Wilson's, with as many trials as there are lesions, of everything else the
bootstrap's over lesions, since several pictures of one lesion are no independent trials. The cards, the evaluation and
the page take both, and how they are written, from here. This needs numpy alone.

``lesions`` are the names or numbers of the pictures' lesions, (images,); None: each picture is a lesion of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 1000
Lesions = Sequence | np.ndarray | None
FRACTION = "{value:.3f} ({low:.3f} to {high:.3f})"  # 0.770 (0.752 to 0.790)
PERCENT = "{percent:.1f} % ({from_percent:.0f}–{to_percent:.0f})"  # 77.0 % (75–79)
WHOLE_PERCENT = "{percent:.0f} % ({from_percent:.0f}–{to_percent:.0f})"  # 77 % (75–79)


@dataclass(frozen=True, kw_only=True)
class Score:
    """What was measured, with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def read(cls, stored: Mapping) -> "Score":
        """From what JSON held, among other things."""
        return cls(value=stored["value"], low=stored["low"], high=stored["high"])

    def written(self, form: str = FRACTION) -> str:
        """As ``form`` has it: of ``value``, ``low`` and ``high``, or in per cent ``percent``, ``from_percent`` and
        ``to_percent``."""
        percent, low, high = 100 * self.value, 100 * self.low, 100 * self.high
        return form.format(**vars(self), percent=percent, from_percent=low, to_percent=high)


def written(score: Score | float | None, form: str = FRACTION) -> str:
    """``Score.written``; a dash where there is no score, which is None or, in a data frame, NaN."""
    return score.written(form) if isinstance(score, Score) else "–"


def wilson(mean: float, count: int) -> Score:
    """``mean`` of ``count`` images' values in [0, 1] with Wilson's 95 % interval, which means over draws make a little
    too wide; unlike the bootstrap's it has a width when all values are equal."""
    z = NormalDist().inv_cdf(0.975)
    centre = (mean + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (mean * (1 - mean) / count + (z / (2 * count)) ** 2) ** 0.5
    return Score(value=float(mean), low=float(max(0.0, centre - half)), high=float(min(1.0, centre + half)))


def bootstrap(score: Callable[[np.ndarray], float], count: int, lesions: Lesions = None, seed: int = 0) -> Score:
    """``score`` of all images' indices, with the 95 % percentile interval over resampled lesions (Efron, 1979)."""
    generator, clusters = np.random.default_rng(seed), clusters_of(lesions, count)
    groups, scores = clusters.max() + 1, []
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(groups, size=groups), minlength=groups)
        scores.append(score(np.repeat(np.arange(count), times[clusters])))
    low, high = np.nanquantile(scores, [0.025, 0.975])
    return Score(value=float(score(np.arange(count))), low=float(low), high=float(high))


def clusters_of(lesions: Lesions, count: int) -> np.ndarray:
    """Each picture's lesion as a number from 0, (count,), in the order of the lesions' names."""
    return np.arange(count) if lesions is None else np.unique(np.asarray(lesions), return_inverse=True)[1]


def share(values: ArrayLike, lesions: Lesions = None) -> Score:
    """Mean of values in [0, 1], (images,) or (images, draws), with Wilson's interval for as many trials as lesions."""
    values = np.asarray(values, float)
    return wilson(values.mean(), len(np.unique(clusters_of(lesions, len(values)))))


def balanced_share(values: ArrayLike, truth: ArrayLike, lesions: Lesions = None) -> Score:
    """Mean over the classes in ``truth`` (images,) of each one's mean of ``values`` (images,) or (images, draws), with
    the bootstrap's interval."""
    _, codes = np.unique(truth, return_inverse=True)
    values = np.asarray(values, float).reshape(len(codes), -1).mean(axis=1)

    def score(chosen: np.ndarray) -> float:
        counts = np.bincount(codes[chosen])
        sums = np.bincount(codes[chosen], weights=values[chosen])
        return float(np.mean(sums[counts > 0] / counts[counts > 0]))

    return bootstrap(score, len(values), lesions)


def auroc(truth: ArrayLike, scores: ArrayLike, lesions: Lesions = None) -> Score:
    """Mean over the draws of the area under the ROC curve of ``scores``, (images,) or (images, draws), for a boolean
    ``truth`` (images,): the share of pairs of one and another that are in the right order (Hanley & McNeil, 1982)."""
    truth = np.asarray(truth, bool)
    scores = np.asarray(scores).reshape(len(truth), -1)
    with_it, without = scores[truth], scores[~truth]
    ordered = sum(np.sign(a[:, None] - b) for a, b in zip(with_it.T, without.T, strict=True)) / scores.shape[1]
    ordered = ordered / 2 + 0.5  # 1, a half for a tie, 0
    place = np.where(truth, np.cumsum(truth), np.cumsum(~truth)) - 1

    def score(chosen: np.ndarray) -> float:
        is_one = truth[chosen]
        often = np.bincount(place[chosen[is_one]], minlength=len(with_it))
        others = np.bincount(place[chosen[~is_one]], minlength=len(without))
        pairs = often.sum() * others.sum()
        return float(often @ ordered @ others / pairs) if pairs else float("nan")

    return bootstrap(score, len(truth), lesions)
