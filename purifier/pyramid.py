"""Resampling to and from the scales of the pyramid. Images are (B, C, H, W) in [0, 1]."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_SIDE = 16  # no scale gets smaller than this, in pixels


def resample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, antialiased resampling to ``size`` = (height, width); the same size returns ``x``."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    # There is no antialiased resampling in half precision on CPUs.
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    return F.interpolate(wide, size=size, mode="bicubic", antialias=True, align_corners=False).to(x.dtype)


def size_at(height: int, width: int, scale: float) -> tuple[int, int]:
    """The size of ``scale``: rounded to whole pixels, at least ``MIN_SIDE`` a side."""
    return max(MIN_SIDE, round(height * scale)), max(MIN_SIDE, round(width * scale))


def build_pyramid(x: Tensor, scales: Sequence[float]) -> list[Tensor]:
    """``x`` at every scale, each resampled from ``x`` itself."""
    height, width = x.shape[-2:]
    return [resample(x, size_at(height, width, scale)) for scale in scales]


def merge_pyramid(levels: Sequence[Tensor], size: tuple[int, int], shares: Sequence[float] | None = None) -> Tensor:
    """The mean of all levels, each resampled to ``size`` = (height, width), weighted by ``shares`` of any sum."""
    shares = [1.0] * len(levels) if shares is None else shares
    return sum(share * resample(level, size) for share, level in zip(shares, levels, strict=True)) / sum(shares)
