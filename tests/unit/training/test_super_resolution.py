"""The model that draws pictures at four times the size: its parts, and some steps of its training."""

from functools import partial

import pytest
import torch
from torch.testing import assert_close

from purifier.cli.main import main
from purifier.pyramid import resample
from purifier.training import diffusion
from purifier.training import super_resolution as module
from purifier.training.checkpoints import load_checkpoint
from purifier.training.super_resolution import SuperResolution, enlarge, loss_of, patches, spread_of, train

Tiny = partial(SuperResolution, widths=(8, 8, 8), depths=(1, 1, 1))


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(module, "SuperResolution", Tiny)
    for name, value in dict(PATCH=32, CHECKPOINT_EVERY=1, LOG_EVERY=1).items():
        monkeypatch.setattr(module, name, value)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny(scale=0.2):
    """A tiny model whose every weight counts."""
    model = Tiny().eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.copy_(scale * torch.randn(parameter.shape, generator=seeded(parameter.numel())))
    return model


def condition(count=1):
    return torch.full((count,), 0.1), torch.arange(count), torch.arange(count)  # level, diagnosis, origin


def test_it_is_small_enough_to_be_bundled():
    assert sum(parameter.numel() for parameter in SuperResolution().parameters()) * 4 < 25e6


def test_with_almost_no_noise_the_guess_is_the_picture_and_with_much_the_small_one():
    """EDM's preconditioning, whatever the network says."""
    x, base = torch.rand(2, 2, 3, 32, 48, generator=seeded()) - 0.5
    level, y, origin = condition(2)
    model = tiny(0.05)
    assert_close(model(x, torch.full((2,), 1e-6), base, level, y, origin), x, rtol=0, atol=1e-4)
    untrained = SuperResolution(widths=(8, 8), depths=(1, 1)).requires_grad_(False)
    untrained.tail.bias.zero_()
    assert_close(untrained(x, torch.full((2,), 1e4), base, level, y, origin), base, rtol=0, atol=1e-4)


def test_the_middle_does_not_depend_on_a_far_border():
    model, (x, base) = tiny(), torch.rand(2, 1, 3, 256, 256, generator=seeded()) - 0.5
    level, y, origin = condition()
    other, framed = x.clone(), base.clone()
    for changed in (other, framed):
        changed[..., :16], changed[..., -16:, :] = -1, 1
    sigma, middle = torch.full((1,), 0.1), (..., slice(96, 160), slice(96, 160))
    one, two = model(x, sigma, base, level, y, origin), model(other, sigma, framed, level, y, origin)
    assert_close(one[middle], two[middle])
    assert not torch.allclose(one, two)
    part = (..., slice(40, 216), slice(40, 216))
    alone = model(x[part], sigma, base[part], level, y, origin)
    assert_close(alone[..., 56:120, 56:120], one[middle])


@pytest.mark.parametrize("which", ["sigma", "base", "level", "y", "origin"])
def test_it_looks_at_all_that_it_is_told(which):
    x, base = torch.rand(2, 1, 3, 32, 32, generator=seeded()) - 0.5
    level, y, origin = condition()
    told = dict(sigma=torch.full((1,), 0.1), base=base, level=level, y=y, origin=origin)
    other = told | {which: told[which] + 1}
    assert not torch.allclose(tiny()(x, **told), tiny()(x, **other), atol=1e-3)


def test_a_patch_and_its_small_one_are_of_the_same_place(monkeypatch):
    monkeypatch.setattr(module, "MOST_LEVEL", 0.0)
    x = torch.stack([torch.linspace(-1, 1, 256)[:, None].expand(256, 256)] * 3)
    x = torch.stack([x, x.mT]).contiguous()
    places = set()
    for seed in range(12):
        patch, base, _ = patches(x, seeded(seed))
        assert patch.shape == base.shape == (2, 3, 96, 96)
        assert_close(patch, base, rtol=0, atol=0.02)  # 0.008 a pixel; at the border the small one bends
        places.add(round(patch[0].mean().item(), 3))
    assert len(places) > 6 and min(places) < -0.2 and max(places) > 0.2


def test_the_small_one_s_noise_and_the_residual_are_as_strong_as_they_say():
    _, base, level = patches(torch.zeros(8, 3, 256, 256), seeded())
    assert level.unique().numel() == 8 and level.max() <= module.MOST_LEVEL
    found = (base.flatten(1).std(dim=1).square() + module.RESIDUAL**2).sqrt()
    assert_close(found, spread_of(level), rtol=0.05, atol=0)


