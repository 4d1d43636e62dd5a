import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from purifier.pipeline import ALL_SCALES
from purifier.pyramid import MIN_SIDE, as_seen_by, build_pyramid, merge_pyramid, resample, size_at
from tests.helpers.strategies import few, pictures

SIZES = st.tuples(st.integers(1, 60), st.integers(1, 60))


@few
@given(pictures(least=MIN_SIDE))
def test_scale_1_is_the_picture_itself(x):
    assert build_pyramid(x, (2, 1, 0.5))[1] is x


@pytest.mark.parametrize(
    ("scale", "expected"), [(2, (74, 106)), (1, (37, 53)), (0.5, (18, 26)), (0.25, (16, 16)), (0.75, (28, 40))]
)
def test_sizes_are_rounded_and_never_below_16(scale, expected):
    assert size_at(37, 53, scale) == expected


@few
@given(SIZES, st.floats(0, 1))
def test_a_constant_survives_every_scale_and_the_way_back(size, value):
    x = torch.full((1, 3, *size), value)
    levels = build_pyramid(x, ALL_SCALES)
    for level in levels:
        assert_close(level, torch.full_like(level, value))
    assert_close(merge_pyramid(levels, size), x)
    assert_close(merge_pyramid(levels, size, reference=x), x)


@few
@given(pictures(), SIZES)
def test_resampling_is_linear_and_the_same_for_mirrored_and_turned_pictures(x, size):
    small = resample(x, size)
    close = dict(rtol=0, atol=1e-12)
    assert_close(resample(0.3 * x + 0.2 * x.flip(0) + 0.1, size), 0.3 * small + 0.2 * small.flip(0) + 0.1, **close)
    assert_close(resample(x.flip(-1), size), small.flip(-1), **close)
    assert_close(resample(x.flip(-2), size), small.flip(-2), **close)
    assert_close(resample(x.mT, size[::-1]), small.mT, **close)


@few
@given(pictures(), st.sampled_from([None, "bands"]))
def test_float32_agrees_with_float64(x, bands):
    for scale in ALL_SCALES:
        size = size_at(*x.shape[-2:], scale)
        assert_close(resample(x.float(), size).double(), resample(x, size), rtol=0, atol=2e-6)
    merged, reference = (
        merge_pyramid(build_pyramid(z, ALL_SCALES), z.shape[-2:], (4, 3, 2, 1), z if bands else None)
        for z in (x.float(), x)
    )
    assert_close(merged.double(), reference, rtol=0, atol=5e-6)


def test_down_sampling_is_antialiased():
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    inner = resample(stripes, (16, 16))[..., 2:-2]  # bicubic rings a little at the border
    assert_close(inner, torch.full_like(inner, 0.5), atol=0.02, rtol=0)


def test_a_smooth_picture_survives_going_down_and_up():
    t = torch.linspace(0, 3.14, 65)
    x = (torch.sin(t)[:, None] * torch.cos(t)[None, :] / 2 + 0.5).expand(1, 1, 65, 65)
    back = resample(resample(x, (33, 33)), (65, 65))
    assert_close(back, x, atol=0.01, rtol=0)


def test_the_merge_is_the_mean_weighted_by_the_shares():
    x, y = torch.rand(2, 1, 3, 20, 30)
    assert_close(merge_pyramid([x, y], (20, 30)), (x + y) / 2)
    assert_close(merge_pyramid([x, y], (20, 30), shares=(1, 3)), (x + 3 * y) / 4)


@few
@given(pictures(least=MIN_SIDE))
def test_with_a_reference_an_untouched_pyramid_gives_the_picture_back(x):
    levels = build_pyramid(x, (1, 0.5, 0.25))
    assert_close(merge_pyramid(levels, x.shape[-2:], (1, 2, 3), reference=x), x, rtol=0, atol=1e-12)


@few
@given(pictures(least=MIN_SIDE), st.floats(-0.5, 0.5))
def test_with_bands_a_coarser_scale_gives_its_low_frequencies_and_a_finer_one_all(x, change):
    finer, level, coarser = build_pyramid(x, (2, 1, 0.5))
    if coarser.shape != level.shape:
        assert_close(as_seen_by(level, coarser + change, bands=True), level + change, rtol=0, atol=1e-12)
    assert torch.equal(as_seen_by(level, finer, bands=True), as_seen_by(level, finer))
    assert torch.equal(as_seen_by(level, coarser), resample(coarser, level.shape[-2:]))
