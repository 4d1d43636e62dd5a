"""Example pictures for the page: drawn by our own generator, and at four times the size by our super-resolution."""

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from purifier.classifiers.classifier import SURROGATE, Classifier, load_classifier
from purifier.evaluation.datasets import LABELS, label_indices, read_isic2019
from purifier.files import begin
from purifier.pictures.files import to_picture
from purifier.training.drawing import GENERATOR, SUPER_RESOLUTION, digests_of, drawn_for, enlarged_for
from purifier.training.generator import (
    FRAMED,
    GUIDANCE,
    ORIGINS,
    SIDE,
    origins_of,
    to_learn_from,
    without_black_corners,
)
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
FEW = 16  # training pictures of an origin, with which those of others count too
HAM10000 = ORIGINS[0]
CHOSEN_BY = ("standard", "augmented")

SOURCES = """# Where these pictures come from

No picture here shows a person's skin. A class-conditional diffusion model drew them at {side} x {side} pixels
(`purifier/training/generator.py`), and a second one at four times the size (`purifier/training/super_resolution.py`).
The first was trained on ISIC 2019's HAM10000, MSK and BCN20000, the second on HAM10000 and MSK, all CC BY-NC 4.0, and
the pictures are under the same licence.

They are illustrations for trying the page, not evidence, and no figure about defences was measured on them. A file's
name says the diagnosis.
"""
SECTION = """## Of each diagnosis {numbers}

{drawn} were drawn as of {origins}, with guidance {guidance:g}, {candidates} for each diagnosis. Of these {left}
were left that have no black corner{unless} and are no nearer to a training picture than {alike:.0%} of the
held-out pictures are:
{near}.
Of each diagnosis those {enlarged} were drawn large that are the most realistic beside the training pictures of it that
are of the same origin, or of any where fewer than {few} are (Kynkäänniemi et al., 2019, eq. 3, in the same features).
Of these {kept} kept: the one to which both of {chosen_by} give the diagnosis with the largest
probability, the smaller of the two counting; then, of those that both read so, the one that is least like the ones kept
before, in the same features, or the next by probability where none is left. Read as intended, of those drawn large and
of those kept:
{readings}; `{outside}` had no part in the choice.

    {command}

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
    origins: Sequence[str] = (HAM10000,),
    guidance: float = GUIDANCE,
    kept: int = KEPT,
    first: int = 1,
    neighbours: Path | None = None,
) -> None:
    """Draw ``CANDIDATES`` pictures of every diagnosis, keep ``kept`` by the rule that ``SECTION`` states, and write
    them to ``out``, numbered from ``first`` on, and how they were chosen to its ``SOURCES.md``, beside what that says
    of other numbers. ``data`` and ``thumbnails`` are what the models were trained on; the next two are what
    ``drawing.trained`` takes. ``origins``, of ``ORIGINS``, take turns. ``neighbours`` is a picture of those kept above
    their nearest training pictures by pixels and by features, which must not be passed on. What is drawn stays in
    ``out/.drawn`` until all is done."""
    if unknown := set(origins) - set(ORIGINS):
        raise ValueError(f"There is no origin {sorted(unknown)[0]!r}; there are {', '.join(ORIGINS)}.")
    drafts, weights = out / ".drawn", digests_of(generator, super_resolution)
    drawing = {"origins": list(origins), "guidance": guidance, "kept": kept, "first": first}
    begin(drafts, {"seed": seed, "candidates": CANDIDATES, "enlarged": ENLARGED, "weights": weights} | drawing)
    y = torch.arange(len(LABELS)).repeat_interleave(CANDIDATES)
    of_kinds = torch.tensor([ORIGINS.index(origin) for origin in origins])
    of = of_kinds[torch.arange(CANDIDATES) % len(origins)].repeat(len(LABELS))
    small = drawn_for(generator, y, of, seed, drafts / "small.pt", guidance)

    training = to_learn_from(data, thumbnails)
    known, held_out, read = small_pictures(training), small_pictures(read_isic2019(data, "test")), Features()
    features, of_known, of_held_out = (read(x) for x in (small, known, held_out))
    near = {
        "pixels": nearness(flat(small), flat(held_out), flat(known)),
        "features": nearness(features, of_held_out, of_known),
    }
    left = without_black_corners((small * 255).byte()) | (of >= FRAMED)
    for found in near.values():
        left &= found.distances >= found.bound

    kin = torch.isin(origins_of(training, (known * 255).byte()), of_kinds)
    realistic = realism_of(features, y, of_known, label_indices(training), kin)
    shown = best_of_each(realistic.where(left, -1.0), y, ENLARGED)
    shown = shown[left[shown]]
    large = enlarged_for(super_resolution, small[shown], y[shown], of[shown], seed, drafts / "large.pt")
    readings = {name: probabilities(load_classifier(name), large) for name in (*CHOSEN_BY, SURROGATE)}
    best = chosen({name: readings[name] for name in CHOSEN_BY}, y[shown], features[shown], kept)

    rows = []
    for place, i in enumerate(best):
        label = LABELS[y[shown[i]]]
        name = f"{label}-{first + sum(y[shown[k]] == y[shown[i]] for k in best[:place])}.png"
        to_picture(large[i : i + 1]).save(out / name)
        cells = (f"{LABELS[int(p[i].argmax())]} {p[i].max().item():.2f}" for p in readings.values())
        rows.append(f"| {name} | {label} | {' | '.join(cells)} |")
    if neighbours:
        places = [found.places[shown[best]] for found in near.values()]
        to_picture(beside_nearest(small[shown[best]], known, *places)).save(neighbours)

    def right(name: str) -> str:
        found = readings[name].argmax(dim=1) == y[shown]
        return f"`{name}` {found.float().mean():.0%} and {found[best].float().mean():.0%}"

    section = SECTION.format(
        numbers=f"{first} to {first + kept - 1}" if kept > 1 else str(first),
        drawn=len(y),
        origins=", ".join(origins),
        guidance=guidance,
        candidates=CANDIDATES,
        left=int(left.sum()),
        unless=", unless they were drawn as framed," if (of >= FRAMED).any() else "",
        alike=ALIKE,
        near=",\nand ".join(near_in_words(space, found, shown[best]) for space, found in near.items()),
        enlarged=ENLARGED,
        few=FEW,
        kept=f"{kept} were" if kept > 1 else "1 was",
        chosen_by=" and ".join(f"`{name}`" for name in CHOSEN_BY),
        readings=", ".join(map(right, readings)),
        outside=SURROGATE,
        command=command_of(seed, **drawing),
        heads=" | ".join(f"`{name}`" for name in readings),
        lines=" | ".join("---" for _ in readings),
        rows="\n".join(rows),
    )
    write_section(out / "SOURCES.md", section)
    shutil.rmtree(drafts)


def command_of(seed: int, *, origins: Sequence[str], guidance: float, kept: int, first: int) -> str:
    """The command that draws so."""
    usual = {"origins": [HAM10000], "guidance": GUIDANCE, "kept": KEPT, "first": 1}
    given = {"origins": list(origins), "guidance": guidance, "kept": kept, "first": first}
    words = ["purifier examples --data ISIC2019 --thumbnails ISIC2019_84PX --out assets/examples --seed", str(seed)]
    for name, value in given.items():
        if value != usual[name]:
            words += [f"--{name}", *map(shlex.quote, value if name == "origins" else [f"{value:g}"])]
    return " ".join(words)


def write_section(path: Path, section: str) -> None:
    """Put ``section`` in the place of that of the same title, or where it belongs by it."""
    _, *old = path.read_text(encoding="utf-8").split("\n## ") if path.exists() else [""]
    title = section.partition("\n")[0]
    kept = [text for text in (f"## {rest}" for rest in old) if text.partition("\n")[0] != title]
    sections = sorted(text.rstrip("\n") + "\n" for text in [*kept, section])
    path.write_text("\n".join([SOURCES.format(side=SIDE), *sections]), encoding="utf-8")


def realism_of(features: Tensor, y: Tensor, known: Tensor, labels: Tensor, kin: Tensor) -> Tensor:
    """How realistic each picture of ``features`` (N, D) is beside those training pictures, of features ``known``
    (M, D), whose diagnoses ``labels`` (M,) are its own, ``y`` (N,), and that are ``kin`` (M,), a mask, unless these are
    ``FEW``: (N,)."""
    found = torch.empty(len(features))
    for index in y.unique().tolist():
        alike = labels == index
        if (alike & kin).sum() >= FEW:
            alike &= kin
        found[y == index] = realism(features[y == index], known[alike])
    return found


def best_of_each(worth: Tensor, y: Tensor, count: int) -> Tensor:
    """The places of the ``count`` of each diagnosis ``y`` (N,) that are worth most, the best first."""
    places = [(y == index).nonzero().flatten() for index in y.unique()]
    return torch.cat([own[worth[own].argsort(descending=True)[:count]] for own in places])


def chosen(readings: dict[str, Tensor], y: Tensor, features: Tensor, count: int) -> list[int]:
    """The places of ``count`` pictures of each diagnosis ``y`` (N,): the one that the classifiers, whose probabilities
    (N, 8) ``readings`` holds, give it with most; then of those that all read so, as long as there are any, the one
    whose ``features`` (N, D) are furthest from those of any kept before."""
    given = torch.stack([p.gather(1, y[:, None]).flatten() for p in readings.values()]).amin(dim=0)
    agreed = torch.stack([p.argmax(dim=1) == y for p in readings.values()]).all(dim=0)
    apart, kept = torch.cdist(features, features), []
    for index in y.unique():
        rest = (y == index).nonzero().flatten().tolist()
        own = []
        while rest and len(own) < count:
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
