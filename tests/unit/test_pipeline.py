from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from purifier.denoise import rof, total_variation
from purifier.pipeline import (
    ALL_SCALES,
    LEAST_GROWN,
    MAX_GAIN,
    MAX_POWER,
    MOST_NOISE,
    SUITED,
    USUAL_NOISE,
    Purifier,
    aggregate,
)
from purifier.pyramid import build_pyramid, resample
from purifier.texts import UserError
from tests.helpers.strategies import few, pictures

SCALES = st.sets(st.sampled_from((2.0, 0.5, 0.25))).map(lambda some: tuple(sorted({1.0, *some}, reverse=True)))
SHARES = st.floats(0, 1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@st.composite
def purifiers(draw, most: float = 1.0, gain: float = MAX_GAIN) -> Purifier:
    """With ROF and any settings that are allowed, noise and weight up to ``most``."""
    sigma = draw(st.floats(0, most) | st.floats(0, MOST_NOISE))
    return Purifier(
        denoiser="rof",
        scales=draw(SCALES),
        blocks=draw(st.integers(1, 2)),
        sigma=sigma,
        weight=draw(st.floats(0, most)),
        gain=draw(st.floats(0, gain)) if LEAST_GROWN <= sigma < MOST_NOISE else 0.0,
        own=draw(SHARES),
        decay=draw(st.floats(0, MAX_POWER)),
        tilt=draw(st.floats(0, MAX_POWER)),
        bands=draw(st.booleans()),
        smooth=draw(SHARES),
        steps=draw(st.integers(1, 8)),
        coupled=draw(st.booleans()),
    )


@few
@given(purifiers(), pictures(least=5), st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]))
def test_with_any_settings_pictures_of_any_size_keep_size_type_and_range(purifier, x, dtype):
    out = purifier(x.to(dtype), seeded())
    assert (out.shape, out.dtype) == (x.shape, dtype)
    assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1


@few
@given(purifiers(most=0.2, gain=0), pictures(least=5))
def test_float32_agrees_with_float64(purifier, x):
    assert_close(purifier(x.float(), seeded()).double(), purifier(x, seeded()), rtol=0, atol=1e-5)


@few
@given(pictures(least=16), SCALES, SHARES, st.booleans())
def test_mixing_is_a_share_of_the_scale_itself_and_the_rest_of_its_neighbours(x, scales, own, bands):
    levels = build_pyramid(x, scales)
    mixed, alone, others = (aggregate(levels, share, bands=bands) for share in (own, 1, 0))
    for level, m, a, o in zip(levels, mixed, alone, others, strict=True):
        assert_close(a, level, rtol=0, atol=1e-12)
        assert_close(m, own * level + (1 - own) * o, rtol=0, atol=1e-12)


@few
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), SHARES, st.booleans())
def test_what_is_mixed_of_flat_scales_lies_between_them(values, own, bands):
    sizes = (64, 32, 16, 8)
    levels = [torch.full((1, 3, n, n), value, dtype=torch.float64) for n, value in zip(sizes, values, strict=True)]
    for level in aggregate(levels, own, bands=bands):
        assert level.min() >= min(values) - 1e-9 and level.max() <= max(values) + 1e-9


@pytest.mark.parametrize("denoiser", SUITED)
def test_the_largest_size(denoiser):
    x = torch.rand(1, 3, 1023, 1024, generator=seeded())
    assert Purifier(denoiser=denoiser, blocks=1, steps=2)(x, seeded()).shape == x.shape


def test_stages_follow_the_definition():
    """The formulas of one block, written out, against what the stages say they did."""
    purifier = Purifier(denoiser="rof", scales=(1, 0.5, 0.25), own=0.3, blocks=2)
    x = torch.rand(2, 3, 40, 52, generator=seeded())
    stages = list(purifier.stages(x, seeded()))
    assert [(s.block, s.scale) for s in stages] == [(n, s) for n in (1, 2) for s in (1.0, 0.5, 0.25)]
    assert stages[0].before is x
    assert stages[1].before.shape[-2:] == (20, 26)
    for block in (stages[:3], stages[3:]):
        for s in block:
            assert_close((s.diffused - s.before).std().item(), purifier.sigma, rtol=0.1, atol=0)
            assert_close(s.denoised, rof(s.diffused, purifier.weight, purifier.steps))
        a, b, c = (s.denoised for s in block)
        assert_close(block[0].aggregated, 0.3 * a + 0.7 * resample(b, a.shape[-2:]))
        neighbours = (resample(a, b.shape[-2:]) + resample(c, b.shape[-2:])) / 2
        assert_close(block[1].aggregated, 0.3 * b + 0.7 * neighbours)
        assert_close(block[2].aggregated, 0.3 * c + 0.7 * resample(b, c.shape[-2:]))
    for first, second in zip(stages[:3], stages[3:], strict=True):
        assert second.before is first.aggregated
    back = sum(resample(s.aggregated, (40, 52)) for s in stages[3:]) / 3
    assert_close(purifier(x, seeded()), back.clamp(0, 1))


