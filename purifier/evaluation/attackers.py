"""The attackers of the evaluation: what each knows, and what it does. Images are (B, 3, H, W) in [0, 1].

An **oblivious** attacker knows the classifier and not the defence; an **adaptive** one knows both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from purifier.attacks import ATTACKS, AttackSettings, identity
from purifier.classifiers.classifier import Classifier
from purifier.defences import Defence

TARGETED = ("MEL", "NV")  # the harm that the targeted attack does: a melanoma read as a nevus


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

    def model(self, stand_in: Callable[[Tensor], Tensor] | None = None) -> Callable[[Tensor], Tensor]:
        """The classifier behind the defence, with fresh noise at every call, and the gradient of ``stand_in`` in place
        of the defence's."""
        noise = torch.Generator().manual_seed(self.seed + 1)
        return lambda z: self.defence.read(self.classifier, z, noise, stand_in)

    def known_model(self) -> Callable[[Tensor], Tensor]:
        """The classifier behind the defence, with the noise that it will draw."""
        return lambda z: self.defence.read(self.classifier, z, torch.Generator().manual_seed(self.noise_seed))

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, kw_only=True)
class Attacker:
    """``run(task, x, y)`` is the attacked batch. ``bounded`` ones stay within epsilon in the L-infinity norm.

    ``passes`` estimates its cost: times that an image goes through the model and back.
    """

    name: str
    title: str
    run: Callable[[Task, Tensor, Tensor], Tensor]
    adaptive: bool = False
    bounded: bool = True
    knows_noise: bool = False
    label: str | None = None  # attacks pictures of this diagnosis only
    passes: int = 1

    @property
    def threat(self) -> str:
        return "adaptive" if self.adaptive else "oblivious"


def get_attacker(name: str) -> Attacker:
    """An attacker by its name: a kind of ``KINDS``, with its steps (or queries) and, for those that average over the
    defence's noise, the samples of each step: ``pgd20``, ``square300``, ``eot20x8``. Raises ``ValueError``."""
    kind, steps, samples = re.fullmatch(r"(.*?)(\d+)?(?:x(\d+))?", name).groups()
    if kind not in KINDS:
        raise ValueError(f"There is no attack {name!r}. There are, with numbers of your own, {', '.join(examples())}.")
    make, default, default_samples = KINDS[kind]
    if (steps and default is None) or (samples and default_samples is None):
        raise ValueError(f"{name!r} has a number too many. The attacks with their numbers: {', '.join(examples())}.")
    steps, samples = int(steps or default or 1), int(samples or default_samples or 1)
    if steps < 1 or samples < 1:
        raise ValueError(f"The numbers of {name!r} must be at least 1.")
    return make(name, steps, samples)


def examples() -> list[str]:
    """Each kind's name with its usual numbers."""
    return [f"{kind}{steps or ''}{f'x{samples}' if samples else ''}" for kind, (_, steps, samples) in KINDS.items()]


def _none(name: str, steps: int, samples: int) -> Attacker:
    return Attacker(name=name, title="no attack", run=lambda task, x, y: x, bounded=False, passes=0)


def _gradient(method: str) -> Callable[[str, int, int], Attacker]:
    """One of the page's attacks, on the classifier alone."""

    def make(name: str, steps: int, samples: int) -> Attacker:
        def run(task: Task, x: Tensor, y: Tensor) -> Tensor:
            settings = AttackSettings(method=method, eps=task.eps, steps=steps)
            return settings(task.classifier, x, y, generator=task.generator())

        return Attacker(name=name, title=f"{ATTACKS[method].title} ({steps})", run=run, passes=steps)

    return make


def _targeted(name: str, steps: int, samples: int) -> Attacker:
    def run(task: Task, x: Tensor, y: Tensor) -> Tensor:
        goal = torch.full_like(y, task.classifier.labels.index(TARGETED[1]))
        return AttackSettings(eps=task.eps, steps=steps)(
            task.classifier, x, goal, targeted=True, generator=task.generator()
        )

    return Attacker(name=name, title=f"PGD ({steps}), melanoma to nevus", run=run, label=TARGETED[0], passes=steps)


def _transfer(name: str, steps: int, samples: int) -> Attacker:
    def run(task: Task, x: Tensor, y: Tensor) -> Tensor:
        return AttackSettings(eps=task.eps, steps=steps)(task.surrogate, x, y, generator=task.generator())

    return Attacker(name=name, title=f"PGD ({steps}) on another network", run=run, passes=steps)


