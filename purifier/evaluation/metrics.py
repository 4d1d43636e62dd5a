"""Scores of a classifier's answers, with intervals over lesions. Labels and predictions are integer tensors (N,).

``lesions`` are the names of the pictures' lesions, (N,); without them each picture counts as a lesion of its own.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from purifier.evaluation import intervals
from purifier.evaluation.intervals import balanced_share, clusters_of, share

Lesions = Sequence[str] | None


def proportion(correct: Tensor, lesions: Lesions = None) -> dict[str, float]:
    """Share of True in a boolean tensor (N,)."""
    return share(correct.double().numpy(), clusters_of(lesions, len(correct)))


def mean_over_draws(correct: Tensor, lesions: Lesions = None) -> dict[str, float]:
    """Mean of a boolean tensor (draws, N)."""
    return share(correct.double().T.numpy(), clusters_of(lesions, correct.shape[1]))


def worst_over_draws(correct: Tensor, lesions: Lesions = None) -> dict[str, float]:
    """Share of images right in every draw of a boolean tensor (draws, N)."""
    return proportion(torch.all(correct, dim=0), lesions)


def clean_scores(probabilities: Tensor, y: Tensor, labels: list[str], lesions: Lesions = None) -> dict:
    """Accuracy, balanced accuracy, recall of each label and melanoma's AUROC, from probabilities (N, labels)."""
    right, clusters = probabilities.argmax(dim=1) == y, clusters_of(lesions, len(y))
    scores = {
        "images": len(y),
        "lesions": len(np.unique(clusters)),
        "accuracy": proportion(right, lesions),
        "balanced_accuracy": balanced_share(right.double().numpy(), y.numpy(), clusters),
        "recall": {labels[k]: recall(right, y == k, clusters) for k in sorted(set(y.tolist()))},
    }
    if "MEL" in labels and 0 < int((y == labels.index("MEL")).sum()) < len(y):
        scores["melanoma_auroc"] = auroc(y == labels.index("MEL"), probabilities[:, labels.index("MEL")], lesions)
    return scores


def recall(right: Tensor, of_label: Tensor, clusters: np.ndarray) -> dict[str, float]:
    """Share of True in ``right`` (N,) among the pictures of a label, a mask (N,), with how many these are."""
    kept = clusters[of_label.numpy()]
    found = share(right[of_label].double().numpy(), kept)
    return {"images": len(kept), "lesions": len(np.unique(kept)), **found}


def auroc(truth: Tensor, scores: Tensor, lesions: Lesions = None) -> dict[str, float]:
    """Area under the ROC curve of ``scores`` (N,) for a boolean ``truth`` (N,), with the bootstrap's interval."""
    return intervals.auroc(truth.numpy(), scores[:, None].numpy(), clusters_of(lesions, len(truth)))


def calibration_error(probabilities: Tensor, y: Tensor) -> float:
    """Expected calibration error over 15 bins of confidence (Naeini et al., 2015), in [0, 1]."""
    return multiclass_calibration_error(probabilities, y, num_classes=probabilities.shape[1], n_bins=15).item()


def as_text(score: dict[str, float]) -> str:
    """``0.77 (0.75 to 0.79)``."""
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
