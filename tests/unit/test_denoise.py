import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.restoration import denoise_tv_chambolle
from torch.testing import assert_close

from purifier.denoise import div, grad, rof, total_variation
from tests.helpers.strategies import few, pictures

WEIGHTS, STEPS = st.floats(0, 0.5), st.sampled_from([1, 8, 100])


def energy(u, y, weight, coupled=True):
    return (u - y).square().flatten(1).sum(1) / 2 + weight * total_variation(u, coupled)


@pytest.fixture
def noisy():
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(2, 3, 31, 45, dtype=torch.float64)
    x[..., 8:20, 10:30] = torch.rand(2, 3, 1, 1, generator=generator, dtype=torch.float64)
    return x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)


@few
@given(pictures(), st.integers(0, 2**31))
def test_div_is_the_negative_adjoint_of_grad(u, seed):
    p = torch.randn((2, *u.shape), dtype=u.dtype, generator=torch.Generator().manual_seed(seed))
    assert_close((grad(u) * p).sum(), -(u * div(p)).sum(), rtol=1e-12, atol=1e-11)


@pytest.mark.parametrize(("coupled", "expected"), [({}, 5), ({"coupled": True}, 5), ({"coupled": False}, 7)])
def test_the_total_variation_of_an_edge_in_two_channels(coupled, expected):
    u = torch.zeros(2, 2, 4, 2)
    u[0, 0, :, 1], u[0, 1, :, 1] = 3, 4
    assert total_variation(u, **coupled).tolist() == [4 * expected, 0]


