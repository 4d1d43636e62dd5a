"""The iterations of ``denoise.rof`` as compiled loops, for float32 pictures on a CPU. Needs numba.

All iterations go down the picture together, each a row behind the one before: only some rows of each are alive, and
stay in the cache. Nothing is kept for the gradient: ``backward`` iterates again, and goes back through each iteration
behind the one after it. One picture is one thread's work, so that a busy neighbour costs no more than its share.

A row at work is six fields of all channels side by side: ``DOWN`` and ``RIGHT`` of the momentum, ``P`` and ``Q`` of the
dual, the ``IMAGE`` that the iteration takes the gradient of, and the picture ``Y``; on the way back, their gradients.
After each channel come zeros, the margin, where ``div`` finds what is across the border.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from llvmlite import ir
from numba import boolean, float32, njit, types, void
from numba.extending import intrinsic

ONE, ZERO = np.float32(1), np.float32(0)
DOWN, RIGHT, P, Q, IMAGE, Y = range(6)
LANES = 8  # a channel's row and its margin fill a multiple of it
SHARE = 5_000_000  # values times iterations, of 3 ms: for less a thread waits too long where the cores are busy
FLOAT = types.CPointer(float32)
COMPILED = dict(fastmath={"contract"}, error_model="numpy", nogil=True)
BATCH = float32[:, :, :, ::1]


def forward(y: np.ndarray, weight: float, inertia: list[float], coupled: bool) -> np.ndarray:
    """``rof`` of (B, C, H, W), with the ``inertia`` of each iteration, of which there is at least one. C is 3 if
    ``coupled``."""
    return _each_picture(_forward, (y,), weight, inertia, coupled)


def backward(y: np.ndarray, g: np.ndarray, weight: float, inertia: list[float], coupled: bool) -> np.ndarray:
    """The gradient by ``y`` of ``(rof(y) * g).sum()``; all as in ``forward``."""
    return _each_picture(_backward, (y, g), weight, inertia, coupled)


def _each_picture(compiled, batches, weight, inertia, coupled):
    out = np.empty_like(batches[0])
    threads = torch.get_num_threads()
    parts = min(len(out), out.size * len(inertia) // (SHARE * threads) * threads)
    share = math.ceil(len(out) / max(1, parts))

    def work(first: int) -> None:
        arrays = (z[first : first + share] for z in (*batches, out))
        compiled(*arrays, weight, 1 / (8 * weight), np.array(inertia, np.float32), coupled)

    if parts < 2:
        work(0)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(0, len(out), share)))
    return out


@intrinsic
def _pointer(context, array, index):
    """To a value, counted from the first: through it an index is not checked, and -1 is the value before."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.gep(data, [arguments[1]])

    return FLOAT(array, types.intp), generate


@intrinsic
def _restrict(context):
    """Promises that what its function writes through one pointer it reads through no other, or loops stay scalar."""

    def generate(context, builder, signature, arguments):
        for argument in builder.function.args:
            if isinstance(argument.type, ir.PointerType):
                argument.add_attribute("noalias")
        return context.get_dummy_value()

    return types.none(), generate


@njit(**COMPILED)
def _at(rows, row, field, start=0):
    return _pointer(rows, (row * rows.shape[1] + field) * rows.shape[2] + start)


@njit(**COMPILED)
def _add_div(out, y, down, right, above, factor, size, stride, width):
    """``out = y + factor * div``; the first of the margin repeats the last column, so that ``grad`` is 0 there."""
    _restrict()
    for i in range(size):
        out[i] = y[i] + factor * ((down[i] - above[i]) + (right[i] - right[i - 1]))
    for i in range(width, size, stride):
        out[i] = out[i - 1]


@njit(**COMPILED)
def _add_grad(down, right, image, below, factor, size, stride, width):
    """``(down, right) += factor * grad(image)``."""
    _restrict()
    for start in range(0, size, stride):
        for i in range(start, start + width):
            down[i] += factor * (below[i] - image[i])
            right[i] += factor * (image[i + 1] - image[i])


@njit(**COMPILED)
def _add(out, x, size):
    _restrict()
    for i in range(size):
        out[i] += x[i]


@njit(**COMPILED)
def _make_image(work, row, above, field, base, factor, stride, width):
    """``IMAGE`` becomes ``Y`` of the row ``base`` plus ``factor`` times the divergence of two fields."""
    out, y, down, right = _at(work, row, IMAGE), _at(work, base, Y), _at(work, row, field), _at(work, row, field + 1)
    _add_div(out, y, down, right, _at(work, above, field), factor, work.shape[2], stride, width)


