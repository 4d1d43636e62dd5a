"""Example pictures for the page: drawn by our own generator, and at four times the size by our super-resolution."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from purifier.classifiers.classifier import SURROGATE, Classifier, load_classifier
from purifier.evaluation.datasets import LABELS, Sample, label_indices, read_isic2019, source_of
from purifier.files import begin
from purifier.pictures.files import to_picture
from purifier.training.drawing import GENERATOR, SUPER_RESOLUTION, digests_of, drawn_for, enlarged_for
from purifier.training.generator import ORIGINS, SIDE, to_learn_from, without_black_corners
from purifier.training.likeness import (
    ALIKE,
    Features,
    Nearness,
    beside_nearest,
    flat,
    nearness,
    realism,
    small_pictures,
)

CANDIDATES = 64  # drawn for each diagnosis
ENLARGED = 12
KEPT = 3
ORIGIN = "HAM10000"
CHOSEN_BY = ("standard", "augmented")

SOURCES = """# Where these pictures come from

No picture here shows a person's skin. A class-conditional diffusion model drew them at {side} x {side} pixels
(`purifier/training/generator.py`), and a second one at four times the size (`purifier/training/super_resolution.py`).
The first was trained on ISIC 2019's HAM10000, MSK and BCN20000, the second on HAM10000 and MSK, all CC BY-NC 4.0, and
the pictures are under the same licence.

They are illustrations for trying the page, not evidence, and no figure about defences was measured on them.
{drawn} were drawn, {candidates} for each diagnosis. Of these {left} were left that have no black corner and are no
nearer to a training picture than {alike:.0%} of the held-out pictures are:
{near}.
Of each diagnosis those {enlarged} were drawn large that are the most realistic beside {origin}'s training pictures of
it (Kynkäänniemi et al., 2019, eq. 3, in the same features). {kept} of them were kept: the one to which both of
{chosen_by} give the diagnosis with the largest probability, the smaller of the two counting; then, of those
that both read so, the one that is least like the ones kept before, in the same features, or the next by probability
where none is left. The file's name says the diagnosis. Read as intended, of those drawn large and of those kept:
{readings}; `{outside}` had no part in the choice.

    purifier examples --data ISIC2019 --thumbnails ISIC2019_84PX --out assets/examples --seed {seed}

