"""Random changes to a batch of training pictures. Images are (B, 3, H, W) in [0, 1]; every image draws its own.

The generator lives on torch's default device, and so do the pictures: the trainings run ``with torch.device(...)``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from purifier.attacks import Model, loss_gradient
from purifier.pipeline import ALL_SCALES, Purifier

MOST_EPSILON = 8 / 255
MOST_BLOCKS = 3


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


def purified(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch as a purifier leaves it whose settings are drawn around the default's: noise of 6 to 16/255, one to
    three blocks, one to three scales."""
    sigma, own, tilt = torch.rand(3, generator=generator).tolist()
    scales, blocks = (1 + int(torch.randint(n, (), generator=generator)) for n in (3, MOST_BLOCKS))
    settings = dict(sigma=(6 + 10 * sigma) / 255, own=0.85 + 0.15 * own, tilt=2 + 2 * tilt)
    with torch.no_grad():
        return Purifier(scales=ALL_SCALES[1 : 1 + scales], blocks=blocks, **settings)(x, generator)


def attacked(network: Model, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
    """The batch after two signed steps of up to 1 to ``MOST_EPSILON`` in all, different for each picture, from a random
    start: by an attacker who does not know that it will be purified. Every other picture in brightness alone."""
    eps = uniform(len(x), 1 / 255, MOST_EPSILON, generator).to(x)
    grey = (torch.arange(len(x)) % 2 == 0).reshape(-1, 1, 1, 1).to(x.device)

    def some_in_grey(change: Tensor) -> Tensor:
        return torch.where(grey, change.mean(dim=1, keepdim=True), change)

    start = some_in_grey((2 * torch.rand(x.shape, generator=generator) - 1).to(x))
    moved = (x + eps * start).clamp(0, 1)
    for _ in range(2):
        moved = moved + 0.75 * eps * some_in_grey(loss_gradient(network, moved, y)).sign()
        moved = (x + (moved - x).clamp(-eps, eps)).clamp(0, 1)
    return moved