@njit(**COMPILED)
def _onto_ball(square):
    return ONE if square <= ONE else ONE / math.sqrt(square)


@njit(**COMPILED)
def _ascend(channel, i, tau):
    down, right, _, _, image, below = channel
    return down[i] + tau * (below[i] - image[i]), right[i] + tau * (image[i + 1] - image[i])


@njit(**COMPILED)
def _land(channel, i, a, b, inertia):
    down, right, p, q, _, _ = channel
    down[i] = a + inertia * (a - p[i])
    right[i] = b + inertia * (b - q[i])
    p[i] = a
    q[i] = b


@njit(**COMPILED)
def _step(x, scale, tau, inertia, width):
    """An iteration on a row of one channel."""
    _restrict()
    for i in range(width):
        a, b = _ascend(x, i, tau)
        k = _onto_ball(a * a + b * b)
        _land(x, i, a * k, b * k, inertia)
        scale[i] = k


@njit(**COMPILED)
def _step_coupled(x, y, z, scale, tau, inertia, width):
    """The same of three channels that share one norm."""
    _restrict()
    for i in range(width):
        a, b = _ascend(x, i, tau)
        c, d = _ascend(y, i, tau)
        e, f = _ascend(z, i, tau)
        k = _onto_ball(a * a + b * b + c * c + d * d + e * e + f * f)
        _land(x, i, a * k, b * k, inertia)
        _land(y, i, c * k, d * k, inertia)
        _land(z, i, e * k, f * k, inertia)
        scale[i] = k


@njit(**COMPILED)
def _leave(channel, i, inertia):
    """The gradient by the projected ascent; that by the dual before goes on to the iteration before."""
    down, right, p, q, _, _ = channel
    a = p[i] + (ONE + inertia) * down[i]
    b = q[i] + (ONE + inertia) * right[i]
    p[i] = -inertia * down[i]
    q[i] = -inertia * right[i]
    return a, b


@njit(**COMPILED)
def _along(channel, i, a, b):
    _, _, _, _, p, q = channel
    return a * p[i] + b * q[i]


@njit(**COMPILED)
def _fall(channel, i, a, b, k, along):
    down, right, _, _, p, q = channel
    down[i] = k * (a - along * p[i])
    right[i] = k * (b - along * q[i])


@njit(**COMPILED)
def _back(x, scale, inertia, width):
    """The gradient by the ascent: the projection takes away what is along it outside the ball, and nothing inside."""
    _restrict()
    for i in range(width):
        k = scale[i]
        a, b = _leave(x, i, inertia)
        along = _along(x, i, a, b) if k < ONE else ZERO
        _fall(x, i, a, b, k, along)


@njit(**COMPILED)
def _back_coupled(x, y, z, scale, inertia, width):
    _restrict()
    for i in range(width):
        k = scale[i]
        a, b = _leave(x, i, inertia)
        c, d = _leave(y, i, inertia)
        e, f = _leave(z, i, inertia)
        along = _along(x, i, a, b) + _along(y, i, c, d) + _along(z, i, e, f) if k < ONE else ZERO
        _fall(x, i, a, b, k, along)
        _fall(y, i, c, d, k, along)
        _fall(z, i, e, f, k, along)


@njit(**COMPILED)
def _fields(work, row, start):
    return _at(work, row, DOWN, start), _at(work, row, RIGHT, start), _at(work, row, P, start), _at(work, row, Q, start)


@njit(**COMPILED)
def _place(k, r, steps):
    """Of row ``r`` of iteration ``k`` in ``kept``, where the earlier an iteration is, the longer its rows are kept."""
    return k * (2 * steps - k + 1) + r % (2 * (steps - k))


@njit(**COMPILED)
def _advance(work, kept, y, s, weight, tau, inertia, coupled):
    """Let row ``s`` of ``y`` in, and let each iteration do one row, as far as there are such. The projected ascent and
    its scale go to ``kept``; where that is a single row, it is no more than a place for the scale."""
    channels, height, width = y.shape
    rows, size, steps = len(work) - 1, work.shape[2], len(inertia)
    stride = size // channels
    here = s % rows
    if s < height:
        work[here, :IMAGE] = 0
        for c in range(channels):
            work[here, Y, c * stride : c * stride + width] = y[c, s]
    for k in range(steps):
        below, here, r = here, (here or rows) - 1, s - 1 - k
        if r < 0 or r >= height:
            continue
        if r == 0:
            _make_image(work, here, rows, DOWN, here, weight, stride, width)
        if r == height - 1:
            below = here
        else:
            _make_image(work, below, here, DOWN, below, weight, stride, width)
        place = _place(k, r, steps) if len(kept) > 1 else 0
        if coupled:
            x, y_, z = (
                _moving(work, here, below, 0),
                _moving(work, here, below, stride),
                _moving(work, here, below, 2 * stride),
            )
            _step_coupled(x, y_, z, _at(kept, place, 2), tau, inertia[k], width)
        else:
            for start in range(0, size, stride):
                _step(_moving(work, here, below, start), _at(kept, place, 2, start), tau, inertia[k], width)
        if len(kept) > 1:
            kept[place, 0] = work[here, P]
            kept[place, 1] = work[here, Q]


