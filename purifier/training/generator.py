"""A small diffusion model of skin lesions, conditioned on the diagnosis and on where a picture comes from.

Preconditioning, loss and noise levels as in Karras et al. (2022), "Elucidating the design space of
diffusion-based generative models" (EDM). Pictures are 64 x 64, in [-1, 1] inside the model.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DModel
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from purifier.evaluation.datasets import (
    LABELS,
    Sample,
    digest_of_samples,
    is_bcn20000,
    label_indices,
    read_isic2019,
    read_pixels,
    source_of,
)
from purifier.files import begin
from purifier.training.augment import turned
from purifier.training.classifier import sampling_weights
from purifier.training.diffusion import faster, heun, optimise, write_weights

SIDE = 64  # pixels
WIDTHS = (96, 128, 192)  # of the levels
SIGMA_DATA = 0.5
NO_CLASS = len(LABELS)  # the label of a picture whose diagnosis was dropped
ORIGINS = ("HAM10000", "MSK", "BCN20000", "HAM10000 framed", "MSK framed", "BCN20000 framed")  # framed: black corners
FRAMED = len(ORIGINS) // 2  # the first of these
NO_ORIGIN = len(ORIGINS)
GUIDANCE = 1.5
CHECKPOINT_EVERY, SNAPSHOT_EVERY, LOG_EVERY = 200, 2000, 20  # steps


class Condition(nn.Module):
    """An embedding of ``y * (NO_ORIGIN + 1) + origin``: the sum of the diagnosis's and the origin's."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.diagnosis, self.origin = nn.Embedding(NO_CLASS + 1, width), nn.Embedding(NO_ORIGIN + 1, width)

    def forward(self, both: Tensor) -> Tensor:
        """``both`` (B,), whole numbers, to (B, width)."""
        return self.diagnosis(both // (NO_ORIGIN + 1)) + self.origin(both % (NO_ORIGIN + 1))


class Generator(nn.Module, PyTorchModelHubMixin, license="cc-by-nc-4.0"):
    """The best guess of the clean picture from a noisy one, its noise level, its diagnosis and its origin."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.unet = UNet2DModel(
            sample_size=SIDE // 2,
            in_channels=12,
            out_channels=12,
            layers_per_block=1,
            attention_head_dim=32,
            block_out_channels=widths,
            num_class_embeds=1,  # replaced below
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )
        self.unet.class_embedding = Condition(self.unet.class_embedding.weight.shape[1])

    def forward(self, x: Tensor, sigma: Tensor, y: Tensor, origin: Tensor) -> Tensor:
        """``x`` (B, 3, 64, 64), ``sigma`` (B,), ``y`` (B,) indices into ``LABELS`` or ``NO_CLASS``, ``origin`` (B,)
        into ``ORIGINS`` or ``NO_ORIGIN``."""
        s = sigma.reshape(-1, 1, 1, 1)
        norm = (s**2 + SIGMA_DATA**2).sqrt()
        # 250 ln(sigma) spreads the noise levels over the range that sinusoidal embeddings resolve.
        inner = self.unet(
            F.pixel_unshuffle(x / norm, 2), 250 * sigma.log(), class_labels=y * (NO_ORIGIN + 1) + origin
        ).sample
        inner = F.pixel_shuffle(inner.float(), 2)
        return x * (SIGMA_DATA / norm) ** 2 + inner * s * SIGMA_DATA / norm  # EDM, eq. 7 and table 1


def loss_of(model: nn.Module, x: Tensor, y: Tensor, origin: Tensor, generator: torch.Generator) -> Tensor:
    """EDM's weighted denoising error on clean pictures ``x``."""
    sigma = (torch.randn(len(x), generator=generator) * 1.2 - 1.2).exp()
    noisy = x + sigma.reshape(-1, 1, 1, 1) * torch.randn(x.shape, generator=generator)
    y, origin = with_some_dropped(y, origin, generator)
    weight = (sigma**2 + SIGMA_DATA**2) / (sigma * SIGMA_DATA) ** 2
    with faster(x.device):
        guess = model(noisy, sigma, y, origin)
    return (weight * (guess - x).square().mean(dim=(1, 2, 3))).mean()


def with_some_dropped(y: Tensor, origin: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Diagnoses and origins (B,) with each unknown once in ten, for guidance (Ho & Salimans, 2021)."""
    dropped = torch.rand(2, len(y), generator=generator) < 0.1
    return torch.where(dropped[0], NO_CLASS, y), torch.where(dropped[1], NO_ORIGIN, origin)


def without_black_corners(pixels: Tensor) -> Tensor:
    """Which pictures (N, 3, H, W) show skin in all four corners, as a mask; microscope frames do not."""
    cut = pixels.shape[-1] // 10
    corners = [pixels[..., a, b] for a in (slice(cut), slice(-cut, None)) for b in (slice(cut), slice(-cut, None))]
    return torch.stack([corner.float().mean(dim=(1, 2, 3)) for corner in corners]).amin(dim=0) > 70


def origins_of(samples: Sequence[Sample], pixels: Tensor) -> Tensor:
    """Where each picture comes from and whether it has a frame, as indices into ``ORIGINS``, (N,)."""
    sources = torch.tensor([ORIGINS.index(source_of(s.image)) if source_of(s.image) else NO_ORIGIN for s in samples])
    framed = ~without_black_corners(pixels) & (sources < NO_ORIGIN)
    return sources + FRAMED * framed


def to_learn_from(data: Path, thumbnails: Path | None, limit: int | None = None) -> list[Sample]:
    """The training split of ``data`` and BCN20000's ``thumbnails``, of each at most ``limit``."""
    samples = read_isic2019(data, "train")[:limit]
    if thumbnails:
        samples += [s for s in read_isic2019(thumbnails) if is_bcn20000(s.image)][:limit]
    return samples


def to_draw_from(samples: Sequence[Sample], side: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each picture, on ``device``: its pixels (N, 3, side, side) in uint8, its diagnosis and its origin as indices
    (N,), and how often it is drawn in training, (N,)."""
    pixels, y = read_pixels(samples, side), label_indices(samples)
    found = (pixels, y, origins_of(samples, pixels), sampling_weights(y, balance=0.5))
    return tuple(t.to(device) for t in found)


def train(
    data: Path,
    work: Path,
    *,
    thumbnails: Path | None = None,
    steps: int,
    minutes: float | None = None,
    batch: int,
    rate: float,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> None:
    """Train on the training split of ``data`` and BCN20000's ``thumbnails``; resumes from ``work/checkpoint.pt``.

    Every ``SNAPSHOT_EVERY`` steps the averages of the weights go to ``work/snapshots``, from which others can be put
    together after the training (post-hoc EMA, Karras et al., 2024), and the shorter of the last ones to
    ``work/weights`` (a folder of the Hub's format).
    """
    samples = to_learn_from(data, thumbnails, limit)
    begin(work, {"seed": seed, "batch": batch, "rate": rate, "train": digest_of_samples(samples)})
    pixels, y, origins, odds = to_draw_from(samples, SIDE, device)

    torch.manual_seed(seed)
    model = Generator().train().to(device, memory_format=torch.channels_last)

    def loss_at(generator: torch.Generator) -> Tensor:
        chosen = torch.multinomial(odds, batch, replacement=True, generator=generator)
        x = turned(pixels[chosen].float() / 127.5 - 1, generator)
        return loss_of(model, x, y[chosen], origins[chosen], generator)

    every = dict(log_every=LOG_EVERY, checkpoint_every=CHECKPOINT_EVERY, snapshot_every=SNAPSHOT_EVERY)
    optimise(model, loss_at, work, steps=steps, minutes=minutes, seed=seed, rate=rate, **every)
    write_weights(Generator(), work / "checkpoint.pt", work / "weights")


def draw(
    model: Generator,
    y: Tensor,
    origin: Tensor | None = None,
    *,
    steps: int = 20,
    guidance: float = GUIDANCE,
    generator: torch.Generator,
) -> Tensor:
    """Pictures (B, 3, 64, 64) in [0, 1] of diagnoses ``y`` and origins ``origin`` (by default those of HAM10000 without
    a frame), by Heun's method (EDM, algorithm 1).

    ``guidance`` above 1 exaggerates the diagnosis (Ho & Salimans, 2021); 1 is none, and takes half the time.
    """

    origin = torch.zeros_like(y) if origin is None else origin

    def told(x: Tensor, sigma: Tensor, y: Tensor, origin: Tensor) -> Tensor:
        with faster(x.device):
            return model(x, sigma.expand(len(x)), y, origin)

    def guess(x: Tensor, sigma: Tensor) -> Tensor:
        if guidance == 1:
            return told(x, sigma, y, origin)
        labels = torch.cat([y, torch.full_like(y, NO_CLASS)])
        guided, plain = told(torch.cat([x, x]), sigma, labels, torch.cat([origin, origin])).chunk(2)
        return plain + guidance * (guided - plain)

    ramp = torch.linspace(0, 1, steps, device=y.device)
    sigmas = (80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7  # EDM, eq. 5
    x = sigmas[0] * torch.randn(len(y), 3, SIDE, SIDE, generator=generator, device=generator.device).to(sigmas)
    return (heun(guess, x, sigmas) / 2 + 0.5).clamp(0, 1)
