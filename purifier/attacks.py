"""Gradient attacks on any callable from pixels to logits. Images are (B, C, H, W) in [0, 1], ``eps`` in the same unit.

Each attack has an iterator over its steps, for whoever wants to show progress, and a plain call.
``y`` (B,) are the labels to get away from or, with ``targeted=True``, to be taken for.
An attacker who knows a purifier attacks ``lambda z: classifier(purifier(z))``, with ``samples`` above 1 to average over
its noise, and ``straight_through`` where it has no gradient.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from purifier.pixels import check_labels, check_pixels
from purifier.strict import strict

Model = Callable[[Tensor], Tensor]


def loss_gradient(model: Model, x: Tensor, y: Tensor, targeted: bool = False, samples: int = 1) -> Tensor:
    """Gradient with respect to the pixels of the loss that the attacker raises: the cross-entropy, or its negative.

    The mean over ``samples`` calls of a model that draws noise: expectation over transformation (EOT, Athalye,
    Engstrom, Ilyas & Kwok, 2018). Raises ``ValueError`` where it is not finite: no step could follow it.
    """
    total = torch.zeros_like(x)
    for _ in range(samples):
        z = x.detach().requires_grad_()
        with torch.enable_grad():
            loss = F.cross_entropy(model(z), y, reduction="sum")
        total += torch.autograd.grad(loss, z)[0]
    if not total.isfinite().all():
        raise ValueError("The gradient is not finite (NaN or infinity): look for it in what the model gives.")
    return total / (-samples if targeted else samples)


def identity(x: Tensor) -> Tensor:
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
    return _last(
        x,
        pgd_iterates(
            model,
            x,
            y,
            eps=eps,
            step=step,
            steps=steps,
            norm=norm,
            random_start=random_start,
            targeted=targeted,
            samples=samples,
            generator=generator,
        ),
    )


def pgd_iterates(
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
) -> Iterator[Tensor]:
    """What ``pgd`` has after each of its steps."""
    if norm not in ("linf", "l2"):
        raise ValueError(f"norm must be 'linf' or 'l2', and is {norm!r}.")
    _check(eps, steps, samples, norm)
    _check_batch(x, y)
    adv = x.detach()
    if random_start:
        adv = _project(x, adv + _random_start(x, eps, norm, generator), eps, norm)
    for _ in range(steps):
        gradient = loss_gradient(model, adv, y, targeted, samples)
        direction = gradient.sign() if norm == "linf" else gradient / _length(gradient).clamp(min=1e-12)
        adv = _project(x, adv + step * direction, eps, norm)
        yield adv


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
    settings = dict(eps=eps, step=step, steps=steps, decay=decay, targeted=targeted, samples=samples)
    return _last(x, mi_fgsm_iterates(model, x, y, **settings))


def mi_fgsm_iterates(
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
) -> Iterator[Tensor]:
    """What ``mi_fgsm`` has after each of its steps."""
    _check(eps, steps, samples)
    _check_batch(x, y)
    adv, momentum = x.detach(), torch.zeros_like(x)
    for _ in range(steps):
        gradient = loss_gradient(model, adv, y, targeted, samples)
        momentum = decay * momentum + gradient / gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
        adv = _project(x, adv + step * momentum.sign(), eps, "linf")
        yield adv


def _check(eps: float, steps: int, samples: int = 1, norm: str = "linf") -> None:
    most = 1 if norm == "linf" else math.inf  # an L-infinity ball of 1 holds every picture
    if not 0 <= eps <= most or eps == math.inf:
        hint = f"; write {eps:g} / 255 for {eps:g} levels of 255" if most < eps < math.inf else ""
        raise ValueError(f"eps must be a number from 0 to {most:g}, in units of the pixel range, and is {eps}{hint}.")
    for name, value, least in (("steps", steps, 0), ("samples", samples, 1)):
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be at least {least} and a whole number, and is {value}.")


def _check_batch(x: Tensor, y: Tensor) -> None:
    check_pixels(x)
    check_labels(y, len(x))


def _last(x: Tensor, iterates: Iterator[Tensor]) -> Tensor:
    steps = deque(iterates, maxlen=1)
    return steps.pop() if steps else x.detach()


def _length(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)


def _project(x: Tensor, adv: Tensor, eps: float, norm: str) -> Tensor:
    """Into the ball around ``x`` and the pixel range. Clamping to the range only moves ``adv`` nearer to ``x``."""
    x = x.detach()
    if norm == "linf":
        return adv.clamp((x - eps).clamp(min=0), (x + eps).clamp(max=1))
    delta = adv - x
    return (x + delta * (eps / _length(delta).clamp(min=1e-12)).clamp(max=1)).clamp(0, 1)


def _random_start(x: Tensor, eps: float, norm: str, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator is not None else x.device
    if norm == "linf":
        return eps * (2 * torch.rand(x.shape, generator=generator, device=device) - 1).to(x)
    noise = torch.randn(x.shape, generator=generator, device=device)
    radius = torch.rand(len(x), 1, 1, 1, generator=generator, device=device) ** (1 / x[0].numel())
    return (eps * radius * noise / _length(noise)).to(x)


def _run_fgsm(model, x, y, *, eps, steps, targeted=False, samples=1, generator=None):
    return pgd_iterates(model, x, y, eps=eps, step=eps, steps=1, targeted=targeted, samples=samples)


def pgd_step(eps: float, steps: int) -> float:
    """PGD's customary step: far enough to cross the ball and to come back (Madry et al., 2018)."""
    return 2.5 * eps / max(steps, 1)


