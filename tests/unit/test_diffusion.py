import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from purifier.diffusion import diffuse, noise_level
from purifier.pipeline import USUAL_NOISE, Purifier
from purifier.seeds import split_generator
from tests.helpers.strategies import few, pictures


def noise(x, seed=0, sigma=0.1):
    return diffuse(x, sigma, split_generator(torch.Generator().manual_seed(seed), len(x))) - x


def test_the_noise_is_gaussian_with_the_given_standard_deviation():
    n = noise(torch.full((1, 3, 200, 200), 0.5), sigma=0.07).flatten()
    assert abs(n.mean().item()) < 4 * 0.07 / len(n) ** 0.5
    assert abs(n.std().item() / 0.07 - 1) < 0.01
    assert abs((n.abs() < 0.07).float().mean().item() - 0.6827) < 0.005
    assert abs((n.abs() < 0.14).float().mean().item() - 0.9545) < 0.005


def test_sigma_0_changes_nothing():
    x = torch.rand(2, 3, 9, 7)
    assert diffuse(x, 0, split_generator(None, 2)) is x


def test_the_same_seed_gives_the_same_noise_and_another_seed_another():
    x = torch.rand(2, 3, 9, 7)
    assert torch.equal(noise(x, seed=1), noise(x, seed=1))
    assert not torch.equal(noise(x, seed=1), noise(x, seed=2))


def test_an_image_gets_the_same_noise_in_a_batch_of_any_size():
    x = torch.rand(5, 3, 9, 7)
    assert torch.equal(noise(x)[:2], noise(x[:2]))


def test_the_images_of_a_batch_get_different_noise():
    n = noise(torch.zeros(2, 3, 9, 7))
    assert not torch.equal(n[0], n[1])


def test_without_a_generator_the_global_one_decides():
    x = torch.zeros(1, 3, 9, 7)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = diffuse(x, 1, split_generator(None, 1))
        torch.manual_seed(3)
        assert torch.equal(first, diffuse(x, 1, split_generator(None, 1)))
        assert not torch.equal(first, diffuse(x, 1, split_generator(None, 1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_dtype_gets_the_same_noise(dtype):
    x = torch.zeros(1, 3, 9, 7, dtype=dtype)
    assert noise(x).dtype == dtype
    assert_close(noise(x).float(), noise(x.float()))


def test_each_image_may_have_a_sigma_of_its_own():
    x, sigma = torch.full((2, 3, 20, 20), 0.5), torch.tensor([0.0, 0.1])
    noisy = diffuse(x, sigma.reshape(2, 1, 1, 1), split_generator(torch.Generator().manual_seed(0), 2)) - x
    assert noisy[0].abs().max() == 0 and torch.equal(noisy[1], noise(x, sigma=0.1)[1])


@pytest.mark.parametrize("size", [(64, 64), (57, 91)])
def test_the_noise_level_is_the_standard_deviation_of_white_noise(size):
    x = torch.rand(1, 3, 1, 1, generator=torch.Generator().manual_seed(0)).expand(1, 3, *size)
    sigma = torch.tensor([2.0, 8.0, 30.0]).reshape(3, 1, 1, 1) / 255
    noisy = diffuse(x.expand(3, -1, -1, -1), sigma, split_generator(torch.Generator().manual_seed(1), 3))
    assert_close(noise_level(noisy), sigma.flatten(), rtol=0.05, atol=0)


@few
@given(pictures(least=2), st.floats(-2, 2), st.floats(-1, 1))
def test_the_noise_level_grows_with_the_contrast_alone_and_float32_agrees_with_float64(x, factor, offset):
    level = noise_level(x)
    assert_close(noise_level(factor * x + offset), abs(factor) * level, rtol=0, atol=1e-12)
    assert_close(noise_level(x.float()).double(), level, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 20), (20, 1)])
def test_a_line_of_pixels_has_no_noise_level(size):
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    assert noise_level(x).tolist() == [0]
    for purifier in (Purifier(sigma=1 / 255, gain=24.0), Purifier(denoiser="rof", sigma=8 / 255, gain=1)):
        assert purifier(x).isfinite().all() and purifier(x).shape == x.shape


@pytest.mark.parametrize("size", [(2, 2), (2, 3), (5, 2)])
def test_the_least_picture_with_a_noise_level_has_two_pixels_a_side(size):
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    assert noise_level(x) > 0


def test_what_is_the_same_in_all_channels_is_no_noise_and_neither_is_a_smooth_picture():
    grey = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0)).expand(1, 3, 40, 40)
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 40, 40) * torch.tensor([1.0, 0.5, 0.2]).reshape(3, 1, 1)
    assert_close(noise_level(torch.cat([grey, ramp])), torch.zeros(2), rtol=0, atol=1e-6)


def test_rounding_to_8_bits_is_about_as_much_noise_as_its_error_and_is_usual():
    smooth = torch.rand(1, 3, 1, 1) + 0.2 * torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(smooth, 9, 1)
    rounded = (smooth * 255).round() / 255
    level = noise_level(rounded).item()
    assert level == pytest.approx(1 / 255 / math.sqrt(12), rel=0.2) and level < USUAL_NOISE
