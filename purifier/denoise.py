"""Total-variation denoising (ROF) and its two operators. Images are (B, C, H, W)."""

import torch
from torch import Tensor


def grad(u: Tensor) -> Tensor:
    """Forward differences down and to the right, (2, B, C, H, W), with 0 across the border."""
    down, right = torch.zeros_like(u), torch.zeros_like(u)
    down[..., :-1, :] = u[..., 1:, :] - u[..., :-1, :]
    right[..., :, :-1] = u[..., :, 1:] - u[..., :, :-1]
    return torch.stack((down, right))


def div(p: Tensor) -> Tensor:
    """Divergence, the negative adjoint of ``grad``: ``<grad(u), p> == -<u, div(p)>``."""
    down, right = p[0, ..., :-1, :], p[1, ..., :, :-1]
    out = torch.zeros_like(p[0])
    out[..., :-1, :] += down
    out[..., 1:, :] -= down
    out[..., :, :-1] += right
    out[..., :, 1:] -= right
    return out


def total_variation(u: Tensor, coupled: bool = True) -> Tensor:
    """Isotropic total variation of each image, (B,); ``coupled`` as in ``rof``."""
    return grad(u).norm(dim=(0, 2) if coupled else 0).flatten(1).sum(1)


def rof(y: Tensor, weight: float, steps: int = 100, coupled: bool = True) -> Tensor:
    """Minimise ``|u - y|^2 / 2 + weight * TV(u)`` over ``u`` (Rudin, Osher & Fatemi, 1992).

    ``coupled=True`` is the vectorial total variation: the gradients of all channels share one norm per pixel
    (Bresson & Chan, 2008). ``coupled=False`` treats every channel as an image of its own.
    Solved on the dual by ``steps`` iterations of accelerated projected gradient (Beck & Teboulle, 2009, FGP).
    Every image of the batch is its own problem. ``weight=0`` returns ``y``.
    """
    if weight < 0:
        raise ValueError(f"weight must not be negative, and is {weight}.")
    if weight == 0:
        return y
    p = momentum = torch.zeros((2, *y.shape), dtype=y.dtype, device=y.device)
    t, tau = 1.0, 1 / (8 * weight)  # 8 bounds the squared norm of grad (Chambolle, 2004, Theorem 3.1)
    for _ in range(steps):
        ascent = momentum + tau * grad(y + weight * div(momentum))
        projected = _project(ascent, coupled)
        t_next = (1 + (1 + 4 * t * t) ** 0.5) / 2
        momentum = projected + (t - 1) / t_next * (projected - p)
        p, t = projected, t_next
    return y + weight * div(p)


def _project(p: Tensor, coupled: bool) -> Tensor:
    """Onto the unit ball per pixel, over both directions and, if ``coupled``, all channels."""
    # Added term by term: a reduction's order, and so its last bit, would depend on the size of the batch.
    squared = p[0] * p[0] + p[1] * p[1]
    if coupled:
        squared = sum(squared.unbind(dim=1)).unsqueeze(1)
    # The clamp comes before the root: the root's gradient at 0 is infinite, a clamped value's is 0.
    return p * squared.clamp(min=1).rsqrt()
