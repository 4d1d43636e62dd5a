"""Pictures that are no dermoscopy: photographs, textures, documents and drawings that installed packages carry or that
are drawn here. They measure the out-of-distribution check, and have no part in fitting it."""

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import Classifier
from purifier.evaluation.datasets import Sample, lesions_of, read_pixels
from purifier.evaluation.evaluate import targets
from purifier.evaluation.intervals import Score, auroc, share
from purifier.evaluation.settings import BATCH
from purifier.pictures.files import SIZE, centre_square, to_batch
from purifier.pipeline import Purifier

# Where the pictures of a kind are, as package: names.
FILES = {
    "photograph": {
        "skimage.data": (
            "astronaut.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png",
            "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg", "ihc.png",
            "cell.png",
        ),
        "sklearn.datasets.images": ("china.jpg", "flower.jpg"),
        "matplotlib": ("mpl-data/sample_data/grace_hopper.jpg",),
        "gradio": (
            "media_assets/images/cheetah.jpg", "media_assets/images/cheetah1.jpg", "media_assets/images/groot.jpeg",
            "media_assets/images/lion.jpg", "media_assets/images/tower.jpg",
        ),
    },
    "texture": {"skimage.data": ("brick.png", "grass.png", "gravel.png")},
    "document": {"skimage.data": ("page.png", "text.png")},
    "drawing": {
        "skimage.data": ("chessboard_RGB.png", "color.png", "horse.png", "logo.png"),
        "matplotlib": ("mpl-data/sample_data/Minduka_Present_Blue_Pack.png", "mpl-data/sample_data/logo2.png"),
    },
}  # fmt: skip
CROPS = 4  # squares cut from each picture, besides its middle
MADE = 20  # pictures drawn here, of each kind
WORDS = "report patient of the skin lesion left upper arm 2019 page total result date signed copy and not for".split()


def ood_pictures(seed: int = 0) -> Iterator[tuple[str, Image.Image]]:
    """(kind, picture): kind is photograph, texture, document or drawing. The same for the same seed."""
    return ((kind, picture) for kind, _, picture in with_origins(seed))


def with_origins(seed: int = 0) -> Iterator[tuple[str, str, Image.Image]]:
    """(kind, origin, picture): pictures of one origin are cut from one file, and are no independent trials."""
    generator = np.random.default_rng(seed)
    for kind, packages in FILES.items():
        for package, names in packages.items():
            for name in names:
                with Image.open(Path(str(files(package) / name))) as opened:
                    picture = opened.convert("RGBA")
                white = Image.new("RGBA", picture.size, "white")
                picture = Image.alpha_composite(white, picture).convert("RGB")
                yield kind, f"{package}/{name}", picture
                for _ in range(CROPS):
                    yield kind, f"{package}/{name}", crop(picture, generator)
    for kind, make in (("texture", texture), ("document", document), ("drawing", shapes), ("drawing", chart)):
        for i in range(MADE):
            yield kind, f"{make.__name__} {i}", make(generator)


