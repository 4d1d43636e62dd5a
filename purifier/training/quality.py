"""How good the diffusion models' pictures are: how far from held-out ones, how varied, how near training pictures, and
what can be learnt from them, at the generator's size and beside what real training pictures reach; and what the
super-resolution makes of real pictures.

Distances are between the features of a network that saw ImageNet and no dermoscopy, so that neither side is at home.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torchmetrics.image.kid import poly_mmd
from torchvision.utils import make_grid

from purifier.classifiers.classifier import SURROGATE, load_classifier
from purifier.evaluation.datasets import LABELS, Sample, label_indices, read_isic2019, read_pixels, source_of
from purifier.evaluation.evaluate import choose_up_to
from purifier.files import ASSETS, begin, write_atomically
from purifier.pictures.files import read_image, to_picture
from purifier.pyramid import resample
from purifier.training.drawing import GENERATOR, SUPER_RESOLUTION, digests_of, drawn_for, enlarged_for
from purifier.training.examples import probabilities
from purifier.training.generator import SIDE as SMALL
from purifier.training.generator import origins_of, to_learn_from
from purifier.training.likeness import ALIKE, Features, beside_nearest, flat, inside, nearness, small_pictures
from purifier.training.super_resolution import SIDE as LARGE

EXAMPLES = ASSETS / "examples"
PER_CLASS = 100  # held-out pictures of each diagnosis, as far as there are
SHEET = 64  # drawn pictures of each diagnosis
SUBSETS, SUBSET = 100, 200  # of the kernel distance: how many, and of how many pictures
TABLE = """| of {pictures} held-out pictures' kind | drawn | without guidance | training pictures |
| --- | --- | --- | --- |
| kernel distance (KID) to them, 0 is none | {kid} | {kid_unguided} | {kid_of_training} |
| precision: lie where held-out pictures lie | {precision} | {precision_unguided} | {precision_of_training} |
| recall: held-out pictures lie where they lie | {recall} | {recall_unguided} | {recall_of_training} |
| balanced accuracy on them, learnt from {sheet} of each diagnosis | {learnt} | – | {learnt_from_training} |

Of {sheets} drawn ones {pixels} by pixels and {features} by features are nearer to a training picture than {alike} of
the held-out ones are. Features are those of a network that saw ImageNet alone.
"""
WHOLE = 20  # drawn pictures of each diagnosis that are drawn large
WHOLE_TABLE = """| {large} pixels wide, beside {pictures} held-out ones | number | distance (KID) | read as meant |
| --- | --- | --- | --- |
{rows}