def test_coarse_scales_may_be_diffused_and_denoised_less_and_count_less():
    purifier = Purifier(denoiser="rof", scales=(1, 0.5, 0.25), blocks=1, decay=1.0, tilt=2.0)
    x = torch.rand(2, 3, 64, 64, generator=seeded())
    stages = list(purifier.stages(x, seeded()))
    for stage, strength in zip(stages, (1, 0.5, 0.25), strict=True):
        assert_close((stage.diffused - stage.before).std().item(), purifier.sigma * strength, rtol=0.1, atol=0)
        assert_close(stage.denoised, rof(stage.diffused, purifier.weight * strength, purifier.steps))
    a, b, c = (resample(s.aggregated, (64, 64)) for s in stages)
    assert_close(purifier(x, seeded()), ((16 * a + 4 * b + c) / 21).clamp(0, 1))


def test_noise_is_fresh_for_each_block_and_scale():
    purifier = Purifier(scales=(1,), blocks=2)
    first, second = purifier.stages(torch.full((1, 3, 32, 32), 0.5), seeded())
    assert not torch.equal(first.diffused - first.before, second.diffused - second.before)


@pytest.mark.parametrize("denoiser", SUITED)
def test_with_nothing_to_do_nothing_is_done(denoiser):
    x = torch.rand(2, 3, 33, 47, generator=seeded())
    assert_close(Purifier(denoiser=denoiser, scales=(1,), sigma=0, weight=0, gain=0)(x), x)


@pytest.mark.parametrize("denoiser", SUITED)
def test_a_constant_picture_without_noise_stays(denoiser):
    x = torch.full((1, 3, 33, 47), 0.3)
    assert_close(Purifier(denoiser=denoiser, scales=ALL_SCALES, sigma=0, gain=0, smooth=1.0)(x), x)


@pytest.mark.parametrize("denoiser", SUITED)
def test_the_same_seed_gives_the_same_picture_whatever_ran_before(denoiser):
    purifier, x = Purifier(denoiser=denoiser), torch.rand(1, 3, 40, 40, generator=seeded())
    first = purifier(x, seeded(7))
    purifier(torch.rand_like(x), seeded(8))
    assert torch.equal(purifier(x, seeded(7)), first)
    assert not torch.equal(purifier(x, seeded(8)), first)


@pytest.mark.parametrize("denoiser", SUITED)
def test_the_images_of_a_batch_do_not_mix(denoiser):
    purifier, x = Purifier(denoiser=denoiser), torch.rand(3, 3, 40, 41, generator=seeded())
    other = torch.cat([x[:1], torch.zeros(2, 3, 40, 41)])
    assert_close(purifier(x, seeded())[:1], purifier(other, seeded())[:1], rtol=0, atol=1e-6)
    assert_close(purifier(x, seeded())[:1], purifier(x[:1], seeded()), rtol=0, atol=1e-6)


@pytest.mark.parametrize("denoiser", SUITED)
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float16, 0.05), (torch.bfloat16, 0.05), (torch.float64, 1e-4)], ids=str
)
def test_other_types_come_back_and_agree_as_far_as_they_can(exact_denoiser, denoiser, dtype, atol):
    """The learned denoiser computes in float32 whatever it is given."""
    purifier, x = Purifier(denoiser=denoiser), torch.rand(1, 3, 40, 41, generator=seeded())
    out = purifier(x.to(dtype), seeded())
    assert out.dtype == dtype
    assert_close(out.float(), purifier(x, seeded()), rtol=0, atol=atol)


@pytest.mark.parametrize("denoiser", SUITED)
@pytest.mark.parametrize("x", [torch.rand(1, 3, 33, 40), torch.full((1, 3, 33, 40), 0.5)], ids=["random", "constant"])
def test_gradients_reach_the_pixels_and_are_finite(x, denoiser):
    x = x.clone().requires_grad_()
    purifier = Purifier(denoiser=denoiser, scales=ALL_SCALES, smooth=0.5)
    (g,) = torch.autograd.grad(purifier(x, seeded()).square().sum(), x)
    assert g.isfinite().all()
    assert (g != 0).float().mean() > 0.9