def test_the_sampler_draws_what_the_model_means():
    """For a residual that is white noise of a known strength, the best guess has a closed form."""
    picture = torch.rand(1, 3, 32, 32, generator=seeded())
    drawn = enlarge(lambda *told: 2 * picture - 1, torch.rand(1, 3, 8, 8), *condition()[1:], seeded())
    assert_close(drawn, picture)

    grey, deviation = torch.full((1, 3, 64, 64), 0.5), 0.06

    def best(x, sigma, base, *told):
        share = deviation**2 / (deviation**2 + sigma.reshape(-1, 1, 1, 1) ** 2)
        return base + share * (x - base)

    drawn = enlarge(best, grey, *condition()[1:], seeded(), level=0.0)
    assert drawn.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert 2 * drawn.std().item() == pytest.approx(deviation, rel=0.03)


def test_enlarging_obeys_the_generator_and_keeps_the_range():
    x = torch.rand(2, 3, 16, 24, generator=seeded())
    once, again, other = (enlarge(tiny(), x, *condition(2)[1:], seeded(seed), steps=3) for seed in (1, 1, 2))
    assert once.shape == (2, 3, 64, 96) and once.min() >= 0 and once.max() <= 1
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_the_loss_falls_on_one_patch():
    torch.manual_seed(0)
    model = Tiny()
    x = 0.2 * torch.randn(1, 3, 32, 32, generator=seeded()).repeat(8, 1, 1, 1)
    base = resample(resample(x, (8, 8)), (32, 32))
    level, y, origin = torch.zeros(8), torch.zeros(8).long(), torch.zeros(8).long()
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=3e-3), []
    for step in range(60):
        loss = loss_of(model, x, base, level, y, origin, seeded(step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])


def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(small_isic2019, tmp_path, small, monkeypatch):
    train(small_isic2019, tmp_path / "whole", steps=2, batch=2, rate=1e-3)
    with monkeypatch.context() as patched:
        calls = iter([loss_of])
        patched.setattr(module, "loss_of", lambda *arguments: next(calls)(*arguments))
        with pytest.raises(StopIteration):
            train(small_isic2019, tmp_path / "parts", steps=2, batch=2, rate=1e-3)
    assert load_checkpoint(tmp_path / "parts" / "checkpoint.pt")["done"] == 1
    train(small_isic2019, tmp_path / "parts", steps=2, batch=2, rate=1e-3)
    whole, parts = (SuperResolution.from_pretrained(tmp_path / name / "weights") for name in ("whole", "parts"))
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert_close(a, b)
    assert "license: cc-by-nc-4.0" in (tmp_path / "whole" / "weights" / "README.md").read_text(encoding="utf-8")
    other = load_checkpoint(tmp_path / "whole" / "checkpoint.pt")["averages"][1]
    diffusion.write_weights(Tiny(), tmp_path / "whole" / "checkpoint.pt", tmp_path / "longer", average=1)
    longer = SuperResolution.from_pretrained(tmp_path / "longer").state_dict()
    assert all(torch.equal(other[name].half(), longer[name].half()) for name in other)
    assert not torch.equal(longer["head.weight"], whole.state_dict()["head.weight"])


def test_training_is_a_command(small_isic2019, tmp_path, small):
    command = [
        "train",
        "super-resolution",
        "--data",
        str(small_isic2019),
        "--work",
        str(tmp_path),
        "--steps",
        "1",
        "--batch",
        "2",
    ]
    assert main([*command, "--limit", "4", "--device", "cpu"]) == 0
    assert (tmp_path / "weights" / "model.safetensors").is_file()
    assert (tmp_path / "log.csv").read_text(encoding="utf-8").startswith("step,loss\n1,")


def test_without_a_checkpoint_the_remedy_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="train a SuperResolution first"):
        diffusion.write_weights(Tiny(), tmp_path / "checkpoint.pt", tmp_path / "weights")


def test_a_training_ends_with_its_time_and_its_learning_rate_with_it(small_isic2019, tmp_path, small, monkeypatch):
    clock, rates = iter([0.0, 40.0, 119.0, 120.0]), []
    monkeypatch.setattr(diffusion.time, "monotonic", lambda: next(clock))
    real = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: rates.append(self.param_groups[0]["lr"]) or real(self))
    train(small_isic2019, tmp_path, steps=1000, minutes=2, batch=2, rate=1.0)
    assert load_checkpoint(tmp_path / "checkpoint.pt")["done"] == 3
    assert rates == pytest.approx([1 / 200, 2 / 200, 3 / 200])
    assert (tmp_path / "weights" / "model.safetensors").is_file()
