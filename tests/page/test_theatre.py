import re
from html import unescape

import gradio as gr
import pytest
import torch

from purifier.pictures.files import quantise, to_batch
from purifier.pipeline import Purifier
from purifier.runs import Attack, mean_reading
from purifier.ui.controls import purifier_from
from purifier.ui.session import Session
from purifier.ui.tabs.theatre import HINT, perform, performance
from purifier.wording.language import speaking
from purifier.wording.readings import headline, of_draws
from tests.helpers.pictures import lesion_like

SETTINGS = (2, 8.0, 0.02, [1, 0.5], "rof")  # blocks, sigma, weight, scales, denoiser


@pytest.fixture(scope="module")
def session():
    x = quantise(to_batch(lesion_like(3, 224)))
    generator = torch.Generator().manual_seed(0)
    adv = quantise(x + 4 / 255 * (2 * torch.rand(x.shape, generator=generator) - 1))
    return Session(original=x, attacked=adv, attack=Attack())


def test_every_step_of_every_block_and_scale_has_its_picture_and_caption(session, classifier):
    html = performance(session, classifier, purifier_from(*SETTINGS), 0, 1)
    for block in (1, 2):
        for scale in ("1", "1/2"):
            for step in ("before", "diffused", "denoised", "aggregated"):
                assert f'alt="Block {block}, scale {scale}, {step}"' in html
            assert f'alt="Block {block}, scale {scale}, what denoising removed"' in html
    assert html.count("data-caption") == 2 * 4 + 1
    assert "noise of 8/255" in html and "weight 0.02" in html
    assert f"keeps {100 * Purifier().own:.0f} % of itself" in html
    assert html.count("<figure>") == 3


def test_the_caption_is_of_the_denoiser_that_was_chosen(session, classifier):
    html = performance(session, classifier, purifier_from(*SETTINGS[:-1], "learned"), 0, 1)
    assert html.count("A network that was trained on dermoscopic pictures takes the noise away") == 2
    assert "Total-variation" not in html and "of weight" not in html


def test_each_picture_is_wiped_against_one_that_is_there(session, classifier):
    html = performance(session, classifier, purifier_from(*SETTINGS), 0, 1)
    names = re.findall(r' id="([^"]+)"', html)
    assert len(names) == len(set(names))
    assert set(re.findall(r'data-against="([^"]+)"', html)) <= set(names)


def test_without_an_attack_there_are_two_results(session, classifier):
    html = performance(Session(original=session.original), classifier, purifier_from(*SETTINGS), 0, 1)
    assert html.count("<figure>") == 2


def test_the_same_performance_is_not_given_twice(session):
    *_, (first, shown) = perform(session, None, *SETTINGS, 0, 1)
    assert "lp-theatre" in first
    *_, (again, same) = perform(session, shown, *SETTINGS, 0, 1)
    assert again == gr.skip() and same == shown
    *_, (other, _) = perform(session, shown, *SETTINGS, 1, 1)
    assert "lp-theatre" in other and other != first


def test_without_a_picture_it_says_where_to_choose_one():
    assert list(perform(Session(), None, *SETTINGS, 0, 1)) == [(HINT, None)]


def test_it_is_given_again_in_another_language(session):
    *_, (first, shown) = perform(session, None, *SETTINGS, 0, 1)
    with speaking("de"):
        *_, (again, _) = perform(session, shown, *SETTINGS, 0, 1)
    assert "lp-theatre" in again and again != first
    assert re.findall(' id="([^"]+)"', again)[:4] == re.findall(' id="([^"]+)"', first)[:4]


def test_the_result_is_the_mean_reading(session, classifier):
    purifier = purifier_from(*SETTINGS)
    mean = mean_reading(classifier, purifier, session.source, draws=4, seed=2)
    html = unescape(performance(session, classifier, purifier, 2, 4))
    result = html[html.index("lp-outcome") :]
    assert headline(mean) in result and of_draws(mean) in result
    assert "draws" not in performance(session, classifier, purifier, 2, 1)
