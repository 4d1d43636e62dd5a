"""What pictures were read as, and every score of that, with its interval over lesions: of the cards and of the grid."""

from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
from torch import Tensor
from torchmetrics.functional.classification import multiclass_calibration_error

from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.evaluation.intervals import Lesions, Score, auroc, balanced_share, bootstrap, clusters_of, share

BENIGN = [code for code, diagnosis in DIAGNOSES.items() if not diagnosis.malignant]
MELANOMA = "MEL"


@dataclass(frozen=True, eq=False, kw_only=True)
class Answers:
    """The diagnoses of some images, and how each was read in each draw of a defence's noise. What cannot be scored, for
    want of images, is None."""

    truth: np.ndarray  # (images,) codes of the diagnoses
    predicted: np.ndarray  # (images, draws) codes
    lesion: np.ndarray  # (images,) numbers from 0
    p_melanoma: np.ndarray | None = None  # (images, draws)

    @cached_property
    def right(self) -> np.ndarray:
        """Which readings are right, (images, draws)."""
        return self.predicted == self.truth[:, None]

    @property
    def lesions(self) -> int:
        """How many there are."""
        return len(np.unique(self.lesion))

    def share(self, values: np.ndarray, among: np.ndarray) -> Score | None:
        """Mean of ``values`` (images, draws) over the images of a mask."""
        return share(values[among], self.lesion[among]) if among.any() else None

    def accuracy(self) -> Score:
        """The share of right readings."""
        return share(self.right, self.lesion)

    def recall(self, code: str) -> Score | None:
        """Of the pictures of a diagnosis, the share read as it."""
        return self.share(self.predicted == code, self.truth == code)

    def specificity(self, code: str) -> Score | None:
        """Of the pictures of other diagnoses, the share not read as it."""
        return self.share(self.predicted != code, self.truth != code)

    def made_benign(self, among: np.ndarray) -> Score | None:
        """The melanomas of a mask that are read as benign."""
        return self.share(np.isin(self.predicted, BENIGN), among & (self.truth == MELANOMA))

    def melanoma_auroc(self) -> Score | None:
        """Area under the ROC curve of melanoma against the rest."""
        is_melanoma = self.truth == MELANOMA
        if self.p_melanoma is None or is_melanoma.all() or not is_melanoma.any():
            return None
        return auroc(is_melanoma, self.p_melanoma, self.lesion)

    def scores(self) -> dict[str, Score | None]:
        """Means over the draws, but for ``worst_of_draws`` (right in every draw) and ``majority`` (of the draws'
        answers, ties drawn by lot)."""
        modes = [np.unique(answers, return_counts=True) for answers in self.predicted]
        ties = [codes[counts == counts.max()] for codes, counts in modes]
        majority = [(truth in tied) / len(tied) for truth, tied in zip(self.truth, ties, strict=True)]
        return {
            "accuracy": self.accuracy(),
            "balanced_accuracy": balanced_share(self.right, self.truth, self.lesion),
            "worst_of_draws": share(self.right.all(axis=1), self.lesion),
            "majority": share(majority, self.lesion),
            "melanoma_sensitivity": self.recall(MELANOMA),
            "melanoma_specificity": self.specificity(MELANOMA),
            "melanoma_auroc": self.melanoma_auroc(),
        }

    def ahead_of(self, other: "Answers") -> Score:
        """By how much the accuracy is ahead of another's on the same images."""
        ahead = self.right.mean(axis=1) - other.right.mean(axis=1)
        return bootstrap(lambda chosen: ahead[chosen].mean(), len(ahead), self.lesion)


def clean_scores(probabilities: Tensor, y: Tensor, labels: list[str], lesions: Lesions = None) -> dict:
    """Accuracy, balanced accuracy, recall of each label and melanoma's AUROC, from probabilities (N, labels) and the
    labels' indices (N,)."""
    codes = np.array(labels)
    answers = Answers(
        truth=codes[y.numpy()],
        predicted=codes[probabilities.argmax(dim=1).numpy()][:, None],
        lesion=clusters_of(lesions, len(y)),
        p_melanoma=probabilities[:, [labels.index(MELANOMA)]].numpy() if MELANOMA in labels else None,
    )
    found, recalls = answers.scores(), {}
    for label in codes[y.unique().numpy()].tolist():
        kept = answers.lesion[answers.truth == label]
        recalls[label] = {"images": len(kept), "lesions": len(np.unique(kept)), **asdict(answers.recall(label))}
    scores = {
        "images": len(y),
        "lesions": answers.lesions,
        "accuracy": found["accuracy"],
        "balanced_accuracy": found["balanced_accuracy"],
        "recall": recalls,
    }
    return scores if found["melanoma_auroc"] is None else {**scores, "melanoma_auroc": found["melanoma_auroc"]}


def calibration_error(probabilities: Tensor, y: Tensor) -> float:
    """Expected calibration error over 15 bins of confidence (Naeini et al., 2015), in [0, 1]."""
    return multiclass_calibration_error(probabilities, y, num_classes=probabilities.shape[1], n_bins=15).item()
