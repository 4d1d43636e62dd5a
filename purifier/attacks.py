"""Gradient attacks on any callable from pixels to logits. Images are (B, C, H, W) in [0, 1], ``eps`` in the same unit.

Each attack has a plain call, and ``Ascent`` an iterator over its steps, for whoever wants to show progress.
``y`` (B,) are the labels to get away from or, with ``targeted=True``, to be taken for.
An attacker who knows a purifier attacks ``lambda z: classifier(purifier(z))``, with ``samples`` above 1 to average over
its noise, and ``straight_through`` where it has no gradient.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from purifier.pixels import check_finite, check_labels, check_pixels
from purifier.strict import strict
from purifier.texts import UserError

Model = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]  # of what a model gives and the labels (B,), to (B,)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Of logits (B, K) and labels (B,), each picture's own: (B,)."""
    return F.cross_entropy(logits, y, reduction="none")


def loss_gradient(
    model: Model, x: Tensor, y: Tensor, targeted: bool = False, samples: int = 1, loss: Loss = cross_entropy
) -> Tensor:
    """Gradient with respect to the pixels of the loss that the attacker raises: the cross-entropy, or its negative.

    The mean over ``samples`` calls of a model that draws noise: expectation over transformation (EOT, Athalye,
    Engstrom, Ilyas & Kwok, 2018). Raises ``ValueError`` where it or ``x`` is not finite: no step could follow it.
    """
    check_finite(x=x)
    total = torch.zeros_like(x)
    for _ in range(samples):
        z = x.detach().requires_grad_()
        with torch.enable_grad():
            raised = loss(model(z), y).sum()
        total += torch.autograd.grad(raised, z)[0]
    if not total.isfinite().all():
        raise ValueError("The gradient is not finite (NaN or infinity): look for it in what the model gives.")
    return total / (-samples if targeted else samples)


def identity(x: Tensor) -> Tensor:
    """``x``: the stand-in for a defence that changes little (BPDA: Athalye, Carlini & Wagner, 2018)."""
    return x


def straight_through(
    function: Callable[[Tensor], Tensor], stand_in: Callable[[Tensor], Tensor] = identity
) -> Callable[[Tensor], Tensor]:
    """``function`` with the gradient of ``stand_in`` in place of its own, which may not exist: the backward pass
    differentiable approximation (BPDA, Athalye, Carlini & Wagner, 2018)."""

    def approximated(x: Tensor) -> Tensor:
        approximation = stand_in(x)
        return approximation + (function(x.detach()) - approximation).detach()

    return approximated


def fgsm(model: Model, x: Tensor, y: Tensor, *, eps: float, targeted: bool = False) -> Tensor:
    """One signed step of ``eps`` (Goodfellow, Shlens & Szegedy, 2015)."""
    return pgd(model, x, y, eps=eps, step=eps, steps=1, targeted=targeted)


