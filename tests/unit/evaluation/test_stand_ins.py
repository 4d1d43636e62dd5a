import pytest
import torch
from torch.testing import assert_close

from purifier import read_image
from purifier.attacks import straight_through
from purifier.defences import get_defence
from purifier.evaluation.settings import Grid
from purifier.evaluation.stand_ins import STAND_INS, stand_in_for
from tests.helpers.paths import ROOT

NAMES = ("jpeg20", "median7", "bilateral80", "nlm8")


@pytest.fixture(scope="module")
def x():
    return read_image(ROOT / "assets" / "examples" / "DF-1.png", size=96)


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_in_does_nearly_what_its_defence_does(x, name):
    defence = get_defence(name)
    defended = defence(x)
    error = (stand_in_for(defence)(x) - defended).abs().mean()
    assert error < (0.6 if name == "nlm8" else 0.4) * (defended - x).abs().mean()


def test_the_medians_stand_in_is_opencvs_median(x):
    median = get_defence("median5")
    assert_close(stand_in_for(median)(x), median(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_stand_ins_gradient_leads_uphill_where_the_defences_own_is_nothing(x, name):
    """A step along it changes what the real defence gives in the direction asked for."""
    defence, direction = get_defence(name), torch.zeros_like(x)
    direction[..., 32:64, 32:64] = 1.0  # brighter there
    z = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((straight_through(defence, stand_in_for(defence))(z) * direction).sum(), z)
    moved = (x + 8 / 255 * gradient.sign()).clamp(0, 1)
    assert ((defence(moved) - defence(x)) * direction).sum() > 0.01 * direction.sum()


def test_all_have_a_defence_of_their_name_and_other_defences_have_none():
    assert all(get_defence(kind).name for kind in STAND_INS)
    assert torch.equal(stand_in_for(get_defence("none"))(torch.ones(1)), torch.ones(1))
    with pytest.raises(ValueError, match="jpeg, median, bilateral, nlm"):
        stand_in_for(get_defence("rof0.08"))
    with pytest.raises(ValueError, match="not for 'mdda'"):
        Grid(attacks=("stand-in10",), defences=("jpeg", "mdda"))
    assert Grid(attacks=("stand-in10",), defences=("none", "jpeg"))


def test_a_quality_out_of_range_is_refused(x):
    with pytest.raises(ValueError, match="quality must lie between 1 and 100, and is 0"):
        STAND_INS["jpeg"](x, 0)
