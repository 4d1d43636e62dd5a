import json
from copy import copy
from dataclasses import replace
from html import unescape

import gradio as gr
import pytest
import torch

from purifier.classifiers.classifier import MODELS, AlarmCalibration
from purifier.pictures.files import quantise, read_image
from purifier.pipeline import Purifier
from purifier.readings import Reading, is_malignant, read
from purifier.reports import record
from purifier.runs import ANY, Attack, attack_steps, mean_reading, purify_run
from purifier.ui.actions import attack, change_classifier, purify, set_truth, use_classifier
from purifier.ui.controls import DRAW_CHOICES, attack_from, purifier_from
from purifier.ui.results import NOT_MEASURED, drawn
from purifier.ui.session import Session
from purifier.ui.take_away import load_settings
from purifier.ui.updates import Update
from purifier.wording.language import catalogue, speaking
from purifier.wording.readings import headline, of_draws
from tests.helpers.paths import ROOT


@pytest.fixture(scope="module")
def session(classifier):
    x = quantise(read_image(ROOT / "assets" / "examples" / "NV-1.png"))
    attack = Attack(settings=attack_from("pgd", 2, 10))
    *_, adv = attack_steps(classifier, x, attack)
    return Session(original=x, attacked=adv, attack=attack)


def shown(session, classifier):
    """All that is drawn of a session, as text."""
    update = drawn(session, classifier)
    parts = (update.verdict, update.original_card, update.attacked_card, update.purified_card, update.about)
    return unescape("".join(parts))


def with_purified(session, x, classifier):
    """``session``, whose purification gave ``x``."""
    return replace(session, purified=x, purified_reading=read(classifier, x)[0])


def cards_of(update):
    return update.original_card, update.attacked_card, update.purified_card


def test_agreement_is_not_called_right(session, classifier):
    agreeing = with_purified(Session(original=session.original), session.original, classifier)
    assert "agree, which does not make them right" in shown(agreeing, classifier)
    assert "readings agree" not in shown(Session(original=session.original), classifier)


def test_the_purified_card_says_whether_the_picture_looks_attacked_where_that_was_measured(session, classifier):
    done = replace(with_purified(session, session.original, classifier), purifier=Purifier())
    assert "looks attacked" not in drawn(done, classifier).purified_card
    measured = copy(classifier)
    scores = tuple(k / 1000 for k in range(99))
    alarm = AlarmCalibration(purifier=Purifier(), draws=1, weights="", scores=scores)
    measured.calibration = replace(classifier.calibration, alarm=alarm)
    said = "What was purified looks attacked; so do 1.0\N{NO-BREAK SPACE}% of clean pictures."
    assert said in drawn(done, measured).purified_card


def test_a_changed_reading_and_its_return_are_told(session, classifier):
    assert "The readings disagree: do not trust any one of them." in shown(session, classifier)
    assert "disagree" in shown(with_purified(session, session.attacked, classifier), classifier)
    returned = unescape(shown(with_purified(session, session.original, classifier), classifier))
    assert "brought the original's back. It may be wrong too." in returned


def test_each_card_has_a_reading_one_bar_and_every_diagnosis_folded_away(session, classifier):
    update = drawn(with_purified(session, session.original, classifier), classifier)
    for card in (update.original_card, update.attacked_card, update.purified_card):
        assert card.count("lp-headline") == 1 and card.count("lp-together") == 1
        before, folded = card.split("<details>")
        assert "<table" not in before and folded.count("<tr") == 8
    assert update.original_card.count("<img") == update.purified_card.count("<img") == 1
    assert update.attacked_card.count("<img") == 3  # and what was added, alone and on the lesion
    assert "do not diagnose from it" in update.purified_card


@pytest.mark.parametrize(
    ("truth", "pictures", "said"),
    [
        ("NV", "xa", "hid the right reading: Melanocytic nevus."),
        ("NV", "xax", "Purification brought the right reading back."),
        ("NV", "xaa", "Purification did not help."),
        ("NV", "x-a", "Purification broke a right reading."),
        ("NV", "x-x", "Purification kept the right reading."),
        ("NV", "xx", "The attack did not change the right reading."),
        ("NV", "x", "The classifier reads it rightly."),
        ("VASC", "xax", "The classifier was wrong before anyone attacked."),
    ],
)
def test_where_the_truth_is_known_the_verdict_is_a_fact(session, classifier, truth, pictures, said):
    known = {"x": session.original, "a": session.attacked, "-": None}
    original, attacked, purified = (known[name] for name in pictures.ljust(3, "-"))
    found = replace(session, truth=truth, original=original, attacked=attacked)
    found = found if purified is None else with_purified(found, purified, classifier)
    update = drawn(found, classifier)
    assert said in update.verdict and "disagree" not in update.verdict
    marks = [card.count("&#10003; right") - card.count("&#9888; wrong") for card in cards_of(update)]
    right = {"x": 1 if truth == "NV" else -1, "a": -1, "-": 0}
    assert marks == [right[name] for name in pictures.ljust(3, "-")]


