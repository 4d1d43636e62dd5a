"""From the rows of a run to records with intervals, a table and plots. The home of pandas, with grid.py."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.intervals import auroc, balanced_share, bootstrap, clusters_of, flat, share
from purifier.evaluation.settings import find_defence
from purifier.figures import save_figure
from purifier.files import write_atomically
from purifier.results.plots import plot_convergence, plot_epsilon, plot_grid, plot_tradeoffs
from purifier.results.tables import ENOUGH, at_equal_cost_table, sources_table, table
from purifier.results.tradeoff import at_equal_cost

BENIGN = [code for code, diagnosis in DIAGNOSES.items() if not diagnosis.malignant]
MELANOMA = "MEL"
TOGETHER = ["classifier", "attack", "eps", "threat", "defence"]
SCORES = (
    "accuracy", "balanced_accuracy", "worst_of_draws", "majority", "melanoma_sensitivity", "melanoma_specificity",
    "melanoma_auroc", "recovered", "broken", "melanoma_made_benign", "mdda_ahead_by",
)  # fmt: skip


def write_summary(rows: pd.DataFrame, out: Path) -> list[dict]:
    """Write ``summary.json``, ``table.md`` and the plots (PNG and SVG) of a run's rows to ``out``, and where MDDA comes
    in several strengths ``tradeoff.json``, and of pictures from several sources ``sources.json``; the records."""
    records, equal_cost, sources = summarise(rows), at_equal_cost(rows), by_source(rows)
    for name, what in (("summary", records), ("tradeoff", equal_cost), ("sources", sources)):
        if what:
            text = json.dumps(what, indent=2, allow_nan=False) + "\n"
            write_atomically(out / f"{name}.json", text.encode())
    write_atomically(
        out / "table.md", (table(records) + at_equal_cost_table(equal_cost) + sources_table(sources)).encode()
    )
    figures = {
        "accuracy": plot_grid(records),
        "epsilon": plot_epsilon(records),
        "convergence": plot_convergence(records),
    }
    figures |= plot_tradeoffs(records)
    for name, figure in figures.items():
        if figure is not None:
            save_figure(figure, out / name)
    return records


def summarise(rows: pd.DataFrame) -> list[dict]:
    """A record for each classifier, attack, epsilon and defence: the scores with 95 % intervals.

    Intervals are Wilson's, with as many trials as there are lesions, and of ``balanced_accuracy``, ``melanoma_auroc``
    and ``mdda_ahead_by`` the bootstrap's over lesions: several pictures of one are no independent trials. Scores are
    means over the draws, but for ``worst_of_draws`` (right in every draw) and ``majority`` (of the draws' answers, ties
    drawn by lot). ``constant_accuracy``: of the constant answer that is right most often. ``recovered``: right behind
    the defence, of the pictures that the attack changed from right to wrong. ``broken``: wrong behind the defence, of
    the pictures that are read right without one, on clean pictures; ``melanoma_made_benign`` of the melanomas among
    these, read as benign. ``mdda_ahead_by``: MDDA's accuracy minus this defence's, on the same pictures. What cannot be
    said is None.
    """
    undefended = rows[rows.defence == "none"]
    clean = undefended[(undefended.attack == "none") & (undefended.draw == 0)].set_index("image")
    groups = {
        tuple(None if pd.isna(part) else part for part in key): group
        for key, group in rows.groupby(TOGETHER, sort=False, dropna=False)
    }
    records = []
    for key, group in groups.items():
        images = Images(group)
        record = dict(zip(TOGETHER, key, strict=True))
        record |= {
            "attack_title": get_attacker(record["attack"]).title,
            "defence_title": find_defence(record["defence"]).title,
        }
        record |= {"n": images.count, "lesions": images.lesions, "draws": int(group.draws.iloc[0])}
        record["constant_accuracy"] = float(pd.Series(images.truth).value_counts(normalize=True).max())
        scores = images.scores()
        was_right = (clean.predicted == clean.label).reindex(images.names).to_numpy()
        if record["attack"] == "none":
            scores["broken"] = images.share(~images.right, was_right)
            melanoma = was_right & (images.truth == MELANOMA)
            scores["melanoma_made_benign"] = images.share(images.benign, melanoma)
        else:
            fooled = groups.get((*key[:4], "none"))
            if record["threat"] == "oblivious" and fooled is not None:
                scores["recovered"] = images.share(images.right, was_right & ~Images(fooled).right[:, 0])
        ours = groups.get((*key[:4], "mdda"))
        if ours is not None and key[4] != "mdda":
            scores["mdda_ahead_by"] = Images(ours).ahead_of(images)
        for name in SCORES:
            record |= flat(name, scores.get(name))
        for name in ("psnr", "ssim", "linf", "l2", "l2_coarse"):
            values = group[name].replace([np.inf], np.nan)  # the PSNR of what was not changed
            record[name] = None if values.isna().all() else float(values.mean())
        record["seconds_per_image"] = float(group.seconds.mean())
        record["attack_seconds_per_image"] = float(group.attack_seconds.mean())
        record["peak_memory_mb"] = float(group.peak_memory_mb.iloc[0])
        records.append(record)
    return records


def by_source(rows: pd.DataFrame) -> list[dict]:
    """A record of accuracy for each source of pictures, oblivious attack, epsilon and defence, with MDDA's lead and the
    mean quality of the source's JPEG files; of runs in which two sources have ``ENOUGH`` pictures."""
    counts = rows.drop_duplicates("image").source.value_counts()
    sources = [source for source, count in counts.items() if source and count >= ENOUGH]
    records = []
    for source in sources if len(sources) > 1 else []:
        own = rows[(rows.source == source) & (rows.threat == "oblivious")]
        groups = {
            (attack, None if pd.isna(eps) else eps, defence): Images(group)
            for (attack, eps, defence), group in own.groupby(["attack", "eps", "defence"], sort=False, dropna=False)
        }
        for (attack, eps, defence), images in groups.items():
            record = {
                "source": source,
                "jpeg_quality": quality(own),
                "attack": attack,
                "eps": eps,
                "threat": "oblivious",
                "defence": defence,
                "n": images.count,
                "lesions": images.lesions,
            }
            record |= flat("accuracy", share(images.right, images.lesion))
            ours, lead = groups.get((attack, eps, "mdda")), None
            if ours is not None and defence != "mdda":
                lead = ours.ahead_of(images)
            records.append(record | flat("mdda_ahead_by", lead))
    return records


