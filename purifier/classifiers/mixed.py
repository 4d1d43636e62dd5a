"""Two classifiers as one, with no training (MixedNUTS: Bai, Zhou, Patel & Sojoudi, 2024, arXiv 2402.02263).

A robust classifier is surer where it is right than where it is wrong, attacked or not. Made more so by three numbers,
it outvotes an accurate one where it is sure, and leaves it the rest.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from purifier.classifiers.preparation import Preparation
from purifier.strict import strict
from purifier.texts import UserError

MIXED = "mixed"  # the key in config.json of the members' own and the numbers
MEMBERS = ("accurate", "robust")


@strict
class Mixing:
    """The numbers of a mixture. Raises ``ValueError`` for a share out of [0, 1], a scale that is not above 0, and a
    power below 1, whose gradient would not be finite."""

    share: float  # of the robust member's probabilities
    scale: float  # of its sharpened logits
    power: float  # to which they are raised
    clamp: float  # added before what is below 0 is cut off

    def __post_init__(self) -> None:
        finite = all(map(math.isfinite, (self.scale, self.power, self.clamp)))
        if not (0 <= self.share <= 1 and self.scale > 0 and self.power >= 1 and finite):
            raise ValueError(
                "A mixture needs a share from 0 to 1, a scale above 0, a power of 1 or more and a finite clamp, and "
                f"has {self.share:g}, {self.scale:g}, {self.power:g} and {self.clamp:g}."
            )


def sharpened(logits: Tensor, mixing: Mixing) -> Tensor:
    """``scale * |z|^power * sign(z)``, where z is the GELU of the logits (B, K), normalised, plus ``clamp``."""
    z = F.gelu(F.layer_norm(logits, logits.shape[1:]) + mixing.clamp)
    return mixing.scale * z.abs() ** mixing.power * z.sign()


def mixed(accurate: Tensor, robust: Tensor, mixing: Mixing) -> Tensor:
    """The logarithm of ``(1 - share) * softmax(accurate) + share * softmax(sharpened(robust))`` for logits (B, K).

    Without leaving logarithms, so that no gradient is lost where a member is certain.
    """
    shares = ((1 - mixing.share), mixing.share)
    accurate, robust = (
        logits.log_softmax(dim=1) + (math.log(share) if share else -math.inf)
        for logits, share in zip((accurate, sharpened(robust, mixing)), shares, strict=True)
    )
    return torch.logaddexp(accurate, robust)


class Mixture(nn.Module):
    """Two classifiers as a network, from pixels (B, 3, H, W) in [0, 1] of any size to the logarithm of the mixed
    probabilities (B, K). Each member prepares its pictures itself; ``pretrained_cfg`` is as timm's networks have it."""

    def __init__(self, accurate: nn.Module, robust: nn.Module, mixing: Mixing) -> None:
        super().__init__()
        self.accurate, self.robust, self.mixing = accurate, robust, mixing
        size = tuple(map(max, accurate.size, robust.size))
        as_it_is = Preparation(target=size, fit="keep", crop=None, interpolation="nearest")
        self.pretrained_cfg = {"input_size": (3, *size), "mean": (0.0,) * 3, "std": (1.0,) * 3, "preparation": as_it_is}

    def forward(self, x: Tensor) -> Tensor:
        """The mixed logits."""
        return mixed(self.accurate(x), self.robust(x), self.mixing)

    def forward_intermediates(self, x: Tensor, **settings: bool) -> list[Tensor]:
        """The accurate member's: by its features a picture looks like dermoscopy or does not."""
        return self.accurate.network.forward_intermediates(self.accurate.prepare(x), **settings)


def refuse_other_labels(accurate: list[str], robust: list[str], source: str) -> None:
    """Raise ``ValueError`` where the members do not know the same diagnoses in the same order."""
    if accurate != robust:
        raise UserError(
            "The members of {source} must know the same diagnoses in the same order: the accurate one knows "
            "{accurate}, the robust one {robust}.",
            source=source,
            accurate=", ".join(accurate),
            robust=", ".join(robust),
        )
