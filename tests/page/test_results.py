import json
from dataclasses import replace
from html import unescape

import gradio as gr
import pytest
import torch

from purifier.classifiers.classifier import MODELS
from purifier.pictures.files import quantise, read_image
from purifier.readings import Reading, read
from purifier.reports import record
from purifier.runs import ANY, Attack, attack_steps, mean_reading, purify_run
from purifier.ui.actions import attack, change_classifier, purify
from purifier.ui.controls import DRAW_CHOICES, attack_from, purifier_from
from purifier.ui.results import NOT_MEASURED, result_cards
from purifier.ui.session import Session
from purifier.ui.take_away import load_settings
from purifier.wording.language import catalogue, speaking
from purifier.wording.readings import headline, of_draws
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def session(classifier):
    x = quantise(read_image(ROOT / "assets" / "examples" / "NV-1.png"))
    attack = Attack(settings=attack_from("pgd", 2, 10))
    *_, adv = attack_steps(classifier, x, attack)
    return Session(original=x, attacked=adv, attack=attack)


def with_purified(session, x, classifier):
    """``session``, whose purification gave ``x``."""
    return replace(session, purified=x, purified_reading=read(classifier, x)[0])


def test_agreement_is_not_called_right(session, classifier):
    agreeing = with_purified(Session(original=session.original), session.original, classifier)
    assert "agree, which does not make them right" in result_cards(agreeing, classifier)
    assert "readings agree" not in result_cards(Session(original=session.original), classifier)


def test_a_changed_reading_and_its_return_are_told(session, classifier):
    assert "The readings disagree: do not trust any one of them." in result_cards(session, classifier)
    assert "disagree" in result_cards(with_purified(session, session.attacked, classifier), classifier)
    returned = unescape(result_cards(with_purified(session, session.original, classifier), classifier))
    assert "brought the original's back. It may be wrong too." in returned


def test_the_readings_stand_in_one_line_in_their_order(session, classifier):
    html = result_cards(with_purified(session, session.original, classifier), classifier)
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


SETTINGS = (1, 8.0, 0.02, [1.0], "rof")  # blocks, sigma, weight, scales, denoiser


def test_purify_reads_the_mean_of_the_draws_and_says_so(session, classifier):
    updates = list(purify(session, *SETTINGS, seed=3, draws=6))
    done, said = updates[-1].session, [update.status for update in updates]
    mean = mean_reading(classifier, purifier_from(*SETTINGS), session.attacked, draws=6, seed=3)
    assert torch.equal(done.purified_reading.probabilities, mean.probabilities)
    assert [f"draw {n} of 6" in said[1 + i] for i, n in enumerate((4, 6))] == [True, True] and "Purified." in said[3]
    html = unescape(updates[-1].results)
    of_purified = html[html.index('aria-label="Purified"') :]
    assert f"{mean.agreeing} of 6 draws alone read as" in of_purified and headline(mean) in html[: html.index("</ol>")]
    assert done.run.settings.draws == 6 and done.run.purified_reading is done.purified_reading
    *_, once = purify(session, *SETTINGS, seed=3, draws=1)
    assert "draws" not in once.results and torch.equal(once.session.purified, done.purified)


def test_a_change_drops_the_mean_reading_with_the_picture(session, classifier):
    *_, update = purify(session, *SETTINGS, seed=3, draws=4)
    *_, changed = change_classifier("standard", update.session)
    attacked = next(attack(update.session, "pgd", 2, 5, ANY, 0, False))
    begun = next(purify(update.session, *SETTINGS, seed=3, draws=4))
    for after in (changed.session, attacked.session, begun.session):
        assert after.purified is None and after.purified_reading is None and after.run.settings.purifier is None


def test_of_how_many_draws_a_reading_is(classifier):
    reading = Reading(["MEL", "NV"], torch.tensor([0.8, 0.2]), draws=4, agreeing=3)
    assert of_draws(reading).endswith("3 of 4 draws alone read as Melanoma.") and not of_draws(
        replace(reading, draws=1)
    )
    with speaking("de"):
        assert of_draws(reading).endswith("3 von 4 Ziehungen allein: Melanom.")


def test_neither_another_language_nor_a_report_reads_again(session, classifier, monkeypatch):
    *_, update = purify(session, *SETTINGS, seed=3, draws=4)
    monkeypatch.setattr("purifier.runs.mean_reading", None)
    mean = update.session.purified_reading
    with speaking("de"):
        assert unescape(of_draws(mean)) in unescape(result_cards(update.session, classifier))
    told = record(purify_run(update.session.run, classifier), classifier)["pictures"]["purified"]
    assert list(told["reading"].values()) == mean.probabilities.tolist()
    assert (told["draws"], told["agreeing"]) == (4, mean.agreeing)


def test_settings_bring_the_denoiser_back(session, classifier):
    *_, update = purify(session, *SETTINGS[:-1], "learned", seed=3, draws=1)
    assert not torch.equal(
        list(purify(session, *SETTINGS, seed=3, draws=1))[-1].session.purified, update.session.purified
    )
    settings = update.session.run.settings
    assert settings.purifier.denoiser == "learned"
    assert load_settings(settings.to_json().encode(), session).denoiser == "learned"


@pytest.mark.parametrize("draws", DRAW_CHOICES)
def test_settings_bring_the_draws_back(session, classifier, draws):
    *_, update = purify(session, *SETTINGS, seed=3, draws=draws)
    settings = update.session.run.settings
    assert load_settings(settings.to_json().encode(), session).draws == draws
    with pytest.raises(ValueError, match="no controls for"):
        load_settings(replace(settings, draws=5).to_json().encode(), session)
    assert load_settings(replace(settings, purifier=None).to_json().encode(), session).draws == gr.skip()
