"""Plots. The home of matplotlib: figures of their own, without pyplot's global state."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps, get_data_path, rc_context
from matplotlib.figure import Figure
from torch import Tensor

FONTS = Path(get_data_path()) / "fonts" / "ttf"  # DejaVu
# Okabe and Ito's, which the colour-blind can tell apart, without those that vanish on white or on black.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8a8a8a")


def spectrum(difference: Tensor, bands: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Of a picture's change, (1, 3, H, W): the middle of each band of spatial frequencies, in cycles a picture, and the
    root of the energy in it; the squares add up to the mean square of the change without its mean (Parseval)."""
    height, width = difference.shape[-2:]
    energy = np.abs(np.fft.fft2(difference[0].numpy(), norm="forward")) ** 2
    down, right = np.fft.fftfreq(height, 1 / height), np.fft.fftfreq(width, 1 / width)
    radius = np.hypot(*np.meshgrid(down, right, indexing="ij"))
    edges = np.geomspace(0.999, radius.max() * 1.001, bands + 1)
    found, _ = np.histogram(radius, edges, weights=energy.mean(axis=0))
    filled = np.histogram(radius, edges)[0] > 0
    return np.sqrt(edges[:-1] * edges[1:])[filled], np.sqrt(found[filled])


def signed_colours(values: Tensor, limit: float) -> Tensor:
    """(1, 1, H, W) as colours (1, 3, H, W): violet at ``-limit``, white at 0, orange at ``limit``, which the
    colour-blind can tell apart."""
    places = (0.5 - values[0, 0].numpy() / (2 * limit)).clip(0, 1)  # PuOr has orange at 0
    return torch.from_numpy(colormaps["PuOr"](places)[..., :3]).permute(2, 0, 1)[None].float()


def heat_colours(values: Tensor) -> Tensor:
    """(1, 1, H, W) in [0, 1] as colours (1, 3, H, W), perceptually uniform: dark blue at 0, yellow at 1 (viridis)."""
    return torch.from_numpy(colormaps["viridis"](values[0, 0].numpy())[..., :3]).permute(2, 0, 1)[None].float()


def as_svg(figure: Figure) -> str:
    """The figure as SVG to stand in a page: transparent, its black in the page's colour of text."""
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "legend.framealpha": 0}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    drawing = file.getvalue()
    return drawing[drawing.index("<svg") :].replace("#000000", "currentColor")


def save_figure(figure: Figure, path: Path, kinds: Sequence[str] = ("png", "svg")) -> None:
    """As ``path.png`` and ``path.svg``."""
    for kind in kinds:
        figure.savefig(path.with_suffix(f".{kind}"), dpi=120, metadata={"Date": None} if kind == "svg" else None)
