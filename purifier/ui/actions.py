"""What the page's buttons and its API do, step by step, without a word about components.

Every picture kept here is a batch of one, (1, 3, 224, 224), with 8-bit values: what is shown is what is read.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from purifier.attacks import AttackSettings
from purifier.classifiers import DEFAULT, Classifier, default_device, load_classifier
from purifier.hub import Progress
from purifier.images import quantise
from purifier.pipeline import Purifier, Stage
from purifier.ui.view import Cell, Reading

AT_ONCE = 4  # purifications, of many
SAMPLES = 4  # of the purifier's noise, at each step of an attacker who knows it
ANY = "any other"  # in place of a target: get away from the present reading


@dataclass(frozen=True, eq=False)
class Session:
    """What one visitor has on the page."""

    original: Tensor | None = None
    is_own: bool = False  # the visitor's, and no example
    attacked: Tensor | None = None
    purified: Tensor | None = None
    eps: float = 0.0  # of the attack that was made
    attacked_on: str = ""  # the classifier that it was made on
    blocks: tuple[str, ...] = ()  # the pyramid of each block, drawn
    classifier: str = DEFAULT  # the last name that could be loaded

    @property
    def source(self) -> Tensor | None:
        """What Purify works on: the attacked picture where there is one."""
        return self.original if self.attacked is None else self.attacked


def classifier_for_page(name: str, progress: Progress | None = None) -> Classifier:
    """A bundled classifier or one from the Hub; a visitor has no business in the server's folders."""
    if name.strip().startswith("local-dir:"):
        raise ValueError("Folders cannot be opened from the page. Choose a bundled classifier or 'hf-hub:owner/name'.")
    return load_classifier(name.strip(), progress).to(default_device())


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


def attack_steps(
    classifier: Classifier, x: Tensor, settings: AttackSettings, *, target: str = ANY, seed: int = 0,
    known: Purifier | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """The attacked picture after each step. Without ``target`` it flees the classifier's own reading of ``x``.

    An attacker to whom the purifier is ``known`` attacks the two together, averaging over ``SAMPLES`` of its noise.
    """
    if target != ANY and target not in classifier.labels:
        raise ValueError(f"The target must be one of {', '.join(classifier.labels)}, and is {target!r}.")
    label = read(classifier, x)[0].top if target == ANY else target
    y = torch.tensor([classifier.labels.index(label)], device=classifier.mean.device)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.Generator().manual_seed(seed + 1)
    model = classifier if known is None else lambda z: classifier(known(z, noise))
    settings = replace(settings, samples=1 if known is None else SAMPLES)
    steps = settings.iterates(model, x.to(y.device), y, targeted=target != ANY, generator=generator)
    # eps is a whole number of levels and x has 8-bit values, so rounding does not leave the ball.
    return (quantise(adv).cpu() for adv in steps)


def purify_stages(
    classifier: Classifier, purifier: Purifier, x: Tensor, *, seed: int = 0
) -> Iterator[tuple[Stage, list[Cell]]]:
    """Each stage with its four pictures and their readings."""
    device = classifier.mean.device
    stages = purifier.stages(x.to(device), torch.Generator().manual_seed(seed))
    while True:
        with torch.no_grad():  # around each step: a with-block around the yield would leak to the caller
            stage = next(stages, None)
        if stage is None:
            return
        pictures = [quantise(z).cpu() for z in (stage.before, stage.diffused, stage.denoised, stage.aggregated)]
        yield stage, list(zip(pictures, read(classifier, *pictures), strict=True))


def purified_picture(purifier: Purifier, x: Tensor, *, seed: int = 0) -> Tensor:
    """The purified picture alone."""
    with torch.no_grad():
        clean = purifier(x.to(default_device()), torch.Generator().manual_seed(seed))
    return quantise(clean).cpu()


def purified_labels(classifier: Classifier, purifier: Purifier, x: Tensor, *, draws: int) -> Iterator[list[str]]:
    """What the classifier reads in each of many purified pictures of one, a few at a time; always the same ones."""
    generator = torch.Generator().manual_seed(0)
    for done in range(0, draws, AT_ONCE):
        many = x.to(classifier.mean.device).expand(min(AT_ONCE, draws - done), -1, -1, -1)
        with torch.no_grad():
            clean = quantise(purifier(many, generator))
        yield [reading.top for reading in read(classifier, clean)]


def merged_picture(purifier: Purifier, last_block: list[Stage], x: Tensor) -> Tensor:
    """The purified picture from the stages of the last block: what ``purified_picture`` gives for the same seed."""
    with torch.no_grad():
        clean = purifier.back([stage.aggregated for stage in last_block], x.shape[-2:])
    return quantise(clean).cpu()


def amplified(x: Tensor, adv: Tensor, factor: float) -> Tensor:
    """The perturbation on mid-grey, ``factor`` times as strong."""
    return quantise(0.5 + factor * (adv - x))
