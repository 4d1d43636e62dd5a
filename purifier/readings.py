"""A picture as a classifier reads it. Pictures are batches of one, (1, 3, H, W) in [0, 1]."""

from dataclasses import dataclass

import torch
from torch import Tensor

from purifier.classifiers import Classifier
from purifier.taxonomy import DIAGNOSES, full_name


@dataclass(frozen=True, eq=False)
class Reading:
    """One calibrated probability for each label."""

    labels: list[str]
    probabilities: Tensor  # (len(labels),)
    abstain_below: float = 0.0  # a reading with less confidence is unsure
    foreign: bool = False  # it does not look like a dermoscopic picture

    @property
    def top(self) -> str:
        return self.labels[int(self.probabilities.argmax())]

    def probability(self, label: str) -> float:
        return self.probabilities[self.labels.index(label)].item()

    @property
    def unsure(self) -> bool:
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
    return [Reading(classifier.labels, row, classifier.measured.abstain_below) for row in probabilities]


def is_foreign(classifier: Classifier, x: Tensor) -> bool:
    """Whether the picture looks like none of the dermoscopic ones of the classifier's training; False where the weights
    carry no statistics to tell."""
    check = classifier.measured.non_lesion
    if check is None:
        return False
    with torch.no_grad():
        return classifier.distance(x.to(classifier.mean.device)).item() > check.threshold
