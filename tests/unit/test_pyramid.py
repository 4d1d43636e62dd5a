import pytest
import torch
from torch.testing import assert_close

from purifier.pyramid import build_pyramid, merge_pyramid, resample, size_at

SIZES = [(32, 32), (37, 53), (64, 225), (224, 224)]


@pytest.mark.parametrize("size", SIZES)
def test_scale_1_is_the_picture_itself(size):
    x = torch.rand(2, 3, *size)
    assert build_pyramid(x, (2, 1, 0.5))[1] is x


@pytest.mark.parametrize(
    ("scale", "expected"), [(2, (74, 106)), (1, (37, 53)), (0.5, (18, 26)), (0.25, (16, 16)), (0.75, (28, 40))]
)
def test_sizes_are_rounded_and_never_below_16(scale, expected):
    assert size_at(37, 53, scale) == expected


@pytest.mark.parametrize("size", SIZES)
def test_a_constant_survives_every_scale_and_the_way_back(size):
    x = torch.full((1, 3, *size), 0.3)
    levels = build_pyramid(x, (2, 1, 0.5, 0.25))
    for level in levels:
        assert_close(level, torch.full_like(level, 0.3))
    assert_close(merge_pyramid(levels, size), x)


def test_down_sampling_is_antialiased():
    stripes = (torch.arange(64) % 2).float().expand(1, 1, 64, 64)
    inner = resample(stripes, (16, 16))[..., 2:-2]  # bicubic rings a little at the border
    assert_close(inner, torch.full_like(inner, 0.5), atol=0.02, rtol=0)


def test_a_smooth_picture_survives_going_down_and_up():
    t = torch.linspace(0, 3.14, 65)
    x = (torch.sin(t)[:, None] * torch.cos(t)[None, :] / 2 + 0.5).expand(1, 1, 65, 65)
    back = resample(resample(x, (33, 33)), (65, 65))
    assert_close(back, x, atol=0.01, rtol=0)


def test_the_merge_is_the_mean():
    x, y = torch.rand(2, 1, 3, 20, 30)
    assert_close(merge_pyramid([x, y], (20, 30)), (x + y) / 2)
