"""Scores of a classifier's answers, with intervals. Labels and predictions are integer tensors (N,)."""

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from purifier.evaluation.intervals import bootstrap, wilson


def proportion(correct: Tensor) -> dict[str, float]:
    """Share of True in a boolean tensor (N,), with Wilson's 95 % interval."""
    return wilson(correct.double().mean().item(), len(correct))


def mean_over_draws(correct: Tensor) -> dict[str, float]:
    """Mean of a boolean tensor (draws, N), with a bootstrap interval over the images."""
    per_image = correct.double().mean(dim=0).numpy()
    return bootstrap(lambda chosen: per_image[chosen].mean(), len(per_image))


def clean_scores(probabilities: Tensor, y: Tensor, labels: list[str]) -> dict:
    """Accuracy, balanced accuracy, recall of each label and melanoma's AUROC, from probabilities (N, labels)."""
    predicted, truth = probabilities.argmax(dim=1), y.numpy()
    present = sorted(set(truth.tolist()))

    right = (predicted == y).numpy()

    def balanced(chosen: np.ndarray) -> float:
        counts = np.bincount(truth[chosen], minlength=len(labels))
        hits = np.bincount(truth[chosen], weights=right[chosen], minlength=len(labels))
        return float(np.mean(hits[counts > 0] / counts[counts > 0]))

    scores = {
        "images": len(y),
        "accuracy": proportion(predicted == y),
        "balanced_accuracy": bootstrap(balanced, len(y)),
        "recall": {labels[k]: {"images": int((y == k).sum()), **proportion(predicted[y == k] == k)} for k in present},
    }
    if "MEL" in labels and 0 < int((y == labels.index("MEL")).sum()) < len(y):
        scores["melanoma_auroc"] = auroc(y == labels.index("MEL"), probabilities[:, labels.index("MEL")])
    return scores


def auroc(truth: Tensor, scores: Tensor) -> dict[str, float]:
    """Area under the ROC curve of ``scores`` (N,) for a boolean ``truth`` (N,), with a bootstrap interval."""
    truth, scores = truth.numpy(), scores.numpy()

    def area(chosen: np.ndarray) -> float:
        kept = truth[chosen]
        return roc_auc_score(kept, scores[chosen]) if 0 < kept.sum() < len(kept) else float("nan")

    return bootstrap(area, len(truth))


def calibration_error(probabilities: Tensor, y: Tensor) -> float:
    """Expected calibration error over 15 bins of confidence (Naeini et al., 2015), in [0, 1]."""
    return multiclass_calibration_error(probabilities, y, num_classes=probabilities.shape[1], n_bins=15).item()


def as_text(score: dict[str, float]) -> str:
    """``0.77 (0.75 to 0.79)``."""
    return f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def worst_over_draws(correct: Tensor) -> dict[str, float]:
    """Share of images right in every draw of a boolean tensor (draws, N), with Wilson's interval."""
    return proportion(torch.all(correct, dim=0))