def crop(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A square of a third of the shorter side or more, at least 64 pixels wide."""
    shorter = min(picture.size)
    side = max(64, int(shorter * generator.uniform(0.33, 1)))
    left, top = (int(generator.uniform(0, length - side)) for length in picture.size)
    return picture.crop((left, top, left + side, top + side))


def texture(generator: np.random.Generator) -> Image.Image:
    """Coloured noise with a spectrum that falls with the frequency, from rough to smooth."""
    spectrum = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256))) + 1 / 256
    noise = generator.normal(size=(3, 256, 256)) + generator.normal(size=(1, 256, 256)) * generator.uniform(0, 3)
    waves = np.fft.ifft2(np.fft.fft2(noise) / spectrum ** generator.uniform(0, 1.5)).real
    waves = (waves - waves.mean()) / waves.std()
    pixels = 128 + 128 * generator.uniform(0.05, 0.5) * waves + generator.uniform(-60, 60, 3)[:, None, None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def document(generator: np.random.Generator) -> Image.Image:
    """A page of words on white or tinted paper."""
    paper = tuple(generator.integers(200, 256, 3).tolist())
    page = Image.new("RGB", (448, 448), paper)
    draw, size = ImageDraw.Draw(page), int(generator.integers(14, 34))
    font = ImageFont.load_default(size)
    for top in range(12, 430, int(size * 1.4)):
        line = " ".join(generator.choice(WORDS, size=int(generator.integers(1, 12))))
        draw.text((14, top), line, fill=tuple(generator.integers(0, 90, 3).tolist()), font=font)
    return page


def shapes(generator: np.random.Generator) -> Image.Image:
    """Flat shapes on a flat ground."""

    def colour() -> tuple[int, ...]:
        return tuple(generator.integers(0, 256, 3).tolist())

    picture = Image.new("RGB", (256, 256), colour())
    draw = ImageDraw.Draw(picture)
    for _ in range(int(generator.integers(2, 9))):
        (left, right), (top, bottom) = np.sort(generator.integers(0, 256, (2, 2)), axis=1).tolist()
        getattr(draw, generator.choice(["ellipse", "rectangle", "line"]))((left, top, right, bottom), fill=colour())
    return picture


def chart(generator: np.random.Generator) -> Image.Image:
    """Lines or bars with axes."""
    figure = Figure(figsize=(3, 3), dpi=100)
    axes = figure.subplots()
    if generator.random() < 0.5:
        axes.plot(np.cumsum(generator.normal(size=(40, 3)), axis=0))
    else:
        axes.bar(range(6), generator.uniform(1, 9, 6), color=generator.uniform(0, 1, (6, 3)))
    axes.set_title("results")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def ood_scores(
    classifier: Classifier, lesions: Sequence[Sample], attacked: Sequence[Sample], *, eps: float, seed: int = 0
) -> dict:
    """How well the classifier's out-of-distribution check works, on test ``lesions`` and on ``ood_pictures``.

    The lesions ``attacked`` show what PGD-20 on the classifier, and the purifier, do to it. The attacker who evades
    knows the check, and changes every sixth other picture by up to ``eps`` so that it looks like a lesion. Intervals
    are over lesions and, of the others, over the files that they are cut from.
    """
    kinds, origins, pictures = zip(*with_origins(seed), strict=True)
    others = torch.cat([to_batch(centre_square(picture, SIZE)) for picture in pictures])
    of_attacked, of_all = lesions_of(attacked), [*lesions_of(lesions), *origins]
    some, y = read_pixels(attacked, SIZE).float() / 255, targets(classifier, attacked)
    attack, purifier, device = AttackSettings(eps=eps), Purifier(), classifier.mean.device

    def seeded() -> torch.Generator:
        return torch.Generator().manual_seed(seed)

    def is_ood(x: Tensor, change: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
        return distances(classifier, x, change) > classifier.calibration.out_of_distribution.threshold

    adv = torch.cat(
        [
            attack(classifier, x.to(device), t.to(device), generator=seeded()).cpu()
            for x, t in zip(some.split(BATCH), y.split(BATCH), strict=True)
        ]
    )
    of_lesions = distances(classifier, read_pixels(lesions, SIZE).float() / 255)
    of_others = distances(classifier, others)
    scores, truth = torch.cat([of_lesions, of_others]), torch.arange(len(lesions) + len(others)) >= len(lesions)
    found = of_others > classifier.calibration.out_of_distribution.threshold

    def found_of(kind: str) -> Score:
        chosen = [i for i, k in enumerate(kinds) if k == kind]
        return share(found[chosen], [origins[i] for i in chosen])

    return {
        "lesions": len(lesions),
        "ood_pictures": {kind: kinds.count(kind) for kind in FILES},
        "auroc": auroc(truth, scores, of_all),
        "found": {kind: found_of(kind) for kind in FILES},
        "false_alarm": share(of_lesions > classifier.calibration.out_of_distribution.threshold, lesions_of(lesions)),
        "attacked": len(attacked),
        "eps": eps,
        "false_alarm_clean": share(is_ood(some), of_attacked),
        "false_alarm_purified": share(is_ood(some, lambda x: purifier(x, seeded())), of_attacked),
        "false_alarm_attacked": share(is_ood(adv), of_attacked),
        "false_alarm_attacked_purified": share(is_ood(adv, lambda x: purifier(x, seeded())), of_attacked),
        "found_purified": share(is_ood(others, lambda x: purifier(x, seeded())), origins),
        "evading": len(others[::6]),
        "found_evading": share(is_ood(others[::6], lambda x: evade(classifier, x, attack, seeded())), origins[::6]),
    }


def distances(classifier: Classifier, x: Tensor, change: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """``classifier.distance`` of the pictures after ``change``, batch by batch, (N,)."""
    device, found = classifier.mean.device, []
    for batch in x.split(BATCH):
        changed = change(batch.to(device))
        with torch.no_grad():
            found.append(classifier.distance(changed).cpu())
    return torch.cat(found)


def evade(classifier: Classifier, x: Tensor, attack: AttackSettings, generator: torch.Generator) -> Tensor:
    """Pictures changed to look like dermoscopy to the check, by an attacker who knows it."""

    def lesion_or_not(z: Tensor) -> Tensor:
        closeness = classifier.distance(z).log()  # the cross-entropy of plain distances would have no gradient left
        return torch.stack([-closeness, closeness], dim=1)

    y = torch.ones(len(x), dtype=torch.int64, device=x.device)
    return attack(lesion_or_not, x, y, generator=generator)