def quality(rows: pd.DataFrame) -> float | None:
    """Mean quality of the pictures' JPEG files; None where none is one."""
    found = rows.drop_duplicates("image").jpeg_quality.astype(float).mean()
    return None if np.isnan(found) else float(found)


class Images:
    """The rows of one record by image: arrays (images, draws), and what is scored on them."""

    def __init__(self, group: pd.DataFrame) -> None:
        predicted = group.pivot(index="image", columns="draw", values="predicted")
        self.names = predicted.index
        self.count = len(predicted)
        self.predicted = predicted.to_numpy()
        first = group[group.draw == 0].set_index("image").reindex(self.names)
        self.truth = first.label.to_numpy()
        self.lesion = clusters_of(first.lesion.where(first.lesion != "", self.names).to_numpy(str), self.count)
        self.lesions = int(self.lesion.max() + 1)
        self.right = self.predicted == self.truth[:, None]
        self.benign = np.isin(self.predicted, BENIGN)
        column = f"p_{MELANOMA}"
        if column in group:
            self.melanoma = group.pivot(index="image", columns="draw", values=column).to_numpy()

    def scores(self) -> dict[str, dict[str, float]]:
        per_image = self.right.mean(axis=1)
        modes = [pd.Series(answers).mode().tolist() for answers in self.predicted]
        majority = np.array([(truth in mode) / len(mode) for truth, mode in zip(self.truth, modes, strict=True)])
        is_melanoma, says_melanoma = self.truth == MELANOMA, self.predicted == MELANOMA
        scores = {
            "accuracy": share(self.right, self.lesion),
            "balanced_accuracy": balanced_share(per_image, self.truth, self.lesion),
            "worst_of_draws": share(self.right.all(axis=1), self.lesion),
            "majority": share(majority, self.lesion),
            "melanoma_sensitivity": self.share(says_melanoma, is_melanoma),
            "melanoma_specificity": self.share(~says_melanoma, ~is_melanoma),
        }
        if hasattr(self, "melanoma") and 0 < is_melanoma.sum() < self.count:
            scores["melanoma_auroc"] = auroc(is_melanoma, self.melanoma, self.lesion)
        return scores

    def bootstrap(self, score: Callable[[np.ndarray], float]) -> dict[str, float]:
        return bootstrap(score, self.count, clusters=self.lesion)

    def ahead_of(self, other: "Images") -> dict[str, float]:
        """By how much the accuracy is ahead of another's on the same images."""
        ahead = self.right.mean(axis=1) - other.right.mean(axis=1)
        return self.bootstrap(lambda chosen: ahead[chosen].mean())

    def share(self, values: np.ndarray, among: np.ndarray) -> dict[str, float] | None:
        """Mean of ``values`` (images, draws) over the images of a mask; None for an empty mask."""
        if not among.any():
            return None
        return share(values[among], self.lesion[among])
