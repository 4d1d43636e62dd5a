"""The one contract, checked where pictures enter the package: float (B, C, H, W) in [0, 1], all of it finite."""

import math

import numpy as np
import torch
from torch import Tensor

TOLERANCE = 1e-3  # beyond [0, 1]: what rounding in half precision may leave


def check_pixels(x: Tensor, channels: int | None = None) -> None:
    """Raise ``ValueError`` unless ``x`` is a batch of at least one picture, (B, C, H, W) in [0, 1], of floats that are
    finite; ``channels`` is the C it must have. The message says what it is instead and what to do."""
    expected = f"a float tensor (B, {channels or 'C'}, H, W) in [0, 1], as read_image gives"
    if not isinstance(x, Tensor):
        raise ValueError(f"Expected {expected}, and got {_article(type(x).__name__)}.")
    shape = tuple(x.shape)
    channels_last = x.ndim == 4 and shape[-1] in (1, 3, 4) and shape[1] not in (1, 3, 4)
    if x.ndim != 4 or 0 in shape or channels_last or (channels is not None and shape[1] != channels):
        hint = "; x[None] makes a batch of one picture" if x.ndim == 3 else ""
        hint = "; x.permute(0, 3, 1, 2) puts the channels first" if channels_last else hint
        raise ValueError(f"Expected {expected}, and got the shape {shape}{hint}.")
    if not x.is_floating_point():
        hint = "; x.float() / 255 scales 8-bit values" if x.dtype == torch.uint8 else ""
        raise ValueError(f"Expected {expected}, and got values of {x.dtype}{hint}.")
    low, high = (value.item() for value in x.detach().aminmax())  # NaN where any value is
    if low != low or abs(low) == float("inf") or abs(high) == float("inf"):
        raise ValueError(f"Expected {expected}, and got values that are not finite (NaN or infinity).")
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        hint = "x / 255 scales pixels of 8 bits" if low >= 0 else "normalisation is the classifier's own business"
        raise ValueError(f"Expected {expected}, and got values from {low:.4g} to {high:.4g}; {hint}.")


def check_finite(**values: Tensor | float) -> None:
    """Raise ``ValueError`` where one of ``values`` is, or holds, NaN or infinity; its name is told. For what need not
    lie in [0, 1], such as pictures with noise."""
    for name, value in values.items():
        if isinstance(value, Tensor):  # the sum shows both, and is fifty times as fast as isfinite().all()
            value = _sum(value.detach())
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, and is or holds NaN or infinity.")


def _sum(x: Tensor) -> float:
    if x.is_cpu and x.dtype in (torch.float32, torch.float64):  # torch's threads wait for one another on busy cores
        with np.errstate(all="ignore"):
            return x.numpy().sum().item()
    return x.sum(dtype=torch.promote_types(x.dtype, torch.float32)).item()


def check_labels(y: Tensor, count: int) -> None:
    """Raise ``ValueError`` unless ``y`` holds a whole number for each of ``count`` pictures."""
    if not isinstance(y, Tensor):
        raise ValueError(f"Expected labels as an int64 tensor (B,), and got {_article(type(y).__name__)}.")
    if y.dtype != torch.int64 or tuple(y.shape) != (count,):
        raise ValueError(f"Expected labels as an int64 tensor ({count},), and got {y.dtype} of shape {tuple(y.shape)}.")


def _article(name: str) -> str:
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