@njit(**COMPILED)
def _moving(work, here, below, start):
    return _fields(work, here, start) + (_at(work, here, IMAGE, start), _at(work, below, IMAGE, start))


@njit(**COMPILED)
def _returning(work, here, kept, place, start):
    return _fields(work, here, start) + (_at(kept, place, 0, start), _at(kept, place, 1, start))


@njit(**COMPILED)
def _rows(channels, width, steps):
    """Zeros for as many rows as are alive, and one more that stays zero."""
    return np.zeros((steps + 4, 6, channels * (width // LANES + 1) * LANES), np.float32)


@njit(**COMPILED)
def _let_in(back, here, g, r, weight, stride):
    """The gradient by ``y + weight * div(p)``."""
    channels, height, width = g.shape
    back[here, :Y] = 0
    for c in range(channels):
        start = c * stride
        row, next_row = g[c, r], g[c, min(r + 1, height - 1)]
        back[here, Y, start : start + width] = row
        back[here, P, start : start + width] = -weight * (next_row - row)
        back[here, Q, start : start + width - 1] = -weight * (row[1:] - row[:-1])


@njit(void(BATCH, BATCH, float32, float32, float32[::1], boolean), cache=True, **COMPILED)
def _forward(ys, out, weight, tau, inertia, coupled):
    _, channels, height, width = ys.shape
    steps = len(inertia)
    work = _rows(channels, width, steps)
    rows, stride = len(work) - 1, work.shape[2] // channels
    kept = np.empty((1, 3, work.shape[2]), np.float32)
    for b in range(len(ys)):
        for s in range(height + steps + 1):
            _advance(work, kept, ys[b], s, weight, tau, inertia, coupled)
            r = s - 1 - steps
            if r >= 0:
                here = r % rows
                _make_image(work, here, (here or rows) - 1 if r > 0 else rows, P, here, weight, stride, width)
                for c in range(channels):
                    out[b, c, r] = work[here, IMAGE, c * stride : c * stride + width]


@njit(void(BATCH, BATCH, BATCH, float32, float32, float32[::1], boolean), cache=True, **COMPILED)
def _backward(ys, gs, out, weight, tau, inertia, coupled):
    _, channels, height, width = ys.shape
    steps = len(inertia)
    work, back = _rows(channels, width, steps), _rows(channels, width, steps)
    rows, size = len(back) - 1, back.shape[2]
    stride = size // channels
    kept = np.empty((steps * (steps + 1), 3, size), np.float32)
    for b in range(len(ys)):
        for s in range(height + 2 * steps):
            _advance(work, kept, ys[b], s, weight, tau, inertia, coupled)
            here = (s - steps) % rows
            if 0 <= s - steps < height:
                _let_in(back, here, gs[b], s - steps, weight, stride)
            for k in range(steps - 1, -1, -1):
                r = s - 2 * steps + 1 + k
                above = (here or rows) - 1
                if 0 <= r < height:
                    place = _place(k, r, steps)
                    if coupled:
                        x, y, z = (
                            _returning(back, here, kept, place, 0),
                            _returning(back, here, kept, place, stride),
                            _returning(back, here, kept, place, 2 * stride),
                        )
                        _back_coupled(x, y, z, _at(kept, place, 2), inertia[k], width)
                    else:
                        for start in range(0, size, stride):
                            _back(
                                _returning(back, here, kept, place, start),
                                _at(kept, place, 2, start),
                                inertia[k],
                                width,
                            )
                    _make_image(back, here, above if r > 0 else rows, DOWN, rows, -tau, stride, width)
                    _add(_at(back, here, Y), _at(back, here, IMAGE), size)
                if 0 < r <= height:
                    image, below = _at(back, above, IMAGE), _at(back, here if r < height else above, IMAGE)
                    _add_grad(
                        _at(back, above, DOWN), _at(back, above, RIGHT), image, below, -weight, size, stride, width
                    )
                here = above
            r = s - 2 * steps + 1
            if 0 <= r < height:
                for c in range(channels):
                    out[b, c, r] = back[r % rows, Y, c * stride : c * stride + width]