| file | drawn as | {heads} |
| --- | --- | {lines} |
{rows}
"""
NEAR = {
    "pixels": "by pixels at {side} x {side}, {bound:.3f} of the pixel range (root of the mean square; the nearest one "
    "kept has {nearest:.3f})",
    "features": "by the features of a network that saw ImageNet alone, {bound:.1f} (the nearest one kept has "
    "{nearest:.1f})",
}


def write_examples(
    data: Path,
    out: Path,
    *,
    thumbnails: Path,
    generator: str | Path = GENERATOR,
    super_resolution: str | Path = SUPER_RESOLUTION,
    seed: int = 0,
    neighbours: Path | None = None,
) -> None:
    """Draw ``CANDIDATES`` pictures of every diagnosis, keep ``KEPT`` by the rule that ``SOURCES`` states, and write
    them and ``SOURCES.md`` to ``out``. ``data`` and ``thumbnails`` are what the models were trained on; the next two
    are what ``drawing.trained`` takes. ``neighbours`` is a picture of those kept above their nearest training pictures
    by pixels and by features, which must not be passed on. What is drawn stays in ``out/.drawn`` until all is done."""
    drafts, weights = out / ".drawn", digests_of(generator, super_resolution)
    begin(drafts, {"seed": seed, "candidates": CANDIDATES, "enlarged": ENLARGED, "weights": weights})
    y = torch.arange(len(LABELS)).repeat_interleave(CANDIDATES)
    origins = torch.full_like(y, ORIGINS.index(ORIGIN))
    small = drawn_for(generator, y, origins, seed, drafts / "small.pt")

    training = to_learn_from(data, thumbnails)
    known, held_out, read = small_pictures(training), small_pictures(read_isic2019(data, "test")), Features()
    of, of_known, of_held_out = (read(x) for x in (small, known, held_out))
    near = {
        "pixels": nearness(flat(small), flat(held_out), flat(known)),
        "features": nearness(of, of_held_out, of_known),
    }
    left = without_black_corners((small * 255).byte())
    for found in near.values():
        left &= found.distances >= found.bound

    realistic = realism_of(of, y, of_known, training, without_black_corners((known * 255).byte()))
    shown = best_of_each(realistic.where(left, -1.0), y, ENLARGED)
    shown = shown[left[shown]]
    large = enlarged_for(super_resolution, small[shown], y[shown], origins[shown], seed, drafts / "large.pt")
    names = (*CHOSEN_BY, SURROGATE)
    readings = {name: probabilities(load_classifier(name), large) for name in names}
    kept = chosen({name: readings[name] for name in CHOSEN_BY}, y[shown], of[shown])

    rows = []
    for number, i in enumerate(kept):
        label = LABELS[y[shown[i]]]
        name = f"{label}-{1 + sum(y[shown[k]] == y[shown[i]] for k in kept[:number])}.png"
        to_picture(large[i : i + 1]).save(out / name)
        cells = (f"{LABELS[int(p[i].argmax())]} {p[i].max().item():.2f}" for p in readings.values())
        rows.append(f"| {name} | {label} | {' | '.join(cells)} |")
    if neighbours:
        places = [found.places[shown[kept]] for found in near.values()]
        to_picture(beside_nearest(small[shown[kept]], known, *places)).save(neighbours)

    def right(name: str) -> str:
        found = readings[name].argmax(dim=1) == y[shown]
        return f"`{name}` {found.float().mean():.0%} and {found[kept].float().mean():.0%}"

    text = SOURCES.format(
        side=SIDE,
        drawn=len(y),
        candidates=CANDIDATES,
        left=int(left.sum()),
        alike=ALIKE,
        near=",\nand ".join(near_in_words(space, found, shown[kept]) for space, found in near.items()),
        enlarged=ENLARGED,
        origin=ORIGIN,
        kept=KEPT,
        chosen_by=" and ".join(f"`{name}`" for name in CHOSEN_BY),
        readings=", ".join(map(right, names)),
        outside=SURROGATE,
        seed=seed,
        heads=" | ".join(f"`{name}`" for name in names),
        lines=" | ".join("---" for _ in names),
        rows="\n".join(rows),
    )
    (out / "SOURCES.md").write_text(text, encoding="utf-8")
    shutil.rmtree(drafts)


def realism_of(of: Tensor, y: Tensor, known: Tensor, training: Sequence[Sample], unframed: Tensor) -> Tensor:
    """How realistic each picture of features ``of`` (N, D) is beside the training pictures, of features ``known``
    (M, D), of its diagnosis ``y`` (N,) that come from ``ORIGIN`` and are ``unframed`` (M,): (N,)."""
    labels = label_indices(training)
    kin = unframed & torch.tensor([source_of(sample.image) == ORIGIN for sample in training])
    found = torch.empty(len(of))
    for index in y.unique().tolist():
        found[y == index] = realism(of[y == index], known[kin & (labels == index)])
    return found


def best_of_each(worth: Tensor, y: Tensor, count: int) -> Tensor:
    """The places of the ``count`` of each diagnosis ``y`` (N,) that are worth most, the best first."""
    places = [(y == index).nonzero().flatten() for index in y.unique()]
    return torch.cat([own[worth[own].argsort(descending=True)[:count]] for own in places])


def chosen(readings: dict[str, Tensor], y: Tensor, features: Tensor) -> list[int]:
    """The places of ``KEPT`` pictures of each diagnosis ``y`` (N,): the one that the classifiers, whose probabilities
    (N, 8) ``readings`` holds, give it with most; then of those that all read so, as long as there are any, the one
    whose ``features`` (N, D) are furthest from those of any kept before."""
    given = torch.stack([p.gather(1, y[:, None]).flatten() for p in readings.values()]).amin(dim=0)
    agreed = torch.stack([p.argmax(dim=1) == y for p in readings.values()]).all(dim=0)
    apart, kept = torch.cdist(features, features), []
    for index in y.unique():
        rest = (y == index).nonzero().flatten().tolist()
        own = []
        while rest and len(own) < KEPT:
            others = [i for i in rest if own and agreed[i]]
            best = max(others, key=lambda i: apart[i, own].min()) if others else max(rest, key=lambda i: given[i])
            own.append(best)
            rest.remove(best)
        kept += own
    return kept


def near_in_words(space: str, found: Nearness, kept: Tensor) -> str:
    """The bound of a space of ``NEAR``, and how near the nearest of those ``kept`` is."""
    return NEAR[space].format(side=SIDE, bound=found.bound, nearest=found.distances[kept].min().item())


def probabilities(classifier: Classifier, x: Tensor) -> Tensor:
    """Of ``LABELS``, (N, 8)."""
    order = [classifier.labels.index(label) for label in LABELS]
    with torch.no_grad():
        return torch.cat([classifier.probabilities(part) for part in x.split(16)])[:, order]
