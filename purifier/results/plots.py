"""Plots of records."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from purifier.evaluation.intervals import Score
from purifier.evaluation.plots import plot_tradeoff
from purifier.figures import COLOURS, Figure
from purifier.results.record import Record, at_their_best, frame, strongest
from purifier.texts import Text
from purifier.wording.language import say

MARKERS = "osD^v<>pPX*h"
TITLES = {"oblivious": Text("{attack}: oblivious attacker"), "adaptive": Text("{attack}: adaptive attacker")}


DOTS = ((COLOURS[6], "o"), (COLOURS[1], "s"), (COLOURS[0], "D"), ("#000000", "P"))  # by the place of a series


@dataclass(frozen=True)
class Dots:
    """A figure of shares, in the language spoken: of each series, by its name, a score for each row that it has."""

    series: dict[str, dict[str, Score]]
    strong: str  # the row that is looked at
    label: str  # of the shares
    rows: Sequence[str] = ()  # in their order; else as the series have them
    band: Score | None = None  # to compare all rows with


def plot_dots(dots: Dots) -> Figure:
    """Each score as a dot on its interval, in per cent; narrow, so that a phone shows it too."""
    series = {name: found for name, found in dots.series.items() if found}
    names = dots.rows or list(dict.fromkeys(row for found in series.values() for row in found))
    beside = len(series) if sum(map(len, series.values())) > len(names) else 1
    height = 0.2 + 0.045 * beside + 0.17 * max(name.count("\n") for name in names)
    figure = Figure(figsize=(4.4, 0.9 + 0.2 * len(series) + height * len(names)), layout="constrained")
    axis = figure.subplots()
    if dots.band is not None:
        axis.axvspan(100 * dots.band.low, 100 * dots.band.high, color=DOTS[0][0], alpha=0.25, linewidth=0)
    place = names.index(dots.strong)
    axis.axhspan(place - 0.5, place + 0.5, color=DOTS[0][0], alpha=0.15, linewidth=0)
    for i, (name, found) in enumerate(series.items()):
        shift = 0.25 * (i - (len(series) - 1) / 2) if beside > 1 else 0
        colour, marker = DOTS[list(dots.series).index(name)]
        axis.errorbar(
            [100 * score.value for score in found.values()],
            [names.index(row) + shift for row in found],
            xerr=100 * spread(list(found.values())),
            fmt=marker,
            color=colour,
            markersize=5,
            linewidth=2,
            label=name,
        )
    axis.set_yticks(range(len(names)), names, fontsize=10)
    axis.get_yticklabels()[place].set_fontweight("bold")
    axis.set(xlim=(-2, 101), ylim=(len(names) - 0.5, -0.5))
    figure.supxlabel(dots.label, fontsize=10)
    axis.tick_params(length=0)
    axis.grid(alpha=0.3, axis="x")
    axis.spines[["top", "left", "right"]].set_visible(False)
    if len(series) > 1:
        figure.legend(loc="outside upper left", frameon=False)
    return figure


def plot_grid(records: Sequence[Record]) -> Figure:
    """Accuracy with its interval by defence, a panel for each attack and epsilon."""
    rows = frame(records)
    defences, conditions = list(rows.defence.unique()), rows.groupby(["attack", "eps"], sort=False, dropna=False)
    figure = Figure(figsize=(1.5 + 2.1 * len(conditions), 1.2 + 0.3 * len(defences)), layout="constrained")
    panels = figure.subplots(1, len(conditions), sharex=True, sharey=True, squeeze=False)[0]
    for panel, (_, shown) in zip(panels, conditions, strict=True):
        first, scores = records[shown.index[0]], list(shown.accuracy)
        colours = ["C1" if name == "mdda" else "C0" for name in shown.defence]
        places = [defences.index(name) for name in shown.defence]
        panel.barh(places, [s.value for s in scores], xerr=spread(scores), color=colours, ecolor="0.3")
        eps = "" if first.eps is None else f" {first.eps:g}/255"
        panel.set_title(
            f"{first.attack}{eps}\n{'clean pictures' if first.clean else first.attacker.threat}", fontsize=9
        )
        panel.set_xlim(0, 1)
    panels[0].set_yticks(range(len(defences)), defences)
    panels[0].invert_yaxis()
    figure.supxlabel("accuracy, 95 % interval", fontsize=9)
    return figure


def spread(scores: Sequence[Score]) -> np.ndarray:
    """How far the intervals reach below and above, (2, N), as matplotlib has error bars."""
    ends = [(s.value - s.low, s.high - s.value) for s in scores]
    return np.clip(ends, 0, None).T  # rounding may put 0 below its interval


def plot_epsilon(records: Sequence[Record]) -> Figure | None:
    """Accuracy with its interval against epsilon, for every defence at its best setting: at the left under an oblivious
    attacker, of those with a bound the one that most records have; at the right under the one that leaves least of all
    that were tried. None for fewer than two sizes of epsilon, 0 among them on clean pictures."""
    records = at_their_best(records)
    panels, titles = {}, {}
    for threat in ("oblivious", "adaptive"):
        found = [r for r in records if r.attacker.threat == threat and r.eps is not None]
        attacks = [r.attack for r in found]
        if attacks and threat == "oblivious":
            attacks = [max(dict.fromkeys(attacks), key=attacks.count)]
            panels[threat] = [r for r in found if r.attack == attacks[0]]
        elif attacks:
            panels[threat] = [r for eps in sorted({r.eps for r in found}) for r in strongest(records, eps)]
            attacks = [r.attack for r in panels[threat]]
        titles[threat] = say("the strongest attack: adaptive attacker")
        if len(set(attacks)) == 1:
            titles[threat] = say(TITLES[threat], attack=attacks[0])
    panels = {threat: shown for threat, shown in panels.items() if shown}
    sizes = {r.eps for shown in panels.values() for r in shown}
    if len(sizes) + any(r.clean for r in records) < 2:  # without an attack epsilon is 0
        return None
    names = {r.defence: r.defence_title for shown in panels.values() for r in shown}
    defences = sorted(names, key=lambda name: name != "mdda")
    style = {name: (COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(defences)}
    figure = Figure(figsize=(1 + 4 * len(panels), 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (threat, shown) in zip(axes, panels.items(), strict=True):
        largest = max(r.eps for r in shown)
        for i, name in enumerate(defences):
            of_it = [r for r in shown if r.defence == name]
            images = {r.n for r in of_it}
            clean = [r for r in records if r.clean and r.defence == name and r.n in images]
            line = sorted(of_it + clean, key=lambda r: r.eps or 0)
            if not of_it:
                continue
            shift = 0.006 * largest * (i - len(defences) / 2)  # so that intervals do not hide one another
            scores = [r.accuracy for r in line]
            axis.errorbar(
                [(r.eps or 0) + shift for r in line],
                [s.value for s in scores],
                spread(scores),
                color=style[name][0],
                marker=style[name][1],
                label=say(names[name]),
                linewidth=2.5 if name == "mdda" else 1,
                elinewidth=0.8,
                markersize=5,
            )
        axis.set_title(titles[threat], fontsize=10)
        axis.set(xlabel=say("epsilon, in 1/255"), ylim=(0, 1), xticks=sorted({0, *(r.eps for r in shown)}))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(say("accuracy, 95 % interval"))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def plot_tradeoffs(records: Sequence[Record]) -> dict[str, Figure]:
    """By name, a ``plot_tradeoff`` of each oblivious attack of a run in which MDDA comes in several strengths."""
    if len({r.defence for r in records if r.family == "mdda"}) < 2:
        return {}
    clean = {r.defence: r.accuracy.value for r in records if r.clean}
    figures = {}
    attacked = [r for r in records if not r.adaptive and r.eps is not None and r.defence != "none"]
    for attack, eps in dict.fromkeys((r.attack, r.eps) for r in attacked):
        of_it = [r for r in attacked if (r.attack, r.eps) == (attack, eps)]
        points = [(r.family, clean[r.defence], r.accuracy.value) for r in of_it]
        figures[f"tradeoff-{attack}-{eps:g}"] = plot_tradeoff(points, f"{attack} {eps:g}/255, oblivious attacker")
    return figures


def plot_convergence(records: Sequence[Record]) -> Figure | None:
    """Accuracy of MDDA against the steps and the samples of ``eot``, where a run has three numbers or more of them."""
    found = [
        (r.eps, r.attacker.steps, r.attacker.samples, r.accuracy.value)
        for r in records
        if r.defence == "mdda" and r.attacker.kind == "eot"
    ]
    axes = [(1, 2, samples) for samples in sorted({f[2] for f in found})]
    axes += [(2, 1, steps) for steps in sorted({f[1] for f in found})]
    lines = {}
    for along, fixed, value in axes:
        for eps in sorted({f[0] for f in found}):
            line = sorted((f[along], f[3]) for f in found if f[fixed] == value and f[0] == eps)
            if len(line) > 2:
                label = say("samples, in {steps} steps, {eps}/255", steps=value, eps=f"{eps:g}")
                if along == 1:
                    label = say("steps, of {samples} samples, {eps}/255", samples=value, eps=f"{eps:g}")
                lines[label] = (along, line)
    if not lines:
        return None
    names = {1: say("steps"), 2: say("samples of the noise at each step")}
    names = {along: name for along, name in names.items() if along in {along for along, _ in lines.values()}}
    figure = Figure(figsize=(1 + 3.5 * len(names), 3.5), layout="constrained")
    panels = dict(zip(names, figure.subplots(1, len(names), sharey=True, squeeze=False)[0], strict=True))
    for label, (along, line) in lines.items():
        panels[along].plot(*zip(*line, strict=True), "o-", label=label)
    for along, panel in panels.items():
        panel.set(xlabel=names[along], xscale="log", ylim=(0, 1))
        panel.minorticks_off()
        ticks = sorted({value for line in panel.lines for value in line.get_xdata()})
        panel.set_xticks(ticks, map(str, ticks))
        panel.legend(fontsize=8)
    figure.axes[0].set_ylabel(say("accuracy through MDDA,\nadaptive attacker"))
    return figure


def plot_heat(panels: dict[str, pd.DataFrame]) -> Figure:
    """Shares as colours and in per cent: of each panel a frame of scores, with the same rows for all."""
    names = list(dict.fromkeys(name for cells in panels.values() for name in cells.index))
    widths = [len(cells.columns) for cells in panels.values()]
    figure = Figure(figsize=(1.4 + 0.62 * sum(widths), 1 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False, width_ratios=widths)[0]
    for axis, (title, cells) in zip(axes, panels.items(), strict=True):
        scores = cells.reindex(names)
        values = scores.map(lambda score: score.value if isinstance(score, Score) else np.nan).to_numpy(float)
        axis.imshow(values, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            colour = "black" if value > 0.45 else "white"
            if not np.isnan(value):
                axis.text(column, row, f"{100 * value:.0f}", ha="center", va="center", fontsize=8, color=colour)
        axis.set_title(title, fontsize=9)
        axis.set_xticks(range(len(cells.columns)), cells.columns, fontsize=7)
        axis.set_yticks(range(len(names)), names, fontsize=8)
    figure.supxlabel("per cent of the pictures read rightly", fontsize=9)
    return figure


def plot_forest(panels: dict[str, dict[str, Score]], label: str) -> Figure:
    """Scores in per cent with their intervals, one below the other, in panels beside one another."""
    names = list(dict.fromkeys(name for scores in panels.values() for name in scores))
    figure = Figure(figsize=(1.2 + 2.1 * len(panels), 1 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (title, scores) in zip(axes, panels.items(), strict=True):
        shown = list(scores.values())
        places = [names.index(name) for name in scores]
        middles = [100 * score.value for score in shown]
        axis.errorbar(middles, places, xerr=100 * spread(shown), fmt="o", color=COLOURS[1], markersize=4, linewidth=1)
        axis.axvline(0, color="0.5", linewidth=0.8)
        axis.set_title(title, fontsize=8)
        axis.grid(alpha=0.3, axis="x")
    axes[0].set_yticks(range(len(names)), names, fontsize=8)
    axes[0].invert_yaxis()
    figure.supxlabel(label, fontsize=9)
    return figure


def plot_budgets(tradeoffs: Iterable[Sequence[Record]], attacked: str) -> Figure:
    """What each family of defences keeps under one attack against the points of clean accuracy given up."""
    tradeoffs = list(tradeoffs)
    figure = Figure(figsize=(2 + 2.8 * len(tradeoffs), 3.6), layout="constrained")
    axes = figure.subplots(1, len(tradeoffs), sharey=True, squeeze=False)[0]
    for axis, records in zip(axes, tradeoffs, strict=True):
        families = frame(r for r in records if r.defence == "mdda" or r.mdda_ahead_by is not None).groupby(
            "family", sort=False
        )
        for i, (family, of_it) in enumerate(families):
            axis.plot(
                of_it.budget,
                [score.value for score in of_it.accuracy],
                MARKERS[i % len(MARKERS)] + "-",
                color=COLOURS[i % len(COLOURS)],
                label=family,
                linewidth=2.5 if family == "mdda" else 1,
                markersize=5,
            )
        axis.set_title(f"{records[0].classifier}, {records[0].n} pictures", fontsize=9)
        axis.set(xticks=sorted({r.budget for r in records}), ylim=(0, 1))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"accuracy, {attacked},\nunaware attacker")
    figure.supxlabel("points of clean accuracy given up", fontsize=9)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure
