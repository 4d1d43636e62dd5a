"""Resampling to and from the scales of the pyramid. Images are (B, C, H, W) in [0, 1].

What is not finite (NaN or infinity) is refused with a ``ValueError``.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from purifier.pixels import check_finite

MIN_SIDE = 16  # no scale gets smaller than this, in pixels


def resample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, antialiased resampling to ``size`` = (height, width); the same size returns ``x``."""
    check_finite(x=x)
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    if size[1] == 1 < size[0]:  # torch (2.14) makes every row of a single column from the first one's pixels
        return resample(x.mT, size[::-1]).mT
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


def as_seen_by(level: Tensor, other: Tensor, *, bands: bool = False) -> Tensor:
    """``other`` at the size of ``level``. With ``bands``, a coarser one gives only the low frequencies that it holds,
    and ``level`` its own details beside them, as in a Laplacian pyramid (Burt & Adelson, 1983)."""
    if bands and other.shape[-2:].numel() < level.shape[-2:].numel():  # one of its sides may be as long
        return level + resample(other - resample(level, other.shape[-2:]), level.shape[-2:])
    return resample(other, level.shape[-2:])


def merge_pyramid(
    levels: Sequence[Tensor],
    size: tuple[int, int],
    shares: Sequence[float] | None = None,
    reference: Tensor | None = None,
) -> Tensor:
    """The mean of all levels, each resampled to ``size`` = (height, width), weighted by ``shares`` of any sum.

    With a ``reference`` of that size, coarser levels give only their low frequencies (see ``as_seen_by``)."""
    shares = [1.0] * len(levels) if shares is None else shares
    check_finite(shares=sum(shares))
    seen = [
        resample(level, size) if reference is None else as_seen_by(reference, level, bands=True) for level in levels
    ]
    return sum(share * x for share, x in zip(shares, seen, strict=True)) / sum(shares)
