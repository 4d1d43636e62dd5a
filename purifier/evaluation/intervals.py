"""95 % intervals: of shares Wilson's, with as many trials as there are lesions, of everything else the bootstrap's over
lesions, since several pictures of one lesion are no independent trials. The cards and the evaluation take them from
here. This needs numpy alone, so that the page can have them too.
"""

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

RESAMPLES = 1000


def wilson(mean: float, count: int) -> dict[str, float]:
    """``mean`` of ``count`` images' values in [0, 1] with Wilson's 95 % interval, which means over draws make a little
    too wide; unlike the bootstrap's it has a width when all values are equal."""
    z = NormalDist().inv_cdf(0.975)
    centre = (mean + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (mean * (1 - mean) / count + (z / (2 * count)) ** 2) ** 0.5
    return {"value": float(mean), "low": float(max(0.0, centre - half)), "high": float(min(1.0, centre + half))}


def bootstrap(
    score: Callable[[np.ndarray], float], count: int, seed: int = 0, clusters: np.ndarray | None = None
) -> dict[str, float]:
    """``score`` of all images' indices, with the 95 % percentile interval over resampled images (Efron, 1979) or, where
    several images belong to one of ``clusters`` (numbers from 0, an image each), over resampled clusters."""
    generator, clusters = np.random.default_rng(seed), np.arange(count) if clusters is None else clusters
    groups, scores = clusters.max() + 1, []
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(groups, size=groups), minlength=groups)
        scores.append(score(np.repeat(np.arange(count), times[clusters])))
    low, high = np.nanquantile(scores, [0.025, 0.975])
    return {"value": float(score(np.arange(count))), "low": float(low), "high": float(high)}


def clusters_of(lesions: Sequence[str] | None, count: int) -> np.ndarray:
    """Each picture's lesion as a number from 0, (count,), in the order of the lesions' names; None: each is its own."""
    return np.arange(count) if lesions is None else np.unique(np.asarray(lesions, str), return_inverse=True)[1]


def share(values: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Mean of values in [0, 1], (images,) or (images, draws), with Wilson's interval for as many trials as clusters."""
    return wilson(values.mean(), len(np.unique(clusters)))


def balanced_share(values: np.ndarray, truth: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Mean over the classes in ``truth`` (images,) of each one's mean of ``values`` (images,), with the bootstrap's."""
    _, codes = np.unique(truth, return_inverse=True)

    def score(chosen: np.ndarray) -> float:
        counts = np.bincount(codes[chosen])
        sums = np.bincount(codes[chosen], weights=values[chosen])
        return float(np.mean(sums[counts > 0] / counts[counts > 0]))

    return bootstrap(score, len(values), clusters=clusters)


def auroc(truth: np.ndarray, scores: np.ndarray, clusters: np.ndarray) -> dict[str, float]:
    """Mean over the draws of the area under the ROC curve of ``scores`` (images, draws) for a boolean ``truth``
    (images,): the share of pairs of one and another that are in the right order (Hanley & McNeil, 1982)."""
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

    return bootstrap(score, len(truth), clusters=clusters)


def flat(name: str, score: dict[str, float] | None) -> dict[str, float | None]:
    """``name``, ``name_low`` and ``name_high`` of a score with its interval; None where there is no score."""
    if score is None or np.isnan(score["value"]):
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: score["value"], f"{name}_low": score["low"], f"{name}_high": score["high"]}
