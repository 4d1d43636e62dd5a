"""What enters is checked in one place, by everything that pictures enter."""

from inspect import getmembers, isfunction

import numpy as np
import pytest
import torch

import purifier
from purifier import Purifier, attacks, denoise, denoiser, diffusion, fgsm, mi_fgsm, pgd, pipeline, pyramid, smoothing
from purifier.defences import FAMILIES, get_defence
from purifier.pictures import files
from purifier.pixels import check_finite, check_labels, check_pixels
from purifier.readings import distance
from purifier.seeds import split_generator

GOOD = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
MEAN, STD = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
WRONG = {
    "in 0..255": (GOOD * 255, r"from .* to 25\d.*; x / 255 scales pixels of 8 bits\.$"),
    "in 0..1.5, from black": (1.5 * (GOOD - GOOD.min()), r"from 0 to 1\.\d+; x / 255 scales"),
    "8-bit": ((GOOD * 255).byte(), "torch.uint8; x.float\\(\\) / 255"),
    "normalised as for ImageNet": ((GOOD - MEAN) / STD, "from -.*normalisation is the classifier's own"),
    "in -1..1": (GOOD * 2 - 1, r"from -.*; normalisation is the classifier's own business\.$"),
    "with a NaN": (GOOD.where(GOOD < 0.9, torch.nan), "not finite"),
    "with infinity": (GOOD.where(GOOD < 0.9, torch.inf), "not finite"),
    "with minus infinity": (GOOD.where(GOOD < 0.9, -torch.inf), "not finite"),
    "no batch": (GOOD[0], r"shape \(3, 20, 24\); x\[None\]"),
    "channels last": (GOOD.permute(0, 2, 3, 1), r"shape \(2, 20, 24, 3\); x.permute"),
    "channels last, grey": (GOOD[:, :1].permute(0, 2, 3, 1), r"shape \(2, 20, 24, 1\); x.permute"),
    "no picture": (GOOD[:0], r"shape \(0, 3, 20, 24\)\.$"),
    "integers": (GOOD.long(), r"torch\.int64\.$"),
    "truth values": (GOOD > 0.5, "torch.bool"),
    "an array": (GOOD.numpy(), "a.* ndarray"),
    "a file's name": (
        "lesion.jpg",
        r"a float tensor \(B, [C3], H, W\) in \[0, 1\], as read_image gives, and got a str\.$",
    ),
}


def everything_that_takes_pixels(classifier):
    y = torch.zeros(2, dtype=torch.int64)
    small = dict(eps=2 / 255, step=1 / 255, steps=1)
    return {
        "pgd": lambda x: pgd(lambda z: z.mean((2, 3)), x, y, **small),
        "mi_fgsm": lambda x: mi_fgsm(lambda z: z.mean((2, 3)), x, y, **small),
        "fgsm": lambda x: fgsm(lambda z: z.mean((2, 3)), x, y, eps=2 / 255),
        "Purifier": Purifier(),
        "stages": lambda x: next(Purifier().stages(x)),
        "classifier": classifier,
        "probabilities": classifier.probabilities,
        "distance": classifier.distance,
        "stage_means": classifier.stage_means,
        **{name: get_defence(name) for name in ("none", "mdda", *FAMILIES)},
        "read": lambda x: get_defence("noise").read(lambda z: z.mean((2, 3)), x),
        "with_logits": lambda x: get_defence("noise").with_logits(lambda z: z.mean((2, 3)), x),
    }


@pytest.mark.parametrize("wrong", WRONG)
def test_everything_refuses_what_is_no_picture(wrong, classifier):
    x, message = WRONG[wrong]
    for name, call in everything_that_takes_pixels(classifier).items():
        with pytest.raises(ValueError, match=message):
            call(x)
            pytest.fail(f"{name} takes it")


Y, STEPS = torch.zeros(2, dtype=torch.int64), dict(eps=0.1, step=0.1, steps=2)
NONE_OF_ITS_OWN = {"cross_entropy", "identity", "straight_through"}  # of logits, or what a caller's function gives


def brightness(x):
    return x.mean((2, 3))


def everything_that_takes_numbers():
    """By name, what pictures go into that may have noise on them, or that are shown."""
    return {
        "resample": lambda x: pyramid.resample(x, x.shape[-2:]),
        "build_pyramid": lambda x: torch.stack(pyramid.build_pyramid(x, (1,))),
        "as_seen_by": lambda x: pyramid.as_seen_by(x, pyramid.resample(GOOD, (16, 16)), bands=True),
        "merge_pyramid": lambda x: pyramid.merge_pyramid([GOOD, x], (20, 24)),
        "grad": denoise.grad,
        "div": lambda x: denoise.div(torch.stack([x, x])),
        "total_variation": denoise.total_variation,
        "rof": lambda x: denoise.rof(x, 0),
        "denoise": lambda x: denoiser.denoise(x, 0.1),
        "diffuse": lambda x: diffusion.diffuse(x, 0, split_generator(None, 2)),
        "noise_level": diffusion.noise_level,
        "blurred": lambda x: pipeline.blurred(x, 1.0, 3),
        "aggregate": lambda x: torch.stack(pipeline.aggregate([x], own=1)),
        "loss_gradient": lambda x: attacks.loss_gradient(brightness, x, Y),
        "fgsm": lambda x: fgsm(brightness, x, Y, eps=0.1),
        "pgd": lambda x: pgd(brightness, x, Y, **STEPS),
        "mi_fgsm": lambda x: mi_fgsm(brightness, x, Y, **STEPS),
        "to_picture": lambda x: files.to_picture(x[:1]),
        "to_png": lambda x: files.to_png(x[:1]),
        "quantise": files.quantise,
        "noisy_counts": lambda x: next(
            smoothing.noisy_counts(brightness, x[:1], sigma=0.1, samples=1, generator=torch.Generator())
        ),
        "apart": lambda x: distance(x, GOOD),
    }


