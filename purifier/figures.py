"""Plots. The home of matplotlib: figures of their own, without pyplot's global state."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from torch import Tensor

from purifier.defences import at_their_best, family_of
from purifier.evaluation.tables import strongest

# Okabe and Ito's, which the colour-blind can tell apart, without those that vanish on white or on black.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a")


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
    with path.open(newline="", encoding="utf-8") as file:
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
    """Accuracy with its interval against epsilon, for every defence at its best setting: at the left under an oblivious
    attacker, of those with a bound the one that most records have; at the right under the one that leaves least of all
    that were tried. None for fewer than two sizes of epsilon, 0 among them where nobody attacks."""
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
        attack = attacks[0] if len(set(attacks)) == 1 else "the strongest attack"
        titles[threat] = f"{attack}: {threat} attacker"
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
                eps + shift, accuracy, spread, color=style[name][0], marker=style[name][1], label=names[name],
                linewidth=2.5 if name == "mdda" else 1, elinewidth=0.8, markersize=5,
            )  # fmt: skip
        axis.set_title(titles[threat], fontsize=10)
        axis.set(xlabel="epsilon, in 1/255", ylim=(0, 1), xticks=sorted({0, *(r["eps"] for r in shown)}))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy, 95 % interval")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    return figure


def plot_tradeoff(points: list[tuple[str, float, float]], attacked: str) -> Figure:
    """Accuracy under attack against clean accuracy, of (defence, clean, attacked): for each family of defences its
    settings, and in bold those that no other setting of it beats at both. Further up and to the right is better."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axis = figure.subplots()
    families = sorted({family_of(defence) for defence, _, _ in points}, key=lambda family: (family != "mdda", family))
    for i, family in enumerate(families):
        colour, marker = COLOURS[i % len(COLOURS)], "osD^v<>pPX*h"[i % 12]
        own = sorted({(clean, robust) for defence, clean, robust in points if family_of(defence) == family})
        best = [p for p in own if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in own)]
        axis.plot(*zip(*own, strict=True), marker, color=colour, alpha=0.35, markersize=4, linestyle="none")
        axis.plot(
            *zip(*best, strict=True), marker + ("-" if i < len(COLOURS) else "--"), color=colour, label=family,
            linewidth=2.5 if family == "mdda" else 1, markersize=5,
        )  # fmt: skip
    axis.set(xlabel="accuracy where nobody attacks", ylabel=f"accuracy, {attacked}")
    axis.grid(alpha=0.3)
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
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
            if len(line) > 2:
                lines[f"{label}, {eps:g}/255"] = (along, line)
    if not lines:
        return None
    names = {1: "steps", 2: "samples of the noise at each step"}
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
    figure.axes[0].set_ylabel("accuracy through MDDA,\nadaptive attacker")
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


def plot_spectrum(differences: dict[str, Tensor]) -> Figure:
    """The root mean square of each difference of two pictures, (1, 3, H, W), at every spatial frequency."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axis = figure.subplots()
    for (name, difference), style in zip(differences.items(), ("C1--", "C1-", "C0:"), strict=False):
        frequencies, strength = spectrum(difference)
        axis.loglog(frequencies, 255 * strength, style, label=name, linewidth=2)
    axis.set(xlabel="cycles a picture", ylabel="strength, in 1/255")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
    return figure


def spectrum(difference: Tensor, bands: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Of a picture's change, (1, 3, H, W): the middle of each band of spatial frequencies, in cycles a picture, and the
    root of the energy in it; the squares add up to the mean square of the change without its mean (Parseval)."""
    height, width = difference.shape[-2:]
    energy = np.abs(np.fft.fft2(difference[0].numpy(), norm="forward")) ** 2
    down, right = np.fft.fftfreq(height, 1 / height), np.fft.fftfreq(width, 1 / width)
    radius = np.hypot(*np.meshgrid(down, right, indexing="ij"))
    edges = np.geomspace(0.999, radius.max() * 1.001, bands + 1)
    found, _ = np.histogram(radius, edges, weights=energy.mean(axis=0))
    filled = np.histogram(radius, edges)[0] > 0
    return np.sqrt(edges[:-1] * edges[1:])[filled], np.sqrt(found[filled])


def signed_colours(values: Tensor, limit: float) -> Tensor:
    """(1, 1, H, W) as colours (1, 3, H, W): violet at ``-limit``, white at 0, orange at ``limit``, which the
    colour-blind can tell apart."""
    places = (0.5 - values[0, 0].numpy() / (2 * limit)).clip(0, 1)  # PuOr has orange at 0
    return torch.from_numpy(colormaps["PuOr"](places)[..., :3]).permute(2, 0, 1)[None].float()


def as_svg(figure: Figure) -> str:
    """The figure as SVG to stand in a page: transparent, its black in the page's colour of text."""
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawing = file.getvalue()
    return drawing[drawing.index("<svg") :].replace("#000000", "currentColor")


def save_figure(figure: Figure, path: Path, kinds: Sequence[str] = ("png", "svg")) -> None:
    """As ``path.png`` and ``path.svg``."""
    for kind in kinds:
        figure.savefig(path.with_suffix(f".{kind}"), dpi=120, metadata={"Date": None} if kind == "svg" else None)
