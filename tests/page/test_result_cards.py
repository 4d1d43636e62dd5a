import json
from dataclasses import replace
from html import unescape

import pytest
import torch

from purifier.classifiers.classifier import MODELS
from purifier.pictures.files import quantise, read_image
from purifier.runs import ANY, Attack, attack_steps
from purifier.ui.actions import attack
from purifier.ui.controls import attack_from
from purifier.ui.results import NOT_MEASURED, result_cards
from purifier.ui.session import Session
from purifier.wording.language import catalogue, speaking
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def session(classifier):
    x = quantise(read_image(ROOT / "assets" / "examples" / "NV-1.png"))
    attack = Attack(settings=attack_from("pgd", 2, 10))
    *_, adv = attack_steps(classifier, x, attack)
    return Session(original=x, attacked=adv, attack=attack)


def test_agreement_is_not_called_right(session, classifier):
    agreeing = Session(original=session.original, purified=session.original)
    assert "agree, which does not make them right" in result_cards(agreeing, classifier)
    assert "readings agree" not in result_cards(Session(original=session.original), classifier)


def test_a_changed_reading_and_its_return_are_told(session, classifier):
    assert "The readings disagree: do not trust any one of them." in result_cards(session, classifier)
    assert "disagree" in result_cards(replace(session, purified=session.attacked), classifier)
    returned = unescape(result_cards(replace(session, purified=session.original), classifier))
    assert "brought the original's back. It may be wrong too." in returned


def test_the_readings_stand_in_one_line_in_their_order(session, classifier):
    html = result_cards(replace(session, purified=session.original), classifier)
    line = html[: html.index("</ol>")]
    assert line.index("Original") < line.index("Attacked") < line.index("Purified")
    assert line.count("&#9679; Melanocytic nevus") == 2 and "&#9650; " in line


def test_how_often_the_classifier_is_right_stands_under_its_readings(session, classifier):
    clean = json.loads((MODELS / "augmented" / "metrics.json").read_text(encoding="utf-8"))["clean"]
    html = result_cards(session, classifier)
    assert f"Of {clean['recall']['MEL']['images']} melanomas" in html
    assert f"<b>{100 * clean['recall']['MEL']['value']:.0f} %" in html
    assert NOT_MEASURED in result_cards(replace(session, classifier="hf-hub:somebody/something"), classifier)


def test_an_attack_made_on_another_classifier_is_marked(session, classifier):
    assert "Made on" not in result_cards(session, classifier)
    assert "Made on surrogate." in result_cards(replace(session, attack=Attack(classifier="surrogate")), classifier)


def test_a_target_that_is_reached_already_is_refused(session, classifier):
    label = classifier.labels[int(classifier(session.original).argmax())]
    with pytest.raises(ValueError, match="is read as melanocytic nevus already: choose another target"):
        next(attack(session, "pgd", 2, 5, label, 0, False))
    assert torch.equal(next(attack(session, "pgd", 2, 5, ANY, 0, False)).session.original, session.original)


def test_pictures_are_named_in_the_language_spoken(session, classifier, monkeypatch):
    monkeypatch.setitem(catalogue("de"), "Attacked", "Angegriffen")
    with speaking("de"):
        html = result_cards(session, classifier)
    assert "<small>Angegriffen</small>" in html and 'aria-label="Angegriffen"' in html and "Attacked" not in html
    assert 'id="lp-card-attacked"' in html
