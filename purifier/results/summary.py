"""From the rows of a run to records with intervals, a table and plots."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.intervals import clusters_of
from purifier.evaluation.metrics import MELANOMA, Answers
from purifier.evaluation.settings import find_defence
from purifier.figures import save_figure
from purifier.files import write_atomically
from purifier.results.plots import plot_convergence, plot_epsilon, plot_grid, plot_tradeoffs
from purifier.results.record import ANY, ENOUGH, Record, attacker_of, write_records
from purifier.results.tables import table
from purifier.results.tradeoff import at_equal_cost


def write_summary(rows: pd.DataFrame, out: Path) -> list[Record]:
    """Write ``summary.json``, ``table.md`` and the plots (PNG and SVG) of a run's rows to ``out``, and where MDDA comes
    in several strengths ``tradeoff.json``, and of pictures from several sources ``sources.json``; the records."""
    records, equal_cost, sources = summarise(rows), at_equal_cost(rows), by_source(rows)
    for name, what in (("summary", records), ("tradeoff", equal_cost), ("sources", sources)):
        if what:
            write_atomically(out / f"{name}.json", write_records(what))
    write_atomically(out / "table.md", table(records, equal_cost, sources).encode())
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


def summarise(rows: pd.DataFrame) -> list[Record]:
    """A record for each classifier, attack, epsilon and defence: the scores with 95 % intervals.

    Intervals are Wilson's, with as many trials as there are lesions, and of ``balanced_accuracy``, ``melanoma_auroc``
    and ``mdda_ahead_by`` the bootstrap's over lesions: several pictures of one are no independent trials. Scores are
    means over the draws, but for ``worst_of_draws`` and ``majority``, see ``Answers``. ``recovered``: right behind the
    defence, of the pictures that the attack changed from right to wrong. ``broken``: wrong behind the defence, of the
    pictures that are read right without one, on clean pictures; ``melanoma_made_benign`` of the melanomas among these,
    read as benign. ``mdda_ahead_by``: MDDA's accuracy minus this defence's, on the same pictures. Where a defence was
    attacked by someone who knows it, and in another way too, ``ANY`` has a record as well.
    """
    undefended = rows[rows.defence == "none"]
    clean = undefended[(undefended.attack == "none") & (undefended.draw == 0)].set_index("image")
    was_right = clean.predicted == clean.label
    groups = dict(_groups(rows))
    answers = {key: answers_of(group) for key, group in groups.items()}
    records = []
    for (attack, eps, defence), group in groups.items():
        found, attacker = answers[attack, eps, defence], get_attacker(attack)
        scores, right_before = found.scores(), was_right.reindex(images_of(group)).to_numpy()
        fooled, ours = (answers.get((attack, eps, name)) for name in ("none", "mdda"))
        if attacker.kind == "none":
            scores["broken"] = found.share(~found.right, right_before)
            scores["melanoma_made_benign"] = found.made_benign(right_before)
        elif not attacker.adaptive and fooled is not None:
            scores["recovered"] = found.share(found.right, right_before & ~fooled.right[:, 0])
        means = group[["psnr", "ssim", "linf", "l2", "l2_coarse"]].replace([np.inf], np.nan).mean()
        about = {
            "draws": int(group.draws.iloc[0]),
            "constant_accuracy": float(np.unique(found.truth, return_counts=True)[1].max() / len(found.truth)),
            "seconds_per_image": float(group.seconds.mean()),
            "attack_seconds_per_image": float(group.attack_seconds.mean()),
            "peak_memory_mb": float(group.peak_memory_mb.iloc[0]),
            **{name: None if np.isnan(mean) else float(mean) for name, mean in means.items()},
        }
        records.append(_record(group, eps, found, ours, **scores, **about))
    return [*records, *_by_any_attack(groups, answers)]


def _by_any_attack(groups: dict[tuple, pd.DataFrame], answers: dict[tuple, Answers]) -> Iterator[Record]:
    """What is left where each picture meets the attack that works on it, in each draw of the defence's noise; but for
    attacks that know that noise, and those that are for some of the pictures."""
    most, tried = max(len(found.truth) for found in answers.values()), {}
    for (attack, eps, defence), found in answers.items():
        if not get_attacker(attack).knows_noise and len(found.truth) == most:
            tried.setdefault((eps, defence), {})[attack] = found
    for (eps, defence), by_attack in tried.items():
        if len(by_attack) > 1 and any(get_attacker(attack).adaptive for attack in by_attack):
            ours = tried.get((eps, "mdda"), {})
            group = groups[next(iter(by_attack)), eps, defence].assign(attack=ANY.name)
            found = whichever(by_attack.values())
            behind_mdda = whichever(ours.values()) if ours.keys() == by_attack.keys() else None
            yield _record(group, eps, found, behind_mdda, **found.scores(), draws=int(group.draws.iloc[0]))


def whichever(found: Iterable[Answers]) -> Answers:
    """Of the same pictures under several attacks the wrong answer where one of them brings it about."""
    first, *others = found
    predicted = first.predicted
    for other in others:
        predicted = np.where(predicted == first.truth[:, None], other.predicted, predicted)
    return replace(first, predicted=predicted, p_melanoma=None)


def by_source(rows: pd.DataFrame) -> list[Record]:
    """A record of accuracy for each source of pictures, oblivious attack, epsilon and defence, with MDDA's lead and the
    mean quality of the source's JPEG files; of runs in which two sources have ``ENOUGH`` pictures."""
    counts = rows.drop_duplicates("image").source.value_counts()
    sources = [source for source, count in counts.items() if source and count >= ENOUGH]
    records = []
    for source in sources if len(sources) > 1 else []:
        of_source = rows[(rows.source == source) & (rows.threat == "oblivious")]
        quality = of_source.drop_duplicates("image").jpeg_quality.astype(float).mean()
        groups = dict(_groups(of_source))
        answers = {key: answers_of(group) for key, group in groups.items()}
        for (attack, eps, defence), found in answers.items():
            about = {"source": source, "jpeg_quality": None if np.isnan(quality) else float(quality)}
            ours = answers.get((attack, eps, "mdda"))
            records.append(_record(groups[attack, eps, defence], eps, found, ours, accuracy=found.accuracy(), **about))
    return records


