import pytest
import torch
from skimage.restoration import denoise_tv_chambolle
from torch.testing import assert_close

from purifier.denoise import div, grad, rof, total_variation


def energy(u, y, weight, coupled=True):
    return (u - y).square().flatten(1).sum(1) / 2 + weight * total_variation(u, coupled)


@pytest.fixture
def noisy():
    generator = torch.Generator().manual_seed(0)
    x = torch.zeros(2, 3, 31, 45, dtype=torch.float64)
    x[..., 8:20, 10:30] = torch.rand(2, 3, 1, 1, generator=generator, dtype=torch.float64)
    return x + 0.1 * torch.randn(x.shape, generator=generator, dtype=torch.float64)


def test_div_is_the_negative_adjoint_of_grad():
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(2, 3, 17, 23, dtype=torch.float64, generator=generator)
    p = torch.randn(2, 2, 3, 17, 23, dtype=torch.float64, generator=generator)
    assert_close((grad(u) * p).sum(), -(u * div(p)).sum(), rtol=1e-13, atol=1e-12)


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


def test_equal_channels_coupled_are_one_channel_with_weight_over_root_3(noisy):
    grey = noisy[:, :1]  # |grad| over three equal channels is root 3 times one channel's, |u - y|^2 three times
    coupled = rof(grey.expand(-1, 3, -1, -1), 0.1, steps=500)
    assert_close(coupled[:, :1], rof(grey, 0.1 / 3**0.5, steps=500), atol=1e-4, rtol=0)


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


def test_total_variation_falls_with_the_weight(noisy):
    variation = [total_variation(rof(noisy, weight, steps=50)) for weight in (0, 0.01, 0.05, 0.2)]
    assert all((more > less).all() for more, less in zip(variation, variation[1:], strict=False))


def test_the_mean_of_every_channel_is_kept(noisy):
    assert_close(rof(noisy, 0.1).mean(dim=(2, 3)), noisy.mean(dim=(2, 3)))


def test_weight_0_returns_its_input(noisy):
    assert rof(noisy, 0) is noisy


def test_a_negative_weight_is_refused(noisy):
    with pytest.raises(ValueError, match="-0.1"):
        rof(noisy, -0.1)


def test_a_constant_stays():
    x = torch.full((1, 3, 5, 8), 0.4)
    assert torch.equal(rof(x, 0.1), x)


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
