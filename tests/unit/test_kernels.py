import builtins
import errno
import os
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from purifier import denoise, kernels
from purifier.denoise import rof
from tests.helpers.strategies import few, pictures

WEIGHTS, STEPS = st.floats(1e-3, 0.5), st.sampled_from([1, 2, 8, 40])


def gradient(y, direction, *settings):
    y = y.detach().requires_grad_()
    return torch.autograd.grad((rof(y, *settings) * direction).sum(), y)[0]


@pytest.fixture
def no_eager(monkeypatch):
    monkeypatch.setattr(denoise, "_Dual", None)


@few
@given(pictures(), WEIGHTS, STEPS, st.booleans())
def test_they_give_the_numbers_and_the_gradient_of_the_eager_iterations(y, weight, steps, coupled):
    direction = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    exact, settings = rof(y, weight, steps, coupled), (weight, steps, coupled)
    assert_close(rof(y.float(), *settings).double(), exact, rtol=0, atol=1e-6)
    # A value on the ball's very edge may fall to either side of it, where the gradient jumps: rounding decides.
    apart = (gradient(y.float(), direction.float(), *settings) - gradient(y, direction, *settings)).abs()
    assert apart.quantile(0.99) < 1e-5 * steps and apart.mean() < 1e-3


@pytest.mark.parametrize("channels, coupled", [(3, True), (3, False), (1, True), (1, False), (2, False)])
def test_they_do_every_layout_that_they_are_chosen_for(no_eager, channels, coupled):
    y = torch.rand(2, channels, 13, 18, generator=torch.Generator().manual_seed(0))
    exact = denoise._Compiled.apply(y.clone(), 0.05, 8, coupled and channels == 3)
    for same in (y.to(memory_format=torch.channels_last), y.mT.contiguous().mT, y[:, :, ::1]):
        assert torch.equal(rof(same, 0.05, 8, coupled), exact)


def test_other_numbers_of_coupled_channels_and_other_types_are_left_to_torch(monkeypatch):
    monkeypatch.setattr(denoise, "_Compiled", None)
    y = torch.rand(1, 2, 6, 5)
    assert rof(y, 0.05, 3).shape == rof(y.double(), 0.05, 3, coupled=False).shape
    assert torch.equal(rof(y, 0.05, 0), y)


@pytest.mark.parametrize("steps", [2, 100])  # in one thread, in several
def test_a_batch_gives_each_picture_s_own_numbers_on_any_number_of_threads(no_eager, steps):
    y, g = torch.rand(2, 5, 3, 120, 121, generator=torch.Generator().manual_seed(0))
    assert (y.numel() * steps < 2 * kernels.SHARE) == (steps == 2)
    alone = torch.cat([rof(one, 0.06, steps) for one in y.split(1)])
    alone_back = torch.cat([gradient(*pair, 0.06, steps) for pair in zip(y.split(1), g.split(1), strict=True)])
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert torch.equal(rof(y, 0.06, steps), alone)
            assert torch.equal(gradient(y, g, 0.06, steps), alone_back)
    finally:
        torch.set_num_threads(threads)


def test_without_numba_torch_iterates(monkeypatch):
    monkeypatch.delattr("purifier.kernels")
    monkeypatch.setitem(sys.modules, "purifier.kernels", None)  # importing None fails
    assert denoise.compiled.__wrapped__() is None
    y = torch.rand(1, 3, 9, 8)
    by_kernel = rof(y, 0.06, 8)
    monkeypatch.setattr(denoise, "compiled", lambda: None)
    assert_close(rof(y, 0.06, 8), by_kernel, rtol=0, atol=1e-6)


def test_without_room_for_numba_s_cache_torch_iterates(monkeypatch):
    load = builtins.__import__

    def no_room(name, *how):
        if name == "purifier" and "kernels" in how[2]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as numba does on a full disk
        return load(name, *how)

    monkeypatch.setattr(builtins, "__import__", no_room)
    assert denoise.compiled.__wrapped__() is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(no_eager, value):
    y = torch.full((1, 3, 4, 4), 0.5)
    y[0, 1, 2, 3] = value
    with pytest.raises(ValueError, match="y must be finite"):
        rof(y, 0.06)
