"""Example pictures for the page: drawn by our own generator, enlarged, and given a fine synthetic skin texture."""

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur
from tqdm import tqdm

from purifier.classifiers.classifier import load_classifier
from purifier.denoise import rof
from purifier.evaluation.datasets import LABELS
from purifier.pictures.files import SIZE, quantise, to_picture
from purifier.pyramid import resample
from purifier.training.generator import Denoiser, draw, load_denoiser, without_black_corners

CANDIDATES = 20  # drawn for each diagnosis, of which the best is kept
GUIDANCE = 2.0
SPECKLE = 0.01  # weight of the denoising that takes the generator's speckle away

SOURCES = """# Where these pictures come from

No picture here shows a person's skin. They were drawn by a small class-conditional diffusion model
(`purifier/training/generator.py`, 64 x 64 pixels) and enlarged to {size} x {size} with a synthetic skin texture
(`purifier/training/examples.py`). The model was trained on ISIC 2019 (HAM10000, MSK and BCN20000; CC BY-NC 4.0), so the
pictures are under the same licence, CC BY-NC 4.0.

They are illustrations for trying the page, not evidence. Of up to {candidates} candidates for each diagnosis, one was
kept: the one with the largest product of the probability that the bundled classifier `{classifier}` gives to the
diagnosis it was drawn for, and of the evenness of its border. The file's name says that diagnosis. No figure in this
project was measured on them.

Command (after `purifier train generator --data ISIC2019 --thumbnails ISIC2019_84PX --work work/generator`):

    purifier examples --generator work/generator --out assets/examples --seed {seed}

| file | drawn as | read as | probability |
| --- | --- | --- | --- |
{rows}
"""


def write_examples(work: Path, out: Path, *, seed: int = 0) -> None:
    """Draw up to ``CANDIDATES`` pictures of every diagnosis and keep the clearest, for the default classifier."""
    model, classifier, rows = load_denoiser(work), load_classifier(), []
    out.mkdir(parents=True, exist_ok=True)
    for index, label in enumerate(tqdm(LABELS, unit="diagnosis")):
        generator = torch.Generator().manual_seed(seed * 1000 + index)
        pictures = candidates(model, index, generator)
        probabilities = classifier.probabilities(pictures)
        best = int((probabilities[:, classifier.labels.index(label)] * calm_border(pictures)).argmax())
        name, read = f"{label}-1.png", int(probabilities[best].argmax())
        to_picture(pictures[best : best + 1]).save(out / name)
        rows.append(f"| {name} | {label} | {classifier.labels[read]} | {probabilities[best, read].item():.2f} |")
    text = SOURCES.format(
        size=SIZE, candidates=CANDIDATES, classifier=classifier.source, seed=seed, rows="\n".join(rows)
    )
    (out / "SOURCES.md").write_text(text, encoding="utf-8")


def candidates(model: Denoiser, index: int, generator: torch.Generator) -> Tensor:
    """Enlarged pictures (at most CANDIDATES, 3, 224, 224) of one diagnosis, with 8-bit values, without dark frames."""
    small = draw(model, torch.full((CANDIDATES,), index), guidance=GUIDANCE, generator=generator)
    clear = without_black_corners((small * 255).byte())
    small = small[clear] if clear.any() else small
    return quantise(torch.cat([enlarge(picture[None], generator) for picture in small]))


def calm_border(x: Tensor) -> Tensor:
    """From 0 to 1 (N,): how even the outermost tenth of each picture is, as where a lesion is framed by skin."""
    blurred = gaussian_blur(x, kernel_size=13, sigma=3.0).mean(dim=1)
    cut = x.shape[-1] // 10
    sides = (blurred[:, :cut], blurred[:, -cut:], blurred[:, :, :cut], blurred[:, :, -cut:])
    return torch.exp(-((torch.cat([side.flatten(1) for side in sides], dim=1).std(dim=1) / 0.06) ** 2))


def enlarge(x: Tensor, generator: torch.Generator) -> Tensor:
    """``x`` (1, 3, h, w) in [0, 1] at (1, 3, 224, 224): without speckle, resampled, sharpened, textured like skin."""
    large = resample(rof(x, SPECKLE), (SIZE, SIZE))
    large = large + 0.6 * (large - gaussian_blur(large, kernel_size=9, sigma=2.0))
    light = large.mean(dim=1, keepdim=True).clamp(0, 1)
    furrows = skin_furrows(generator) * (0.35 + 0.65 * light)  # pigment hides most of the furrows
    grain = gaussian_blur(torch.randn(1, 3, SIZE, SIZE, generator=generator), kernel_size=3, sigma=0.6)
    mottle = F.interpolate(torch.randn(1, 1, 28, 28, generator=generator), (SIZE, SIZE), mode="bicubic")
    return (large * (1 - 0.075 * furrows + 0.012 * mottle) + 0.012 * grain).clamp(0, 1)


def skin_furrows(generator: torch.Generator) -> Tensor:
    """A net of fine lines (1, 1, 224, 224), 1 on a line and 0 off it: the borders of random cells (Worley, 1996)."""
    jitter = torch.rand(2, 26, 26, generator=generator).numpy()
    points = (np.indices((26, 26)) - 1 + jitter).reshape(2, -1).T * (SIZE / 24)
    # Skin's cells are long along one direction, which differs from picture to picture.
    angle = float(torch.rand((), generator=generator)) * np.pi
    stretch = np.array([[np.cos(angle), np.sin(angle)], [-1.5 * np.sin(angle), 1.5 * np.cos(angle)]])
    pixels = np.indices((SIZE, SIZE)).reshape(2, -1).T
    distances, _ = cKDTree(points @ stretch.T).query(pixels @ stretch.T, k=2)
    border = torch.from_numpy(distances[:, 1] - distances[:, 0]).float().reshape(1, 1, SIZE, SIZE)
    return gaussian_blur(torch.exp(-((border / 1.6) ** 2)), kernel_size=5, sigma=0.8)
