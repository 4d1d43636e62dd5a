"""How good the generator's pictures are: how far from held-out ones, how varied, what can be learnt from them, and how
near training pictures. All at the generator's size, and beside what real training pictures reach.

Distances are between the features of a network that saw ImageNet and no dermoscopy, so that neither side is at home.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torchmetrics.image.kid import poly_mmd
from torchvision.utils import make_grid
from tqdm import tqdm

from purifier.evaluation.datasets import LABELS, Sample, label_indices, read_isic2019, read_pixels, source_of
from purifier.evaluation.evaluate import choose_up_to
from purifier.files import begin, digest_of_file, write_atomically
from purifier.pictures.files import quantise, to_picture
from purifier.pyramid import resample
from purifier.training.classifier import imagenet_network, normalised
from purifier.training.examples import ALIKE, GENERATOR, GUIDANCE, nearest, trained, weights_of
from purifier.training.generator import SIDE, Generator, draw, origins_of, to_learn_from

PER_CLASS = 150  # held-out pictures of each diagnosis, as far as there are
SHEET = 64  # drawn pictures of each diagnosis
BATCH = 32  # pictures at a time
FEATURE_SIDE = 224  # pixels that the network looks at
SUBSETS, SUBSET = 100, 200  # of the kernel distance: how many, and of how many pictures
TABLE = """| of {pictures} held-out pictures' kind | drawn | training pictures |
| --- | --- | --- |
| kernel distance (KID) to them, 0 is none | {kid} | {kid_of_training} |
| precision: lie where held-out pictures lie | {precision} | {precision_of_training} |
| recall: held-out pictures lie where they lie | {recall} | {recall_of_training} |
| balanced accuracy on held-out pictures, learnt from {sheet} of each diagnosis | {learnt} | {learnt_from_training} |

