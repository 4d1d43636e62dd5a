"""The diffusive step: isotropic Gaussian noise from given generators. Images are (B, C, H, W) in [0, 1]."""

from collections.abc import Sequence

import torch
from torch import Tensor


def diffuse(x: Tensor, sigma: float, generators: Sequence[torch.Generator]) -> Tensor:
    """``x + sigma * eps`` with ``eps ~ N(0, I)``, image ``i`` from ``generators[i]``; not clamped.

    ``sigma`` is in units of the pixel range; 0 returns ``x``. The noise is drawn in float32 on the
    generators' device and then moved to ``x``, so a CPU generator gives the same noise on every device.
    """
    if sigma == 0:
        return x
    noise = torch.stack([torch.randn(x.shape[1:], generator=g, device=g.device) for g in generators])
    return x + sigma * noise.to(device=x.device, dtype=x.dtype)
