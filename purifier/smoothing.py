"""Certified radii by randomised smoothing (Cohen, Rosenfeld & Kolter, 2019). The home of SciPy.

The smoothed classifier answers what its base classifier says most often of the picture under Gaussian noise. With a
denoiser in front of the classifier this is denoised smoothing (Salman et al., 2020). Images are (B, 3, H, W) in [0, 1].
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from purifier.diffusion import diffuse
from purifier.seeds import split_generator


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """``label`` is what the smoothed classifier answers, or None where it abstains; no change of an L2 norm below
    ``radius`` (of pixels in [0, 1]) alters that, but with probability ``alpha`` that the draws misled us."""

    label: int | None
    radius: float
    share: float  # the lower bound of the probability of ``label`` under noise
    alpha: float


def noisy_counts(
    base: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    sigma: float,
    samples: int,
    generator: torch.Generator,
    batch: int = 8,
) -> Iterator[Tensor]:
    """How often ``base`` (pixels to logits; may draw noise of its own) answers each class, (K,), for one picture
    (1, 3, H, W) under noise of ``sigma``: after each batch, until there are ``samples``."""
    counts = None
    for done in range(0, samples, batch):
        noise = split_generator(generator, min(batch, samples - done))
        with torch.no_grad():
            logits = base(diffuse(x.expand(len(noise), -1, -1, -1), sigma, noise)).cpu()
        found = torch.bincount(logits.argmax(dim=1), minlength=logits.shape[1])
        counts = found if counts is None else counts + found
        yield counts


def certificate(chosen: int, counts: Tensor, *, sigma: float, alpha: float = 0.001) -> Certificate:
    """Of the class that draws other than those of ``counts`` chose (Cohen et al., CERTIFY and theorem 1): the radius is
    sigma times the normal quantile of the exact lower bound of that class's probability."""
    from scipy.stats import binomtest, norm  # a twentieth of the page's start, and seldom asked for

    tested = binomtest(int(counts[chosen]), int(counts.sum()), alternative="greater")
    share = float(tested.proportion_ci(confidence_level=1 - alpha, method="exact").low)
    if share <= 0.5:
        return Certificate(label=None, radius=0.0, share=share, alpha=alpha)
    return Certificate(label=chosen, radius=float(sigma * norm.ppf(share)), share=share, alpha=alpha)