def _adaptive(kind: str) -> Callable[[str, int, int], Attacker]:
    """PGD through the defence: with its exact gradient where it has one (``eot``), with the identity's (``bpda``), or
    knowing the noise that it will draw (``fixed``)."""
    titles = {"eot": "PGD through the defence", "bpda": "BPDA through the defence", "fixed": "PGD, the noise known"}

    def make(name: str, steps: int, samples: int) -> Attacker:
        def run(task: Task, x: Tensor, y: Tensor) -> Tensor:
            model = task.known_model() if kind == "fixed" else task.model(identity if kind == "bpda" else None)
            settings = AttackSettings(eps=task.eps, steps=steps, samples=samples if task.defence.random else 1)
            return settings(model, x, y, generator=task.generator())

        title = f"{titles[kind]} ({steps} steps" + (")" if kind == "fixed" else f" of {samples} samples)")
        passes = 3 * steps * samples  # the defence costs more than the classifier
        return Attacker(name=name, title=title, run=run, adaptive=True, knows_noise=kind == "fixed", passes=passes)

    return make


def _stand_in(name: str, steps: int, samples: int) -> Attacker:
    """PGD through a defence that has no gradient of its own, with that of a differentiable function like it."""

    def run(task: Task, x: Tensor, y: Tensor) -> Tensor:
        from purifier.evaluation.stand_ins import stand_in_for  # kornia's import takes seconds

        model = task.model(stand_in_for(task.defence.name))
        return AttackSettings(eps=task.eps, steps=steps)(model, x, y, generator=task.generator())

    title = f"PGD through a stand-in for the defence ({steps} steps)"
    return Attacker(name=name, title=title, run=run, adaptive=True, passes=3 * steps)


def _from_art(kind: str) -> Callable[[str, int, int], Attacker]:
    """ART's attacks on the classifier, or Square on the defended one."""

    def make(name: str, steps: int, samples: int) -> Attacker:
        def run(task: Task, x: Tensor, y: Tensor) -> Tensor:
            from purifier.evaluation import art  # its import takes seconds

            classes = len(task.classifier.labels)
            if kind in ("square", "defended-square"):
                model = task.classifier if kind == "square" else task.model()
                return art.square(model, x, y, classes=classes, eps=task.eps, queries=steps, seed=task.seed)
            if kind == "autoattack":
                return art.auto_attack(task.classifier, x, y, classes=classes, eps=task.eps, seed=task.seed)
            attack = {"cw": art.carlini_l2, "deepfool": art.deepfool}[kind]
            return attack(task.classifier, x, y, classes=classes, steps=steps, seed=task.seed)

        titles = {
            "square": f"Square ({steps} queries)", "defended-square": f"Square on the defence ({steps} queries)",
            "autoattack": "AutoAttack", "cw": f"Carlini & Wagner L2 ({steps})", "deepfool": f"DeepFool ({steps})",
        }  # fmt: skip
        return Attacker(
            name=name, title=titles[kind], run=run, adaptive=kind == "defended-square",
            bounded=kind not in ("cw", "deepfool"), passes={"autoattack": 1000, "cw": 3 * steps}.get(kind, steps),
        )  # fmt: skip

    return make


# What makes an attacker of a name; its usual steps or queries, and its samples of the defence's noise at each step.
KINDS: dict[str, tuple[Callable[[str, int, int], Attacker], int | None, int | None]] = {
    "none": (_none, None, None),
    "fgsm": (_gradient("fgsm"), None, None),
    "bim": (_gradient("bim"), 20, None),
    "pgd": (_gradient("pgd"), 20, None),
    "mi-fgsm": (_gradient("mi_fgsm"), 20, None),
    "targeted": (_targeted, 20, None),
    "transfer": (_transfer, 20, None),
    "square": (_from_art("square"), 300, None),
    "cw": (_from_art("cw"), 20, None),
    "deepfool": (_from_art("deepfool"), 50, None),
    "autoattack": (_from_art("autoattack"), None, None),
    "eot": (_adaptive("eot"), 20, 8),
    "bpda": (_adaptive("bpda"), 20, 8),
    "fixed": (_adaptive("fixed"), 20, None),
    "stand-in": (_stand_in, 20, None),
    "defended-square": (_from_art("defended-square"), 300, None),
}
