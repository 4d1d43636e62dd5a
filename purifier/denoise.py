"""Total-variation denoising (ROF) and its two operators. Images are (B, C, H, W).

What is not finite (NaN or infinity) is refused with a ``ValueError``.
"""

import functools
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from purifier.pixels import check_finite


def grad(u: Tensor) -> Tensor:
    """Forward differences down and to the right, (2, B, C, H, W), with 0 across the border."""
    check_finite(u=u)
    return _add_grad(u.new_zeros((2, *u.shape)), u, 1)


def div(p: Tensor) -> Tensor:
    """Divergence, the negative adjoint of ``grad``: ``<grad(u), p> == -<u, div(p)>``."""
    check_finite(p=p)
    return _add_div(torch.zeros_like(p[0]), p, 1)


def total_variation(u: Tensor, coupled: bool = True) -> Tensor:
    """Isotropic total variation of each image, (B,); ``coupled`` as in ``rof``."""
    return grad(u).norm(dim=(0, 2) if coupled else 0).flatten(1).sum(1)


def rof(y: Tensor, weight: float, steps: int = 100, coupled: bool = True) -> Tensor:
    """Minimise ``|u - y|^2 / 2 + weight * TV(u)`` over ``u`` (Rudin, Osher & Fatemi, 1992).

    ``coupled=True`` is the vectorial total variation: the gradients of all channels share one norm per pixel
    (Bresson & Chan, 2008). ``coupled=False`` treats every channel as an image of its own.
    Solved on the dual by ``steps`` iterations of accelerated projected gradient (Beck & Teboulle, 2009, FGP).
    Every image of the batch is its own problem. ``weight=0`` returns ``y``. Its gradient is that of the iterations.
    Float32 on a CPU takes the compiled iterations where there is numba: the same within 1e-6 of the range of ``y``.
    """
    check_finite(y=y, weight=weight)
    if weight < 0:
        raise ValueError(f"weight must not be negative, and is {weight}.")
    if weight < torch.finfo(y.dtype).tiny:  # moves nothing by a last digit, and tau would be infinite
        return y
    mixing = coupled and y.shape[1] > 1
    fits = y.dtype == torch.float32 and y.is_cpu and steps > 0 and (not mixing or y.shape[1] == 3)
    if fits and compiled():
        return _Compiled.apply(y, weight, steps, mixing)
    if len(y) > 1 and not y.is_cuda:  # one at a time they stay in the cache: twice as fast
        return torch.cat([_Dual.apply(one, weight, steps, coupled) for one in y.split(1)])
    return _Dual.apply(y, weight, steps, coupled)


@functools.cache
def compiled() -> ModuleType | None:
    """``purifier.kernels``, compiled if it is the first time on this computer, which takes some ten seconds; None where
    there is no numba for it."""
    try:
        from purifier import kernels
    except (ImportError, RuntimeError, OSError):  # numba's, where it can write its cache nowhere, or the disk is full
        return None
    return kernels


def _inertia(steps: int) -> list[float]:
    t, inertia = 1.0, []
    for _ in range(steps):
        t_next = (1 + (1 + 4 * t * t) ** 0.5) / 2
        inertia.append((t - 1) / t_next)
        t = t_next
    return inertia


class _Compiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, y: Tensor, weight: float, steps: int, coupled: bool) -> Tensor:
        ctx.settings = weight, _inertia(steps), coupled
        ctx.save_for_backward(y)
        return torch.from_numpy(compiled().forward(_array(y), *ctx.settings))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, g: Tensor) -> tuple[Tensor | None, ...]:
        (y,) = ctx.saved_tensors
        return torch.from_numpy(compiled().backward(_array(y), _array(g), *ctx.settings)), None, None, None


def _array(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().numpy()


class _Dual(torch.autograd.Function):
    """The iterations in place, and their gradient by hand: three times as fast as by autograd."""

    @staticmethod
    def forward(ctx: FunctionCtx, y: Tensor, weight: float, steps: int, coupled: bool) -> Tensor:
        p = momentum = y.new_zeros((2, *y.shape))
        tau, kept = 1 / (8 * weight), []  # 8 bounds the squared norm of grad (Chambolle, 2004, Theorem 3.1)
        ctx.weight, ctx.tau, ctx.coupled, ctx.inertia = weight, tau, coupled, _inertia(steps)
        for inertia in ctx.inertia:
            ascent = _add_grad(momentum.clone(), _add_div(y.clone(), momentum, weight), tau)
            # Onto the unit ball per pixel, over both directions and, if coupled, all channels.
            scale = _over_pixel(ascent, ascent, coupled).clamp_(min=1).rsqrt_()
            projected = ascent * scale
            momentum = torch.lerp(p, projected, 1 + inertia)
            p = projected
            if ctx.needs_input_grad[0]:
                kept += [ascent, scale]
        ctx.save_for_backward(*kept)
        return _add_div(y.clone(), p, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, g: Tensor) -> tuple[Tensor | None, ...]:
        of_y = g.clone()
        of_p = _add_grad(g.new_zeros((2, *g.shape)), g, -ctx.weight)  # grad is the negative adjoint of div
        of_momentum = torch.zeros_like(of_p)
        kept = ctx.saved_tensors
        for ascent, scale, inertia in reversed(list(zip(kept[::2], kept[1::2], ctx.inertia, strict=True))):
            of_projected = of_p.add_(of_momentum, alpha=1 + inertia)
            of_p = of_momentum.mul_(-inertia)
            # Outside the ball the projection takes away what is along its argument; inside it does nothing.
            along = _over_pixel(ascent, of_projected, ctx.coupled) * scale**3 * (scale < 1)
            of_ascent = of_projected * scale - ascent * along
            of_inner = _add_div(torch.zeros_like(g), of_ascent, -ctx.tau)
            of_y += of_inner
            of_momentum = _add_grad(of_ascent, of_inner, -ctx.weight)
        return of_y, None, None, None


def _add_grad(out: Tensor, u: Tensor, factor: float) -> Tensor:
    """``out += factor * grad(u)``."""
    out[0, ..., :-1, :].add_(u[..., 1:, :], alpha=factor).sub_(u[..., :-1, :], alpha=factor)
    out[1, ..., :, :-1].add_(u[..., :, 1:], alpha=factor).sub_(u[..., :, :-1], alpha=factor)
    return out


def _add_div(out: Tensor, p: Tensor, factor: float) -> Tensor:
    """``out += factor * div(p)``."""
    down, right = p[0, ..., :-1, :], p[1, ..., :, :-1]
    out[..., :-1, :].add_(down, alpha=factor)
    out[..., 1:, :].sub_(down, alpha=factor)
    out[..., :, :-1].add_(right, alpha=factor)
    out[..., :, 1:].sub_(right, alpha=factor)
    return out


def _over_pixel(p: Tensor, q: Tensor, coupled: bool) -> Tensor:
    """The inner product of two dual fields (2, B, C, H, W) at every pixel: (B, 1 or C, H, W)."""
    # Added term by term: a reduction's order, and so its last bit, would depend on the size of the batch.
    product = p[0] * q[0] + p[1] * q[1]
    return sum(product.unbind(dim=1)).unsqueeze(1) if coupled else product
