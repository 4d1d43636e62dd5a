import pytest
import torch

from purifier.evaluation.plots import plot_tradeoff
from purifier.figures import heat_colours, signed_colours, spectrum
from purifier.results.plots import plot_tradeoffs
from tests.helpers.records import record


def test_a_wave_is_found_at_its_frequency():
    columns = torch.arange(64) / 64
    wave = 0.1 * torch.cos(2 * torch.pi * 8 * columns).expand(1, 3, 64, 64)
    frequencies, strength = spectrum(wave)
    assert frequencies[strength.argmax()] == pytest.approx(8, rel=0.15)
    assert strength.max() == pytest.approx(0.1 / 2**0.5, rel=1e-5)  # the root mean square of a wave


def test_the_bands_hold_all_of_the_energy_but_the_mean_s():
    x = torch.randn(1, 3, 37, 53, generator=torch.Generator().manual_seed(0)) + 2
    _, strength = spectrum(x)
    assert (strength**2).sum() == pytest.approx(x.var(dim=(2, 3), correction=0).mean().item(), rel=1e-5)


def test_signs_have_their_colours_and_zero_is_white():
    colours = signed_colours(torch.tensor([[[[-1.0, 0.0, 1.0, 9.0]]]]), 1.0)
    violet, white, orange, beyond = colours[0, :, 0].T
    assert violet[2] > violet[0] and orange[0] > orange[2]
    assert (white > 0.95).all() and torch.equal(orange, beyond)
    assert colours.shape == (1, 3, 1, 4)


def test_heat_grows_brighter_all_the_way():
    colours = heat_colours(torch.linspace(0, 1, 9).reshape(1, 1, 1, 9))
    luminance = (colours[0, :, 0] * torch.tensor([0.2126, 0.7152, 0.0722])[:, None]).sum(dim=0)
    assert colours.shape == (1, 3, 1, 9) and (luminance.diff() > 0).all()


def test_a_family_s_line_joins_the_settings_that_none_of_it_beats_at_both():
    points = [("mdda", 0.8, 0.4), ("mdda", 0.7, 0.6), ("mdda", 0.65, 0.5), ("jpeg", 0.7, 0.5)]
    axis = plot_tradeoff(points, "attacked").axes[0]
    lines = {line.get_label(): line.get_xydata().tolist() for line in axis.lines}
    assert lines["mdda"] == [[0.7, 0.6], [0.8, 0.4]] and lines["jpeg"] == [[0.7, 0.5]]


def test_a_run_with_one_mdda_has_no_tradeoff_to_show():
    one = [record("mdda", "none", accuracy=0.7), record("mdda", accuracy=0.6)]
    assert plot_tradeoffs(one) == {}
    two = one + [record("mdda8", "none", accuracy=0.8), record("mdda8", accuracy=0.5)]
    assert list(plot_tradeoffs(two)) == ["tradeoff-pgd20-2"]
