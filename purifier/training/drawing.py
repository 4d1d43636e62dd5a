"""The trained diffusion models, by folder or by name on the Hub, and pictures drawn with them in parts that resume."""

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from purifier.classifiers.hub import WEIGHTS, download
from purifier.files import ASSETS, digest_of_file
from purifier.pictures.files import quantise
from purifier.training.generator import GUIDANCE, Generator, draw
from purifier.training.super_resolution import SuperResolution, enlarge

Model = TypeVar("Model", Generator, SuperResolution)
GENERATOR, SUPER_RESOLUTION = ASSETS / "generator", ASSETS / "super-resolution"
HUB = "hf-hub:"
BATCH = 32  # small pictures at a time


def trained(kind: type[Model], folder: str | Path) -> Model:
    """The model of a folder or, as ``hf-hub:owner/name@revision``, of the Hub, ready to draw. Raises
    ``FileNotFoundError`` where there are no weights, and what ``hub.download`` raises."""
    with contextlib.redirect_stdout(sys.stderr):  # where it says which weights it reads
        model = kind.from_pretrained(weights_of(folder).parent)
    return model.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def weights_of(folder: str | Path) -> Path:
    """The file of weights of what ``trained`` takes."""
    name = str(folder)
    if name.startswith(HUB):
        return download(name.removeprefix(HUB), lambda _: []) / WEIGHTS
    if not (path := Path(folder) / WEIGHTS).is_file():
        raise FileNotFoundError(
            f"{folder} holds no weights. Ours come with the repository, not with the package: give the folders that "
            "`purifier train` wrote, or hf-hub:OWNER/NAME, with --generator and --super-resolution."
        )
    return path


def digests_of(*folders: str | Path) -> list[str]:
    """SHA-256 of the weights of each, as ``trained`` takes and refuses them."""
    return [digest_of_file(weights_of(folder)) for folder in folders]


def drawn_for(
    folder: str | Path, y: Tensor, origins: Tensor, seed: int, path: Path, guidance: float = GUIDANCE
) -> Tensor:
    """A picture (N, 3, 64, 64) with 8-bit values for each diagnosis and origin (N,); takes up what ``path`` has."""
    model = trained(Generator, folder)
    batches = list(zip(y.split(BATCH), origins.split(BATCH), strict=True))
    return _in_parts(
        path, len(batches), seed, lambda i, random: draw(model, *batches[i], guidance=guidance, generator=random)
    )


def enlarged_for(folder: str | Path, small: Tensor, y: Tensor, origins: Tensor, seed: int, path: Path) -> Tensor:
    """Of small pictures (N, 3, 64, 64) large ones (N, 3, 256, 256), as ``drawn_for`` draws."""
    model = trained(SuperResolution, folder)
    pictures = list(zip(small.split(1), y.split(1), origins.split(1), strict=True))
    return _in_parts(path, len(pictures), seed, lambda i, random: enlarge(model, *pictures[i], random))


def _in_parts(path: Path, count: int, seed: int, part: Callable[[int, torch.Generator], Tensor]) -> Tensor:
    parts = torch.load(path, weights_only=True) if path.exists() else []
    for i in tqdm(range(len(parts), count), desc=path.stem):
        parts.append(quantise(part(i, torch.Generator().manual_seed(seed * 1_000_003 + i))))
        torch.save(parts, path)
    return torch.cat(parts)
