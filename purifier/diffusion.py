"""The diffusive step: isotropic Gaussian noise from given generators. Images are (B, C, H, W) in [0, 1]."""

from collections.abc import Sequence

import torch
from torch import Tensor


def split_generator(generator: torch.Generator | None, count: int) -> list[torch.Generator]:
    """One generator for each image of a batch, seeded from ``generator`` (None: torch's global one).

    Image ``i`` gets the same generator in a batch of any size, so what is drawn for it depends on
    nothing else in the batch. They live on the device of ``generator``.
    """
    device = generator.device if generator is not None else torch.device("cpu")
    seeds = torch.stack([torch.randint(2**62, (), generator=generator, device=device) for _ in range(count)])
    return [torch.Generator(device).manual_seed(seed) for seed in seeds.tolist()]


def diffuse(x: Tensor, sigma: float, generators: Sequence[torch.Generator]) -> Tensor:
    """``x + sigma * eps`` with ``eps ~ N(0, I)``, image ``i`` from ``generators[i]``; not clamped.

    ``sigma`` is in units of the pixel range; 0 returns ``x``. The noise is drawn in float32 on the
    generators' device and then moved to ``x``, so a CPU generator gives the same noise on every device.
    """
    if sigma == 0:
        return x
    noise = torch.stack([torch.randn(x.shape[1:], generator=g, device=g.device) for g in generators])
    return x + sigma * noise.to(device=x.device, dtype=x.dtype)
