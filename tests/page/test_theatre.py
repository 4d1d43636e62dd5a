import re
from dataclasses import replace
from html import unescape

import pytest
import torch

from purifier.pictures.files import quantise, to_batch
from purifier.pipeline import Purifier
from purifier.runs import Attack, mean_reading, purified_picture
from purifier.ui.controls import purifier_from
from purifier.ui.session import Session
from purifier.ui.theatre import performance, watch
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


def performed(session, classifier, purifier, seed, draws):
    """The performance of a session that ``purifier`` has purified."""
    purified = purified_picture(purifier, session.source, seed=seed)
    mean = mean_reading(classifier, purifier, session.source, draws=draws, seed=seed)
    done = replace(session, purified=purified, purified_reading=mean, purifier=purifier, seed=seed)
    return performance(done, classifier)


def test_every_step_of_every_block_and_scale_has_its_picture_and_caption(session, classifier):
    html = performed(session, classifier, purifier_from(*SETTINGS), 0, 1)
    for block in (1, 2):
        for scale in ("1", "1/2"):
            for step in ("before", "diffused", "denoised", "aggregated"):
                assert f'alt="Block {block}, scale {scale}, {step}"' in html
            assert f'alt="Block {block}, scale {scale}, what denoising removed"' in html
    assert html.count("data-caption") == 2 * 4 + 1
    assert "noise of 8/255" in html and "weight 0.02" in html
    assert f"keeps {100 * Purifier(denoiser='rof').own:.0f} % of itself" in html
    assert html.count("<figure>") == 3


def test_the_caption_is_of_the_denoiser_that_was_chosen(session, classifier):
    html = performed(session, classifier, purifier_from(*SETTINGS[:-1], "learned"), 0, 1)
    assert html.count("A network that was trained on dermoscopic pictures takes the noise away") == 2
    assert "Total-variation" not in html and "of weight" not in html
    assert "finer ones count more" in html and "finer ones" not in performed(
        session, classifier, purifier_from(*SETTINGS), 0, 1
    )


def test_every_scale_is_shown_and_how_much_noise_the_picture_gets(session, classifier):
    purifier = Purifier()
    html = performed(session, classifier, purifier, 0, 1)
    assert html.count("data-caption") == 4 * purifier.blocks + 1
    assert html.count('<th scope="row">') == purifier.blocks * len(purifier.scales)
    sigma = 255 * next(purifier.stages(session.source)).sigma.item()
    assert f"Gaussian noise of {sigma:.3g}/255 is" in html


def test_each_picture_is_wiped_against_one_that_is_there(session, classifier):
    html = performed(session, classifier, purifier_from(*SETTINGS), 0, 1)
    names = re.findall(r' id="([^"]+)"', html)
    assert len(names) == len(set(names))
    assert set(re.findall(r'data-against="([^"]+)"', html)) <= set(names)


def test_every_sign_is_explained(session, classifier):
    html = unescape(performed(session, classifier, purifier_from(*SETTINGS), 0, 1))
    explained = {"●": "the original's reading", "▲": "the attack's", "◆": "another diagnosis"}
    signs = {sign for sign in explained if f"<span>{sign} " in html or f"<br>{sign} " in html}
    assert signs and signs <= {sign for sign, words in explained.items() if words in html}
    assert ("◆" in signs) == ("another diagnosis" in html)


def test_without_an_attack_there_are_two_results(session, classifier):
    html = performed(Session(original=session.original), classifier, purifier_from(*SETTINGS), 0, 1)
    assert html.count("<figure>") == 2


def test_without_a_purified_picture_it_says_so(session):
    with pytest.raises(ValueError, match="Purify the picture first"):
        next(watch(session))


def test_it_speaks_another_language_with_the_same_ids(session, classifier):
    first = performed(session, classifier, purifier_from(*SETTINGS), 0, 1)
    with speaking("de"):
        again = performed(session, classifier, purifier_from(*SETTINGS), 0, 1)
    assert again != first and re.findall(' id="([^"]+)"', again)[:4] == re.findall(' id="([^"]+)"', first)[:4]


def test_its_last_step_invites_to_wipe(session, classifier):
    html = performed(session, classifier, purifier_from(*SETTINGS), 0, 1)
    assert "wipe it against what it was made from" in html


def test_the_result_is_the_mean_reading(session, classifier):
    purifier = purifier_from(*SETTINGS)
    mean = mean_reading(classifier, purifier, session.source, draws=4, seed=2)
    html = unescape(performed(session, classifier, purifier, 2, 4))
    result = html[html.index("lp-outcome") :]
    assert headline(mean) in result and of_draws(mean) in result
    assert "draws" not in performed(session, classifier, purifier, 2, 1)