def _record(group: pd.DataFrame, eps: float | None, found: Answers, ours: Answers | None, **more) -> Record:
    """Of the rows of one attack and defence; ``ours`` are the answers behind MDDA, if it was measured."""
    first = group.iloc[0]
    defence = find_defence(first.defence)
    return Record(
        classifier=first.classifier,
        attacker=attacker_of(first.attack),
        eps=eps,
        defence=first.defence,
        family=defence.family,
        number=defence.number,
        defence_title=defence.title,
        n=len(found.truth),
        lesions=found.lesions,
        mdda_ahead_by=None if ours is None or first.defence == "mdda" else ours.ahead_of(found),
        **more,
    )


def _groups(rows: pd.DataFrame) -> Iterator[tuple[tuple, pd.DataFrame]]:
    """The rows of one classifier by attack, epsilon or None, and defence."""
    for (attack, eps, defence), group in rows.groupby(["attack", "eps", "defence"], sort=False, dropna=False):
        yield (attack, None if pd.isna(eps) else eps, defence), group


def images_of(group: pd.DataFrame) -> pd.Index:
    """In the order of ``answers_of``."""
    return pd.Index(sorted(group.image.unique()))


def answers_of(group: pd.DataFrame) -> Answers:
    """The rows of one attack and defence by image, which has a row for each draw."""
    by_draw = group.pivot(index="image", columns="draw")
    first = by_draw.xs(0, axis=1, level="draw")
    lesions, melanoma = first.lesion.where(first.lesion != "", first.index), f"p_{MELANOMA}"
    return Answers(
        truth=first.label.to_numpy(),
        predicted=by_draw["predicted"].to_numpy(),
        lesion=clusters_of(lesions.to_numpy(str), len(first)),
        p_melanoma=by_draw[melanoma].to_numpy() if melanoma in group else None,
    )
