"""Differentiable functions that do nearly what defences without a gradient do, for attackers who know these. The home
of kornia.

Images are (B, 3, H, W) in [0, 1].
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from kornia.enhance import jpeg_codec_differentiable
from kornia.filters import bilateral_blur
from torch import Tensor

from purifier.attacks import identity
from purifier.defences import BILATERAL_SIDE, BILATERAL_SIGMA, Defence
from purifier.denoise import rof
from purifier.pipeline import Purifier


def jpeg(x: Tensor, quality: float) -> Tensor:
    """A JPEG whose rounding is a polynomial (Shin & Song, 2017). Raises ``ValueError`` where ``quality`` is not in
    1 to 100."""
    if not 1 <= quality <= 100:
        raise ValueError(f"quality must lie between 1 and 100, and is {quality}.")
    return jpeg_codec_differentiable(x, torch.full((len(x),), float(quality), device=x.device))


def median(x: Tensor, side: float) -> Tensor:
    """OpenCV's median to the digit, with the gradient that belongs to the pixel it takes."""
    side = int(side)
    padded = F.pad(x, [side // 2] * 4, mode="replicate")
    return padded.unfold(2, side, 1).unfold(3, side, 1).flatten(-2).median(dim=-1).values


def bilateral(x: Tensor, sigma: float) -> Tensor:
    """The bilateral filter without OpenCV's rounding and its round neighbourhood."""
    return bilateral_blur(x, BILATERAL_SIDE, sigma / 255, (BILATERAL_SIGMA, BILATERAL_SIGMA), border_type="reflect")


def non_local_means(x: Tensor, h: float) -> Tensor:
    """ROF, which of what is smooth comes nearest to it, of this weight at any ``h``; a coarse stand-in."""
    return rof(x, weight=0.08, steps=Purifier.steps)


STAND_INS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "jpeg": jpeg, "median": median, "bilateral": bilateral, "nlm": non_local_means,
}  # fmt: skip


def stand_in_for(defence: Defence) -> Callable[[Tensor], Tensor]:
    """Of ``none``, the identity. ``ValueError`` for defences that have no stand-in."""
    if defence.family == "none":
        return identity
    if defence.family not in STAND_INS:
        raise ValueError(f"The attack by a stand-in is for {', '.join(STAND_INS)}, and not for {defence.name!r}.")
    return lambda x: STAND_INS[defence.family](x, defence.number)
