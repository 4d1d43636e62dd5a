"""How time and memory grow: purification, its gradient and the attack on the bare classifier, against the side of the
picture, the number of scales and blocks, and the batch.

``python -m benchmarks.growth`` takes about four minutes and writes ``docs/growth.md`` and its plot.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from purifier.attacks import pgd
from purifier.classifiers.classifier import load_classifier
from purifier.evaluation.grid import peak_memory_of
from purifier.figures import Figure, save_figure
from purifier.pictures.files import read_image
from purifier.pipeline import SUITED, Purifier
from purifier.pyramid import resample
from purifier.results.tables import markdown
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "growth.md"
PICTURE = ROOT / "assets" / "examples" / "MEL-1.png"
SIDE, SCALES = 224, (1.0, 0.5, 0.25, 2.0)  # as many of them as the point has
AXES = {
    "side": (56, 112, 224, 448, 896, 1792),
    "scales": (1, 2, 3, 4),
    "blocks": (1, 2, 3, 6, 12),
    "batch": (1, 2, 4, 8, 16, 32),
}
ROUNDS, SECONDS = 7, 3  # of a point: no new round after so many seconds


@dataclass(frozen=True)
class Point:
    """What is worked on."""

    side: int = SIDE
    scales: int = len(Purifier().scales)
    blocks: int = Purifier().blocks
    batch: int = 1

    def pictures(self) -> Tensor:
        """(batch, 3, side, side)."""
        x = resample(read_image(PICTURE, size=None), (self.side, self.side)).clamp(0, 1)
        return x.expand(self.batch, -1, -1, -1).contiguous()

    def purifier(self, denoiser: str) -> Purifier:
        """With the defaults in all else."""
        return Purifier(
            denoiser=denoiser, scales=tuple(sorted(SCALES[: self.scales], reverse=True)), blocks=self.blocks
        )


def purify(denoiser: str) -> Callable[[Point], Callable[[], object]]:
    """Without a gradient."""

    def at(point: Point) -> Callable[[], object]:
        purifier, x = point.purifier(denoiser), point.pictures()
        return lambda: purifier(x, torch.Generator().manual_seed(0))

    return at


def gradient(denoiser: str) -> Callable[[Point], Callable[[], object]]:
    """Forward and back."""

    def at(point: Point) -> Callable[[], object]:
        purifier, x = point.purifier(denoiser), point.pictures().requires_grad_()
        return lambda: torch.autograd.grad(purifier(x, torch.Generator().manual_seed(0)).square().sum(), x)

    return at


def attack(point: Point) -> Callable[[], object]:
    """One step."""
    classifier, x = load_classifier(), point.pictures()
    y = classifier(x).argmax(dim=1)
    return lambda: pgd(classifier, x, y, eps=2 / 255, step=1 / 255, steps=1)


WORK = {
    **{f"purify, {name}": purify(name) for name in SUITED},
    **{f"gradient, {name}": gradient(name) for name in SUITED},
    "attack, one step": attack,
}


def seconds(work: Callable[[], object]) -> float:
    """The median of some rounds, after one that does not count."""
    work()
    found, until = [], time.monotonic() + SECONDS
    while len(found) < ROUNDS and (not found or time.monotonic() < until):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def measure() -> pd.DataFrame:
    """A row for each axis, work and point."""
    rows = []
    for axis, values in AXES.items():
        for name, at in WORK.items():
            if name.startswith("attack") and axis in ("scales", "blocks"):
                continue
            for value in values:
                work = at(replace(Point(), **{axis: value}))
                with torch.set_grad_enabled(not name.startswith("purify")):
                    row = dict(axis=axis, work=name, value=value, seconds=seconds(work), megabytes=peak_memory_of(work))
                rows.append(row)
                print(row, flush=True)
    return pd.DataFrame(rows)


def exponent(found: pd.DataFrame, what: str) -> float:
    """Of the power of the axis's value that ``what`` grows with, by least squares of the logarithms."""
    return float(np.polyfit(np.log(found.value), np.log(found[what]), 1)[0])


def table(found: pd.DataFrame) -> str:
    """Seconds and megabytes at every point, and the exponents, as Markdown."""
    parts = []
    for axis in AXES:
        rows = {}
        for name, of in found[found.axis == axis].groupby("work", sort=False):
            cells = [f"{1000 * row.seconds:.0f} ms, {row.megabytes:.0f} MB" for row in of.itertuples()]
            fitted = [f"{exponent(of, what):.2f}" for what in ("seconds", "megabytes")]
            rows[name] = dict(zip([*map(str, of.value), "time", "memory"], [*cells, *fitted], strict=True))
        parts.append(markdown(pd.DataFrame(rows).T.rename_axis(axis).reset_index()))
    return "\n\n".join(parts)


def plot(found: pd.DataFrame) -> Figure:
    """Seconds, above, and megabytes against each axis, both logarithmic."""
    figure = Figure(figsize=(11, 5.5), layout="constrained")
    axes = figure.subplots(2, len(AXES), sharey="row")
    for column, axis in enumerate(AXES):
        for row, what in enumerate(("seconds", "megabytes")):
            panel = axes[row, column]
            for name, of in found[found.axis == axis].groupby("work", sort=False):
                panel.loglog(of.value, of[what], marker="o", markersize=3, label=name)
            panel.set_xticks(AXES[axis], [str(value) for value in AXES[axis]], minor=False)
            panel.minorticks_off()
        axes[1, column].set_xlabel({"side": "side, in pixels"}.get(axis, axis))
    axes[0, 0].set_ylabel("seconds")
    axes[1, 0].set_ylabel("megabytes")
    axes[0, 0].legend(fontsize=7)
    return figure


def main() -> None:
    """Measure and write."""
    torch.set_num_threads(1)
    found = measure()
    save_figure(plot(found), PAGE.with_suffix(""), kinds=("png",))
    words = f"""Written by `python -m benchmarks.growth`; torch {version("torch")}, one thread of {os.cpu_count()}.
A point is the median of at most {ROUNDS} rounds, on one picture of {SIDE} pixels with {Point().scales} scales and
{Point().blocks} blocks, the learned denoiser's defaults, but for what the row's table varies. Memory is what torch
takes at most, without the picture itself. *time* and *memory* are the exponents of the power that fits best.

![Time and memory](growth.png)

"""
    PAGE.write_text(f"# How time and memory grow\n\n{words}{table(found)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
