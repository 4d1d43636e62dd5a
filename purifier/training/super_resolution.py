"""A diffusion model that draws a picture at four times the size: pigment network, dots, hairs and lines of the skin.

Preconditioning, loss and sampler as in Karras et al. (2022), "Elucidating the design space of diffusion-based
generative models" (EDM). The small picture gets noise of a known level first, so that a generated one will do as well
as a real one (Ho et al., 2022, "Cascaded diffusion models for high fidelity image generation").

What diffuses is the residual over the small picture resampled up. Of dermoscopy that is a ninth of the pixels' standard
deviation: all that the network says is detail, and few steps of the sampler draw it.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from purifier.evaluation.datasets import digest_of_samples, read_isic2019
from purifier.files import begin
from purifier.pyramid import resample
from purifier.training.augment import turned
from purifier.training.diffusion import faster, heun, optimise, write_weights
from purifier.training.generator import NO_ORIGIN, Condition, to_draw_from, with_some_dropped

SIDE, FACTOR = 256, 4  # pixels of a picture, and how many times those of the small one
PATCH = 96  # pixels a side of what the training sees
WIDTHS, DEPTHS = (64, 128, 192), (2, 2, 3)  # of the levels, as in ``purifier.denoiser``
EMBEDDED = 128  # numbers that noise, diagnosis and origin become
RESIDUAL = 0.05  # standard deviation, in pictures of [-1, 1], of 300 training pictures
UPSAMPLED = 0.82  # standard deviation of white noise of 1 that was resampled up
MOST_LEVEL = 0.2  # of the small picture's noise, in [-1, 1]
LEVEL = 0.05  # when drawing
# Of the sampler's noise levels, in standard deviations of the residual. Narrower than EDM's, since little is left to
# chance: of 16 steps, white noise comes out 2 % too strong instead of 7 %.
NOISIEST, FINEST = 20.0, 0.05
CHECKPOINT_EVERY, SNAPSHOT_EVERY, LOG_EVERY = 200, 5000, 20  # steps


class Block(nn.Module):
    """Two convolutions beside the identity, told of the condition between them. Each pixel is normalised over its own
    channels: norms over the whole picture would not let patches stand for it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.told = nn.Linear(EMBEDDED, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """``x`` (B, width, H, W) and ``condition`` (B, EMBEDDED) to the shape of ``x``."""
        scale, shift = self.told(condition)[:, :, None, None].chunk(2, dim=1)
        inner = F.layer_norm(x.movedim(1, 3), (x.shape[1],)).movedim(3, 1)
        inner = self.first(F.silu(inner))
        return x + self.second(F.silu(inner * (1 + scale) + shift))


class Level(nn.ModuleList):
    """Blocks of one size."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__(Block(width) for _ in range(depth))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """As ``Block``."""
        for block in self:
            x = block(x, condition)
        return x


class SuperResolution(nn.Module, PyTorchModelHubMixin, license="cc-by-nc-4.0"):
    """The best guess of a picture from a noisy one and from the small picture resampled up: a U-Net of convolutions on
    pixels in blocks of two by two, for any size whose sides are multiples of 8. Pictures are in [-1, 1] here."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, depths: tuple[int, ...] = DEPTHS) -> None:
        super().__init__()
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.condition = Condition(EMBEDDED)
        self.levels = nn.Sequential(nn.Linear(48, EMBEDDED), nn.SiLU(), nn.Linear(EMBEDDED, EMBEDDED))
        self.head = nn.Conv2d(2 * 12, widths[0], 3, padding=1)
        self.down = nn.ModuleList(Level(width, depth) for width, depth in zip(widths, depths, strict=True))
        self.smaller = nn.ModuleList(nn.Conv2d(width, below, 2, stride=2) for width, below in pairs)
        self.larger = nn.ModuleList(nn.Conv2d(below, 4 * width, 1) for width, below in pairs)
        self.up = nn.ModuleList(Level(width, depth) for width, depth in zip(widths[:-1], depths[:-1], strict=True))
        self.tail = nn.Conv2d(widths[0], 12, 3, padding=1)
        nn.init.zeros_(self.tail.weight)

    def forward(self, x: Tensor, sigma: Tensor, base: Tensor, level: Tensor, y: Tensor, origin: Tensor) -> Tensor:
        """``x`` and ``base`` (B, 3, H, W), the noisy picture and the small one resampled up, with noise of ``sigma``
        and ``level`` (B,); ``y`` and ``origin`` (B,) as the generator has them."""
        spread = spread_of(level)
        condition = self.condition(y * (NO_ORIGIN + 1) + origin)
        condition = condition + self.levels(waves(torch.stack([(sigma / spread).log() / 4, level / MOST_LEVEL], dim=1)))
        s, spread = sigma.reshape(-1, 1, 1, 1), spread.reshape(-1, 1, 1, 1)
        norm, residual = (s**2 + spread**2).sqrt(), x - base
        inner = self.network(torch.cat([residual / norm, base], dim=1), F.silu(condition)).float()
        return base + residual * (spread / norm) ** 2 + inner * s * spread / norm  # EDM, eq. 7 and table 1

    def network(self, x: Tensor, condition: Tensor) -> Tensor:
        """What EDM calls F: ``x`` (B, 6, H, W) and ``condition`` (B, EMBEDDED) to (B, 3, H, W)."""
        x = self.head(F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last))
        kept = []
        for level, smaller in zip(self.down[:-1], self.smaller, strict=True):
            kept.append(level(x, condition))
            x = smaller(kept[-1])
        x = self.down[-1](x, condition)
        for level, larger, across in reversed(list(zip(self.up, self.larger, kept, strict=True))):
            x = level(F.pixel_shuffle(larger(x), 2) + across, condition)
        return F.pixel_shuffle(self.tail(x), 2)


