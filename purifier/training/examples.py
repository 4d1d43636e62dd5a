"""Example pictures for the page: drawn by our own generator, and at four times the size by our super-resolution."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from purifier.classifiers.classifier import SURROGATE, Classifier, load_classifier
from purifier.classifiers.hub import WEIGHTS, download
from purifier.evaluation.datasets import LABELS, Sample, read_isic2019, read_pixels
from purifier.files import ASSETS
from purifier.pictures.files import quantise, to_picture
from purifier.training.generator import ORIGINS, SIDE, Generator, draw, to_learn_from, without_black_corners
from purifier.training.super_resolution import SuperResolution, enlarge

Model = TypeVar("Model", Generator, SuperResolution)
GENERATOR, SUPER_RESOLUTION = ASSETS / "generator", ASSETS / "super-resolution"
HUB = "hf-hub:"
CANDIDATES = 24  # drawn for each diagnosis
KEPT = 3
GUIDANCE = 1.5
CHOSEN_BY = ("standard", "augmented")
ALIKE = 0.05  # share of the held-out pictures that are nearer to a training picture than any candidate may be

SOURCES = """# Where these pictures come from

No picture here shows a person's skin. A class-conditional diffusion model drew them at {side} x {side} pixels
(`purifier/training/generator.py`), and a second one at four times the size (`purifier/training/super_resolution.py`).
The first was trained on ISIC 2019's HAM10000, MSK and BCN20000, the second on HAM10000 and MSK, all CC BY-NC 4.0, and
the pictures are under the same licence.

They are illustrations for trying the page, not evidence. {drawn} were drawn, {candidates} for each diagnosis. Of these
{left} were left that have no black corner and are no nearer to a training picture than {alike:.0%} of the held-out
pictures are (root of the mean square of the pixels at {side} x {side}: {bound:.3f} of the pixel range; the nearest one
kept has {nearest:.3f}). Of each diagnosis those {kept} were kept to which both of {chosen_by} give it with the largest
probability, the smaller of the two counting. The file's name says that diagnosis. Read as intended, of those left and
of those kept: {readings}; `{outside}` had no part in the choice. No figure about defences was measured on them.

    purifier examples --data ISIC2019 --thumbnails ISIC2019_84PX --out assets/examples --seed {seed}

