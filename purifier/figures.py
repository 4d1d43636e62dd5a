"""Plots. The home of matplotlib: figures of their own, without pyplot's global state."""

import csv
import io
import re
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure


def plot_training(work: Path) -> None:
    """Draw ``work/log.csv`` and, after adversarial training, ``work/guard.csv`` into ``work/log.png``."""
    if not (work / "log.csv").exists():
        return
    log, guard = _read(work / "log.csv"), _read(work / "guard.csv") if (work / "guard.csv").exists() else []
    figure = Figure(figsize=(8, 6 if guard else 4), layout="constrained")
    panels = figure.subplots(3 if guard else 2, sharex=True)
    for panel, column in zip(panels, ("loss", "lr"), strict=False):
        panel.plot([float(row["step"]) for row in log], [float(row[column]) for row in log])
        panel.set_ylabel({"loss": "loss", "lr": "learning rate"}[column])
    if guard:
        for column, style, name in (("single_step", "--", "single step"), ("pgd10", "-", "PGD, 10 steps")):
            panels[2].plot(
                [float(row["step"]) for row in guard], [float(row[column]) for row in guard], style, label=name
            )
        panels[2].set_ylabel("accuracy of the batch\nunder attack")
        panels[2].legend()
    panels[-1].set_xlabel("step")
    figure.savefig(work / "log.png", dpi=120)


def _read(path: Path) -> list[dict[str, str]]:
    """The rows of each step once: a resumed run writes those since its checkpoint again."""
    with path.open(newline="") as file:
        return list({row["step"]: row for row in csv.DictReader(file)}.values())


def plot_grid(records: list[dict]) -> Figure:
    """Accuracy with its interval by defence, a panel for each attack and epsilon, of ``summary.py``'s records."""
    conditions = list(dict.fromkeys((r["attack"], r["eps"], r["threat"]) for r in records))
    defences = list(dict.fromkeys(r["defence"] for r in records))
    figure = Figure(figsize=(1.5 + 2.1 * len(conditions), 1.2 + 0.3 * len(defences)), layout="constrained")
    panels = figure.subplots(1, len(conditions), sharex=True, sharey=True, squeeze=False)[0]
    for panel, condition in zip(panels, conditions, strict=True):
        shown = [r for r in records if (r["attack"], r["eps"], r["threat"]) == condition]
        values = [r["accuracy"] for r in shown]
        below, above = (
            [abs(r[f"accuracy_{end}"] - r["accuracy"]) for r in shown] for end in ("low", "high")
        )  # fmt: skip
        places = [defences.index(r["defence"]) for r in shown]
        colours = ["C1" if r["defence"] == "mdda" else "C0" for r in shown]
        panel.barh(places, values, xerr=(below, above), color=colours, ecolor="0.3")
        attack, eps, threat = condition
        knows = "nobody attacks" if attack == "none" else threat
        panel.set_title(f"{attack}{'' if eps is None else f' {eps:g}/255'}\n{knows}", fontsize=9)
        panel.set_xlim(0, 1)
    panels[0].set_yticks(range(len(defences)), defences)
    panels[0].invert_yaxis()
    figure.supxlabel("accuracy, 95 % interval", fontsize=9)
    return figure


def plot_epsilon(records: list[dict]) -> Figure | None:
    """Accuracy with its interval against epsilon, for every defence: at the left under an oblivious attacker, at the
    right under an adaptive one. Of attackers with a bound, the one that most records have; None for fewer than two
    sizes of epsilon."""
    panels = {}
    for threat in ("oblivious", "adaptive"):
        found = [r for r in records if r["threat"] == threat and r["eps"] is not None]
        attacks = [r["attack"] for r in found]
        if attacks:
            attack = max(dict.fromkeys(attacks), key=attacks.count)
            panels[threat] = [r for r in found if r["attack"] == attack]
    if len({r["eps"] for shown in panels.values() for r in shown}) < 2:
        return None
    names = dict.fromkeys(r["defence"] for shown in panels.values() for r in shown)
    defences = sorted(names, key=lambda name: name != "mdda")
    style = {name: (f"C{i}", "osD^v<>pPX*h"[i % 12]) for i, name in enumerate(defences)}
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
                eps + shift, accuracy, spread, color=style[name][0], marker=style[name][1], label=name,
                linewidth=2.5 if name == "mdda" else 1, elinewidth=0.8, markersize=5,
            )  # fmt: skip
        axis.set_title(f"{shown[0]['attack']}: {threat} attacker", fontsize=10)
        axis.set(xlabel="epsilon, in 1/255", ylim=(0, 1), xticks=sorted({0, *(r["eps"] for r in shown)}))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy, 95 % interval")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def plot_convergence(records: list[dict]) -> Figure | None:
    """Accuracy of MDDA against the steps and the samples of ``eot``, where a run has more than one of either."""
    found = []
    for record in records:
        name = re.fullmatch(r"eot(\d+)x(\d+)", record["attack"])
        if name and record["defence"] == "mdda":
            found.append((record["eps"], int(name[1]), int(name[2]), record["accuracy"]))
    axes = [
        (f"steps, of {samples} samples", 1, 2, samples)
        for samples in sorted({f[2] for f in found})
    ] + [(f"samples, in {steps} steps", 2, 1, steps) for steps in sorted({f[1] for f in found})]  # fmt: skip
    lines = {}
    for label, along, fixed, value in axes:
        for eps in sorted({f[0] for f in found}):
            line = sorted((f[along], f[3]) for f in found if f[fixed] == value and f[0] == eps)
            if len(line) > 1:
                lines[f"{label}, {eps:g}/255"] = (along, line)
    if not lines:
        return None
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for label, (along, line) in lines.items():
        panels[along - 1].plot(*zip(*line, strict=True), "o-", label=label)
    for panel, name in zip(panels, ("steps", "samples of the noise at each step"), strict=True):
        panel.set(xlabel=name, xscale="log", ylim=(0, 1))
        if panel.lines:
            panel.legend(fontsize=8)
    panels[0].set_ylabel("accuracy through MDDA,\nadaptive attacker")
    return figure


def plot_sensitivity(trials: list[dict]) -> Figure:
    """Of ``tune.py``'s one-at-a-time trials: accuracy clean and attacked against each setting of MDDA."""
    settings = list(dict.fromkeys(trial["setting"] for trial in trials))
    figure = Figure(figsize=(9, 2.6 * -(-len(settings) // 3)), layout="constrained")
    panels = figure.subplots(-(-len(settings) // 3), 3, sharey=True, squeeze=False).flatten()
    for panel, setting in zip(panels, settings, strict=False):
        chosen = [trial for trial in trials if trial["setting"] == setting]
        for name, style in zip(chosen[0]["accuracy"], ("o-", "s--", "^:"), strict=False):
            places = [str(trial["value"]) for trial in chosen]
            panel.plot(places, [trial["accuracy"][name] for trial in chosen], style, label=name)
        panel.set_title(setting, fontsize=9)
        panel.tick_params(axis="x", labelsize=7)
    for panel in panels[len(settings) :]:
        panel.remove()
    panels[0].legend(fontsize=8)
    figure.supylabel("accuracy", fontsize=9)
    return figure


def as_svg(figure: Figure) -> str:
    """The figure as SVG to stand in a page: transparent, its black in the page's colour of text."""
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawing = file.getvalue()
    return drawing[drawing.index("<svg") :].replace("#000000", "currentColor")


def save_figure(figure: Figure, path: Path) -> None:
    """As ``path.png`` and ``path.svg``."""
    for kind in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{kind}"), dpi=120, metadata={"Date": None} if kind == "svg" else None)
