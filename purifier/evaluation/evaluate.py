"""Which pictures are measured on; what a classifier reads of them; and whether any step of an attack fools it. Attacks
against defences are measured by ``grid.py``."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict

import torch
from torch import Tensor
from tqdm import tqdm

from purifier.attacks import AttackSettings, Model
from purifier.classifiers.classifier import Classifier
from purifier.evaluation.datasets import Sample, lesions_of, read_pixels
from purifier.evaluation.intervals import share
from purifier.evaluation.settings import BATCH
from purifier.pictures.files import SIZE
from purifier.pipeline import Purifier
from purifier.seeds import seed_of


def choose(samples: Sequence[Sample], limit: int | None, seed: int) -> list[Sample]:
    """``limit`` of the samples, drawn at random by ``seed``; all of them without a limit."""
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, and is {limit}.")
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed)).tolist()
    return [samples[i] for i in order[:limit]]


def choose_up_to(samples: Sequence[Sample], per_class: int, seed: int) -> list[Sample]:
    """At most ``per_class`` samples of each diagnosis, drawn at random by ``seed``."""
    if per_class < 1:
        raise ValueError(f"There must be at least 1 picture of each diagnosis, and {per_class} are asked for.")
    shuffled = choose(samples, None, seed)
    chosen = []
    for label in sorted({sample.label for sample in samples}):
        chosen += [sample for sample in shuffled if sample.label == label][:per_class]
    return choose(chosen, None, seed)


def choose_balanced(samples: Sequence[Sample], per_class: int, seed: int) -> list[Sample]:
    """``per_class`` samples of each diagnosis, drawn at random by ``seed``; ``ValueError`` where one has fewer."""
    for label, count in sorted(Counter(sample.label for sample in samples).items()):
        if count < per_class:
            raise ValueError(f"There are {count} pictures of {label}, and {per_class} of each are asked for.")
    return choose_up_to(samples, per_class, seed)


def targets(classifier: Classifier, samples: Sequence[Sample]) -> Tensor:
    """The samples' labels as the classifier counts them; ``ValueError`` where it lacks one."""
    missing = sorted({sample.label for sample in samples} - set(classifier.labels))
    if missing:
        raise ValueError(f"{classifier.source} does not know the diagnoses {', '.join(missing)} of these pictures.")
    return torch.tensor([classifier.labels.index(sample.label) for sample in samples])


def over_batches(
    classifier: Classifier, samples: Sequence[Sample], function: Callable[[Tensor, Tensor, int], Tensor], desc: str
) -> Tensor:
    """``function(x, y, number of the batch)`` of every batch of the samples' pictures, joined, on the CPU."""
    pixels, y = read_pixels(samples, SIZE), targets(classifier, samples)
    device, found = classifier.mean.device, []
    for i, (b, t) in enumerate(tqdm(list(zip(pixels.split(BATCH), y.split(BATCH), strict=True)), desc=desc)):
        with torch.no_grad():
            found.append(function(b.to(device) / 255, t.to(device), i).cpu())
    return torch.cat(found)


def predict(classifier: Classifier, samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Probabilities (N, labels) of the pictures as they are, and their labels (N,)."""
    probabilities = over_batches(classifier, samples, lambda x, y, i: classifier.probabilities(x), "clean")
    return probabilities, targets(classifier, samples)


def predict_purified(classifier: Classifier, purifier: Purifier, samples: Sequence[Sample], seed: int = 0) -> Tensor:
    """Probabilities (N, labels) of the pictures after the purifier, one draw of its noise."""

    def read(x: Tensor, y: Tensor, i: int) -> Tensor:
        return classifier.probabilities(purifier(x, torch.Generator().manual_seed(seed_of(seed, "noise", i))))

    return over_batches(classifier, samples, read, "purify")


def evaluate_robust(
    classifier: Classifier, samples: Sequence[Sample], *, attack: AttackSettings, restarts: int = 1, seed: int = 0
) -> dict:
    """Accuracy under attack, an image counting as lost as soon as any step of any restart fools the classifier."""

    def held(x: Tensor, y: Tensor, i: int) -> Tensor:
        return withstands(classifier, x, y, attack, restarts, seed_of(seed, "attack", i))

    lesions = lesions_of(samples)
    accuracy = share(over_batches(classifier, samples, held, "attack"), lesions)
    return {
        "images": len(samples),
        "lesions": len(set(lesions)),
        "attack": asdict(attack),
        "restarts": restarts,
        "seed": seed,
        "accuracy": accuracy,
    }


def withstands(
    classifier: Classifier,
    x: Tensor,
    y: Tensor,
    attack: AttackSettings,
    restarts: int,
    seed: int,
    through: Model | None = None,
) -> Tensor:
    """Which images (B,) no step of the attack fools; it goes on with those alone.

    It follows the gradient of ``through`` where that is another model than the classifier.
    """
    with torch.no_grad():
        left = (classifier(x).argmax(1) == y).nonzero().flatten()
    for restart in range(restarts):
        if len(left) == 0:
            break
        fooled = torch.zeros(len(left), dtype=torch.bool, device=x.device)
        generator = torch.Generator().manual_seed(seed_of(seed, restart))
        for adv in attack.iterates(through or classifier, x[left], y[left], generator=generator):
            with torch.no_grad():
                fooled |= classifier(adv).argmax(1) != y[left]
            if fooled.all():
                break
        left = left[~fooled]
    return torch.zeros(len(y), dtype=torch.bool, device=x.device).index_fill(0, left, True)
