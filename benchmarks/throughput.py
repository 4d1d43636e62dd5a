"""Pictures a second of the evaluation's attack and of each training, beside a plain loop: the same passes through the
same networks, without drawing and changing pictures, averaging weights, or keeping rows.

``python -m benchmarks.throughput`` takes about three minutes and writes ``docs/throughput.md``.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import pandas as pd
import torch
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from purifier.attacks import AttackSettings, loss_gradient
from purifier.classifiers.classifier import load_classifier
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.datasets import LABELS, Sample
from purifier.evaluation.grid import Part, Work, measure
from purifier.evaluation.settings import BATCH, Grid
from purifier.results.tables import markdown
from purifier.training import classifier, denoiser, generator, super_resolution
from purifier.training.augment import turned
from purifier.training.recipes import read_recipe
from tests.helpers.paths import ROOT

PAGE = ROOT / "docs" / "throughput.md"
KEPT = 64  # pictures that batches are drawn from
ROUNDS, SECONDS = 9, 12  # of a row: no new round after so many seconds
STEPS = AttackSettings().steps
INTRODUCTION = """# How fast evaluation and trainings are

Written by `python -m benchmarks.throughput`; torch {torch}, {threads} threads, pictures made up. Pictures a second,
the median of at most {rounds} rounds in which the loops take turns. The plain loop does the same passes through the
network, and nothing else: it has its batch already, and keeps nothing. *bfloat16*: the plain loop under autocast.

"""


@dataclass(frozen=True)
class Row:
    """One kind of work: ``ours`` and ``plain`` each do one batch of ``pictures``."""

    name: str
    pictures: int
    ours: Callable[[], object]
    plain: Callable[[], object]


def evaluation() -> Row:
    """PGD, and what its pictures are read as: a part of ``purifier evaluate``."""
    grid = Grid(classifier="augmented", attacks=(f"pgd{STEPS}",), eps=(2.0,), defences=("none",), draws=1)
    pixels = (255 * torch.rand(BATCH, 3, 224, 224)).to(torch.uint8)
    samples = [Sample(str(i), ROOT / "none.jpg", LABELS[i % len(LABELS)], "") for i in range(BATCH)]
    part = Part(attacker=get_attacker(f"pgd{STEPS}"), eps=2.0, defences=("none",), batch=0)
    work = Work(part=part, grid=grid, device=torch.device("cpu"), pixels=pixels, samples=samples)
    attacked, x = load_classifier("augmented"), pixels / 255
    y = torch.arange(BATCH) % len(LABELS)

    def plain() -> None:
        for _ in range(STEPS):
            loss_gradient(attacked, x, y)

    return Row(f"PGD of {STEPS} steps, `augmented`, 224 px", BATCH, lambda: measure(work), plain)


def of_classifier(name: str) -> Row:
    """A step of the last phase of a recipe, attacks and purifications left out: they are passes of their own."""
    recipe = read_recipe(name)
    phase = recipe.phases[-1]
    network = classifier.new_network(recipe)
    optimizer, average = classifier.new_optimizer(network), ModelEmaV3(network, decay=0.998)
    pixels = (255 * torch.rand(KEPT, 3, round(1.15 * phase.size), round(1.15 * phase.size))).to(torch.uint8)
    y, random = torch.arange(KEPT) % len(LABELS), torch.Generator().manual_seed(0)

    def drawn() -> tuple[Tensor, Tensor]:
        return classifier.batch_for(pixels, y, torch.ones(KEPT), phase, recipe.batch, random)

    def ours() -> None:
        classifier.step(network, optimizer, *drawn(), 1e-5)
        average.update(network)

    batch = drawn()
    title = f"classifier, recipe `{name}`, {phase.size} px"
    return Row(title, recipe.batch, ours, lambda: classifier.step(network, optimizer, *batch, 1e-5))


def of_loss(title: str, pictures: int, model: nn.Module, draw: Callable[[], tuple], loss_of: Callable) -> Row:
    """A step of a training whose loss ``loss_of`` has of the ``model`` and what ``draw`` gives."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(batch: tuple) -> None:
        optimizer.zero_grad()
        loss_of(model, *batch).backward()
        optimizer.step()

    batch = draw()
    return Row(title, pictures, lambda: step(draw()), lambda: step(batch))


def rows() -> Iterator[Row]:
    """Each made when it is measured."""
    yield evaluation()
    yield of_classifier("standard")
    yield of_classifier("robust")
    random, of = torch.Generator().manual_seed(0), dict(memory_format=torch.channels_last)
    pixels = (255 * torch.rand(KEPT, 3, super_resolution.SIDE, super_resolution.SIDE)).to(torch.uint8)
    y = torch.arange(KEPT) % len(LABELS)

    def labelled(x: Tensor, count: int, change: Callable[[Tensor], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        chosen = torch.randint(KEPT, (count,), generator=random)
        return *change(x[chosen].float() / 127.5 - 1), y[chosen], torch.zeros_like(chosen)

    def crops() -> tuple[Tensor, Tensor, Tensor]:
        x = denoiser.crops(pixels, random)
        return x, *denoiser.noised(x, random)

    yield of_loss(
        f"denoiser, crops of {denoiser.CROP} px",
        denoiser.CROPS,
        denoiser.Denoiser().to(**of),
        crops,
        lambda model, x, noisy, sigma: (denoiser.denoised(model, noisy, sigma) - x).abs().mean(),
    )
    small = pixels[..., : generator.SIDE, : generator.SIDE]

    yield of_loss(
        f"generator, {generator.SIDE} px",
        32,
        generator.Generator().to(**of),
        lambda: labelled(small, 32, lambda x: (turned(x, random),)),
        lambda model, *batch: generator.loss_of(model, *batch, random),
    )

    yield of_loss(
        f"super-resolution, patches of {super_resolution.PATCH} px",
        16,
        super_resolution.SuperResolution().to(**of),
        lambda: labelled(pixels, 16, lambda x: super_resolution.patches(x, random)),
        lambda model, *batch: super_resolution.loss_of(model, *batch, random),
    )


def measured(row: Row) -> dict[str, str]:
    """Of both loops, in turns."""
    loops = {
        "ours": (row.ours, contextlib.nullcontext()),
        "plain": (row.plain, contextlib.nullcontext()),
        "bfloat16": (row.plain, torch.autocast("cpu", torch.bfloat16)),
    }
    found, until = {name: [] for name in loops}, time.monotonic() + SECONDS
    for turn in range(ROUNDS + 1):
        for name, (loop, context) in loops.items():
            start = time.perf_counter()
            with context:
                loop()
            if turn:  # the first is for warming up
                found[name].append(row.pictures / (time.perf_counter() - start))
        if turn > 1 and time.monotonic() > until:
            break
    medians = {name: statistics.median(rates) for name, rates in found.items()}
    return {
        "what": row.name,
        "pictures a second": f"{medians['ours']:.1f}",
        "plain loop": f"{medians['plain']:.1f}",
        "of the plain loop": f"{100 * medians['ours'] / medians['plain']:.0f} %",
        "plain loop, bfloat16": f"{medians['bfloat16']:.1f}",
    }


def main() -> None:
    """Measure all and write the page."""
    torch.manual_seed(0)
    table = pd.DataFrame([measured(row) for row in rows()])
    text = INTRODUCTION.format(torch=version("torch"), threads=torch.get_num_threads(), rounds=ROUNDS)
    PAGE.write_text(text + markdown(table) + "\n", encoding="utf-8")
    print(table.to_string())


if __name__ == "__main__":
    main()