def _run_pgd(model, x, y, *, eps, steps, targeted=False, samples=1, generator=None):
    settings = dict(eps=eps, step=pgd_step(eps, steps), steps=steps, targeted=targeted, samples=samples)
    return pgd_iterates(model, x, y, **settings, random_start=True, generator=generator)


def _run_bim(model, x, y, *, eps, steps, targeted=False, samples=1, generator=None):
    settings = dict(eps=eps, step=eps / max(steps, 1), steps=steps, targeted=targeted, samples=samples)
    return pgd_iterates(model, x, y, **settings)


def _run_mi_fgsm(model, x, y, *, eps, steps, targeted=False, samples=1, generator=None):
    settings = dict(eps=eps, step=eps / max(steps, 1), steps=steps, targeted=targeted, samples=samples)
    return mi_fgsm_iterates(model, x, y, **settings)


# What menus offer: a name for code, one for people, and the attack with its customary step size.
ATTACKS: dict[str, tuple[str, Callable[..., Iterator[Tensor]]]] = {
    "pgd": ("PGD: many small steps", _run_pgd),
    "bim": ("BIM: PGD without a random start", _run_bim),
    "mi_fgsm": ("MI-FGSM: steps with momentum", _run_mi_fgsm),
    "fgsm": ("FGSM: one step", _run_fgsm),
}


@strict
class AttackSettings:
    """An attack of ``ATTACKS`` in the L-infinity ball. Raises ``ValueError`` for settings out of range."""

    method: str = "pgd"
    eps: float = 2 / 255
    steps: int = 20  # without meaning for fgsm
    samples: int = 1  # of a model that draws noise, at each step

    def __post_init__(self) -> None:
        if self.method not in ATTACKS:
            raise ValueError(f"method must be one of {', '.join(ATTACKS)}, and is {self.method!r}.")
        _check(self.eps, self.steps, self.samples)

    def iterates(
        self, model: Model, x: Tensor, y: Tensor, *, targeted: bool = False, generator: torch.Generator | None = None
    ) -> Iterator[Tensor]:
        """The attacked pictures after each step; ``generator`` draws the random start of PGD."""
        settings = dict(eps=self.eps, steps=self.steps, targeted=targeted, samples=self.samples)
        return ATTACKS[self.method][1](model, x, y, **settings, generator=generator)

    def __call__(
        self, model: Model, x: Tensor, y: Tensor, *, targeted: bool = False, generator: torch.Generator | None = None
    ) -> Tensor:
        """The attacked pictures after the last step."""
        return _last(x, self.iterates(model, x, y, targeted=targeted, generator=generator))