Of {sheets} drawn ones {pixels} by pixels and {features} by features are nearer to a training picture than {alike} of
the held-out ones are. Features are those of a network that saw ImageNet alone.
"""
PAIRS = 8  # of drawn pictures and their nearest training pictures that are shown
NEIGHBOURS = 3  # whose distance is a picture's radius


def measure_quality(
    data: Path, out: Path, *, thumbnails: Path, generator: str | Path = GENERATOR, seed: int = 0
) -> dict[str, dict]:
    """Draw a picture for each of at most ``PER_CLASS`` held-out ones of a diagnosis, of the same diagnosis and origin,
    and ``SHEET`` of each diagnosis of HAM10000's kind, and compare both with real ones. What is found is written to
    ``out/quality.json`` and, in words, ``out/quality.md``; the latter pictures to ``out/sheets``, and those that come
    nearest to a training picture, above it, to ``out/neighbours.png`` (by pixels, then by features). What is drawn is
    kept in ``out`` and not drawn again.
    ``data`` and ``thumbnails`` are what the generator was trained on, ``generator`` is what ``trained`` takes.

    Returned are, of the ``drawn`` pictures and of as many ``training`` ones, ``compared`` with held-out ones; the
    balanced accuracy on held-out pictures that is ``learnt`` from ``SHEET`` of each diagnosis; and the share of drawn
    pictures that is ``nearer_than_held_out``: nearer to a training picture than ``ALIKE`` of the held-out ones are.
    """
    held_out = choose_up_to(read_isic2019(data, "val") + read_isic2019(data, "test"), PER_CLASS, seed)
    training = to_learn_from(data, thumbnails)
    weights = digest_of_file(weights_of(generator))
    begin(out, {"seed": seed, "weights": weights, "images": [sample.image for sample in held_out]})
    real, known = (read_pixels(samples, SIDE) / 255 for samples in (held_out, training))
    y, origins = label_indices(held_out), origins_of(held_out, (real * 255).byte())
    balanced = torch.arange(len(LABELS)).repeat_interleave(SHEET)
    drawn = drawn_for(generator, y, origins, seed, out / "counterparts.pt")
    sheets = drawn_for(generator, balanced, torch.zeros_like(balanced), seed + 1, out / "sheets.pt")
    write_sheets(sheets, out / "sheets")

    read = features_of(imagenet_network())
    of = {name: read(x) for name, x in (("real", real), ("drawn", drawn), ("sheets", sheets), ("known", known))}
    alike = counterparts(held_out, training, seed)
    as_many = choose_up_to(training, SHEET, seed)
    at = {sample.image: i for i, sample in enumerate(training)}
    chosen = [at[sample.image] for sample in as_many]
    found = {
        "pictures": len(held_out),
        "drawn": compared(of["drawn"], of["real"], seed),
        "training": compared(of["known"][alike], of["real"], seed),
        "learnt": {
            "from_drawn": learnt(of["sheets"], balanced, of["real"], y),
            "from_training": learnt(of["known"][chosen], label_indices(as_many), of["real"], y),
        },
        "nearer_than_held_out": {},
    }
    pairs = []
    spaces = {"pixels": {"sheets": sheets, "real": real, "known": known}, "features": of}
    for space, x in spaces.items():
        flat = {name: value.flatten(1) for name, value in x.items()}
        distances, neighbours = nearest(flat["sheets"], flat["known"])
        bound = nearest(flat["real"], flat["known"])[0].quantile(ALIKE).item()
        found["nearer_than_held_out"][space] = (distances < bound).double().mean().item()
        closest = distances.argsort()[:PAIRS]
        pairs += [sheets[closest], known[neighbours[closest]]]
    to_picture(make_grid(torch.cat(pairs), nrow=PAIRS, padding=1)[None]).save(out / "neighbours.png")
    write_atomically(out / "quality.json", (json.dumps(found, indent=2) + "\n").encode())
    write_atomically(out / "quality.md", in_words(found).encode())
    return found


def in_words(found: dict[str, dict]) -> str:
    """What ``measure_quality`` found as Markdown, for a card."""
    of_drawn, of_training = found["drawn"], found["training"]
    nearer = found["nearer_than_held_out"]

    def kid(of: dict[str, float]) -> str:
        return f"{of['kid']:.3f} (standard deviation {of['kid_deviation']:.3f})"

    return TABLE.format(
        pictures=found["pictures"],
        kid=kid(of_drawn),
        kid_of_training=kid(of_training),
        **{name: f"{of_drawn[name]:.0%}" for name in ("precision", "recall")},
        **{f"{name}_of_training": f"{of_training[name]:.0%}" for name in ("precision", "recall")},
        sheet=SHEET,
        learnt=f"{found['learnt']['from_drawn']:.0%}",
        learnt_from_training=f"{found['learnt']['from_training']:.0%}",
        sheets=SHEET * len(LABELS),
        **{space: f"{share:.1%}" for space, share in nearer.items()},
        alike=f"{ALIKE:.0%}",
    )


def drawn_for(folder: str | Path, y: Tensor, origins: Tensor, seed: int, path: Path) -> Tensor:
    """A picture (N, 3, 64, 64) with 8-bit values for each diagnosis and origin (N,); takes up what ``path`` has."""
    model = trained(Generator, folder)
    parts = torch.load(path, weights_only=True) if path.exists() else []
    batches = list(zip(y.split(BATCH), origins.split(BATCH), strict=True))
    for i in tqdm(range(len(parts), len(batches)), desc=path.stem):
        random = torch.Generator().manual_seed(seed * 1_000_003 + i)
        parts.append(quantise(draw(model, *batches[i], guidance=GUIDANCE, generator=random)))
        torch.save(parts, path)
    return torch.cat(parts)


def write_sheets(x: Tensor, folder: Path) -> None:
    """``SHEET`` pictures of each diagnosis as one."""
    folder.mkdir(exist_ok=True)
    for label, part in zip(LABELS, x.split(SHEET), strict=True):
        to_picture(make_grid(part, nrow=8, padding=1)[None]).save(folder / f"{label}.jpg", quality=88)


def features_of(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """From pictures (N, 3, H, W) to what the network's last layer looks at, (N, D)."""
    network.reset_classifier(0)
    network.eval().requires_grad_(False)

    def read(x: Tensor) -> Tensor:
        parts = [resample(part, (FEATURE_SIDE,) * 2).clamp(0, 1) for part in x.split(BATCH)]
        return torch.cat([normalised(network, part) for part in tqdm(parts, desc="features", leave=False)])

    return read


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
    random, size = torch.Generator().manual_seed(seed), min(SUBSET, len(of), len(against))

    def some(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=random)[:size]]

    distances = torch.stack([poly_mmd(some(against), some(of)) for _ in range(SUBSETS)])
    return {
        "kid": distances.mean().item(),
        "kid_deviation": distances.std().item(),
        "precision": inside(of, against),
        "recall": inside(against, of),
    }


def inside(of: Tensor, against: Tensor) -> float:
    """The share of ``of`` (N, D) that is no further from one of ``against`` (M, D) than that one's third neighbour."""
    radii = torch.cdist(against, against).kthvalue(NEIGHBOURS + 1, dim=1).values  # the first is itself
    return (torch.cdist(of, against) <= radii).any(dim=1).double().mean().item()


def learnt(x: Tensor, y: Tensor, held_out: Tensor, truth: Tensor) -> float:
    """The balanced accuracy on held-out features (M, D) of a logistic regression that learnt from ``x`` (N, D)."""
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=1000, class_weight="balanced"))
    return balanced_accuracy_score(truth.numpy(), model.fit(x.numpy(), y.numpy()).predict(held_out.numpy()))