def pgd(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    step: float,
    steps: int,
    norm: str = "linf",
    random_start: bool = False,
    targeted: bool = False,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Projected gradient ascent (Madry et al., 2018) in the ball of radius ``eps`` around ``x``.

    Raises ``ValueError`` for anything but pictures in [0, 1], and for settings out of range.
    ``norm`` is ``linf`` (signed steps) or ``l2`` (steps along the gradient of length ``step``). ``samples`` as in
    ``loss_gradient``.
    ``generator`` draws the random start, uniform in the cube or ball.
    """
    ascent = Ascent(
        eps=eps, step=step, steps=steps, norm=norm, random_start=random_start, targeted=targeted, samples=samples
    )
    return _last(x, ascent.iterates(model, x, y, generator))


def mi_fgsm(
    model: Model,
    x: Tensor,
    y: Tensor,
    *,
    eps: float,
    step: float,
    steps: int,
    decay: float = 1.0,
    targeted: bool = False,
    samples: int = 1,
) -> Tensor:
    """Momentum iterative FGSM (Dong et al., 2018), made for attacks that transfer; ``decay`` of the momentum.
    ``samples`` as in ``loss_gradient``."""
    ascent = Ascent(eps=eps, step=step, steps=steps, decay=decay, targeted=targeted, samples=samples)
    return _last(x, ascent.iterates(model, x, y))


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """All that ``pgd`` and, with a ``decay``, ``mi_fgsm`` are told. Raises ``ValueError`` for settings out of range."""

    eps: float
    step: float
    steps: int
    norm: str = "linf"
    random_start: bool = False
    decay: float | None = None  # of the momentum; None: every step follows its own gradient alone
    targeted: bool = False
    samples: int = 1
    loss: Loss = cross_entropy

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise ValueError(f"norm must be 'linf' or 'l2', and is {self.norm!r}.")
        check_finite(step=self.step, decay=self.decay or 0)
        for name, value in (("step", self.step), ("decay", self.decay or 0)):
            if value < 0:
                raise ValueError(f"{name} must be at least 0, and is {value}.")
        _check(self.eps, self.steps, self.samples, self.norm)

    def iterates(
        self, model: Model, x: Tensor, y: Tensor, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """The attacked pictures after each step; ``generator`` draws the random start."""
        check_pixels(x)
        check_labels(y, len(x))
        adv, momentum = x.detach(), torch.zeros_like(x)
        if self.random_start:
            adv = self._project(x, adv + self._start(x, generator))
        for _ in range(self.steps):
            gradient = loss_gradient(model, adv, y, self.targeted, self.samples, self.loss)
            if self.decay is not None:
                mean = gradient.abs().mean(dim=(1, 2, 3), keepdim=True)
                gradient = momentum = self.decay * momentum + gradient / mean.clamp(min=1e-12)
            direction = gradient.sign() if self.norm == "linf" else gradient / _length(gradient).clamp(min=1e-12)
            adv = self._project(x, adv + self.step * direction)
            yield adv

    def _project(self, x: Tensor, adv: Tensor) -> Tensor:
        """Into the ball around ``x`` and the pixel range. Clamping to the range only moves ``adv`` nearer to ``x``."""
        x = x.detach()
        if self.norm == "linf":
            return adv.clamp((x - self.eps).clamp(min=0), (x + self.eps).clamp(max=1))
        delta = adv - x
        return (x + delta * (self.eps / _length(delta).clamp(min=1e-12)).clamp(max=1)).clamp(0, 1)

    def _start(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        """Uniform in the cube or ball."""
        device = generator.device if generator is not None else x.device
        if self.norm == "linf":
            return self.eps * (2 * torch.rand(x.shape, generator=generator, device=device) - 1).to(x)
        # One picture after the other, so that how many follow does not matter.
        options = dict(generator=generator, device=device)
        drawn = [(torch.randn(x.shape[1:], **options), torch.rand(1, 1, 1, **options)) for _ in x]
        noise, radius = map(torch.stack, zip(*drawn, strict=True))
        return (self.eps * radius ** (1 / x[0].numel()) * noise / _length(noise)).to(x)


def _check(eps: float, steps: int, samples: int, norm: str = "linf") -> None:
    most = 1 if norm == "linf" else math.inf  # an L-infinity ball of 1 holds every picture
    if not 0 <= eps <= most or eps == math.inf:
        hint = f"; write {eps:g} / 255 for {eps:g} levels of 255" if most < eps < math.inf else ""
        raise ValueError(f"eps must be a number from 0 to {most:g}, in units of the pixel range, and is {eps}{hint}.")
    for name, value, least in (("steps", steps, 0), ("samples", samples, 1)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be at least {least} and a whole number, and is {value}.")


def _last(x: Tensor, iterates: Iterator[Tensor]) -> Tensor:
    steps = deque(iterates, maxlen=1)
    return steps.pop() if steps else x.detach()


def _length(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


@dataclass(frozen=True, kw_only=True)
class Method:
    """An attack as menus offer it, with its customary steps: together they are ``length`` times epsilon long."""

    title: str  # for people
    length: float = 1.0
    steps: int | None = None  # as many as are asked for
    random_start: bool = False
    decay: float | None = None


ATTACKS = {
    "pgd": Method(title="PGD: many small steps", length=2.5, random_start=True),
    "bim": Method(title="BIM: PGD without a random start"),
    "mi_fgsm": Method(title="MI-FGSM: steps with momentum", decay=1.0),
    "fgsm": Method(title="FGSM: one step", steps=1),
}


def pgd_step(eps: float, steps: int) -> float:
    """PGD's customary step: far enough to cross the ball and to come back (Madry et al., 2018)."""
    return ATTACKS["pgd"].length * eps / max(steps, 1)


@strict
class AttackSettings:
    """An attack of ``ATTACKS`` in the L-infinity ball. Raises ``ValueError`` for settings out of range."""

    method: str = "pgd"
    eps: float = 2 / 255
    steps: int = 20  # without meaning for fgsm
    samples: int = 1  # of a model that draws noise, at each step

    def __post_init__(self) -> None:
        if self.method not in ATTACKS:
            raise UserError(
                "method must be one of {methods}, and is {method}.",
                methods=", ".join(ATTACKS),
                method=repr(self.method),
            )
        _check(self.eps, self.steps, self.samples)

    def iterates(
        self, model: Model, x: Tensor, y: Tensor, *, targeted: bool = False, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """The attacked pictures after each step; ``generator`` draws the random start of PGD."""
        method = ATTACKS[self.method]
        steps = self.steps if method.steps is None else method.steps
        ascent = Ascent(
            eps=self.eps,
            step=method.length * self.eps / max(steps, 1),
            steps=steps,
            random_start=method.random_start,
            decay=method.decay,
            targeted=targeted,
            samples=self.samples,
        )
        return ascent.iterates(model, x, y, generator)

    def __call__(
        self, model: Model, x: Tensor, y: Tensor, *, targeted: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """The attacked pictures after the last step."""
        return _last(x, self.iterates(model, x, y, targeted=targeted, generator=generator))
