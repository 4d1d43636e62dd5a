"""How like real pictures drawn ones are: realistic, and still none of those that a generator was trained on.

By pixels at the generator's size, or by the features of a network that saw ImageNet and no dermoscopy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.utils import make_grid
from tqdm import tqdm

from purifier.evaluation.datasets import Sample, read_pixels
from purifier.pyramid import resample
from purifier.training.classifier import imagenet_network, normalised
from purifier.training.generator import SIDE

ALIKE = 0.05  # share of the held-out pictures that are nearer to a training picture than any shown one may be
NEIGHBOURS = 3  # whose distance is a picture's radius
FEATURE_SIDE = 224  # pixels that the network looks at
BATCH = 4  # pictures at a time, whose activations a processor's caches hold


@dataclass(frozen=True)
class Nearness:
    """Of pictures (N,): the distance to the nearest training picture, and which that is; and the distance below which
    ``ALIKE`` of the held-out pictures are from theirs."""

    distances: Tensor
    places: Tensor
    bound: float


class Features:
    """From pictures (N, 3, H, W) to what the last layer of an ImageNet classifier looks at, (N, D)."""

    def __init__(self) -> None:
        self.network = imagenet_network()
        self.network.reset_classifier(0)
        self.network.eval().requires_grad_(False)

    def __call__(self, x: Tensor) -> Tensor:
        """``x`` may be of any size."""
        parts = (resample(part, (FEATURE_SIDE,) * 2).clamp(0, 1) for part in x.split(BATCH))
        return torch.cat([normalised(self.network, part) for part in tqdm(parts, desc="features", leave=False)])


def small_pictures(samples: Sequence[Sample]) -> Tensor:
    """Real pictures at the generator's size, (N, 3, 64, 64) in [0, 1]."""
    return read_pixels(samples, SIDE) / 255


def flat(x: Tensor) -> Tensor:
    """Pictures (N, 3, H, W) as (N, D), whose distances are the root of the mean square of the pixels' differences."""
    return x.flatten(1) / x[0].numel() ** 0.5


def nearness(x: Tensor, held_out: Tensor, known: Tensor) -> Nearness:
    """How near ``x`` (N, D) are to the training pictures ``known`` (M, D), as far as ``held_out`` (K, D) are."""
    return Nearness(*nearest(x, known), bound=nearest(held_out, known)[0].quantile(ALIKE).item())


def nearest(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """How far each of ``x`` (N, D) is from the nearest of ``known`` (M, D), and which that is, both (N,)."""
    found = [torch.cdist(part, known).min(dim=1) for part in x.split(256)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def radii_of(x: Tensor) -> Tensor:
    """How far each of ``x`` (N, D) is from its third neighbour among them, (N,)."""
    return torch.cdist(x, x).kthvalue(NEIGHBOURS + 1, dim=1).values  # the first is itself


def inside(of: Tensor, against: Tensor) -> float:
    """The share of ``of`` (N, D) that is no further from one of ``against`` (M, D) than that one's third neighbour
    (Kynkäänniemi et al., 2019, "Improved precision and recall metric for assessing generative models")."""
    return (torch.cdist(of, against) <= radii_of(against)).any(dim=1).double().mean().item()


def realism(of: Tensor, against: Tensor) -> Tensor:
    """How deep each of ``of`` (N, D) lies among ``against`` (M, D), (N,): above 1 it lies inside (Kynkäänniemi et al.,
    2019, eq. 3, whose half of the widest radii, of outliers, is left out here too)."""
    radii = radii_of(against)
    chosen = radii <= radii.median()
    return (radii[chosen] / torch.cdist(of, against[chosen])).amax(dim=1)


def beside_nearest(x: Tensor, known: Tensor, *found: Tensor) -> Tensor:
    """One picture of ``x`` (N, 3, H, W) in a row, and below each row its nearest of ``known`` by each of ``found``,
    (N,) places: (1, 3, H', W')."""
    return make_grid(torch.cat([x, *(known[places] for places in found)]), nrow=len(x), padding=1)[None]
