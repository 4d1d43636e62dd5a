"""The attackers of the evaluation: what each knows, and what it does. Images are (B, 3, H, W) in [0, 1].

An **oblivious** attacker knows the classifier and not the defence; an **adaptive** one knows both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from purifier.alarm import disagreement
from purifier.attacks import ATTACKS, Ascent, AttackSettings, Model, cross_entropy, identity, loss_gradient, pgd_step
from purifier.classifiers.classifier import Classifier
from purifier.defences import Defence
from purifier.evaluation.squeezing import squeezed, squeezing_score
from purifier.pictures.files import quantise
from purifier.texts import Text

COARSENESS = 8  # pixels from one point of a coarse perturbation's grid to the next
WEIGHTS = (1.0, 4.0, 16.0)  # of how far readings are apart against the cross-entropy: the attacker takes the best


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an attacker is given. ``seed`` decides the attacker's draws; ``noise_seed`` is the defence's own, which only
    an attacker who knows the randomness looks at."""

    classifier: Classifier
    surrogate: Classifier
    defence: Defence
    eps: float
    seed: int
    noise_seed: int

    def model(self, stand_in: Callable[[Tensor], Tensor] | None = None) -> Model:
        """The classifier behind the defence, with fresh noise at every call, and the gradient of ``stand_in`` in place
        of the defence's."""
        noise = torch.Generator(self.classifier.mean.device).manual_seed(self.seed + 1)
        return lambda z: self.defence.read(self.classifier, z, noise, stand_in)

    def calibrated(self, z: Tensor) -> Tensor:
        """The classifier's logits over its temperature."""
        return self.classifier(z) / self.classifier.calibration.temperature

    def known_model(self) -> Model:
        """The classifier behind the defence, with the noise that it will draw."""
        return lambda z: self.defence.read(self.classifier, z, torch.Generator().manual_seed(self.noise_seed))

    def generator(self) -> torch.Generator:
        """A fresh one for the attacker's own draws."""
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """What an attacker knows and does. ``bounded`` ones stay within epsilon in the L-infinity norm."""

    kind: str
    words: str  # its title, with places for {steps} and {samples}
    attack: Callable[["Attacker", Task, Tensor, Tensor], Tensor]
    name: str = ""  # by which it was asked for
    steps: int | None = None  # or queries; None where they cannot be chosen
    samples: int | None = None  # of the defence's noise at each step; None for those that do not average over it
    adaptive: bool = False
    bounded: bool = True
    knows_noise: bool = False
    label: str | None = None  # attacks pictures of this diagnosis only
    target: str | None = None  # the diagnosis that they are to be read as; None: any other
    cost: int = 1  # of a step and sample

    def run(self, task: Task, x: Tensor, y: Tensor) -> Tensor:
        """The attacked batch."""
        return self.attack(self, task, x, y)

    def samples_for(self, task: Task) -> int:
        """Of the defence's noise at each step; 1 where there is none to average over."""
        return self.samples if self.samples and task.defence.random else 1

    @property
    def numbers(self) -> str:
        """As they stand in its name."""
        return f"{self.steps or ''}{f'x{self.samples}' if self.samples else ''}"

    @property
    def title(self) -> Text:
        """In words, with its steps and samples."""
        return Text(self.words, steps=self.steps or 1, samples=self.samples)

    @property
    def threat(self) -> str:
        """``adaptive``: knows the defence; or ``oblivious`` of it."""
        return "adaptive" if self.adaptive else "oblivious"

    @property
    def passes(self) -> int:
        """About how many times an image goes through the model and back."""
        return self.cost * (self.steps or 1) * (self.samples or 1)


