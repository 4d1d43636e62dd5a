"""Resizing, cropping and scaling, as the libraries do it with which classifiers were trained.

Those work on Pillow's 8-bit pictures. Here it is float tensors (B, 3, H, W) in [0, 1] and differentiable, and equal to
theirs up to their rounding.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from purifier.texts import UserError

SLACK = 1e-5
LARGEST = 4096  # pixels of a network's side
CROPS = ("center", "squash", "border")  # timm's


def _sinc(x: Tensor) -> Tensor:
    return torch.special.sinc(x)


FILTERS: dict[str, tuple[float, Callable[[Tensor], Tensor]]] = {  # Pillow's that torch has not: support, and weight
    "box": (0.5, lambda x: ((x > -0.5) & (x <= 0.5)).to(x)),
    "hamming": (1.0, lambda x: _sinc(x) * (0.54 + 0.46 * (torch.pi * x).cos()) * (x.abs() < 1)),
    "lanczos": (3.0, lambda x: _sinc(x) * _sinc(x / 3) * (x.abs() < 3)),
}
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", *FILTERS)


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How pictures of any size become what a network takes.

    ``fit`` says how a picture meets ``target``: "squash" makes it that size, "shortest" makes its shorter side as long
    as the target's first, "cover" and "contain" keep its proportions and fill the target or fit into it, and "keep"
    leaves it as large as it is. Then the middle of ``crop`` pixels is left, padded with ``fill`` where there is less;
    all of it where that is None. An odd pixel is rounded up or down as ``round`` does it, or always cut below and to
    the right where ``floor``.
    """

    target: tuple[int, int]
    fit: str
    crop: tuple[int, int] | None
    interpolation: str
    fill: tuple[float, float, float] = (0.0, 0.0, 0.0)
    floor: bool = False
    flip: bool = False  # blue, green, red

    def __call__(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] as the network wants them, before mean and deviation."""
        x = resample(x, self.resized(*x.shape[-2:]), self.interpolation)
        x = x if self.crop is None else self._middle(x, *self.crop)
        return x.flip(-3) if self.flip else x

    def back(self, seen: Tensor, size: tuple[int, int]) -> Tensor:
        """Values (B, C, h, w) that lie evenly over what the network sees, where that is on a picture of ``size``:
        (B, C, height, width), interpolated, and 0 where the network does not see it."""
        if self.crop is not None:
            height, width = self.resized(*size)
            seen = F.interpolate(seen, self.crop, mode="bilinear")
            top, left = self._cut_off(height, self.crop[0]), self._cut_off(width, self.crop[1])
            seen = F.pad(seen, (left, width - self.crop[1] - left, top, height - self.crop[0] - top))
        return F.interpolate(seen, size, mode="bilinear")

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The size before the crop of a picture of this size."""
        if self.fit == "keep":
            return height, width
        if self.fit == "squash":
            return self.target
        if self.fit == "shortest":
            side = self.target[0]
            return tuple(
                side if length == min(height, width) else int(side * length / min(height, width))
                for length in (height, width)
            )
        ratios = height / self.target[0], width / self.target[1]
        ratio = min(ratios) if self.fit == "cover" else max(ratios)
        return round(height / ratio), round(width / ratio)

    def _middle(self, x: Tensor, height: int, width: int) -> Tensor:
        lacking = [max(0, wanted - side) for wanted, side in ((width, x.shape[-1]), (height, x.shape[-2]))]
        if any(lacking):
            fill = torch.tensor(self.fill).to(x).reshape(1, -1, 1, 1)  # pad() knows one value for all channels
            x = F.pad(x - fill, [part for side in lacking for part in (side // 2, side - side // 2)]) + fill
        top, left = self._cut_off(x.shape[-2], height), self._cut_off(x.shape[-1], width)
        return x[..., top : top + height, left : left + width]

    def _cut_off(self, side: int, wanted: int) -> int:
        """How many pixels lie before the middle; where they lack, how many are put there, negative."""
        if side < wanted:
            return -((wanted - side) // 2)
        return (side - wanted) // 2 if self.floor else round((side - wanted) / 2)


def resample(x: Tensor, size: tuple[int, int], interpolation: str) -> Tensor:
    """``x`` in [0, 1] at another size, by one of Pillow's filters, or by torch's "nearest-exact".

    What overshoots is cut off, as with 8 bits; Pillow does it after each direction, torch's bicubic after both.
    """
    (old_height, old_width), (height, width) = x.shape[-2:], size
    if (old_height, old_width) == (height, width):
        return x
    if interpolation == "nearest":  # torch's own takes the corner of a pixel for its middle
        return x[..., _nearest(old_height, height), :][..., _nearest(old_width, width)]
    if interpolation == "nearest-exact":  # as "nearest", but for single precision where two pixels are equally near
        return F.interpolate(x, size, mode="nearest-exact")
    if interpolation in FILTERS:
        x = _cut(x @ _weights(old_width, width, interpolation).to(x).T)
        return _cut(_weights(old_height, height, interpolation).to(x) @ x)
    return _cut(resize(x, [height, width], interpolation=InterpolationMode(interpolation), antialias=True))


def _cut(x: Tensor) -> Tensor:
    """Without what overshoots; not to the last digit, since white that is 1e-7 too bright would have no gradient."""
    return x.clamp(-SLACK, 1 + SLACK)


def _nearest(old: int, new: int) -> list[int]:
    """Which of ``old`` pixels each of ``new`` ones is, with the rounding of Pillow's Geometry.c, which adds up."""
    places = itertools.accumulate(itertools.repeat(old / new, new - 1), initial=0.5 * old / new)
    return [min(int(place), old - 1) for place in places]


def _weights(old: int, new: int, interpolation: str) -> Tensor:
    """What each of ``old`` pixels gives to each of ``new`` ones, (new, old), as Pillow's Resample.c computes it."""
    support, weigh = FILTERS[interpolation]
    scale = old / new
    stretch = max(scale, 1.0)
    centers = (torch.arange(new, dtype=torch.float64) + 0.5) * scale
    pixels = torch.arange(old, dtype=torch.float64)
    first = (centers - support * stretch + 0.5).floor().clamp(min=0)[:, None]
    last = (centers + support * stretch + 0.5).floor().clamp(max=old)[:, None]
    weights = weigh((pixels - centers[:, None] + 0.5) / stretch) * (first <= pixels) * (pixels < last)
    return weights / weights.sum(dim=1, keepdim=True)


def of_timm(config: dict, source: str) -> Preparation:
    """What timm's own transform for evaluation does with a ``pretrained_cfg``.

    Raises ``ValueError`` where the settings cannot be followed.
    """
    size, crop = config["input_size"], config.get("crop_pct", 1.0)
    interpolation, mode = config.get("interpolation", "bicubic"), config.get("crop_mode", "center")
    if interpolation not in (*INTERPOLATIONS, "nearest-exact"):
        raise UserError(
            "{source} resizes pictures by {interpolation}; known are {known}. Write one of them as interpolation into "
            "its config.json.",
            source=source,
            interpolation=repr(interpolation),
            known=", ".join(INTERPOLATIONS),
        )
    if mode not in CROPS:
        raise UserError(
            "The crop_mode of {source} must be one of {modes}, and is {mode}.",
            source=source,
            modes=", ".join(CROPS),
            mode=repr(mode),
        )
    if not _are_numbers([crop]) or not 0.1 <= crop <= 2:
        raise UserError(
            "{source} states {value} as its crop_pct, which must be a number from 0.1 to 2.",
            source=source,
            value=repr(crop),
        )
    if (
        not _are_numbers(size)
        or len(size) != 3
        or not all(isinstance(side, int) and 0 < side <= LARGEST for side in size)
    ):
        raise UserError(
            "The input_size of {source} must be channels, height and width, at most {largest}, and is {size}.",
            source=source,
            largest=LARGEST,
            size=repr(size),
        )
    if size[0] != 3:
        raise UserError("{source} takes pictures of {count} channels, and these have 3.", source=source, count=size[0])
    for name in ("mean", "std"):
        if not _are_numbers(config[name]) or len(config[name]) != 3 or (name == "std" and 0 in config[name]):
            raise UserError(
                "The {name} of {source} must be 3 finite numbers, and is {value}.",
                name=name,
                source=source,
                value=repr(config[name]),
            )
    size = (size[1], size[2])
    target = tuple(math.floor(side / crop) for side in size)
    fit = {"squash": "squash", "border": "contain"}.get(mode) or ("shortest" if target[0] == target[1] else "cover")
    fill = tuple(round(255 * value) / 255 for value in config["mean"]) if mode == "border" else (0.0,) * 3
    return Preparation(target=target, fit=fit, crop=size, interpolation=interpolation, fill=fill)


def _are_numbers(values: object) -> bool:
    return isinstance(values, list | tuple) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    )