def test_noise_of_an_attack_is_removed():
    t = torch.linspace(0, 1, 64)
    smooth = 0.1 + 0.8 * (t[:, None] * t[None, :]).expand(1, 3, 64, 64)
    attacked = smooth + 8 / 255 * torch.sign(torch.randn(smooth.shape, generator=seeded()))
    # With the same noise what differs is the attack's.
    out, without = (Purifier(denoiser="rof")(x, seeded()) for x in (attacked, smooth))
    assert (out - without).square().mean() < 0.03 * (attacked - smooth).square().mean()
    assert total_variation(out) < total_variation(attacked) / 4


def test_the_last_smoothing_is_a_gaussian_of_that_width():
    x = torch.zeros(1, 3, 65, 65)
    x[..., 32, 32] = 1
    out = Purifier(denoiser="rof", scales=(1,), sigma=0, weight=0, smooth=2.0)(x)[0, 0]
    offset = torch.arange(65) - 32.0
    assert_close(out.sum(), torch.tensor(1.0))
    # kernels are cut off at three standard deviations
    assert abs((out.sum(0) * offset**2).sum().item() - 4.0) < 0.15


@pytest.mark.parametrize("smooth", [0.5, 1.0])
def test_a_little_smoothing_is_some(smooth):
    x = torch.rand(1, 3, 9, 9, generator=seeded())
    settings = dict(denoiser="rof", scales=(1,), sigma=0, weight=0)
    assert Purifier(**settings, smooth=smooth)(x).std() < 0.95 * Purifier(**settings)(x).std()


def test_rof_is_coupled_as_the_purifier_is_told():
    x = torch.rand(1, 3, 20, 24, generator=seeded())
    settings = dict(denoiser="rof", scales=(1,), blocks=1, sigma=0, weight=0.1, gain=0)
    for coupled in (True, False):
        assert_close(Purifier(**settings, coupled=coupled)(x), rof(x, 0.1, Purifier(**settings).steps, coupled))


def test_the_last_smoothing_reaches_no_further_than_a_narrow_picture():
    x = torch.rand(1, 3, 3, 40, generator=seeded())
    smoothing = Purifier(denoiser="rof", scales=(1,), sigma=0, weight=0, gain=0, smooth=4.0)
    out = smoothing(x)
    assert out.shape == x.shape and out.std() < x.std() / 2
    assert_close(smoothing(torch.full((1, 3, 1, 1), 0.3)), torch.full((1, 3, 1, 1), 0.3))


@pytest.mark.parametrize("own", [0.0, 0.5])
def test_with_bands_coarse_scales_take_no_details_away(own):
    x = torch.rand(1, 3, 48, 64, generator=seeded())
    nothing = dict(denoiser="rof", scales=(1, 0.5, 0.25), blocks=2, sigma=0.0, weight=0.0, own=own)
    assert_close(Purifier(**nothing, bands=True)(x), x, atol=0.01, rtol=0)
    assert (Purifier(**nothing)(x) - x).abs().mean() > 0.05


def test_with_bands_a_coarse_scale_gives_its_low_frequencies():
    fine, coarse = torch.full((1, 3, 64, 64), 0.5), torch.full((1, 3, 32, 32), 0.7)
    mixed, _ = aggregate([fine, coarse], own=0.5, bands=True)
    assert_close(mixed, torch.full_like(fine, 0.6))


def test_a_learned_denoiser_takes_the_place_of_rof(monkeypatch):
    seen = []

    def denoise(y, sigma):
        seen.append((y.shape[-1], sigma))
        return y.clamp(0, 1) * 0.5

    monkeypatch.setattr("purifier.pipeline.denoise", denoise)
    purifier = Purifier(denoiser="learned", scales=(1, 0.5), blocks=1, sigma=0.1, decay=1.0, gain=0.0)
    x = torch.rand(1, 3, 64, 64, generator=seeded())
    stages = list(purifier.stages(x, seeded()))
    assert seen == [(64, pytest.approx(0.1)), (32, pytest.approx(0.05))]
    assert all(torch.equal(s.denoised, s.diffused.clamp(0, 1) * 0.5) for s in stages)


def test_a_denoiser_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="denoiser"):
        Purifier(denoiser="magic")


def test_a_single_scale_has_no_neighbours():
    x = torch.rand(1, 3, 20, 20)
    assert aggregate([x], own=0.2)[0] is x


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("scales", (0.5, 0.25)),
        ("scales", (0.5, 1)),
        ("scales", (1, 1)),
        ("scales", ()),
        ("scales", (1, -1)),
        ("scales", (float("inf"), 1)),
        ("scales", (3, 1)),
        ("sigma", 2),
        ("blocks", 0),
        ("blocks", 1.5),
        ("steps", 0),
        ("sigma", -0.1),
        ("sigma", float("nan")),
        ("weight", -1),
        ("own", 1.2),
        ("smooth", float("inf")),
    ],
)
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=setting):
        Purifier(**{setting: value})


