"""Plots of the records that ``summary.py`` makes."""

import numpy as np

from purifier.defences import at_their_best, family_of
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.plots import plot_tradeoff
from purifier.figures import COLOURS, Figure
from purifier.results.tables import strongest
from purifier.texts import Text
from purifier.wording.language import say

TITLES = {"oblivious": Text("{attack}: oblivious attacker"), "adaptive": Text("{attack}: adaptive attacker")}


def plot_grid(records: list[dict]) -> Figure:
    """Accuracy with its interval by defence, a panel for each attack and epsilon, of ``summary.py``'s records."""
    conditions = list(dict.fromkeys((r["attack"], r["eps"], r["threat"]) for r in records))
    defences = list(dict.fromkeys(r["defence"] for r in records))
    figure = Figure(figsize=(1.5 + 2.1 * len(conditions), 1.2 + 0.3 * len(defences)), layout="constrained")
    panels = figure.subplots(1, len(conditions), sharex=True, sharey=True, squeeze=False)[0]
    for panel, condition in zip(panels, conditions, strict=True):
        shown = [r for r in records if (r["attack"], r["eps"], r["threat"]) == condition]
        values = [r["accuracy"] for r in shown]
        below, above = ([abs(r[f"accuracy_{end}"] - r["accuracy"]) for r in shown] for end in ("low", "high"))
        places = [defences.index(r["defence"]) for r in shown]
        colours = ["C1" if r["defence"] == "mdda" else "C0" for r in shown]
        panel.barh(places, values, xerr=(below, above), color=colours, ecolor="0.3")
        attack, eps, threat = condition
        knows = "clean pictures" if attack == "none" else threat
        panel.set_title(f"{attack}{'' if eps is None else f' {eps:g}/255'}\n{knows}", fontsize=9)
        panel.set_xlim(0, 1)
    panels[0].set_yticks(range(len(defences)), defences)
    panels[0].invert_yaxis()
    figure.supxlabel("accuracy, 95 % interval", fontsize=9)
    return figure


def plot_epsilon(records: list[dict]) -> Figure | None:
    """Accuracy with its interval against epsilon, for every defence at its best setting: at the left under an oblivious
    attacker, of those with a bound the one that most records have; at the right under the one that leaves least of all
    that were tried. None for fewer than two sizes of epsilon, 0 among them on clean pictures."""
    records = [r for r in records if r["defence"] in at_their_best(r["defence"] for r in records)]
    panels, titles = {}, {}
    for threat in ("oblivious", "adaptive"):
        found = [r for r in records if r["threat"] == threat and r["eps"] is not None]
        attacks = [r["attack"] for r in found]
        if attacks and threat == "oblivious":
            attacks = [max(dict.fromkeys(attacks), key=attacks.count)]
            panels[threat] = [r for r in found if r["attack"] == attacks[0]]
        elif attacks:
            panels[threat] = [r for eps in sorted({r["eps"] for r in found}) for r in strongest(records, eps)]
            attacks = [r["attack"] for r in panels[threat]]
        titles[threat] = say("the strongest attack: adaptive attacker")
        if len(set(attacks)) == 1:
            titles[threat] = say(TITLES[threat], attack=attacks[0])
    panels = {threat: shown for threat, shown in panels.items() if shown}
    sizes = {r["eps"] for shown in panels.values() for r in shown}
    if len(sizes) + any(r["attack"] == "none" for r in records) < 2:  # without an attack epsilon is 0
        return None
    names = {r["defence"]: r["defence_title"] for shown in panels.values() for r in shown}
    defences = sorted(names, key=lambda name: name != "mdda")
    style = {name: (COLOURS[i % len(COLOURS)], "osD^v<>pPX*h"[i % 12]) for i, name in enumerate(defences)}
    figure = Figure(figsize=(1 + 4 * len(panels), 4.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, (threat, shown) in zip(axes, panels.items(), strict=True):
        largest = max(r["eps"] for r in shown)
        for i, name in enumerate(defences):
            of_it = [r for r in shown if r["defence"] == name]
            images = {r["n"] for r in of_it}
            clean = [r for r in records if r["attack"] == "none" and r["defence"] == name and r["n"] in images]
            line = sorted((r["eps"] or 0, r["accuracy"], r["accuracy_low"], r["accuracy_high"]) for r in of_it + clean)
            if not of_it:
                continue
            eps, accuracy, low, high = np.array(line).T
            shift = 0.006 * largest * (i - len(defences) / 2)  # so that intervals do not hide one another
            spread = np.clip([accuracy - low, high - accuracy], 0, 1)  # rounding may put 0 below its interval
            axis.errorbar(
                eps + shift,
                accuracy,
                spread,
                color=style[name][0],
                marker=style[name][1],
                label=say(names[name]),
                linewidth=2.5 if name == "mdda" else 1,
                elinewidth=0.8,
                markersize=5,
            )
        axis.set_title(titles[threat], fontsize=10)
        axis.set(xlabel=say("epsilon, in 1/255"), ylim=(0, 1), xticks=sorted({0, *(r["eps"] for r in shown)}))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(say("accuracy, 95 % interval"))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def plot_tradeoffs(records: list[dict]) -> dict[str, Figure]:
    """By name, a ``plot_tradeoff`` of each oblivious attack of a run in which MDDA comes in several strengths."""
    names = {r["defence"] for r in records}
    if sum(family_of(name) == "mdda" for name in names) < 2:
        return {}
    clean = {r["defence"]: r["accuracy"] for r in records if r["attack"] == "none"}
    figures = {}
    for attack, eps in dict.fromkeys((r["attack"], r["eps"]) for r in records if r["threat"] == "oblivious"):
        if attack == "none" or eps is None:
            continue
        of_it = [r for r in records if (r["attack"], r["eps"]) == (attack, eps) and r["defence"] != "none"]
        points = [(r["defence"], clean[r["defence"]], r["accuracy"]) for r in of_it]
        figures[f"tradeoff-{attack}-{eps:g}"] = plot_tradeoff(points, f"{attack} {eps:g}/255, oblivious attacker")
    return figures


def plot_convergence(records: list[dict]) -> Figure | None:
    """Accuracy of MDDA against the steps and the samples of ``eot``, where a run has three numbers or more of them."""
    attackers = [(r, get_attacker(r["attack"])) for r in records if r["defence"] == "mdda"]
    found = [(r["eps"], a.steps, a.samples, r["accuracy"]) for r, a in attackers if a.kind == "eot"]
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