def get_attacker(name: str) -> Attacker:
    """An attacker by its name: a kind of ``KINDS``, with its steps (or queries) and, for those that average over the
    defence's noise, the samples of each step: ``pgd20``, ``square300``, ``eot20x8``. Raises ``ValueError``."""
    kind, steps, samples = re.fullmatch(r"(.*?)(\d+)?(?:x(\d+))?", name).groups()
    if kind not in KINDS:
        raise ValueError(f"There is no attack {name!r}. There are, with numbers of your own, {', '.join(examples())}.")
    usual, given = KINDS[kind], {"steps": steps, "samples": samples}
    numbers = {what: int(number) for what, number in given.items() if number}
    if any(getattr(usual, what) is None for what in numbers):
        raise ValueError(f"{name!r} has a number too many. The attacks with their numbers: {', '.join(examples())}.")
    if any(number < 1 for number in numbers.values()):
        raise ValueError(f"The numbers of {name!r} must be at least 1.")
    return replace(usual, name=name, **numbers)


def examples() -> list[str]:
    """Each kind's name with its usual numbers."""
    return [f"{kind}{usual.numbers}" for kind, usual in KINDS.items()]


def _by_gradient(
    model: Callable[[Task], Model], method: str = "pgd"
) -> Callable[[Attacker, Task, Tensor, Tensor], Tensor]:
    """One of the page's attacks on what ``model`` makes of a task."""

    def attack(how: Attacker, task: Task, x: Tensor, y: Tensor) -> Tensor:
        samples = how.samples_for(task)
        settings = AttackSettings(method=method, eps=task.eps, steps=how.steps or 1, samples=samples)
        goal = y if how.target is None else torch.full_like(y, task.classifier.labels.index(how.target))
        return settings(model(task), x, goal, targeted=how.target is not None, generator=task.generator())

    return attack


def _on_the_surrogate(how: Attacker, task: Task, x: Tensor, y: Tensor) -> Tensor:
    settings, goal = AttackSettings(eps=task.eps, steps=how.steps), task.classifier.as_counted_by(task.surrogate, y)
    return settings(task.surrogate, x, goal, generator=task.generator())


def _undefended(task: Task) -> Model:
    return task.classifier


def _through_a_stand_in(task: Task) -> Model:
    """For a defence that has no gradient of its own: with that of a differentiable function like it."""
    from purifier.evaluation.stand_ins import stand_in_for  # kornia's import takes seconds

    return task.model(stand_in_for(task.defence))


def _by_art(how: Attacker, task: Task, x: Tensor, y: Tensor) -> Tensor:
    """ART's attacks on the classifier, or Square on the defended one."""
    from purifier.evaluation import art  # its import takes seconds

    given = dict(classes=len(task.classifier.labels), seed=task.seed)
    match how.kind:
        case "square" | "defended-square":
            model = task.model() if how.adaptive else task.classifier
            return art.square(model, x, y, eps=task.eps, queries=how.steps, **given)
        case "cw":
            return art.carlini_l2(task.classifier, x, y, steps=how.steps, **given)
        case _:
            return art.deepfool(task.classifier, x, y, steps=how.steps, **given)


def _by_autoattack(how: Attacker, task: Task, x: Tensor, y: Tensor) -> Tensor:
    """AutoAttack on the classifier, or its APGD through the defence."""
    from purifier.evaluation import autoattack  # its package is of the evaluation alone

    if not how.adaptive:
        classes = len(task.classifier.labels)
        return autoattack.auto_attack(task.classifier, x, y, classes=classes, eps=task.eps, seed=task.seed)
    samples = how.samples_for(task)
    return autoattack.apgd(task.model(), x, y, eps=task.eps, steps=how.steps, samples=samples, seed=task.seed)