def test_settings_are_frozen_and_replaceable():
    assert replace(Purifier(), blocks=3) == Purifier(blocks=3)
    with pytest.raises(AttributeError):
        Purifier().blocks = 3


@pytest.mark.parametrize("denoiser", SUITED)
def test_what_is_not_said_suits_the_denoiser(denoiser):
    purifier, suited = Purifier(denoiser=denoiser), SUITED[denoiser]
    assert {name: getattr(purifier, name) for name in suited} == suited
    assert Purifier(denoiser=denoiser, sigma=0.25, scales=(1,)) == replace(purifier, sigma=0.25, scales=(1.0,))


def test_settings_that_were_stored_without_a_denoiser_are_of_rof():
    assert Purifier.read({"blocks": 3}) == Purifier(denoiser="rof", blocks=3)
    assert Purifier.read(asdict(Purifier(sigma=0.1))) == Purifier(sigma=0.1)


@pytest.mark.parametrize("denoiser", SUITED)
def test_with_gain_each_picture_gets_the_strength_that_its_own_noise_asks_for(exact_denoiser, denoiser):
    """As if it had been purified with the sigma and the weight that are in proportion."""
    clean = torch.full((1, 3, 40, 40), 0.5)
    x = torch.cat([clean, (clean + 4 / 255 * torch.randn(1, 3, 40, 40, generator=seeded())).clamp(0, 1)])
    purifier = Purifier(denoiser=denoiser, sigma=4 / 255, weight=0.02, gain=2.0)
    quiet, noisy = purifier.strength(x).flatten().tolist()
    assert quiet == 1 and noisy == pytest.approx(1 + 2 * (4 - 255 * USUAL_NOISE) / 4, rel=0.1)
    together, alone = purifier(x, seeded()), replace(purifier, gain=0.0)
    stronger = replace(alone, sigma=alone.sigma * noisy, weight=alone.weight * noisy)
    assert_close(together, torch.stack([alone(x, seeded())[0], stronger(x, seeded())[1]]), atol=2e-5, rtol=0)
    sigmas = [stage.sigma for stage in purifier.stages(x, seeded())]
    assert_close(sigmas[0], torch.tensor([4 / 255, noisy * 4 / 255]))


def test_the_strength_by_picture_has_a_bound():
    x = torch.rand(1, 3, 40, 40, generator=seeded())
    assert Purifier(sigma=8 / 255, gain=10.0).strength(x).item() == pytest.approx(255 * MOST_NOISE / 8)


@pytest.mark.parametrize(("denoiser", "step", "rel"), [("rof", 1e-5, 1e-6), ("learned", 1e-4, 0.1)])
def test_the_strength_by_picture_has_its_part_in_the_gradient(exact_denoiser, denoiser, step, rel):
    x = 0.5 + 0.02 * torch.randn(1, 3, 16, 16, generator=seeded(), dtype=torch.float64)
    purifier = Purifier(denoiser=denoiser, scales=(1,), blocks=1, sigma=4 / 255, gain=3.0)
    direction = torch.randn(x.shape, generator=seeded(1), dtype=torch.float64).sign()

    def along(t):
        return purifier(x + t * direction, seeded()).square().sum()

    t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(along(t), t)
    with torch.no_grad():
        assert slope.item() == pytest.approx((along(step) - along(-step)).item() / (2 * step), rel=rel)


def test_gain_needs_noise_to_multiply_and_less_than_it_can_give():
    for sigma in (0.0, 1e-6, MOST_NOISE, None):
        with pytest.raises(ValueError, match="sigma must be at least 1e-05 and less than 12/255 where gain is not 0"):
            Purifier(sigma=sigma, gain=1.0)


REFUSED = {
    f"scales must be some of {ALL_SCALES} in that order, with 1 among them, and are (0.5,).": {"scales": (0.5,)},
    "blocks must be a whole number of at least 1, and is 0.": {"blocks": 0},
    "weight must lie between 0 and 1, and is 1.5.": {"weight": 1.5},
    "tilt must lie between 0 and 4.0, and is -1.0.": {"tilt": -1.0},
    "sigma must be at least 1e-05 and less than 12/255 where gain is not 0, and is 0.0.": {"sigma": 0.0, "gain": 1.0},
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused_is_said_with_what_may_be(words):
    with pytest.raises(UserError) as refused:
        Purifier(**REFUSED[words])
    assert str(refused.value) == words


def test_the_least_noise_may_grow():
    assert Purifier(sigma=LEAST_GROWN, gain=1.0).gain == 1
