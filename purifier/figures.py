"""Plots. The home of matplotlib: figures of their own, without pyplot's global state."""

import csv
import re
from pathlib import Path

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


def save_figure(figure: Figure, path: Path) -> None:
    """As ``path.png`` and ``path.svg``."""
    for kind in ("png", "svg"):
        figure.savefig(path.with_suffix(f".{kind}"), dpi=120, metadata={"Date": None} if kind == "svg" else None)
