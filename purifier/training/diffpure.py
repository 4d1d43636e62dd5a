"""DiffPure (Nie et al., 2022, "Diffusion models for adversarial purification") with our diffusion models, as a peer.

The picture is diffused at 64 pixels and drawn clean again by the generator, then diffused at 256 and drawn clean by the
super-resolution, which is told the small one: no band of frequencies passes undiffused. Neither model is told a
diagnosis. DiffPure solves the reverse stochastic equation; here the probability flow is followed, by Heun's method in
few steps (Karras et al., 2022, algorithm 1), whose gradient is exact.
"""

import functools

import torch
from torch import Tensor

from purifier.diffusion import diffuse
from purifier.pyramid import resample
from purifier.seeds import split_generator
from purifier.training.diffusion import faster, heun
from purifier.training.drawing import GENERATOR, SUPER_RESOLUTION, trained
from purifier.training.generator import NO_CLASS, NO_ORIGIN, Generator
from purifier.training.generator import SIDE as SMALL
from purifier.training.super_resolution import FINEST, LEVEL, RESIDUAL, SIDE, SuperResolution

STEPS = 6  # of each model
LEAST = 0.002  # of the generator's noise levels, in pictures of [-1, 1]


def diffpure(x: Tensor, sigma: float, generator: torch.Generator | None) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] diffused by noise of ``sigma``, of the pixel range, and drawn clean again.

    Raises ``FileNotFoundError`` where the models are not there: they come with the repository and not with the package.
    """
    draws, enlarges = _models(str(x.device))
    generators, spread = split_generator(generator, len(x)), 2 * sigma  # pictures are in [-1, 1] in the models
    y, origin = (torch.full((len(x),), none, device=x.device) for none in (NO_CLASS, NO_ORIGIN))
    small, large = (2 * resample(x, (side, side)) - 1 for side in (SMALL, SIDE))

    def smaller(z: Tensor, level: Tensor) -> Tensor:
        with faster(x.device):
            return draws(z, level.expand(len(z)), y, origin)

    small = heun(smaller, diffuse(small, spread, generators), _levels(spread, LEAST).to(x))
    base, of_base = resample(diffuse(small, LEVEL, generators), (SIDE, SIDE)), x.new_full((len(x),), LEVEL)

    def larger(z: Tensor, level: Tensor) -> Tensor:
        with faster(x.device):
            return enlarges(z, level.expand(len(z)), base, of_base, y, origin)

    large = heun(larger, diffuse(large, spread, generators), _levels(spread, FINEST * RESIDUAL).to(x))
    return resample(large / 2 + 0.5, x.shape[-2:]).clamp(0, 1)


def _levels(most: float, least: float) -> Tensor:
    """Noise levels from the strongest to the weakest (EDM, eq. 5); at most the weakest where there is little noise."""
    return torch.linspace(most ** (1 / 7), min(most, least) ** (1 / 7), STEPS) ** 7


@functools.cache
def _models(device: str) -> tuple[Generator, SuperResolution]:
    return trained(Generator, GENERATOR).to(device), trained(SuperResolution, SUPER_RESOLUTION).to(device)
