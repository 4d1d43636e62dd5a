"""Whether a classifier only hides its gradient (Athalye, Carlini & Wagner, 2018): attacks that need none, or more of
it, must not do better than PGD. The home of ART."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from purifier.attacks import AttackSettings
from purifier.classifiers import Classifier
from purifier.evaluation.datasets import Sample, read_pixels
from purifier.evaluation.evaluate import BATCH, evaluate_robust, targets
from purifier.evaluation.metrics import proportion
from purifier.images import SIZE


def masking_checks(
    classifier: Classifier, surrogate: Classifier, samples: Sequence[Sample], *,
    eps: float, restarts: int = 2, queries: int = 300, seed: int = 0,
) -> dict:  # fmt: skip
    """Accuracy under PGD-20, PGD-100 with ``restarts``, Square with ``queries``, and PGD-20 made on ``surrogate``."""
    pgd20, pgd100 = AttackSettings(eps=eps), AttackSettings(eps=eps, steps=100)
    return {
        "eps": eps,
        "images": len(samples),
        "pgd20": evaluate_robust(classifier, samples, attack=pgd20, seed=seed)["accuracy"],
        "pgd100": evaluate_robust(classifier, samples, attack=pgd100, restarts=restarts, seed=seed)["accuracy"],
        "pgd100_restarts": restarts,
        "square": over_batches(
            classifier, samples, lambda x, y: square(classifier, x, y, eps=eps, queries=queries, seed=seed)
        ),
        "square_queries": queries,
        "transfer": over_batches(
            classifier, samples, lambda x, y: pgd20(surrogate, x, y, generator=torch.Generator().manual_seed(seed))
        ),
        "transfer_from": surrogate.source,
    }


def over_batches(classifier: Classifier, samples: Sequence[Sample], attack) -> dict[str, float]:
    """Accuracy on ``attack(x, y)``."""
    pixels, y = read_pixels(samples, SIZE), targets(classifier, samples)
    device, right = classifier.mean.device, []
    for b, t in zip(pixels.split(BATCH), y.split(BATCH), strict=True):
        x, t = b.to(device) / 255, t.to(device)
        with torch.no_grad():
            right.append((classifier(attack(x, t)).argmax(1) == t).cpu())
    return proportion(torch.cat(right))


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
