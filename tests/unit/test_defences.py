import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from purifier.defences import FAMILIES, VOTES, as_jpeg, bit_depth, get_defence
from purifier.denoise import rof
from purifier.pipeline import SUITED, Purifier

ALL = ("none", "mdda", "mdda-rof", *FAMILIES)


@pytest.fixture
def x():
    return torch.rand(3, 3, 41, 37, generator=torch.Generator().manual_seed(1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", ALL)
def test_every_defence_keeps_shape_and_range_and_each_image_is_its_own_problem(x, name):
    defence = get_defence(name)
    out = defence(x, generator())
    assert out.shape == x.shape and out.dtype == x.dtype and 0 <= out.min() and out.max() <= 1
    assert_close(defence(x[:1], generator()), out[:1])
    assert torch.equal(defence(x, generator()), out)
    assert torch.equal(defence(x, generator(1)), out) == (not defence.random)


def test_mdda_comes_weaker_and_stronger():
    purifier = Purifier(denoiser="rof", sigma=12 / 255, weight=0.06)
    weaker = get_defence("mdda6", purifier)
    assert weaker.function.sigma == pytest.approx(6 / 255) and weaker.function.weight == pytest.approx(0.03)
    assert weaker.name == "mdda6" and "6/255" in weaker.title and weaker.function.own == purifier.own


@pytest.mark.parametrize("name", [name for name in ALL if get_defence(name).exact])
def test_a_defence_that_claims_a_gradient_of_its_own_has_it(exact_denoiser, x, name):
    defence, direction = get_defence(name), torch.randn(x.shape, generator=generator(9)).double()
    z = x.double().requires_grad_()
    (gradient,) = torch.autograd.grad((defence(z, generator()) * direction).sum(), z)
    step = 1e-6 * direction
    ahead, behind = (defence((z + sign * step).detach(), generator()) for sign in (1, -1))
    assert_close((gradient * step).sum(), ((ahead - behind) / 2 * direction).sum(), rtol=0.02, atol=0)


def test_jpeg_is_the_file_that_pillow_reads(x):
    file = io.BytesIO()
    pixels = (x[0] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=30)
    ours = (as_jpeg(x[:1], [30])[0] * 255).permute(1, 2, 0).numpy()
    assert np.abs(ours - np.asarray(Image.open(file), float)).mean() < 2
    coarse, fine = ((as_jpeg(x, [q] * 3) - x).abs().mean() for q in (10, 90))
    assert coarse > fine


def test_bits_leave_so_many_levels():
    x = torch.linspace(0, 1, 3 * 64 * 4).reshape(1, 3, 64, 4)
    assert bit_depth(x, 2).unique().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert (bit_depth(x, 3) - x).abs().max() <= 0.5 / 7 + 1e-6


def test_a_median_removes_a_lone_pixel():
    x = torch.full((1, 3, 32, 32), 0.4)
    x[:, :, 10, 12] = 1.0
    assert_close(get_defence("median3")(x), torch.full_like(x, 102 / 255))


def test_opencv_sees_red_green_and_blue_in_their_order():
    x = torch.zeros(1, 3, 32, 32)
    x[:, 0] = 0.8
    for name in ("median3", "bilateral40", "nlm8"):
        red, green, blue = get_defence(name)(x).mean(dim=(0, 2, 3)).tolist()
        assert red == pytest.approx(0.8, abs=0.01) and green < 0.01 and blue < 0.01


def test_non_local_means_is_opencvs(x):
    pixels = (x[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    expected = cv2.fastNlMeansDenoisingColored(pixels, None, 8, 8, 7, 15)
    assert torch.equal((get_defence("nlm8")(x)[0] * 255).round().byte().permute(1, 2, 0), torch.from_numpy(expected))


def test_parts_of_mdda_are_parts_of_mdda(x):
    assert_close(get_defence("rof0.05")(x), rof(x, 0.05, Purifier.steps).clamp(0, 1))
    assert_close(get_defence("mdda")(x, generator()), Purifier()(x, generator()))
    other = Purifier(blocks=1, sigma=0.1)
    assert_close(get_defence("mdda", other)(x, generator()), other(x, generator()))
    for denoiser in SUITED:  # whatever the settings of ``mdda`` are
        assert get_defence(f"mdda-{denoiser}", other).function == Purifier(denoiser=denoiser)
    noise = get_defence("noise8")(torch.full((1, 3, 128, 128), 0.5), generator()) - 0.5
    assert noise.std().item() == pytest.approx(8 / 255, rel=0.02)


def test_resize_and_pad_puts_grey_around_a_smaller_picture():
    x = torch.ones(8, 3, 50, 40)
    out = get_defence("resize50")(x, generator())
    shares = (out > 0.75).float().mean(dim=(1, 2, 3))
    assert (shares >= 0.24).all() and (shares <= 1).all() and shares.unique().numel() > 1
    assert ((out - 0.5).abs().lt(1e-6) | (out > 0.5)).all()


def test_resize_and_pad_leaves_a_pixel_of_the_smallest_picture():
    for seed in range(50):
        out = get_defence("resize10")(torch.ones(1, 3, 4, 4), torch.Generator().manual_seed(seed))
        assert out.shape == (1, 3, 4, 4) and out.amax() > 0.99


def test_reading_behind_a_defence_is_classifying_what_it_gives(small_network, x):
    for name in ("none", "mdda", "jpeg30"):
        defence = get_defence(name)
        assert_close(defence.read(small_network, x, generator()), small_network(defence(x, generator())))


def test_noise_that_is_none_cannot_be_multiplied():
    with pytest.raises(ValueError, match="multiplies noise"):
        get_defence("mdda10", Purifier(denoiser="rof", sigma=0))


def test_a_gaussian_wider_than_the_picture_reaches_its_border():
    x = torch.rand(1, 3, 7, 40, generator=torch.Generator().manual_seed(0))
    assert float(get_defence("gaussian20")(x).var()) < 0.1 * float(x.var())


def test_a_vote_is_the_mean_of_the_copies_probabilities(small_network, x):
    defence, noise = get_defence("vote16"), generator()
    copies = [small_network(defence(x, noise)).softmax(dim=1) for _ in range(VOTES)]
    assert_close(defence.read(small_network, x, generator()).exp(), sum(copies) / VOTES)


def test_any_defence_that_draws_noise_may_vote(small_network, x):
    one, vote = get_defence("mdda10"), get_defence("mdda10x3")
    assert (vote.name, vote.family, vote.number, vote.copies) == ("mdda10x3", "mdda", 10, 3)
    noise = generator()
    copies = [small_network(one(x, noise)).softmax(dim=1) for _ in range(3)]
    assert_close(vote.read(small_network, x, generator()).exp(), sum(copies) / 3)
    assert vote.title == "MDDA, noise 10/255, mean of 3 draws"


def test_mdda_with_any_settings_has_a_name(x):
    defence = get_defence("mdda:scales=1,blocks=1,sigma=8,weight=0.03,coupled=falsex2")
    expected = Purifier(scales=(1.0,), blocks=1, sigma=8 / 255, weight=0.03, coupled=False)
    assert (defence.family, defence.number, defence.copies) == ("mdda", None, 2)
    assert defence.function == expected
    assert_close(defence(x, generator()), expected(x, generator()))


@pytest.mark.parametrize("name", ["jpeg30", "bits3", "median3"])
def test_where_there_is_no_gradient_the_identitys_is_taken(small_network, x, name):
    defence = get_defence(name)
    z, defended = x.clone().requires_grad_(), defence(x, generator()).requires_grad_()
    (gradient,) = torch.autograd.grad(defence.read(small_network, z, generator())[:, 0].sum(), z)
    (expected,) = torch.autograd.grad(small_network(defended)[:, 0].sum(), defended)
    assert_close(gradient, expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("magic", "no defence 'magic'"),
        ("30", "no defence"),
        ("jpeg0", "between 1 and 100"),
        ("jpeg101", "between 1 and 100"),
        ("median4", "odd number"),
        ("bits1.5", "whole one"),
        ("rof2", "between 0 and 1"),
        ("jpeg30x4", "jpeg30 is no defence that draws noise"),
        ("vote8x4", "vote8 is no defence that draws noise"),
        ("mdda:blocks=1,speed=2", "MDDA has no setting 'speed'"),
        ("mdda:blocks=two", "'two' is no value of MDDA's blocks"),
        ("mdda:coupled=yes", "'yes' is no value of MDDA's coupled"),
        ("mdda:blocks=0", "blocks must be"),
        ("mddax1", "2 to 64 copies, and not 1"),
        ("nonex4", "none is no defence that draws noise"),
    ],
)
def test_defences_that_do_not_exist_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        get_defence(name)


def test_a_name_without_number_is_the_default_and_every_value_tuned_is_possible():
    for kind, family in FAMILIES.items():
        assert get_defence(kind).name == f"{kind}{family.default:g}"
        assert family.default in family.values
        assert [get_defence(f"{kind}{value:g}").name for value in family.values] == [
            f"{kind}{v:g}" for v in family.values
        ]
