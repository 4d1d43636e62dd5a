"""Other ways to the minimum that ``rof`` seeks: how many iterations each takes to a relative gap of 1e-3 and of 1e-4.

``python -m benchmarks.ways`` prints the table that ``docs/rof.md`` has. An iteration is one pass over all gradients.
"""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.rof import GAPS, WEIGHTS, noisy
from purifier.denoise import _add_div, _add_grad, _inertia, _over_pixel, rof, total_variation
from purifier.pyramid import resample

MOST = 250
Way = Callable[[Tensor, float, bool], Iterator[Tensor]]  # picture, weight, coupled; the dual after each iteration


def _image(y: Tensor, p: Tensor, weight: float) -> Tensor:
    return _add_div(y.clone(), p, weight)


def _onto_ball(p: Tensor, coupled: bool) -> Tensor:
    return p * _over_pixel(p, p, coupled).clamp(min=1).rsqrt()


def _ascent(y: Tensor, p: Tensor, weight: float, coupled: bool, tau: float) -> Tensor:
    return _onto_ball(_add_grad(p.clone(), _image(y, p, weight), tau / weight), coupled)


def _zeros(y: Tensor) -> Tensor:
    return y.new_zeros((2, *y.shape))


def fgp(tau: float = 1 / 8, restarts: bool = False, start: Callable | None = None) -> Way:
    """Beck & Teboulle (2009), with restarts by the gradient as of O'Donoghue & Candes (2015)."""

    def iterate(y, weight, coupled):
        p = momentum = _zeros(y) if start is None else start(y, weight, coupled)
        inertia = iter(_inertia(MOST))
        while True:
            new = _ascent(y, momentum, weight, coupled, tau)
            if restarts and ((momentum - new) * (new - p)).sum() > 0:
                inertia = iter(_inertia(MOST))
            momentum, p = new + next(inertia) * (new - p), new
            yield p

    return iterate


def projected(y: Tensor, weight: float, coupled: bool) -> Iterator[Tensor]:
    p = _zeros(y)
    while True:
        p = _ascent(y, p, weight, coupled, 1 / 4)
        yield p


def greedy(y: Tensor, weight: float, coupled: bool) -> Iterator[Tensor]:
    """Liang, Luo & Schoenlieb (2022): long steps, full inertia, and restarts."""
    p = momentum = _zeros(y)
    tau, first = 1.3 / 8, None
    while True:
        new = _ascent(y, momentum, weight, coupled, tau)
        moved = (new - p).norm()
        first = moved if first is None else first
        momentum = new if ((momentum - new) * (new - p)).sum() > 0 else new + (new - p)
        tau = max(0.96 * tau, 1 / 8) if moved > first else tau
        p = new
        yield p


def primal_dual(y: Tensor, weight: float, coupled: bool) -> Iterator[Tensor]:
    """Chambolle & Pock (2011), algorithm 2, gamma 0.3."""
    tau, u, ahead, p = 0.3, y, y, _zeros(y)
    sigma = 1 / (8 * tau)
    while True:
        p = _onto_ball(_add_grad(p.clone(), ahead, sigma / weight), coupled)
        new = (u + tau * _image(y, p, weight)) / (1 + tau)
        theta = (1 + 2 * 0.3 * tau) ** -0.5
        tau, sigma, u, ahead = theta * tau, sigma / theta, new, new + theta * (new - u)
        yield p


def colours(y: Tensor, weight: float, coupled: bool, accelerated: bool = True) -> Iterator[Tensor]:
    """Alternating descent over three colours of pixels, whose gradients share no pixel within one, with acceleration
    and restarts: after Chambolle & Pock (2015), for forward differences."""
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in y.shape[-2:]), indexing="ij")
    p = momentum = _zeros(y)
    inertia = iter(_inertia(MOST))
    while True:
        new = momentum
        for colour in range(3):
            mine = (rows + 2 * columns) % 3 == colour
            new = torch.where(mine, _ascent(y, new, weight, coupled, 1 / 3), new)
        if ((momentum - new) * (new - p)).sum() > 0:
            inertia = iter(_inertia(MOST))
        momentum = new + next(inertia) * (new - p) if accelerated else new
        p = new
        yield p


def _dual(y: Tensor, weight: float, coupled: bool, steps: int) -> Tensor:
    iterations = fgp()(y, weight, coupled)
    return [next(iterations) for _ in range(steps)][-1]


def _from_coarse(y: Tensor, weight: float, coupled: bool) -> Tensor:
    """The dual of the picture at half its size, where a gradient is twice as steep, after 20 iterations."""
    coarse = _dual(resample(y, (y.shape[2] // 2, y.shape[3] // 2)), weight / 2, coupled, 20)
    wide = F.interpolate(coarse.flatten(0, 1), size=y.shape[-2:], mode="bilinear").reshape(2, *y.shape)
    return _onto_ball(wide, coupled)


def _from_block(y: Tensor, weight: float, coupled: bool) -> Tensor:
    """The dual after 8 iterations of the same picture under other noise, as in the block before."""
    other = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=y.dtype)
    return _dual(rof(y, weight, 8, coupled) + 14 / 255 * other, weight, coupled, 8)


WAYS: dict[str, Way] = {
    "FGP, as `rof`": fgp(),
    "with restarts": fgp(restarts=True),
    "with steps of 1/6 (no proof)": fgp(tau=1 / 6),
    "from the dual of the coarser scale": fgp(start=_from_coarse),
    "from the dual of the block before": fgp(start=_from_block),
    "projected gradient, steps of 1/4": projected,
    "greedy FISTA": greedy,
    "primal-dual, accelerated": primal_dual,
    "colours, alternating": lambda *problem: colours(*problem, accelerated=False),
    "colours, accelerated": colours,
}


def iterations(way: Way, y: Tensor, weight: float, coupled: bool, least: float) -> list[int | None]:
    counts: list[int | None] = [None] * len(GAPS)
    for count, p in zip(range(1, MOST + 1), way(y, weight, coupled), strict=False):
        u = _image(y, p, weight)
        energy = (u - y).square().sum() / 2 + weight * total_variation(u, coupled).sum()
        for i, gap in enumerate(GAPS):
            if counts[i] is None and energy <= least * (1 + gap):
                counts[i] = count
        if counts[-1] is not None:
            break
    return counts


def main() -> None:
    cases = [(size, weight, coupled) for size in (56, 224) for weight in WEIGHTS for coupled in (True, False)]
    print("| way | " + " | ".join(f"{s} px, {w:g}, {'coupled' if c else 'each'}" for s, w, c in cases) + " |")
    print("| " + " | ".join(["---"] * (len(cases) + 1)) + " |")
    problems = []
    for size, weight, coupled in cases:
        y = noisy(size, 1).double()
        u = rof(y.float(), weight, 3000, coupled).double()
        problems.append((y, weight, coupled, ((y.square() - u.square()).sum() / 2).item()))
    for name, way in WAYS.items():
        counts = [iterations(way, *problem) for problem in problems]
        cells = ("/".join(f"> {MOST}" if n is None else str(n) for n in count) for count in counts)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