def test_rof_moves_a_step_edge_by_weight_over_width():
    x = torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(1, 1, 6, 4)  # plateaus 2 wide, weight 0.1
    expected = torch.tensor([0.05, 0.05, 0.95, 0.95]).expand(1, 1, 6, 4)
    assert_close(rof(x, weight=0.1, steps=200), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("weight", [0.02, 0.1])
def test_channel_by_channel_it_agrees_with_scikit_image(noisy, weight):
    ours = rof(noisy, weight, steps=1000, coupled=False)
    for image, u in zip(noisy, ours, strict=True):
        theirs = denoise_tv_chambolle(image.numpy(), weight=weight, eps=1e-9, max_num_iter=20000, channel_axis=0)
        assert (u - torch.from_numpy(theirs)).abs().mean() < 2e-4


@pytest.mark.parametrize("count", [1, 2, 3])
def test_equal_channels_coupled_are_one_channel_with_weight_over_their_root(noisy, count):
    grey = noisy[:, :1]  # |grad| over three equal channels is root 3 times one channel's, |u - y|^2 three times
    coupled = rof(grey.expand(-1, count, -1, -1), 0.1, steps=500)
    assert_close(coupled[:, :1], rof(grey, 0.1 / count**0.5, steps=500), atol=1e-4, rtol=0)


@pytest.mark.parametrize("coupled", [True, False])
def test_nothing_nearby_has_less_energy(noisy, coupled):
    u = rof(noisy, 0.05, steps=1000, coupled=coupled)
    least = energy(u, noisy, 0.05, coupled)
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        other = u + 1e-2 * torch.randn(u.shape, generator=generator, dtype=u.dtype)
        assert (energy(other, noisy, 0.05, coupled) > least).all()


def test_eight_steps_come_within_two_percent_of_the_least_energy(noisy):
    least = energy(rof(noisy, 0.02, steps=2000), noisy, 0.02)
    assert (energy(rof(noisy, 0.02, steps=8), noisy, 0.02) < 1.02 * least).all()


@few
@given(pictures(), WEIGHTS, STEPS, st.booleans())
def test_it_lowers_its_functional_and_the_total_variation_and_keeps_the_mean_and_the_range(y, weight, steps, coupled):
    u = rof(y, weight, steps, coupled)
    assert (total_variation(u, coupled) <= total_variation(y, coupled) + 1e-9).all()
    assert (energy(u, y, weight, coupled) <= energy(y, y, weight, coupled) + 1e-9).all()
    assert_close(u.mean(dim=(2, 3)), y.mean(dim=(2, 3)), rtol=0, atol=1e-12)
    assert u.min() >= y.min() - 1e-9 and u.max() <= y.max() + 1e-9


@few
@given(pictures(count=1), pictures(count=1), WEIGHTS, st.booleans())
def test_two_pictures_do_not_come_apart(a, b, weight, coupled):
    """It is a proximal map, which no distance grows under (Moreau, 1965)."""
    a, b = (z[..., : min(a.shape[2], b.shape[2]), : min(a.shape[3], b.shape[3])] for z in (a, b))
    apart = (rof(a, weight, 300, coupled) - rof(b, weight, 300, coupled)).norm()
    assert apart <= (a - b).norm() * (1 + 1e-3) + 1e-6


@few
@given(pictures(), WEIGHTS, WEIGHTS)
def test_more_weight_leaves_less_total_variation(y, weight, other):
    less, more = (total_variation(rof(y, w, steps=300)) for w in sorted((weight, other)))
    assert (more <= less + 1e-3).all()


@few
@given(pictures(), WEIGHTS, STEPS, st.booleans(), st.floats(0.1, 4), st.floats(-1, 1))
def test_it_follows_a_turned_a_scaled_and_a_brighter_picture(y, weight, steps, coupled, factor, offset):
    u, close = rof(y, weight, steps, coupled), dict(rtol=0, atol=1e-10)
    assert_close(rof(y.mT, weight, steps, coupled), u.mT, **close)
    assert_close(rof(factor * y + offset, factor * weight, steps, coupled), factor * u + offset, **close)
    rows = y.mean(dim=3, keepdim=True).expand_as(y)  # of what varies along one side alone, mirrored too
    assert_close(rof(rows.flip(2), weight, steps, coupled), rof(rows, weight, steps, coupled).flip(2), **close)


@few
@given(pictures(), WEIGHTS, STEPS, st.booleans())
def test_float32_agrees_with_float64(y, weight, steps, coupled):
    assert_close(rof(y.float(), weight, steps, coupled).double(), rof(y, weight, steps, coupled), rtol=0, atol=1e-5)
    assert_close(total_variation(y.float(), coupled).double(), total_variation(y, coupled), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("weight", [0, 5e-324, 1e-40, 1e-12, 1e-6, 1])
def test_any_weight_gives_finite_values_of_the_same_type_and_none_its_input(noisy, dtype, weight):
    y = noisy.to(dtype)
    u = rof(y, weight, steps=8)
    assert u.dtype == dtype and u.isfinite().all()
    assert u is y if weight == 0 else (u - y).abs().max() <= 4 * weight + 8 * torch.finfo(dtype).eps


def test_a_negative_weight_is_refused(noisy):
    with pytest.raises(ValueError, match="-0.1"):
        rof(noisy, -0.1)


def test_the_images_of_a_batch_do_not_mix(noisy):
    assert torch.equal(rof(noisy, 0.1)[:1], rof(noisy[:1], 0.1))


def test_channels_mix_only_when_coupled(noisy):
    changed = noisy.clone()
    changed[:, 2] = 0.5
    assert torch.equal(rof(changed, 0.1, coupled=False)[:, :2], rof(noisy, 0.1, coupled=False)[:, :2])
    assert not torch.equal(rof(changed, 0.1)[:, :2], rof(noisy, 0.1)[:, :2])


@pytest.mark.parametrize("constant", [True, False])
def test_gradients_are_finite_and_true(noisy, constant):
    x = torch.full((1, 3, 6, 5), 0.5, dtype=torch.float64) if constant else noisy[:1, :, :6, :5].clone()
    x.requires_grad_()
    (g,) = torch.autograd.grad(rof(x, 0.05, steps=6)[0, 0, 2, 2], x)
    assert g.isfinite().all() and g.abs().sum() > 0
    if not constant:
        for coupled in (True, False):
            assert torch.autograd.gradcheck(lambda z, c=coupled: rof(z, 0.05, steps=6, coupled=c), x)


def plain_rof(y, weight, steps):
    """The iterations as the paper writes them, for autograd to differentiate."""
    p = momentum = torch.zeros((2, *y.shape), dtype=y.dtype)
    t = 1.0
    for _ in range(steps):
        ascent = momentum + grad(y + weight * div(momentum)) / (8 * weight)
        projected = ascent / ascent.square().sum(dim=(0, 2), keepdim=True).clamp(min=1).sqrt()
        t_next = (1 + (1 + 4 * t * t) ** 0.5) / 2
        momentum, p, t = projected + (t - 1) / t_next * (projected - p), projected, t_next
    return y + weight * div(p)


def test_the_gradient_by_hand_is_autograd_s(noisy):
    x = noisy.requires_grad_()
    direction = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    ours, plain = rof(x, 0.05, steps=20), plain_rof(x, 0.05, steps=20)
    assert_close(ours, plain, rtol=0, atol=1e-12)
    gradients = [torch.autograd.grad((u * direction).sum(), x)[0] for u in (ours, plain)]
    assert_close(*gradients, rtol=0, atol=1e-12)
