"""A picture as a classifier reads it, in numbers. Pictures are batches of one, (1, 3, H, W) in [0, 1]."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from purifier.classifiers.classifier import Classifier
from purifier.classifiers.taxonomy import DIAGNOSES, code_of, full_name
from purifier.pixels import check_finite

MOST_BARS = 12  # of a reading; classifiers from the Hub may have a thousand labels


@dataclass(frozen=True, eq=False)
class Reading:
    """One calibrated probability for each label."""

    labels: list[str]
    probabilities: Tensor  # (len(labels),)
    abstain_below: float = 0.0  # a reading with less confidence is unsure
    out_of_distribution: bool = False  # it does not look like a dermoscopic picture
    draws: int = 1  # of a purification, whose mean it is
    agreeing: int = 1  # draws that alone have the same likeliest label

    @property
    def top(self) -> str:
        """The likeliest label."""
        return self.labels[int(self.probabilities.argmax())]

    def probability(self, label: str) -> float:
        """Of a label, in [0, 1]."""
        return self.probabilities[self.labels.index(label)].item()

    @property
    def unsure(self) -> bool:
        """Whether its confidence is below the classifier's threshold."""
        return self.probabilities.max().item() < self.abstain_below

    def malignant(self) -> float | None:
        """The probability of all malignant and precancerous diagnoses; None where some label is not in ISIC 2019."""
        if not all(label in DIAGNOSES for label in self.labels):
            return None
        return self.probabilities[[DIAGNOSES[label].malignant for label in self.labels]].sum().item()

    def as_dict(self) -> dict[str, float]:
        """Full names and probabilities, the likeliest first."""
        pairs = zip(map(full_name, self.labels), self.probabilities.tolist(), strict=True)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))


def read(classifier: Classifier, *pictures: Tensor) -> list[Reading]:
    """The classifier's reading of each picture; all of one size."""
    with torch.no_grad():
        probabilities = classifier.probabilities(torch.cat(pictures).to(classifier.mean.device)).cpu()
    return [Reading(classifier.labels, row, classifier.calibration.abstain_below) for row in probabilities]


def mean_of(draws: Sequence[Reading]) -> Reading:
    """The mean of the readings of several draws of one purification."""
    probabilities = torch.stack([reading.probabilities for reading in draws]).mean(dim=0)
    mean = replace(draws[0], probabilities=probabilities, draws=len(draws))
    return replace(mean, agreeing=sum(reading.top == mean.top for reading in draws))


def is_out_of_distribution(classifier: Classifier, x: Tensor) -> bool:
    """Whether the picture looks like none of the dermoscopic ones of the classifier's training; False where the weights
    carry no statistics to tell."""
    check = classifier.calibration.out_of_distribution
    if check is None:
        return False
    with torch.no_grad():
        return classifier.distance(x.to(classifier.mean.device)).item() > check.threshold


def is_right(reading: Reading, truth: str | None) -> bool | None:
    """Whether a reading is the true diagnosis, a code of ``DIAGNOSES``; None where that is not known, or the classifier
    has no such label."""
    if truth is None or truth not in map(code_of, reading.labels):
        return None
    return code_of(reading.top) == truth


def is_malignant(label: str) -> bool:
    """Malignant or precancerous; False where that is not known."""
    return label in DIAGNOSES and DIAGNOSES[label].malignant


def bars(reading: Reading) -> list[tuple[str, float]]:
    """Labels and probabilities in the classifier's own order, so that readings can be compared; of many, the
    likeliest."""
    pairs = list(zip(reading.labels, reading.probabilities.tolist(), strict=True))
    return pairs if len(pairs) <= MOST_BARS else sorted(pairs, key=lambda pair: -pair[1])[:MOST_BARS]


def distance(x: Tensor, z: Tensor) -> dict[str, float | None]:
    """How far two pictures are apart: their largest difference and its Euclidean length, both of values in [0, 1], and
    the PSNR in dB, None where they are the same. Raises ``ValueError`` for NaN and infinity."""
    check_finite(x=x, z=z)
    difference = z.double() - x.double()
    error = difference.square().mean().item()
    return {
        "linf": difference.abs().max().item(),
        "l2": difference.norm().item(),
        "psnr": -10 * math.log10(error) if error > 0 else None,
    }