def test_no_function_of_the_method_is_forgotten():
    """Nor what ``from purifier import`` offers besides the classes, of which other tests hold the methods."""
    modules = (attacks, denoise, denoiser, diffusion, pipeline, pyramid)
    public = {
        name for module in modules for name, f in getmembers(module, isfunction) if f.__module__ == module.__name__
    }
    offered = {name for name in purifier.__all__ if isfunction(getattr(purifier, name))}
    take_none = {"load_classifier", "read_image", "bundled_denoiser", "digest_of_weights", "size_at", "pgd_step"}
    take_none |= {"multiplies_bfloat16"}
    named = {name for name in public | offered if not name.startswith("_")}
    assert named - NONE_OF_ITS_OWN - take_none <= set(everything_that_takes_numbers())


@pytest.mark.parametrize(("y", "what"), [([0, 1], "a list"), (1, "an int"), (np.zeros(2), "a ndarray")])
def test_what_are_no_labels_is_told(y, what):
    with pytest.raises(ValueError, match=rf"^Expected labels as an int64 tensor \(B,\), and got {what}\.$"):
        check_labels(y, 2)


def test_a_purifier_takes_three_channels():
    for call in (Purifier(), lambda x: next(Purifier().stages(x))):
        with pytest.raises(ValueError, match=r"a float tensor \(B, 3, H, W\)"):
            call(GOOD[:, :1])


@pytest.mark.parametrize("name", everything_that_takes_numbers())
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_what_is_not_finite_is_refused(name, value):
    call, x = everything_that_takes_numbers()[name], GOOD.clone()
    call(x)
    x[0, 1, 3, 5] = value
    with pytest.raises(ValueError, match="finite"):
        call(x)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("weight", lambda value: denoise.rof(GOOD, value)),
        ("sigma", lambda value: diffusion.diffuse(GOOD, value, split_generator(None, 2))),
        ("sigma", lambda value: diffusion.diffuse(GOOD, torch.tensor(value), split_generator(None, 2))),
        ("sigma", lambda value: denoiser.denoise(GOOD, value)),
        ("own", lambda value: pipeline.aggregate([GOOD, GOOD], own=value)),
        ("shares", lambda value: pyramid.merge_pyramid([GOOD, GOOD], (20, 24), shares=(1, value))),
        ("eps", lambda value: pgd(brightness, GOOD, Y, **STEPS | {"eps": value})),
        ("step", lambda value: pgd(brightness, GOOD, Y, **STEPS | {"step": value})),
        ("decay", lambda value: mi_fgsm(brightness, GOOD, Y, **STEPS, decay=value)),
    ],
)
def test_neither_is_a_setting(name, call, value):
    with pytest.raises(ValueError, match=name):
        call(value)


@pytest.mark.parametrize(
    "x",
    [
        GOOD,
        GOOD.double(),
        GOOD.half(),
        torch.ones(1, 3, 224, 224).half(),
        GOOD.bfloat16(),
        GOOD.round(),
        GOOD + 1e-4 * GOOD.round(),
    ],
)
def test_pictures_pass(x):
    check_pixels(x, channels=3)
    check_finite(x=x)


def test_a_picture_of_another_number_of_channels_passes_where_any_will_do():
    check_pixels(GOOD[:, :1])
    with pytest.raises(ValueError, match=r"\(B, 3, H, W\).*shape \(2, 1, 20, 24\)"):
        check_pixels(GOOD[:, :1], channels=3)


@pytest.mark.parametrize(
    "y", [torch.zeros(3, dtype=torch.int64), torch.zeros(2), torch.zeros(2, 1, dtype=torch.int64), [0, 1], np.zeros(2)]
)
def test_labels_are_a_whole_number_for_each_picture(y):
    check_labels(torch.zeros(2, dtype=torch.int64), 2)
    with pytest.raises(ValueError, match="Expected labels"):
        pgd(lambda z: z.mean((2, 3)), GOOD, y, eps=0.1, step=0.1, steps=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_ends_the_attack(norm, value):
    y = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="gradient is not finite"):
        pgd(lambda z: z.mean((2, 3)) * value, GOOD, y, eps=0.1, step=0.1, steps=1, norm=norm)
    with pytest.raises(ValueError, match="gradient is not finite"):
        mi_fgsm(lambda z: z.mean((2, 3)) * value, GOOD, y, eps=0.1, step=0.1, steps=1)


def test_an_epsilon_in_levels_is_told_from_one_in_the_pixels_unit():
    y = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match="write 8 / 255 for 8 levels"):
        fgsm(lambda z: z.mean((2, 3)), GOOD, y, eps=8)
    with pytest.raises(ValueError, match="steps must be at least 0 and a whole number, and is 2.5"):
        pgd(lambda z: z.mean((2, 3)), GOOD, y, eps=0.1, step=0.1, steps=2.5)