Read by `{reader}`, which has no part in the choice of the examples.
"""
ROWS = {"drawn": "drawn small and then large", "training": "training pictures", "held_out": "the held-out pictures"}
ENLARGED = 8  # held-out pictures of each diagnosis that are made small and drawn large again
ENLARGED_TABLE = """| of {pictures} held-out pictures, made {small} pixels wide and {large} again | drawn | resampled |
| --- | --- | --- |
| detail: root mean square of what was lost, beside the real one's | {detail_drawn} | {detail_resampled} |
| kernel distance (KID) to the real ones, 0 is none | {kid_drawn} | {kid_resampled} |
| read by `{reader}` as the real one is | {read_alike_drawn} | {read_alike_resampled} |
"""
PAIRS = 8  # of drawn pictures and their nearest training pictures that are shown


def measure_quality(
    data: Path,
    out: Path,
    *,
    thumbnails: Path,
    generator: str | Path = GENERATOR,
    super_resolution: str | Path = SUPER_RESOLUTION,
    seed: int = 0,
    beside: Sequence[Path] = (EXAMPLES,),
) -> dict[str, dict]:
    """Draw a picture for each of at most ``PER_CLASS`` held-out ones of a diagnosis, of the same diagnosis and origin,
    and ``SHEET`` of each diagnosis of HAM10000's kind, and compare both with real ones. What is found is written to
    ``out/quality.json`` and, in words, ``out/quality.md``; the latter pictures to ``out/sheets``, and those that come
    nearest to a training picture, above it, to ``out/neighbours.png`` (by pixels, then by features). Of at most
    ``ENLARGED`` held-out ones of a diagnosis it is measured what the super-resolution makes of them, and of at most
    ``WHOLE`` what both models draw, with the pictures of the folders ``beside``. What is drawn is kept in ``out`` and
    not drawn again. ``data`` and ``thumbnails`` are what the models were trained on, which are what ``drawing.trained``
    takes.

    Returned are, of the ``drawn`` pictures, ``unguided`` ones and as many ``training`` ones, ``compared`` with held-out
    ones; the balanced accuracy on held-out pictures that is ``learnt`` from ``SHEET`` of each diagnosis; and the share
    of drawn pictures that is ``nearer_than_held_out``: nearer to a training picture than ``ALIKE`` of the held-out ones
    are; and what ``measure_enlarged`` and ``measure_whole`` return. Raises ``FileNotFoundError`` for a folder of
    ``beside`` without pictures.
    """
    for folder in beside:
        if not any(folder.glob("*.png")):
            raise FileNotFoundError(f"There are no PNG pictures in {folder}.")
    held_out = choose_up_to(read_isic2019(data, "val") + read_isic2019(data, "test"), PER_CLASS, seed)
    training = to_learn_from(data, thumbnails)
    weights = digests_of(generator, super_resolution)
    begin(out, {"seed": seed, "weights": weights, "images": [sample.image for sample in held_out]})
    real, known = small_pictures(held_out), small_pictures(training)
    y, origins = label_indices(held_out), origins_of(held_out, (real * 255).byte())
    balanced = torch.arange(len(LABELS)).repeat_interleave(SHEET)
    drawn = drawn_for(generator, y, origins, seed, out / "counterparts.pt")
    unguided = drawn_for(generator, y, origins, seed, out / "counterparts-unguided.pt", guidance=1)
    sheets = drawn_for(generator, balanced, torch.zeros_like(balanced), seed + 1, out / "sheets.pt")
    write_sheets(sheets, out / "sheets")

    read = Features()
    pictures = {"real": real, "drawn": drawn, "unguided": unguided, "sheets": sheets, "known": known}
    of = {name: read(x) for name, x in pictures.items()}
    alike = counterparts(held_out, training, seed)
    as_many = choose_up_to(training, SHEET, seed)
    at = {sample.image: i for i, sample in enumerate(training)}
    chosen = [at[sample.image] for sample in as_many]
    found = {
        "pictures": len(held_out),
        **{name: compared(of[name], of["real"], seed) for name in ("drawn", "unguided")},
        "training": compared(of["known"][alike], of["real"], seed),
        "learnt": {
            "from_drawn": learnt(of["sheets"], balanced, of["real"], y),
            "from_training": learnt(of["known"][chosen], label_indices(as_many), of["real"], y),
        },
        "nearer_than_held_out": {},
    }
    spaces = {"pixels": {name: flat(x) for name, x in pictures.items()}, "features": of}
    nearest_ones = []
    for space, x in spaces.items():
        found_near = nearness(x["sheets"], x["real"], x["known"])
        found["nearer_than_held_out"][space] = (found_near.distances < found_near.bound).double().mean().item()
        closest = found_near.distances.argsort()[:PAIRS]
        nearest_ones.append(beside_nearest(sheets[closest], known, found_near.places[closest]))
    to_picture(torch.cat(nearest_ones, dim=2)).save(out / "neighbours.png")
    found["enlarged"] = measure_enlarged(held_out, y, origins, super_resolution, out, seed, read)
    some = places_of_some(held_out, WHOLE, seed)
    found["whole"] = measure_whole(
        enlarged_for(super_resolution, drawn[some], y[some], origins[some], seed, out / "whole.pt"),
        [held_out[i] for i in some],
        [training[alike[i]] for i in some],
        beside,
        seed,
        read,
    )
    write_atomically(out / "quality.json", (json.dumps(found, indent=2) + "\n").encode())
    write_atomically(
        out / "quality.md", "\n".join((in_words(found), whole_in_words(found), enlarged_in_words(found))).encode()
    )
    return found


def measure_enlarged(
    held_out: Sequence[Sample],
    y: Tensor,
    origins: Tensor,
    super_resolution: str | Path,
    out: Path,
    seed: int,
    read: Features,
) -> dict[str, dict | int]:
    """What is left of real pictures (of diagnoses ``y`` and ``origins``, (N,)) that are made small and large again:
    ``drawn`` by the model, and ``resampled``, in the features that ``read`` gives. Drawings are kept in
    ``out/enlarged.pt``."""
    at = places_of_some(held_out, ENLARGED, seed)
    real = read_pixels([held_out[i] for i in at], LARGE) / 255
    small = resample(real, (SMALL, SMALL)).clamp(0, 1)
    drawn = enlarged_for(super_resolution, small, y[at], origins[at], seed, out / "enlarged.pt")
    large = {"drawn": drawn, "resampled": resample(small, (LARGE, LARGE)).clamp(0, 1)}
    reader = load_classifier(SURROGATE)
    detail, of_real, as_real = detail_of(real), read(real), probabilities(reader, real).argmax(dim=1)
    return {
        "pictures": len(at),
        **{
            name: {
                "detail": (detail_of(x) / detail).mean().item(),
                "kid": compared(read(x), of_real, seed)["kid"],
                "read_alike": (probabilities(reader, x).argmax(dim=1) == as_real).double().mean().item(),
            }
            for name, x in large.items()
        },
    }


def measure_whole(
    drawn: Tensor,
    held_out: Sequence[Sample],
    training: Sequence[Sample],
    beside: Sequence[Path],
    seed: int,
    read: Features,
) -> dict[str, dict]:
    """How far ``drawn`` pictures (N, 3, 256, 256), one for each of the ``held_out`` ones, are from these at their full
    size, beside as many ``training`` pictures and the pictures of folders, ``beside``, named by their diagnosis as the
    examples are; and which share of each ``SURROGATE`` reads as meant."""
    real, y, reader = read_pixels(held_out, LARGE) / 255, label_indices(held_out), load_classifier(SURROGATE)
    pictures = {"held_out": (real, y), "training": (read_pixels(training, LARGE) / 255, y), "drawn": (drawn, y)}
    for folder in beside:
        files = sorted(folder.glob("*.png"))
        x = torch.cat([read_image(file, size=LARGE) for file in files])
        pictures[folder.name] = x, torch.tensor([LABELS.index(file.stem.partition("-")[0]) for file in files])
    of_real = read(real)
    return {
        name: {
            "pictures": len(x),
            **({} if name == "held_out" else compared(read(x), of_real, seed)),
            "read_as_meant": (probabilities(reader, x).argmax(dim=1) == meant).double().mean().item(),
        }
        for name, (x, meant) in pictures.items()
    }


def detail_of(x: Tensor) -> Tensor:
    """The root mean square of what pictures (N, 3, 256, 256) lose when they are made small and large again, (N,)."""
    lost = x - resample(resample(x, (SMALL, SMALL)), (LARGE, LARGE))
    return lost.square().mean(dim=(1, 2, 3)).sqrt()


def in_words(found: dict[str, dict]) -> str:
    """What ``measure_quality`` found of the generator as Markdown, for its card."""
    nearer = found["nearer_than_held_out"]
    kinds = {"": "drawn", "_unguided": "unguided", "_of_training": "training"}
    return TABLE.format(
        pictures=found["pictures"],
        **{
            f"{name}{which}": kid(of) if name == "kid" else f"{of[name]:.0%}"
            for which, of in ((which, found[kind]) for which, kind in kinds.items())
            for name in ("kid", "precision", "recall")
        },
        sheet=SHEET,
        learnt=f"{found['learnt']['from_drawn']:.0%}",
        learnt_from_training=f"{found['learnt']['from_training']:.0%}",
        sheets=SHEET * len(LABELS),
        **{space: f"{share:.1%}" for space, share in nearer.items()},
        alike=f"{ALIKE:.0%}",
    )


def kid(of: dict[str, float]) -> str:
    """A distance in words."""
    return f"{of['kid']:.3f} (standard deviation {of['kid_deviation']:.3f})"


def whole_in_words(found: dict[str, dict]) -> str:
    """What ``measure_quality`` found of both models together as Markdown, for the generator's card."""
    rows = [
        f"| {ROWS.get(name, name)} | {of['pictures']} | {kid(of) if 'kid' in of else '–'} | {of['read_as_meant']:.0%} |"
        for name, of in found["whole"].items()
    ]
    pictures = found["whole"]["held_out"]["pictures"]
    return WHOLE_TABLE.format(large=LARGE, pictures=pictures, reader=SURROGATE, rows="\n".join(rows))


