"""What enters is checked in one place, by everything that pictures enter."""

import numpy as np
import pytest
import torch

from purifier import Purifier, fgsm, mi_fgsm, pgd
from purifier.pixels import check_labels, check_pixels

GOOD = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
MEAN, STD = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
WRONG = {
    "in 0..255": (GOOD * 255, r"from .* to 25\d.*; x / 255 scales"),
    "8-bit": ((GOOD * 255).byte(), "torch.uint8; x.float\\(\\) / 255"),
    "normalised as for ImageNet": ((GOOD - MEAN) / STD, "from -.*normalisation is the classifier's own"),
    "in -1..1": (GOOD * 2 - 1, "from -.*normalisation"),
    "with a NaN": (GOOD.where(GOOD < 0.9, torch.nan), "not finite"),
    "with infinity": (GOOD.where(GOOD < 0.9, torch.inf), "not finite"),
    "with minus infinity": (GOOD.where(GOOD < 0.9, -torch.inf), "not finite"),
    "no batch": (GOOD[0], r"shape \(3, 20, 24\); x\[None\]"),
    "channels last": (GOOD.permute(0, 2, 3, 1), r"shape \(2, 20, 24, 3\); x.permute"),
    "no picture": (GOOD[:0], r"shape \(0, 3"),
    "integers": (GOOD.long(), "torch.int64"),
    "truth values": (GOOD > 0.5, "torch.bool"),
    "an array": (GOOD.numpy(), "a.* ndarray"),
    "a file's name": ("lesion.jpg", "a str"),
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
    }


@pytest.mark.parametrize("wrong", WRONG)
def test_everything_refuses_what_is_no_picture(wrong, classifier):
    x, message = WRONG[wrong]
    for name, call in everything_that_takes_pixels(classifier).items():
        with pytest.raises(ValueError, match=message):
            call(x)
            pytest.fail(f"{name} takes it")


@pytest.mark.parametrize(
    "x", [GOOD, GOOD.double(), GOOD.half(), GOOD.bfloat16(), GOOD.round(), GOOD + 1e-4 * GOOD.round()]
)
def test_pictures_pass(x):
    check_pixels(x, channels=3)


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