def waves(values: Tensor) -> Tensor:
    """``values`` (B, 2), of about [-1, 1], as (B, 48) sines and cosines of twelve lengths from 4 to 1/11."""
    angles = values[:, :, None] * math.pi / 2 * 2 ** (torch.arange(12, device=values.device) / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1)


def spread_of(level: Tensor) -> Tensor:
    """The standard deviation (B,) of a residual over small pictures with noise of ``level`` (B,)."""
    return (RESIDUAL**2 + (UPSAMPLED * level) ** 2).sqrt()


def patches(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Of pictures (B, 3, SIDE, SIDE) in [-1, 1] a patch each (B, 3, PATCH, PATCH), turned and mirrored, the same patch
    of the small picture with noise and resampled up, and the noise's level (B,)."""
    level = MOST_LEVEL * torch.rand(len(x), generator=generator)
    small = resample(x, (SIDE // FACTOR, SIDE // FACTOR))
    small = small + level.reshape(-1, 1, 1, 1) * torch.randn(small.shape, generator=generator)
    both = torch.cat([x, resample(small, (SIDE, SIDE))], dim=1)
    places = torch.rand(2, len(x), 1, generator=generator) * (SIDE - PATCH + FACTOR)
    down, across = places.long() // FACTOR * FACTOR + torch.arange(PATCH)  # the small one's grid stays
    found = both[torch.arange(len(x))[:, None, None], :, down[:, :, None], across[:, None, :]].movedim(3, 1)
    patch, base = turned(found, generator).chunk(2, dim=1)
    return patch, base, level


def loss_of(
    model: nn.Module, x: Tensor, base: Tensor, level: Tensor, y: Tensor, origin: Tensor, generator: torch.Generator
) -> Tensor:
    """EDM's weighted denoising error on clean patches ``x``, with what ``patches`` gives."""
    spread = spread_of(level)
    # Higher levels than EDM's, 0.6 of the spread on average, which leave 4 % to those above 5, where a drawing begins.
    sigma = spread * (1.3 * torch.randn(len(x), generator=generator)).exp()
    noisy = x + sigma.reshape(-1, 1, 1, 1) * torch.randn(x.shape, generator=generator)
    y, origin = with_some_dropped(y, origin, generator)
    with faster(x.device):
        guess = model(noisy, sigma, base, level, y, origin)
    weight = (sigma**2 + spread**2) / (sigma * spread) ** 2
    return (weight * (guess - x).square().mean(dim=(1, 2, 3))).mean()


def train(
    data: Path,
    work: Path,
    *,
    steps: int,
    minutes: float | None = None,
    batch: int,
    rate: float,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> None:
    """Train on the training split of ``data``; resumes from ``work/checkpoint.pt``.

    Averages of the weights go to ``work/snapshots`` now and then, as the generator's do, and the shorter of the last
    ones to ``work/weights`` (a folder of the Hub's format).
    """
    samples = read_isic2019(data, "train")[:limit]
    begin(work, {"seed": seed, "batch": batch, "rate": rate, "train": digest_of_samples(samples)})
    pixels, y, origins, odds = to_draw_from(samples, SIDE, device)

    torch.manual_seed(seed)
    model = SuperResolution().train().to(device, memory_format=torch.channels_last)

    def loss_at(generator: torch.Generator) -> Tensor:
        chosen = torch.multinomial(odds, batch, replacement=True, generator=generator)
        found = patches(pixels[chosen].float() / 127.5 - 1, generator)
        return loss_of(model, *found, y[chosen], origins[chosen], generator)

    every = dict(log_every=LOG_EVERY, checkpoint_every=CHECKPOINT_EVERY, snapshot_every=SNAPSHOT_EVERY)
    optimise(model, loss_at, work, steps=steps, minutes=minutes, seed=seed, rate=rate, **every)
    write_weights(SuperResolution(), work / "checkpoint.pt", work / "weights")


def enlarge(
    model: SuperResolution,
    small: Tensor,
    y: Tensor,
    origin: Tensor,
    generator: torch.Generator,
    *,
    steps: int = 16,
    level: float = LEVEL,
) -> Tensor:
    """Pictures (B, 3, 4 h, 4 w) in [0, 1] from small ones (B, 3, h, w), h and w even, in [0, 1], with their diagnoses
    ``y`` and origins ``origin`` (B,), by Heun's method (EDM, algorithm 1).

    ``level``, up to ``MOST_LEVEL``, is of the noise that the small ones get: the more, the less of their pixels is
    taken at its word. Callers turn gradients off.
    """
    small = 2 * small - 1 + level * torch.randn(small.shape, generator=generator).to(small)
    base = resample(small, (FACTOR * small.shape[-2], FACTOR * small.shape[-1]))
    levels = base.new_full((len(base),), level)

    def guess(x: Tensor, sigma: Tensor) -> Tensor:
        with faster(x.device):
            return model(x, sigma.expand(len(x)), base, levels, y, origin)

    ramp = torch.linspace(NOISIEST ** (1 / 7), FINEST ** (1 / 7), steps)
    sigmas = spread_of(levels[0]) * ramp.to(base) ** 7  # EDM, eq. 5
    x = base + sigmas[0] * torch.randn(base.shape, generator=generator).to(base)
    return (heun(guess, x, sigmas) / 2 + 0.5).clamp(0, 1)