def test_a_melanoma_that_was_hidden_is_called_so(session, classifier):
    x = quantise(read_image(ROOT / "assets" / "examples" / "MEL-1.png"))
    melanoma = replace(session, original=x, truth="MEL")
    assert read(classifier, x)[0].top == "MEL"
    verdict = drawn(melanoma, classifier).verdict
    is_cancer = is_malignant(read(classifier, session.attacked)[0].top)
    assert ("hid the right reading: Melanoma" if is_cancer else "The attack hid a melanoma.") in verdict


def test_a_reading_that_the_attack_made_right_is_no_success_of_the_attacker(session, classifier):
    truth = read(classifier, session.attacked)[0].top
    update = drawn(replace(session, truth=truth), classifier)
    assert "wrong before anyone attacked" in update.verdict and "right" in update.attacked_card
    assert "wrong" not in update.attacked_card and "changed" not in update.attacked_card


def test_how_often_melanomas_are_recognised_stands_beside_melanoma_and_nevus_only(session, classifier):
    update = drawn(session, classifier)
    assert read(classifier, session.attacked)[0].top not in ("MEL", "NV")
    assert "of melanomas that" in update.original_card and "of melanomas that" not in update.attacked_card


def test_the_truth_is_said_and_taken_back_without_a_new_run(session, classifier):
    purified = with_purified(session, session.original, classifier)
    update = set_truth("NV", purified)
    assert update.session.truth == "NV" and "back" in update.verdict and update.session.purified is purified.purified
    assert set_truth("", update.session).session.truth is None
    assert set_truth("NV", update.session) == Update()


def test_the_same_classifier_again_changes_nothing(session, classifier):
    purified = with_purified(session, session.original, classifier)
    *_, update = change_classifier(purified.classifier, purified)
    assert update == Update(classifier=purified.classifier, status=update.status)


def test_how_often_the_classifier_is_right_stands_under_its_readings(session, classifier):
    clean = json.loads((MODELS / "augmented" / "metrics.json").read_text(encoding="utf-8"))["clean"]
    html = shown(session, classifier)
    assert f"Of {clean['recall']['MEL']['images']} melanomas" in html
    assert f"<b>{100 * clean['recall']['MEL']['value']:.0f} %" in html
    assert NOT_MEASURED in shown(replace(session, classifier="hf-hub:somebody/something"), classifier)


def test_an_attack_made_on_another_classifier_is_marked(session, classifier):
    assert "Made on" not in shown(session, classifier)
    assert "Made on surrogate." in shown(replace(session, attack=Attack(classifier="surrogate")), classifier)


def test_a_target_that_is_reached_already_is_refused(session, classifier):
    label = classifier.labels[int(classifier(session.original).argmax())]
    with pytest.raises(ValueError, match="is read as melanocytic nevus already: choose another target"):
        next(attack(session, "pgd", 2, 5, label, 0, False))
    assert torch.equal(next(attack(session, "pgd", 2, 5, ANY, 0, False)).session.original, session.original)


def test_pictures_are_named_in_the_language_spoken(session, classifier, monkeypatch):
    monkeypatch.setitem(catalogue("de"), "Attacked", "Angegriffen")
    with speaking("de"):
        html = shown(session, classifier)
    assert "<b>Angegriffen</b>" in html and 'aria-label="Angegriffen"' in html and "Attacked" not in html
    assert 'id="lp-card-attacked"' in html


SETTINGS = (1, 8.0, 0.02, [1.0], "rof")  # blocks, sigma, weight, scales, denoiser


def test_purify_reads_the_mean_of_the_draws_and_says_so(session, classifier):
    updates = list(purify(session, *SETTINGS, seed=3, draws=6))
    done, said = updates[-1].session, [update.status for update in updates]
    mean = mean_reading(classifier, purifier_from(*SETTINGS), session.attacked, draws=6, seed=3)
    assert torch.equal(done.purified_reading.probabilities, mean.probabilities)
    assert [f"draw {n} of 6" in said[i] for i, n in enumerate((1, 4, 6))] == [True] * 3 and "Purified." in said[3]
    of_purified = unescape(updates[-1].purified_card)
    assert f"{mean.agreeing} of 6 draws alone read as" in of_purified
    assert headline(mean).replace(" %", "\N{NO-BREAK SPACE}%") in of_purified
    assert done.run.settings.draws == 6 and done.run.purified_reading is done.purified_reading
    *_, once = purify(session, *SETTINGS, seed=3, draws=1)
    assert "draws" not in once.purified_card and torch.equal(once.session.purified, done.purified)


def test_a_change_drops_the_mean_reading_with_the_picture(session, classifier):
    *_, update = purify(session, *SETTINGS, seed=3, draws=4)
    changed = use_classifier("standard", update.session)
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
        assert unescape(of_draws(mean)) in unescape(shown(update.session, classifier))
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


def test_the_settings_of_a_stopped_attack_are_loaded_and_where_it_was_stopped_is_said(session):
    stopped = replace(session.attack, stopped_after=2)
    update = load_settings(replace(session.run.settings, attack=stopped).to_json().encode(), session)
    steps = session.attack.settings.steps
    assert f"stopped after 2 of {steps} steps" in update.report_status and update.steps == steps
