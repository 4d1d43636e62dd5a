import numpy as np
import torch
from torch.testing import assert_close

from purifier.ui.plots import plot_spectrum
from purifier.ui.view import drawing
from purifier.wording.language import catalogue, speaking


def test_every_difference_has_its_line():
    x = torch.rand(1, 3, 32, 32)
    axis = plot_spectrum({"added": x, "left": x / 4}).axes[0]
    added, left = (line.get_ydata() for line in axis.lines)
    assert_close(torch.tensor(np.asarray(added)), 4 * torch.tensor(np.asarray(left)))


def test_the_words_of_a_plot_are_translated(monkeypatch):
    monkeypatch.setitem(catalogue("de"), "cycles a picture", "Schwingungen je Bild")
    with speaking("de"):
        svg = drawing(plot_spectrum({"difference": torch.rand(1, 3, 16, 16)}))
    assert "Schwingungen je Bild" in svg and "cycles a picture" not in svg


def test_a_plot_s_words_may_be_in_any_script(monkeypatch):
    monkeypatch.setitem(catalogue("zh"), "cycles a picture", "每幅图像的周期数")
    with speaking("zh"):
        assert "每幅图像的周期数" in drawing(plot_spectrum({"difference": torch.rand(1, 3, 16, 16)}))
