"""The learned denoiser, with random weights."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from purifier.denoiser import Denoiser, bundled_denoiser, denoise, multiplies_bfloat16
from purifier.pictures.files import read_image
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def denoiser():
    torch.manual_seed(0)
    return Denoiser(widths=(8, 8, 16), depths=(1, 1, 1)).eval()


@pytest.mark.parametrize("size", [(16, 16), (17, 40), (33, 16), (64, 64)])
def test_it_keeps_any_size(denoiser, size):
    y = torch.rand(2, 3, *size)
    assert denoiser(y, torch.tensor([0.1, 0.02])).shape == y.shape


def test_without_noise_it_returns_its_input(denoiser):
    y = torch.rand(1, 3, 32, 32)
    assert torch.equal(denoiser(y, torch.zeros(1)), y)


def test_every_picture_is_its_own_problem(denoiser):
    y, sigma = torch.rand(3, 3, 32, 48), torch.tensor([0.02, 0.1, 0.15])
    together = denoiser(y, sigma)
    alone = torch.cat([denoiser(y[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    assert_close(together, alone, atol=1e-5, rtol=0)


def test_it_sees_the_same_wherever_the_picture_lies(denoiser):
    y, sigma = torch.rand(1, 3, 192, 192), torch.full((1,), 0.1)
    moved = denoiser(y[..., 8:, 8:], sigma)  # the least shift that keeps the grids of the levels
    assert_close(denoiser(y, sigma)[..., 88:104, 88:104], moved[..., 80:96, 80:96], atol=1e-5, rtol=0)


def test_its_gradient_is_its_own(denoiser):
    exact = Denoiser(widths=(4, 4), depths=(1, 1)).double()
    y = torch.rand(1, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: exact(z, z.new_full((1,), 0.1)), y, fast_mode=True)


def test_it_is_kept_in_a_folder_of_the_hub_s_format(denoiser, tmp_path):
    denoiser.save_pretrained(tmp_path)
    y, sigma = torch.rand(1, 3, 32, 32), torch.full((1,), 0.1)
    assert torch.equal(Denoiser.from_pretrained(tmp_path).eval()(y, sigma), denoiser(y, sigma))


@pytest.mark.skipif(not multiplies_bfloat16(torch.device("cpu")), reason="this processor multiplies no bfloat16")
@pytest.mark.parametrize("sigma", [1 / 255, 12 / 255])
def test_bfloat16_gives_what_float32_gives(sigma, request):
    """To hundredths of 1/255, and with the same gradient."""
    noise = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    y = (read_image(ROOT / "assets" / "examples" / "MEL-1.png") + sigma * noise).requires_grad_()
    fast = denoise(y, sigma)
    request.getfixturevalue("exact_denoiser")
    exact = denoise(y, sigma)
    differences = 255 * (fast - exact).abs()
    assert 0 < differences.mean() < 0.1 and differences.max() < 1
    slopes = [torch.autograd.grad(out.square().sum(), y)[0].flatten() for out in (fast, exact)]
    assert F.cosine_similarity(*slopes, dim=0) > 0.9999


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_it_gives_back_the_type_it_was_given(dtype):
    y = torch.rand(2, 3, 17, 20, generator=torch.Generator().manual_seed(0)).to(dtype)
    for sigma in (0.1, torch.full((2, 1, 1, 1), 0.1, dtype=dtype)):
        found = denoise(y, sigma)
        assert found.dtype == dtype
        assert torch.equal(found, denoise(y.float(), sigma if isinstance(sigma, float) else sigma.float()).to(dtype))


def test_the_bundled_one_is_loaded_without_drawing_from_the_global_generator():
    bundled_denoiser.cache_clear()
    before = torch.get_rng_state()
    y = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert denoise(y, 0.1).isfinite().all() and torch.equal(torch.get_rng_state(), before)