def _in_coarse_shapes(how: Attacker, task: Task, x: Tensor, y: Tensor) -> Tensor:
    """PGD through the defence whose perturbation is interpolated from a coarse grid, so that no smoothing takes it
    away; within epsilon."""
    model, samples = task.model(), how.samples_for(task)
    size, generator = x.shape[-2:], task.generator()
    grid = torch.zeros(len(x), x.shape[1], *(side // COARSENESS for side in size), device=x.device)
    grid += task.eps * (2 * torch.rand(grid.shape, generator=generator).to(x) - 1)

    def attacked(grid: Tensor) -> Tensor:
        return (x + F.interpolate(grid, size, mode="bilinear")).clamp(0, 1)

    for _ in range(how.steps):
        gradient = loss_gradient(lambda z: model(attacked(z)), grid, y, samples=samples)
        grid = (grid + 2.5 * task.eps / how.steps * gradient.sign()).clamp(-task.eps, task.eps)
    return attacked(grid)


def _in_grey(model_of: Callable[[Task], Model]) -> Callable[[Attacker, Task, Tensor, Tensor], Tensor]:
    """PGD that changes brightness alone, and not the colours whose noise the purifier's own goes by
    (``Purifier.gain``); within epsilon."""

    def attack(how: Attacker, task: Task, x: Tensor, y: Tensor) -> Tensor:
        model, samples = model_of(task), how.samples_for(task)

        def grey(z: Tensor) -> Tensor:
            return (x + (z - x).mean(dim=1, keepdim=True)).clamp(0, 1)

        settings = AttackSettings(eps=task.eps, steps=how.steps, samples=samples)
        return grey(settings(lambda z: model(grey(z)), x, y, generator=task.generator()))

    return attack


def apart(one: Tensor, other: Tensor) -> Tensor:
    """Jeffreys' divergence between two logits (B, K), (B,): the alarm's score without its floor, and with a gradient
    where that of feature squeezing vanishes, between two readings that are each sure of another diagnosis. It goes to
    the ``other`` alone: the one reading is to stay wrong, and the other to follow it."""
    p, q = one.detach().log_softmax(dim=1), other.log_softmax(dim=1)
    return ((p.exp() - q.exp()) * (p - q)).sum(dim=1)


def _purifier_apart(task: Task, noise: torch.Generator) -> Model:
    return lambda z: apart(task.calibrated(z), task.defence.read(task.calibrated, z, noise))


def _alarm(task: Task, noise: torch.Generator, z: Tensor, samples: int) -> Tensor:
    draws = torch.stack([task.defence.read(task.calibrated, z, noise).softmax(dim=1) for _ in range(samples)])
    return disagreement(task.classifier.probabilities(z), draws.mean(dim=0))


def _squeezers_apart(task: Task, noise: torch.Generator) -> Model:
    return lambda z: torch.stack([apart(task.calibrated(z), task.calibrated(s)) for s in squeezed(z)]).amax(dim=0)


def _squeezing(task: Task, noise: torch.Generator, z: Tensor, samples: int) -> Tensor:
    return squeezing_score(task.classifier, z)


def _evading(
    apart_by: Callable[[Task, torch.Generator], Model], score: Callable[[Task, torch.Generator, Tensor, int], Tensor]
) -> Callable[[Attacker, Task, Tensor, Tensor], Tensor]:
    """PGD on the classifier and on an alarm at once: the loss is the cross-entropy less ``WEIGHTS`` times what
    ``apart_by`` says of the readings. Of each picture that attack is kept which in 8-bit values fools the classifier at
    the alarm's lowest ``score``, of which there may be no useful gradient."""

    def attack(how: Attacker, task: Task, x: Tensor, y: Tensor) -> Tensor:
        noise = torch.Generator(x.device).manual_seed(task.seed + 1)
        differ, samples = apart_by(task, noise), how.samples_for(task)

        def both(z: Tensor) -> Tensor:  # the logits, and in a last column how far the readings are apart
            return torch.cat([task.classifier(z), differ(z)[:, None]], dim=1)

        kept, lowest = x, torch.full((len(x),), torch.inf, device=x.device)
        for weight in WEIGHTS:
            ascent = Ascent(
                eps=task.eps,
                step=pgd_step(task.eps, how.steps),
                steps=how.steps,
                random_start=True,
                samples=samples,
                loss=lambda given, y, weight=weight: cross_entropy(given[:, :-1], y) - weight * given[:, -1],
            )
            *_, adv = ascent.iterates(both, x, y, task.generator())
            with torch.no_grad():
                shown = quantise(adv)
                right = task.classifier(shown).argmax(dim=1) == y
                cost = score(task, noise, shown, samples) + 1e6 * right  # what does not fool the classifier comes last
            kept = torch.where((cost < lowest).reshape(-1, 1, 1, 1), adv, kept)
            lowest = torch.minimum(cost, lowest)
        return kept

    return attack


# Each kind with its usual numbers. Through the defence a step costs three passes: the defence costs more than the
# classifier.
KINDS: dict[str, Attacker] = {kind.kind: kind for kind in (
    Attacker(kind="none", words="no attack", attack=lambda how, task, x, y: x, bounded=False, cost=0),
    *(
        Attacker(
            kind=method.replace("_", "-"), words=f"{ATTACKS[method].title} ({{steps}})",
            attack=_by_gradient(_undefended, method), steps=steps,
        )
        for method, steps in (("fgsm", None), ("bim", 20), ("pgd", 20), ("mi_fgsm", 20))
    ),
    Attacker(
        kind="targeted", words="PGD ({steps}), melanoma to nevus", attack=_by_gradient(_undefended), steps=20,
        label="MEL", target="NV",  # the harm that it does: a melanoma read as a nevus
    ),
    Attacker(kind="transfer", words="PGD ({steps}) on another network", attack=_on_the_surrogate, steps=20),
    Attacker(kind="grey", words="PGD in grey ({steps})", attack=_in_grey(_undefended), steps=20),
    Attacker(kind="square", words="Square ({steps} queries)", attack=_by_art, steps=300),
    Attacker(kind="cw", words="Carlini & Wagner L2 ({steps})", attack=_by_art, steps=20, bounded=False, cost=3),
    Attacker(kind="deepfool", words="DeepFool ({steps})", attack=_by_art, steps=50, bounded=False),
    Attacker(kind="autoattack", words="AutoAttack", attack=_by_autoattack, cost=1000),
    Attacker(  # with the defence's exact gradient where it has one
        kind="eot", words="PGD through the defence ({steps} steps of {samples} samples)",
        attack=_by_gradient(lambda task: task.model()), steps=20, samples=8, adaptive=True, cost=3,
    ),
    Attacker(
        kind="apgd", words="APGD through the defence ({steps} steps of {samples} samples)",
        attack=_by_autoattack, steps=20, samples=8, adaptive=True, cost=3,
    ),
    Attacker(
        kind="coarse", words="coarse shapes through the defence ({steps} steps of {samples} samples)",
        attack=_in_coarse_shapes, steps=20, samples=8, adaptive=True, cost=3,
    ),
    Attacker(
        kind="grey-eot", words="PGD in grey through the defence ({steps} steps of {samples} samples)",
        attack=_in_grey(lambda task: task.model()), steps=20, samples=8, adaptive=True, cost=3,
    ),
    Attacker(  # with the identity's
        kind="bpda", words="BPDA through the defence ({steps} steps of {samples} samples)",
        attack=_by_gradient(lambda task: task.model(identity)), steps=20, samples=8, adaptive=True, cost=3,
    ),
    Attacker(  # knowing the noise that it will draw
        kind="fixed", words="PGD, the noise known ({steps} steps)",
        attack=_by_gradient(lambda task: task.known_model()), steps=20, adaptive=True, knows_noise=True, cost=3,
    ),
    Attacker(
        kind="evade", words="PGD that evades the alarm ({steps} steps of {samples} samples)",
        attack=_evading(_purifier_apart, _alarm), steps=20, samples=4, adaptive=True, cost=4 * len(WEIGHTS),
    ),
    Attacker(
        kind="evade-squeezing", words="PGD that evades feature squeezing ({steps} steps)",
        attack=_evading(_squeezers_apart, _squeezing), steps=20, adaptive=True, cost=4 * len(WEIGHTS),
    ),
    Attacker(
        kind="stand-in", words="PGD through a stand-in for the defence ({steps} steps)",
        attack=_by_gradient(_through_a_stand_in), steps=20, adaptive=True, cost=3,
    ),
    Attacker(
        kind="defended-square", words="Square on the defence ({steps} queries)", attack=_by_art, steps=300,
        adaptive=True,
    ),
)}  # fmt: skip
