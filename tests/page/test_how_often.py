import base64
import re

import pytest
import torch
from purifier.ui.tabs.compare import compare
from purifier.ui.tabs.how_often import certified, how_often

from purifier.classifiers.classifier import load_classifier
from purifier.pictures.files import read_image
from purifier.pipeline import Purifier
from purifier.runs import AT_ONCE, Attack, attack_steps, purified_readings
from purifier.ui.controls import DRAWS, attack_from
from purifier.ui.session import Session
from purifier.wording.language import catalogue, speaking
from tests.helpers.paths import ROOT

SETTINGS = (2, 8, 0.02, [1.0, 0.5], "rof")  # blocks, sigma, weight, scales, denoiser


@pytest.fixture(scope="module")
def session():
    x = read_image(ROOT / "assets" / "examples" / "NV-1.png")
    attack = Attack(settings=attack_from("pgd", 2, 10))
    *_, adv = attack_steps(load_classifier(), x, attack)
    return Session(original=x, attacked=adv, attack=attack)


def test_draws_differ_and_are_always_the_same_ones(session):
    classifier, purifier = load_classifier(), Purifier(denoiser="rof", sigma=60 / 255, weight=0.0)
    twice = [
        [r.top for some in purified_readings(classifier, purifier, session.attacked, draws=10) for r in some]
        for _ in range(2)
    ]
    assert len(twice[0]) == 10 and twice[0] == twice[1] and len(set(twice[0])) > 1


def test_each_yield_holds_all_that_was_drawn_so_far(session):
    said = [text for _, text in how_often(session, DRAWS.low, *SETTINGS)]
    steps = 2 * -(-DRAWS.low // AT_ONCE)
    assert len(said) == steps and f"{2 * DRAWS.low} of {2 * DRAWS.low} times, done." in said[-1]
    only = list(how_often(Session(original=session.original), DRAWS.low, *SETTINGS))
    assert "attacked picture" not in only[-1][0] and "which nobody attacked" in only[-1][0]


def test_a_radius_is_certified_or_it_abstains(session):
    *_, (text, _) = certified(session, 16, 50, *SETTINGS)
    assert "of 50 noisy draws" in text or "it abstains" in text


def test_settings_out_of_range_are_answered(session):
    with pytest.raises(ValueError, match="Purifications of each picture must be a number from 8 to 400"):
        next(how_often(session, 7, *SETTINGS))
    with pytest.raises(ValueError, match="Smoothing noise"):
        next(certified(session, 0, 100, *SETTINGS))
    with pytest.raises(ValueError, match="Draws must be"):
        next(compare(session, 0, *SETTINGS))


def test_a_defence_that_does_nothing_reads_what_the_attack_made_of_it(session):
    table, _, _ = next(compare(session, 1, *SETTINGS))
    (row,) = table["data"]
    reading = load_classifier().probabilities(session.attacked).argmax()
    original = load_classifier().probabilities(session.original).argmax()
    assert row[1] == "nothing" and row[3] == (100 if reading == original else 0)
    assert row[6] == pytest.approx(1, abs=0.1) and torch.isfinite(torch.tensor(row[5]))


def test_the_table_is_translated_and_its_file_is_not(session, monkeypatch):
    for text, translated in {"Defence": "Abwehr", "nothing": "nichts", "After {defence}": "Nach {defence}"}.items():
        monkeypatch.setitem(catalogue("de"), text, translated)
    with speaking("de"):
        table, link, _ = next(compare(session, 1, *SETTINGS))
    assert table["headers"][1] == "Abwehr" and table["data"][0][1] == "nichts"
    assert 'alt="Nach nichts"' in table["data"][0][0]
    rows = base64.b64decode(re.search('base64,([^"]+)', link)[1]).decode().splitlines()
    assert rows[0].startswith("defence,read_as") and rows[1].startswith("nothing,")