def enlarged_in_words(found: dict[str, dict]) -> str:
    """What ``measure_quality`` found of the super-resolution as Markdown, for its card."""
    of = found["enlarged"]
    cells = {
        f"{name}_{which}": f"{value:.3f}" if name == "kid" else f"{value:.0%}"
        for which in ("drawn", "resampled")
        for name, value in of[which].items()
    }
    return ENLARGED_TABLE.format(pictures=of["pictures"], small=SMALL, large=LARGE, reader=SURROGATE, **cells)


def write_sheets(x: Tensor, folder: Path) -> None:
    """``SHEET`` pictures of each diagnosis as one."""
    folder.mkdir(exist_ok=True)
    for label, part in zip(LABELS, x.split(SHEET), strict=True):
        to_picture(make_grid(part, nrow=8, padding=1)[None]).save(folder / f"{label}.jpg", quality=88)


def places_of_some(samples: Sequence[Sample], per_class: int, seed: int) -> list[int]:
    """The places of at most ``per_class`` of each diagnosis, drawn at random, in the order of ``samples``."""
    chosen = {sample.image for sample in choose_up_to(samples, per_class, seed)}
    return [i for i, sample in enumerate(samples) if sample.image in chosen]


def counterparts(held_out: Sequence[Sample], training: Sequence[Sample], seed: int) -> list[int]:
    """For each held-out picture the place of a training picture of its diagnosis from its source, drawn at random."""
    random, places = np.random.default_rng(seed), defaultdict(list)
    for i, sample in enumerate(training):
        places[sample.label, source_of(sample.image)].append(i)
    return [int(random.choice(places[sample.label, source_of(sample.image)])) for sample in held_out]


def compared(of: Tensor, against: Tensor, seed: int) -> dict[str, float]:
    """Features (N, D) against those of held-out pictures (M, D): the kernel distance (KID: Binkowski et al., 2018), its
    mean and standard deviation over subsets; precision, the share of ``of`` that lies where held-out pictures lie, and
    recall, the reverse (Kynkäänniemi et al., 2019)."""
    random, size = torch.Generator().manual_seed(seed), min(SUBSET, len(of) // 2, len(against) // 2)

    def some(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=random)[:size]]

    distances = torch.stack([poly_mmd(some(against), some(of)) for _ in range(SUBSETS)])
    return {
        "kid": distances.mean().item(),
        "kid_deviation": distances.std().item(),
        "precision": inside(of, against),
        "recall": inside(against, of),
    }


def learnt(x: Tensor, y: Tensor, held_out: Tensor, truth: Tensor) -> float:
    """The balanced accuracy on held-out features (M, D) of a logistic regression that learnt from ``x`` (N, D)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000, class_weight="balanced"))
    return balanced_accuracy_score(truth.numpy(), model.fit(x.numpy(), y.numpy()).predict(held_out.numpy()))
