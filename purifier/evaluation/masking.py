"""Whether a classifier only hides its gradient (Athalye, Carlini & Wagner, 2018): attacks that need none, or more of
it, must not do better than PGD."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import Classifier
from purifier.evaluation.datasets import Sample, lesions_of
from purifier.evaluation.evaluate import evaluate_robust, over_batches
from purifier.evaluation.intervals import Score, share


def masking_checks(
    classifier: Classifier,
    surrogate: Classifier,
    samples: Sequence[Sample],
    *,
    eps: float,
    restarts: int = 2,
    queries: int = 300,
    seed: int = 0,
) -> dict:
    """Accuracy under PGD-20, PGD-100 with ``restarts``, Square with ``queries``, and PGD-20 made on ``surrogate``."""
    pgd20, pgd100 = AttackSettings(eps=eps), AttackSettings(eps=eps, steps=100)

    def accuracy(attack: Callable[[Tensor, Tensor], Tensor], desc: str) -> Score:
        right = over_batches(classifier, samples, lambda x, y, i: classifier(attack(x, y)).argmax(1) == y, desc)
        return share(right, lesions_of(samples))

    def by_square(x: Tensor, y: Tensor) -> Tensor:
        from purifier.evaluation import art  # its import takes seconds

        return art.square(classifier, x, y, classes=len(classifier.labels), eps=eps, queries=queries, seed=seed)

    def transferred(x: Tensor, y: Tensor) -> Tensor:
        goal, generator = classifier.as_counted_by(surrogate, y), torch.Generator().manual_seed(seed)
        return pgd20(surrogate, x, goal, generator=generator)

    return {
        "eps": eps,
        "images": len(samples),
        "pgd20": evaluate_robust(classifier, samples, attack=pgd20, seed=seed)["accuracy"],
        "pgd100": evaluate_robust(classifier, samples, attack=pgd100, restarts=restarts, seed=seed)["accuracy"],
        "pgd100_restarts": restarts,
        "square": accuracy(by_square, "Square"),
        "square_queries": queries,
        "transfer": accuracy(transferred, "transfer"),
        "transfer_from": surrogate.source,
    }
