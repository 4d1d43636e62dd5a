import pytest
import torch
from torch.testing import assert_close

from purifier import read_image
from purifier.evaluation.defended import psnr
from purifier.evaluation.settings import find_defence
from purifier.training import diffpure as module
from purifier.training import diffusion, drawing
from purifier.ui.examples import example_files


@pytest.fixture(scope="module")
def x():
    return read_image(example_files()[0])


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 3)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_little_noise_changes_little_and_noise_is_taken_away(x):
    diffpure = find_defence("diffpure16")
    assert psnr(find_defence("diffpure1")(x, seeded()), x) > 35
    noisy = (x + 16 / 255 * torch.randn(x.shape, generator=seeded(1))).clamp(0, 1)
    purified = diffpure(noisy, seeded())
    assert purified.shape == x.shape and 0 <= purified.min() and purified.max() <= 1
    assert psnr(purified, x) > psnr(noisy, x) + 3


def test_each_picture_draws_its_own_noise_and_the_seed_decides(x):
    both = module.diffpure(torch.cat([x, x]), 16 / 255, seeded())
    assert not torch.equal(both[0], both[1])
    assert_close(both, module.diffpure(torch.cat([x, x]), 16 / 255, seeded()))


def test_its_gradient_is_its_own(x, monkeypatch):
    monkeypatch.setattr(diffusion, "multiplies_bfloat16", lambda device: False)
    monkeypatch.setattr(module, "STEPS", 2)
    direction = torch.randn(x.shape, generator=seeded()).sign()
    t = torch.zeros((), requires_grad=True)

    def along(t):
        return module.diffpure(0.5 + 0.3 * (x - 0.5) + t * direction, 16 / 255, seeded()).square().sum()

    (slope,) = torch.autograd.grad(along(t), t)
    with torch.no_grad():
        step = torch.tensor(1e-3)
        assert slope.item() == pytest.approx((along(step) - along(-step)).item() / (2 * step.item()), rel=0.05)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="come with the repository"):
        drawing.trained(module.Generator, tmp_path)
