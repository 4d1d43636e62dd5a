"""Random changes to a batch of training pictures. Images are (B, 3, H, W) in [0, 1]; every image draws its own.

The generator lives on torch's default device, and so do the pictures: the trainings run ``with torch.device(...)``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from purifier import defences
from purifier.attacks import Model, loss_gradient
from purifier.denoise import rof
from purifier.pipeline import Purifier
from purifier.pyramid import resample, size_at

MOST_EPSILON = 8 / 255
PYRAMIDS = ((1.0,), (1.0,), (1.0, 0.5), (1.0, 0.5, 0.25))  # scales of purifications, by turns


def uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """``count`` numbers, shaped (count, 1, 1, 1) to go with a batch."""
    return low + (high - low) * torch.rand(count, 1, 1, 1, generator=generator)


def geometric(x: Tensor, size: int, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Any rotation, mirror, zoom, stretch and shift of each picture, sampled to ``size`` pixels a side.

    The border is mirrored. ``strength`` scales zoom, stretch and shift; 0 keeps them out.
    """
    count = len(x)
    angle = uniform(count, -math.pi, math.pi, generator).flatten()
    zoom = torch.exp(strength * uniform(count, -0.35, 0.15, generator)).flatten()
    stretch = torch.exp(strength * uniform(count, -0.12, 0.12, generator)).flatten()
    mirror = torch.randint(2, (count,), generator=generator) * 2.0 - 1
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = angle.cos() * zoom * stretch * mirror
    theta[:, 0, 1] = -angle.sin() * zoom / stretch
    theta[:, 1, 0] = angle.sin() * zoom * stretch * mirror
    theta[:, 1, 1] = angle.cos() * zoom / stretch
    theta[:, :, 2] = strength * 0.12 * (2 * torch.rand(count, 2, generator=generator) - 1)
    grid = F.affine_grid(theta, [count, x.shape[1], size, size], align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def turned(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch under one of the eight symmetries of the square."""
    turns = int(torch.randint(8, (), generator=generator))
    # Contiguous: a compiled model is compiled anew for other strides.
    return (x if turns < 4 else x.flip(3)).rot90(turns % 4, (2, 3)).contiguous()


def colour(x: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, saturation and the gains of the three channels, each by up to a quarter or less."""
    count = len(x)
    mean = x.mean(dim=(2, 3), keepdim=True)
    x = (x - mean) * uniform(count, 0.8, 1.25, generator) + mean * uniform(count, 0.8, 1.2, generator)
    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * uniform(count, 0.75, 1.3, generator)
    gains = 1 + 0.08 * (2 * torch.rand(count, 3, 1, 1, generator=generator) - 1)
    return (x * gains).clamp(0, 1)


def erase(x: Tensor, generator: torch.Generator) -> Tensor:
    """Grey out a rectangle, up to a third a side, in every other picture."""
    x = x.clone()
    count, (height, width) = len(x[::2]), x.shape[-2:]
    down = _stretch(height, count, generator)[:, None, :, None]
    across = _stretch(width, count, generator)[:, None, None, :]
    x[::2] = torch.where(down & across, 0.5, x[::2])
    return x


def _stretch(side: int, count: int, generator: torch.Generator) -> Tensor:
    """Of each of ``count`` lines of ``side`` pixels a stretch of a tenth to a third, as a mask (count, side)."""
    length = (side * uniform(count, 0.1, 0.33, generator)).floor().reshape(-1, 1)
    start = ((side - length) * torch.rand(count, 1, generator=generator)).floor()
    at = torch.arange(side)
    return (at >= start) & (at < start + length)


def purification_like(x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the batch as a purifier, or a JPEG file, would leave it, with random settings.

    A quarter goes through ``mdda``, an eighth is rescaled, diffused (up to 16/255) and denoised (weight 0.004 to 0.044)
    once, an eighth is a JPEG of quality 30 to 95.
    """
    quarter, eighth = len(x) // 4, len(x) // 8
    through, once, written, rest = x.split([quarter, eighth, eighth, len(x) - quarter - 2 * eighth])
    return torch.cat([mdda(through, generator), rescaled(once, generator), as_jpeg(written, generator), rest])


def mdda(x: Tensor, generator: torch.Generator) -> Tensor:
    """What a purifier with random settings around the defaults makes of a batch: every other time with the learned
    denoiser (noise of 3 to 18/255), else with ROF (noise of 4 to 18/255, weight 0.01 to 0.08)."""
    sigma, weight, own = torch.rand(3, generator=generator).tolist()
    turn, more, learned = (int(torch.randint(n, (), generator=generator)) for n in (len(PYRAMIDS), 2, 2))
    settings = dict(scales=PYRAMIDS[turn], blocks=1 + more, own=0.4 + 0.5 * own)
    if learned:
        purifier = Purifier(denoiser="learned", sigma=(3 + 15 * sigma) / 255, bands=True, **settings)
    else:
        purifier = Purifier(denoiser="rof", sigma=(4 + 14 * sigma) / 255, weight=0.01 + 0.07 * weight, **settings)
    with torch.no_grad():
        return purifier(x, generator)


def attacked_first(network: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """The batch after a signed step of 1 to ``MOST_EPSILON``, of a length of its own for each picture, from a random
    start: by an attacker who does not know that it will be purified."""
    eps = uniform(len(x), 1 / 255, MOST_EPSILON, generator).to(x)
    start = (x + eps * (2 * torch.rand(x.shape, generator=generator) - 1).to(x)).clamp(0, 1)
    moved = start + 1.25 * eps * loss_gradient(network, start, y).sign()
    return (x + (moved - x).clamp(-eps, eps)).clamp(0, 1)


def rescaled(x: Tensor, generator: torch.Generator) -> Tensor:
    """Diffused and denoised once at full size and once at a coarser scale, and the two mixed."""
    noise = uniform(len(x), 0, 16 / 255, generator) * torch.randn(x.shape, generator=generator)
    weight = 0.004 + 0.04 * torch.rand((), generator=generator).item()
    scale = [1.0, 0.5, 0.25][int(torch.randint(3, (), generator=generator))]
    share = uniform(len(x), 0, 0.6, generator)
    size = x.shape[-2:]
    denoised = rof(x + noise, weight, steps=8)
    coarse = resample(rof(resample(x + noise, size_at(*size, scale)), weight, steps=8), size)
    return (denoised * (1 - share) + coarse * share).clamp(0, 1)


def as_jpeg(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture written as a JPEG of quality 30 to 95 and read again."""
    return defences.as_jpeg(x, torch.randint(30, 96, (len(x),), generator=generator).tolist())
