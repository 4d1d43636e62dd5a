"""The diffusive step: isotropic Gaussian noise from given generators, and how much noise a picture has already. Images
are (B, C, H, W) in [0, 1]; what is not finite (NaN or infinity) is refused with a ``ValueError``."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from purifier.pixels import check_finite


def diffuse(x: Tensor, sigma: float | Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """``x + sigma * eps`` with ``eps ~ N(0, I)``, image ``i`` from ``generators[i]``; not clamped.

    ``sigma`` is in units of the pixel range, one for all or (B, 1, 1, 1); 0 returns ``x``. It is drawn in float32
    on the generators' device and then moved to ``x``, so a CPU generator gives the same noise on every device.
    """
    check_finite(x=x, sigma=sigma)
    if not isinstance(sigma, Tensor) and sigma == 0:
        return x
    noise = torch.stack([torch.randn(x.shape[1:], generator=g, device=g.device) for g in generators])
    return x + sigma * noise.to(device=x.device, dtype=x.dtype)


def noise_level(x: Tensor) -> Tensor:
    """The standard deviation of the noise in the colours of each picture (B, 3, H, W): (B,), of the pixel range.

    From the finest diagonal details of a Haar transform (Donoho & Johnstone, 1994), of what is left of the channels
    without their mean: skin has hardly any there, and an attack that pushes each channel its own way has. Their mean
    and not their median is taken, which is 0 in most pictures of 8 bits and has no useful gradient. 0 for pictures one
    pixel wide or high, which have no such details.
    """
    check_finite(x=x)
    if min(x.shape[-2:]) < 2:
        return x.new_zeros(len(x))
    height, width = (side // 2 * 2 for side in x.shape[-2:])
    colours = x[..., :height, :width]
    colours = colours - colours.mean(dim=1, keepdim=True)
    top, bottom = colours[..., ::2, :], colours[..., 1::2, :]
    details = (top[..., ::2] - top[..., 1::2] - bottom[..., ::2] + bottom[..., 1::2]) / 2
    # Without their mean, three channels of white noise have two thirds of their variance.
    return math.sqrt(3 / 2 * math.pi / 2) * details.abs().mean(dim=(1, 2, 3))
