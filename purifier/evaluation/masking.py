"""Whether a classifier only hides its gradient (Athalye, Carlini & Wagner, 2018): attacks that need none, or more of
it, must not do better than PGD. The home of ART."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from purifier.attacks import AttackSettings
from purifier.classifiers import Classifier
from purifier.evaluation.datasets import Sample
from purifier.evaluation.evaluate import evaluate_robust, over_batches
from purifier.evaluation.metrics import proportion


def masking_checks(
    classifier: Classifier, surrogate: Classifier, samples: Sequence[Sample], *,
    eps: float, restarts: int = 2, queries: int = 300, seed: int = 0,
) -> dict:  # fmt: skip
    """Accuracy under PGD-20, PGD-100 with ``restarts``, Square with ``queries``, and PGD-20 made on ``surrogate``."""
    pgd20, pgd100 = AttackSettings(eps=eps), AttackSettings(eps=eps, steps=100)

    def accuracy(attack: Callable[[Tensor, Tensor], Tensor], desc: str) -> dict[str, float]:
        return proportion(
            over_batches(classifier, samples, lambda x, y, i: classifier(attack(x, y)).argmax(1) == y, desc)
        )

    def by_square(x: Tensor, y: Tensor) -> Tensor:
        return square(classifier, x, y, eps=eps, queries=queries, seed=seed)

    def transferred(x: Tensor, y: Tensor) -> Tensor:
        return pgd20(surrogate, x, y, generator=torch.Generator().manual_seed(seed))

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


def square(classifier: Classifier, x: Tensor, y: Tensor, *, eps: float, queries: int, seed: int = 0) -> Tensor:
    """Square Attack (Andriushchenko et al., 2020) of ART, in the L-infinity ball: random search, no gradient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ART's imports of optional frameworks
        from art.attacks.evasion import SquareAttack
        from art.estimators.classification import PyTorchClassifier
    shape = tuple(x.shape[1:])
    estimator = PyTorchClassifier(
        classifier, loss=torch.nn.CrossEntropyLoss(), input_shape=shape, nb_classes=len(classifier.labels),
        clip_values=(0.0, 1.0), device_type="gpu" if x.is_cuda else "cpu",
    )  # fmt: skip
    state = np.random.get_state()
    np.random.seed(seed)  # ART draws from numpy's global generator
    try:
        attack = SquareAttack(estimator, norm=np.inf, max_iter=queries, eps=eps, batch_size=len(x), verbose=False)
        adv = attack.generate(x.cpu().numpy(), np.eye(len(classifier.labels), dtype=np.float32)[y.cpu().numpy()])
    finally:
        np.random.set_state(state)
    return torch.from_numpy(adv).to(x)
