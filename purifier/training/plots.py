"""How a training goes."""

import csv
from pathlib import Path

from purifier.figures import Figure


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
