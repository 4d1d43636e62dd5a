from dataclasses import replace
from html import unescape

import pytest
import torch

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import load_classifier
from purifier.pipeline import Purifier
from purifier.readings import read
from purifier.runs import ANY, Attack
from purifier.ui.controls import purifier_values
from purifier.ui.session import Session
from purifier.ui.stale import mark
from purifier.ui.updates import Update

CONTROLS = dict(
    is_live=False, method="pgd", epsilon=2, steps=20, target=ANY, attack_seed=0, knows=False,
    **purifier_values(Purifier()), seed=0, draws=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def session():
    x = torch.full((1, 3, 224, 224), 0.5)
    reading = replace(read(load_classifier(), x)[0], draws=4)
    attack = Attack(settings=AttackSettings())
    made = dict(attacked=x, attack=attack, purified=x, purified_reading=reading, purifier=Purifier())
    return Session(original=x, **made)


def marked(session, **changed):
    update = mark(session, *(CONTROLS | changed).values())
    return unescape(update.attacked_old), unescape(update.purified_old), update


def test_with_the_settings_that_it_was_made_with_nothing_is_old(session):
    assert marked(session)[2] == Update(attacked_old="", purified_old="")
    assert marked(Session(), epsilon=5)[2] == Update(attacked_old="", purified_old="")


def test_another_attack_makes_both_pictures_old_and_withdraws_report_and_theatre(session):
    attacked, purified, update = marked(session, epsilon=5, steps=7)
    assert attacked == purified and "Made with Epsilon, in 1/255: 2, Attack steps: 20; run again." in attacked
    assert update.report == "" and update.theatre == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [(dict(sigma=3.0), "Noise sigma"), (dict(draws=16), "Draws averaged: 4"), (dict(seed=1), "Noise seed: 0")],
)
def test_another_purifier_makes_the_purified_picture_old(session, changed, said):
    attacked, purified, update = marked(session, **changed)
    assert not attacked and said in purified and update.report == ""


def test_of_many_settings_the_first_three_are_named(session):
    _, purified, _ = marked(session, **purifier_values(Purifier(denoiser="rof")))
    assert "Made with Scales: 1, 1/2, 1/4, Blocks: 3, Noise sigma, in 1/255: 12, …; run again." in purified


def test_what_is_no_setting_is_left_to_the_button(session):
    assert marked_nothing(session, seed=None) and marked_nothing(session, scales=[])


def marked_nothing(session, **changed):
    return mark(session, *(CONTROLS | changed).values()) == Update()


def test_a_live_attack_is_not_old_by_being_live(session):
    live = replace(session, attack=Attack(settings=AttackSettings(method="fgsm", steps=1)))
    assert not marked(live, is_live=True)[0] and marked(live)[0]
