"""What each family of defences keeps under attack at equal cost on clean pictures.

Defences of one strength each are hard to compare: one costs more clean accuracy, another keeps more of it under attack.
But each picture may be given to one of two settings by the toss of a coin, so that all that lies between two settings
can be had as well (Provost & Fawcett, 2001, of ROC curves), and doing nothing is a setting of every family. So every
family keeps something for each number of points of clean accuracy that one is ready to give up. The settings are
chosen on the pictures that they are scored on, MDDA's and its peers' alike, and anew for each of the choices of
pictures that the intervals are over. MDDA's settings are those of any scales, of one alone too (``OF_MDDA``); a peer of
which a run has one setting alone had no choice, and is left out.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from purifier.defences import OF_MDDA, OURS
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.intervals import Score, bootstrap, clusters_of
from purifier.evaluation.settings import families_with, find_defence
from purifier.results.record import Record

BUDGETS = (2.0, 5.0, 10.0)  # points of clean accuracy given up at most


def best_mixture(clean: np.ndarray, attacked: np.ndarray, least: float) -> float:
    """The largest accuracy under attack that settings with these accuracies (S,), or two of them mixed, have at a clean
    accuracy of at least ``least``. Raises ``ValueError`` where none is as accurate as that."""
    enough = clean >= least
    if not enough.any():
        raise ValueError(f"No setting has a clean accuracy of {least}.")
    found = list(attacked[enough])
    for c, a in zip(clean[enough], attacked[enough], strict=True):
        share = (least - clean[~enough]) / (c - clean[~enough])  # of the pictures that the cheaper setting gets
        found += list(share * a + (1 - share) * attacked[~enough])
    return float(max(found))


def at_equal_cost(rows: pd.DataFrame, budgets: Sequence[float] = BUDGETS) -> list[Record]:
    """A record for each oblivious attack with an epsilon, budget and family of defences: its accuracy under attack at
    a clean accuracy of at most ``budget`` points below that without a defence, and by how much MDDA's is ahead.

    Of a run in which MDDA comes in several strengths; of others, nothing.
    """
    families: dict[str, list[str]] = {}
    for name in rows.defence.unique():
        families.setdefault(find_defence(name).family, []).append(name)
    del families["none"]
    if len(families.get("mdda", [])) < 2:
        return []
    families["mdda"] = [name for family in OF_MDDA for name in families.get(family, [])]
    families = {family: names for family, names in families.items() if len(names) > 1 or family in OF_MDDA}
    right = rows.assign(right=(rows.predicted == rows.label).astype(float))
    clean = right[right.attack == "none"].pivot_table("right", "image", "defence")
    lesions = right.drop_duplicates("image").set_index("image").lesion
    attacks = right[(right.threat == "oblivious") & right.eps.notna()]
    return [
        Record(classifier=rows.classifier.iloc[0], attacker=get_attacker(attack), eps=eps, **found)
        for (attack, eps), group in attacks.groupby(["attack", "eps"], sort=False)
        for found in _kept(clean, group.pivot_table("right", "image", "defence"), lesions, families, budgets)
    ]


def _kept(
    clean: pd.DataFrame,
    attacked: pd.DataFrame,
    lesions: pd.Series,
    families: dict[str, list[str]],
    budgets: Sequence[float],
) -> Iterator[dict]:
    """The fields of the records, from accuracies (images, defences) clean and under one attack; ``lesions`` says which
    lesion an image shows."""
    clean = clean.loc[attacked.index]
    clusters = clusters_of(lesions.loc[attacked.index].to_numpy(str), len(attacked))

    both = {
        family: [part[["none", *settings]].to_numpy() for part in (clean, attacked)]
        for family, settings in families.items()
    }  # looked up once, not for each choice of pictures

    def kept(family: str, budget: float, chosen: np.ndarray) -> float:
        means = [part[chosen].mean(axis=0) for part in both[family]]
        return best_mixture(*means, least=means[0][0] - budget / 100)

    def interval(score: Callable[[np.ndarray], float]) -> Score:
        return bootstrap(score, len(attacked), clusters)

    for budget in budgets:
        for family, settings in families.items():
            accuracy = interval(lambda chosen, of=(family, budget): kept(*of, chosen))
            ahead = interval(lambda chosen, of=(family, budget): kept("mdda", of[1], chosen) - kept(*of, chosen))
            yield {
                "defence": family,
                "family": family,
                "defence_title": OURS[family] if family in OURS else families_with(family)[family].short,
                "n": len(attacked),
                "lesions": int(clusters.max() + 1),
                "budget": budget,
                "settings": settings,
                "accuracy": accuracy,
                "mdda_ahead_by": None if family in OF_MDDA else ahead,
            }
