"""Whether a classifier only hides its gradient (Athalye, Carlini & Wagner, 2018): attacks that need none, or more of
it, must not do better than PGD."""

from collections.abc import Sequence

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import Classifier
from purifier.defences import get_defence
from purifier.evaluation.attackers import Task, get_attacker
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
    none = get_defence("none")
    task = Task(classifier=classifier, surrogate=surrogate, defence=none, eps=eps, seed=seed, noise_seed=seed)

    def accuracy(name: str) -> Score:
        attacker = get_attacker(name)
        right = over_batches(
            classifier, samples, lambda x, y, i: classifier(attacker.run(task, x, y)).argmax(1) == y, attacker.kind
        )
        return share(right, lesions_of(samples))

    return {
        "eps": eps,
        "images": len(samples),
        "pgd20": evaluate_robust(classifier, samples, attack=pgd20, seed=seed)["accuracy"],
        "pgd100": evaluate_robust(classifier, samples, attack=pgd100, restarts=restarts, seed=seed)["accuracy"],
        "pgd100_restarts": restarts,
        "square": accuracy(f"square{queries}"),
        "square_queries": queries,
        "transfer": accuracy("transfer20"),
        "transfer_from": surrogate.source,
    }
