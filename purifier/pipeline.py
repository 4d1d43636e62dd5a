"""MDDA: multiscale diffusive and denoising aggregation. Images are (B, 3, H, W) in [0, 1].

A re-implementation from the public description of Wang, Li, Shen & Qiao, "Reversing skin cancer adversarial
examples by multiscale diffusive and denoising aggregation mechanism", Computers in Biology and Medicine 164
(2023) 107310, arXiv 2208.10373.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from purifier.denoise import rof
from purifier.denoiser import denoise
from purifier.diffusion import diffuse, noise_level
from purifier.pixels import check_finite, check_pixels
from purifier.pyramid import as_seen_by, build_pyramid, merge_pyramid, resample
from purifier.seeds import split_generator
from purifier.strict import strict
from purifier.texts import UserError

ALL_SCALES = (2.0, 1.0, 0.5, 0.25)
MAX_POWER = 4.0  # of decay and tilt
MAX_SMOOTH = 4.0  # pixels; wider would not fit the smallest picture
MAX_GAIN = 32.0
LEAST_GROWN = 1e-5  # sigma that gain can multiply: less would ask for more than half precision holds
USUAL_NOISE = 0.45 / 255  # 19 of 20 pictures that nobody attacked have less (validation lesions, see noise_level)
MOST_NOISE = 12 / 255  # that gain can give a picture, however noisy it is

# The settings that suit each denoiser: ROF's as ``purifier tune`` found them (assets/evaluation/tuning), the learned
# one's as docs/strength.md tells.
SUITED = {
    "rof": dict(scales=(1.0, 0.5), blocks=2, sigma=14 / 255, own=0.6, tilt=0.0, bands=False, gain=0.0),
    "learned": dict(scales=(1.0, 0.5, 0.25), blocks=3, sigma=12 / 255, own=0.95, tilt=4.0, bands=True, gain=0.0),
}
ONLY_ROF = {"denoiser": "rof"}  # what stored settings mean that name no denoiser


@dataclass(frozen=True, eq=False)  # eq=False: comparing tensors with == is ambiguous
class Stage:
    """What one scale looked like on its way through one block; each tensor is (B, 3, h, w) at that scale.

    ``diffused`` is not clamped: noise leaves [0, 1].
    """

    block: int  # 1 is the first
    scale: float
    before: Tensor
    diffused: Tensor
    denoised: Tensor
    aggregated: Tensor
    sigma: Tensor  # (B,), of the noise


@strict
class Purifier:
    """Diffuse and denoise every scale of a pyramid and mix neighbouring scales, block after block.

    Call it with a batch and a generator. It does not know the classifier and is differentiable from end to end. Its
    denoiser is a network that was trained on dermoscopy (see ``denoiser.py``), for which ``weight``, ``steps`` and
    ``coupled`` do not count, or with ``Purifier(denoiser="rof")`` the paper's, ROF. What is None becomes what suits
    the denoiser (see ``SUITED``). Raises ``ValueError`` for settings out of range.
    """

    denoiser: Literal["learned", "rof"] = "learned"
    scales: tuple[float, ...] | None = None  # descending, 1 among them
    blocks: int | None = None
    sigma: float | None = None  # standard deviation of the noise, in units of the pixel range
    weight: float = 0.06  # of the total variation, see rof; 0 does not denoise
    gain: float | None = None  # sigma and weight grow with each picture's own noise, see ``strength``; 0: they do not
    own: float | None = None  # a scale's own share when neighbours are mixed; 1 does not mix
    decay: float = 0.0  # sigma and weight are multiplied by scale ** decay; 0: the same at every scale
    tilt: float | None = None  # the scales are merged with shares of scale ** tilt; 0: equal ones
    bands: bool | None = None  # a coarser scale gives a finer one only its low frequencies (a Laplacian pyramid)
    smooth: float = 0.0  # standard deviation of the last Gaussian, in pixels; 0 is none
    steps: int = 8  # iterations of ROF
    coupled: bool = True  # ROF sees the three channels together

    def __post_init__(self) -> None:
        for name, value in SUITED[self.denoiser].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        scales = self.scales
        if 1.0 not in scales or scales != tuple(scale for scale in ALL_SCALES if scale in scales):
            raise UserError(
                "scales must be some of {scales} in that order, with 1 among them, and are {chosen}.",
                scales=ALL_SCALES,
                chosen=scales,
            )
        for name in ("blocks", "steps"):
            if getattr(self, name) < 1:
                raise UserError(
                    "{name} must be a whole number of at least 1, and is {value}.", name=name, value=getattr(self, name)
                )
        for name, most in (
            ("sigma", 1),
            ("weight", 1),
            ("gain", MAX_GAIN),
            ("own", 1),
            ("decay", MAX_POWER),
            ("tilt", MAX_POWER),
            ("smooth", MAX_SMOOTH),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise UserError(
                    "{name} must lie between {least} and {most}, and is {value}.",
                    name=name,
                    least=0,
                    most=most,
                    value=getattr(self, name),
                )
        if self.gain > 0 and not LEAST_GROWN <= self.sigma < MOST_NOISE:
            raise UserError(
                "sigma must be at least {least} and less than {most} where gain is not 0, and is {value}.",
                least=LEAST_GROWN,
                most=f"{255 * MOST_NOISE:g}/255",
                value=self.sigma,
            )

    @classmethod
    def read(cls, stored: dict) -> "Purifier":
        """From settings as ``asdict`` gives them, also from those of a version that had ROF alone."""
        return cls(**(ONLY_ROF | stored))

    def stages(self, x: Tensor, generator: torch.Generator | None = None) -> Iterator[Stage]:
        """Purify ``x`` and yield every scale of every block, finest scale first.

        Every image of the batch is its own problem with its own noise (see ``split_generator``). Raises ``ValueError``
        for anything but pictures (B, 3, H, W) in [0, 1].
        """
        check_pixels(x, channels=3)
        generators = split_generator(generator, len(x))
        levels, strength = build_pyramid(x, self.scales), self.strength(x)
        powers = [scale**self.decay for scale in self.scales]
        sigmas = [self.sigma * power * strength for power in powers]
        of_each = [(x.new_zeros((len(x), 1, 1, 1)) + sigma).flatten() for sigma in sigmas]
        for block in range(1, self.blocks + 1):
            diffused = [diffuse(x, sigma, generators) for x, sigma in zip(levels, sigmas, strict=True)]
            denoised = [self._denoise(y, power, strength) for y, power in zip(diffused, powers, strict=True)]
            mixed = aggregate(denoised, self.own, bands=self.bands)
            for stage in zip(self.scales, levels, diffused, denoised, mixed, of_each, strict=True):
                yield Stage(block, *stage)
            levels = mixed

    def strength(self, x: Tensor) -> float | Tensor:
        """By what sigma and weight are multiplied for each picture of ``x``, (B, 1, 1, 1); 1 where ``gain`` is 0.

        So that sigma grows by ``gain`` times the noise that a picture has beyond ``USUAL_NOISE``, up to
        ``MOST_NOISE``: what nobody attacked is hardly changed."""
        if self.gain == 0:
            return 1.0
        noise = (noise_level(x) - USUAL_NOISE).clamp(min=0).reshape(-1, 1, 1, 1)
        return (1 + self.gain * noise / self.sigma).clamp(max=MOST_NOISE / self.sigma)

    def _denoise(self, y: Tensor, power: float, strength: float | Tensor) -> Tensor:
        if self.denoiser == "learned":
            return denoise(y, self.sigma * power * strength)
        # ROF of a scaled picture is the scaled ROF of the picture: so each has a weight of its own.
        return strength * rof(y / strength, self.weight * power, self.steps, self.coupled)

    def merge(self, levels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The purified picture, of ``size`` = (height, width), from the scales that the last block left."""
        shares = [scale**self.tilt for scale in self.scales]
        reference = resample(levels[self.scales.index(1)], size) if self.bands else None
        x = merge_pyramid(levels, size, shares, reference)
        if self.smooth > 0.05:  # a narrower one reaches no neighbour, and would divide by nothing in the end
            x = blurred(x, self.smooth, math.ceil(3 * self.smooth))
        return x.clamp(0, 1)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The purified pictures, of the size of ``x``."""
        last = [stage.aggregated for stage in self.stages(x, generator) if stage.block == self.blocks]
        return self.merge(last, x.shape[-2:])


def blurred(x: Tensor, sigma: float, reach: int) -> Tensor:
    """Under a Gaussian of ``sigma`` pixels, cut off after ``reach`` or, in a smaller picture, at its other border.

    Raises ``ValueError`` for NaN and infinity.
    """
    check_finite(x=x)
    reach = min(reach, min(x.shape[-2:]) - 1)  # a picture is mirrored once at its border
    return gaussian_blur(x, kernel_size=2 * reach + 1, sigma=sigma)


def aggregate(levels: Sequence[Tensor], own: float, *, bands: bool = False) -> list[Tensor]:
    """Mix each scale with the mean of the next finer and next coarser one, ``own`` being its own share.

    With ``bands`` a coarser one keeps the scale's own details (see ``as_seen_by``). Raises ``ValueError`` for NaN and
    infinity.
    """
    check_finite(own=own)
    mixed = []
    for i, level in enumerate(levels):
        check_finite(levels=level)
        neighbours = [as_seen_by(level, levels[j], bands=bands) for j in (i - 1, i + 1) if 0 <= j < len(levels)]
        mixed.append(own * level + (1 - own) * sum(neighbours) / len(neighbours) if neighbours else level)
    return mixed