| file | drawn as | {heads} |
| --- | --- | {lines} |
{rows}
"""


def write_examples(
    data: Path,
    out: Path,
    *,
    thumbnails: Path,
    generator: str | Path = GENERATOR,
    super_resolution: str | Path = SUPER_RESOLUTION,
    seed: int = 0,
) -> None:
    """Draw ``CANDIDATES`` pictures of every diagnosis, keep ``KEPT`` by the rule that ``SOURCES`` states, and write
    them and ``SOURCES.md`` to ``out``. ``data`` and ``thumbnails`` are what the models were trained on; the next two
    are what ``trained`` takes. What is drawn is kept in ``out/.drawn.pt`` until all is done."""
    small, large = candidates(generator, super_resolution, seed, out)
    y = torch.arange(len(LABELS)).repeat_interleave(CANDIDATES)
    bound, distances = nearness(small, to_learn_from(data, thumbnails), read_isic2019(data, "test"))
    left = without_black_corners((small * 255).byte()) & (distances >= bound)

    names = (*CHOSEN_BY, SURROGATE)
    read = {name: probabilities(load_classifier(name), large) for name in names}
    given = {name: p.gather(1, y[:, None]).flatten() for name, p in read.items()}
    worth = torch.stack([given[name] for name in CHOSEN_BY]).amin(dim=0).where(left, -1.0)
    best = [index * CANDIDATES + part.topk(KEPT).indices for index, part in enumerate(worth.split(CANDIDATES))]
    kept = torch.cat(best)
    kept = kept[left[kept]]

    rows, count = [], dict.fromkeys(LABELS, 0)
    for i in kept.tolist():
        label = LABELS[y[i]]
        count[label] += 1
        name = f"{label}-{count[label]}.png"
        to_picture(large[i : i + 1]).save(out / name)
        cells = (f"{LABELS[int(p[i].argmax())]} {p[i].max().item():.2f}" for p in read.values())
        rows.append(f"| {name} | {label} | {' | '.join(cells)} |")

    def right(name: str, chosen: Tensor) -> str:
        return f"{(read[name].argmax(dim=1) == y)[chosen].float().mean().item():.0%}"

    text = SOURCES.format(
        side=SIDE,
        drawn=len(y),
        candidates=CANDIDATES,
        left=int(left.sum()),
        alike=ALIKE,
        bound=bound,
        nearest=distances[kept].min().item(),
        kept=KEPT,
        chosen_by=" and ".join(f"`{name}`" for name in CHOSEN_BY),
        readings=", ".join(f"`{name}` {right(name, left)} and {right(name, kept)}" for name in names),
        outside=SURROGATE,
        seed=seed,
        heads=" | ".join(f"`{name}`" for name in names),
        lines=" | ".join("---" for _ in names),
        rows="\n".join(rows),
    )
    (out / "SOURCES.md").write_text(text, encoding="utf-8")
    (out / ".drawn.pt").unlink()


def candidates(generator: str | Path, super_resolution: str | Path, seed: int, out: Path) -> tuple[Tensor, Tensor]:
    """``CANDIDATES`` of each diagnosis in turn, small (N, 3, 64, 64) and large (N, 3, 256, 256), with 8-bit values: of
    HAM10000's kind without a frame. Takes up what ``out/.drawn.pt`` has."""
    draws, enlarges = trained(Generator, generator), trained(SuperResolution, super_resolution)
    out.mkdir(parents=True, exist_ok=True)
    kept = out / ".drawn.pt"
    drawn = torch.load(kept) if kept.exists() else []
    for index in tqdm(range(len(drawn), len(LABELS)), unit="diagnosis"):
        random = torch.Generator().manual_seed(seed * 1000 + index)
        y = torch.full((CANDIDATES,), index)
        origin = torch.full_like(y, ORIGINS.index("HAM10000"))
        small = draw(draws, y, origin, guidance=GUIDANCE, generator=random)
        parts = [small[i : i + 1] for i in range(CANDIDATES)]
        large = [enlarge(enlarges, x, y[:1], origin[:1], random) for x in tqdm(parts, leave=False)]
        drawn.append((small, quantise(torch.cat(large))))
        torch.save(drawn, kept)
    small, large = zip(*drawn, strict=True)
    return torch.cat(small), torch.cat(large)


def trained(kind: type[Model], folder: str | Path) -> Model:
    """The model of a folder or, as ``hf-hub:owner/name@revision``, of the Hub, ready to draw. Raises
    ``FileNotFoundError`` where there are no weights, and what ``hub.download`` raises."""
    with contextlib.redirect_stdout(sys.stderr):  # where it says which weights it reads
        model = kind.from_pretrained(weights_of(folder).parent)
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def weights_of(folder: str | Path) -> Path:
    """The file of weights of what ``trained`` takes."""
    name = str(folder)
    if name.startswith(HUB):
        return download(name.removeprefix(HUB), lambda _: []) / WEIGHTS
    if not (path := Path(folder) / WEIGHTS).is_file():
        raise FileNotFoundError(
            f"{folder} holds no weights. Ours come with the repository, not with the package: give the folders that "
            "`purifier train` wrote, or hf-hub:OWNER/NAME, with --generator and --super-resolution."
        )
    return path


def nearness(small: Tensor, training: Sequence[Sample], held_out: Sequence[Sample]) -> tuple[float, Tensor]:
    """How near a training picture is to each of ``small`` (N, 3, 64, 64): (N,); and how near one is to the nearest
    ``ALIKE`` of the held-out pictures. The root of the mean square of their pixels' differences."""
    found, of_held_out, known = (
        x.flatten(1) for x in (small, read_pixels(held_out, SIDE) / 255, read_pixels(training, SIDE) / 255)
    )
    per_pixel = known.shape[1] ** 0.5
    bound = (nearest(of_held_out, known)[0] / per_pixel).quantile(ALIKE).item()
    return bound, nearest(found, known)[0] / per_pixel


def nearest(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """How far each of ``x`` (N, D) is from the nearest of ``known`` (M, D), and which that is, both (N,)."""
    found = [torch.cdist(part, known).min(dim=1) for part in x.split(256)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def probabilities(classifier: Classifier, x: Tensor) -> Tensor:
    """Of ``LABELS``, (N, 8)."""
    order = [classifier.labels.index(label) for label in LABELS]
    with torch.no_grad():
        return torch.cat([classifier.probabilities(part) for part in x.split(16)])[:, order]
