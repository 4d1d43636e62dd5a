import re
from dataclasses import replace
from html import unescape

import pytest
import torch

from purifier.attention import grad_cam
from purifier.pictures.files import quantise, read_image
from purifier.pipeline import Purifier
from purifier.readings import mean_of, read
from purifier.runs import ANY, Attack
from purifier.texts import UserError
from purifier.ui.actions import attack, choose, purify, set_truth, use_classifier
from purifier.ui.heat import look
from purifier.ui.results import drawn
from purifier.ui.session import Session
from purifier.ui.take_away import load_settings
from purifier.ui.updates import Update
from purifier.wording.language import speaking
from purifier.wording.readings import diagnosis
from tests.helpers.paths import ROOT

EXAMPLE = ROOT / "assets" / "examples" / "MEL-1.png"
SETTINGS = (1, 8.0, 0.02, [1.0], "rof")  # blocks, sigma, weight, scales, denoiser


@pytest.fixture(scope="module")
def done(classifier):
    """A session whose purified picture alone would be read as something else than the mean of its draws."""
    x, other = (quantise(read_image(ROOT / "assets" / "examples" / f"{name}-1.png")) for name in ("MEL", "NV"))
    reading = mean_of(read(classifier, x, x, x, other))
    made = dict(attacked=other, attack=Attack(), purified=other, purified_reading=reading, purifier=Purifier())
    return Session(original=x, **made)


@pytest.fixture(scope="module")
def looking(done):
    *_, update = look(True, done)
    return update


def cards_of(update):
    return [unescape(card) for card in (update.original_card, update.attacked_card, update.purified_card)]


def overlaid(update):
    return ["lp-heat" in card for card in cards_of(update)]


def test_each_map_is_for_what_its_card_says(done, looking, classifier):
    readings = done.run.readings(classifier)
    tops = [readings[name].top for name in ("original", "attacked", "purified")]
    assert tops == ["MEL", "NV", "MEL"] and overlaid(looking) == [True] * 3 and looking.looking is True
    for (name, found), top in zip(looking.session.heat.items(), tops, strict=True):
        expected = grad_cam(classifier, done.run.pictures()[name], torch.tensor([classifier.labels.index(top)]))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    for card, top, title in zip(cards_of(looking), tops, ("Original", "Attacked", "Purified"), strict=True):
        name = diagnosis(top).lower()
        assert f"<span>for {name}</span>" in card
        assert re.search(
            rf'alt="{title} picture: the network\'s last features spoke for {name} most at \d+ % from', card
        )


def test_the_text_of_a_map_says_where_it_is_highest(done, classifier):
    heat = {name: torch.zeros(1, 1, 224, 224) for name in ("original", "attacked", "purified")}
    heat["original"][..., 56, 168] = 1
    original, attacked, _ = cards_of(drawn(replace(done, heat=heat), classifier))
    assert "most at 75 % from the left and 25 % from the top" in original
    assert "spoke nowhere for melanocytic nevus" in attacked


def test_colours_are_explained_once(looking):
    assert [card.count("Dark blue, then green, then yellow") for card in cards_of(looking)] == [1, 0, 0]


def test_only_the_pictures_that_there_are_have_a_map(done):
    *_, update = look(True, Session(original=done.original))
    assert list(update.session.heat) == ["original"] and overlaid(update) == [True, False, False]


def test_nothing_else_of_the_page_changes_and_off_is_as_before(done, looking, classifier):
    *_, off = look(False, looking.session)
    before = drawn(done, classifier)
    assert cards_of(off) == cards_of(before) and off.session.heat is None and off.looking is False
    changed = {name for name, value in vars(looking).items() if value != vars(Update())[name]}
    assert changed == {"session", "original_card", "attacked_card", "purified_card", "looking", "status"}


def new_attack(session):
    return next(attack(session, "pgd", 2, 2, ANY, 0, False))


AFTER = {
    "another picture": lambda session: choose(str(EXAMPLE), session),
    "an attack": new_attack,
    "a purification, begun": lambda session: next(purify(session, *SETTINGS, seed=0, draws=1)),
    "another classifier": lambda session: use_classifier("standard", session),
    "loaded settings": lambda session: load_settings(session.run.settings.to_json().encode(), session),
}


@pytest.mark.parametrize("happened", AFTER)
def test_maps_of_what_is_no_longer_there_are_withdrawn(looking, happened):
    update = AFTER[happened](looking.session)
    assert update.session.heat is None and update.looking is False and overlaid(update) == [False] * 3


DONE = {
    "an attack": (lambda session: attack(session, "pgd", 2, 2, ANY, 0, False), ["original", "attacked"]),
    "a purification": (
        lambda session: purify(session, *SETTINGS, seed=0, draws=1),
        ["original", "attacked", "purified"],
    ),
}


@pytest.mark.parametrize("finished", DONE)
def test_who_looked_at_maps_gets_them_of_the_new_pictures(looking, finished):
    run, there = DONE[finished]
    *_, update = run(looking.session)
    assert update.looking is True and list(update.session.heat) == there
    assert overlaid(update) == [name in there for name in ("original", "attacked", "purified")]


@pytest.mark.parametrize("finished", DONE)
def test_who_did_not_look_at_maps_gets_none(looking, finished):
    *_, update = DONE[finished][0](replace(looking.session, heat=None))
    assert update.looking is False and update.session.heat is None


def test_a_diagnosis_that_is_said_leaves_the_maps(looking, monkeypatch):
    monkeypatch.setattr("purifier.ui.heat.grad_cam", None)
    update = set_truth("MEL", looking.session)
    assert update.session.heat is looking.session.heat and update.looking is True and overlaid(update) == [True] * 3


@pytest.mark.parametrize("language", ["en", "de"])
def test_where_there_is_none_it_says_so_and_switches_off(done, monkeypatch, language):
    def refuse(*args):
        raise UserError(
            "Where {source} looks cannot be shown: its network has no convolutional feature map, as transformers have "
            "none.",
            source="hf-hub:a/b",
        )

    monkeypatch.setattr("purifier.ui.heat.grad_cam", refuse)
    with speaking(language), pytest.warns(UserWarning):
        _, update = look(True, done)
    assert ("Where hf-hub:a/b looks" if language == "en" else "Wohin hf-hub:a/b schaut") in update.status
    assert update == Update(looking=False, status=update.status)
    with pytest.warns(UserWarning):
        *_, empty = look(True, Session())
    assert "Choose a picture first" in empty.status and empty.looking is False
