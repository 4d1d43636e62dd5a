import json
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from purifier.attacks import AttackSettings
from purifier.files import ASSETS
from purifier.pictures.files import quantise, read_image, to_batch
from purifier.pipeline import Purifier
from purifier.readings import read
from purifier.runs import (
    ANY,
    AT_ONCE,
    MOST_DRAWS,
    Attack,
    Settings,
    hash_of,
    mean_reading,
    purified_draws,
    purified_picture,
    purified_readings,
    run,
)
from purifier.texts import UserError
from purifier.ui.actions import attack
from purifier.ui.controls import control_values, purifier_from, purifier_values
from purifier.ui.session import Session
from purifier.wording.runs import attack_rows
from tests.helpers.pictures import is_but_for_rounding, lesion_like

QUICK = AttackSettings(eps=4 / 255, steps=3)
WHOLE = Settings(
    classifier="augmented",
    attack=Attack(settings=QUICK, target="NV", classifier="surrogate", known=Purifier(blocks=1), seed=7),
    purifier=Purifier(scales=(1, 0.25), sigma=5 / 255, weight=0.03),
    seed=11,
    draws=2,
)
STRONG = Purifier(blocks=1, scales=(1,), sigma=60 / 255)  # its draws differ


@pytest.fixture(scope="module")
def picture():
    return to_batch(lesion_like(5, 224))


LEARNED = Settings(purifier=Purifier(denoiser="learned", bands=True))


@pytest.mark.parametrize("settings", [WHOLE, Settings(), Settings(attack=Attack()), LEARNED])
def test_settings_go_to_json_and_back(settings):
    assert Settings.from_json(settings.to_json()) == settings
    assert Settings.from_json(json.dumps({"settings": json.loads(settings.to_json()), "version": "1"})) == settings


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"classifer": "augmented"}',
        '{"seed": 0, "attack": {"settings": {"eps": -1}}}',
        '{"purifier": {"blocks": 0}}',
        '{"purifier": 3}',
        '{"seed": "1"}',
        '{"classifier": 5}',
        '{"attack": {"stopped_after": 0}}',
    ],
)
def test_what_are_no_settings_is_refused(text):
    with pytest.raises(ValueError, match="not the settings of a run"):
        Settings.from_json(text)


def test_settings_from_before_draws_were_averaged_mean_one():
    stored = json.loads(WHOLE.to_json())
    del stored["draws"]
    for text in (json.dumps(stored), json.dumps({"settings": stored})):
        assert Settings.from_json(text) == replace(WHOLE, draws=1)
    assert Settings().draws == 4


def test_settings_from_before_there_was_a_choice_of_denoisers_mean_rof():
    rof = Purifier(denoiser="rof", blocks=1)
    settings = replace(WHOLE, purifier=rof, attack=replace(WHOLE.attack, known=rof))
    stored = json.loads(settings.to_json())
    for purifier in (stored["purifier"], stored["attack"]["known"]):
        del purifier["denoiser"], purifier["bands"]
    found = Settings.from_json(json.dumps({"settings": stored}))
    assert found == settings and not found.purifier.bands


@pytest.mark.parametrize("draws", [0, -1, MOST_DRAWS + 1])
def test_draws_out_of_range_are_refused(draws):
    with pytest.raises(UserError, match=f"Draws averaged must be a whole number from 1 to 64, and is {draws}"):
        Settings(draws=draws)
    with pytest.raises(ValueError, match="draws must be a valid integer, and is 2.5"):
        Settings(draws=2.5)


def test_the_mean_reading_is_the_mean_over_pictures_with_noise_of_their_own(classifier):
    """More draws than are purified at once, of a picture that some noise has read as another."""
    x = quantise(read_image(ASSETS / "examples" / "AK-3.png", size=64))
    purifier = Purifier(denoiser="rof", sigma=10 / 255, weight=0.0)
    draws, generator = AT_ONCE + 2, torch.Generator().manual_seed(5)
    cleans = [quantise(purifier(x, generator)) for _ in range(draws)]  # one by one
    alone = read(classifier, *cleans)
    found = mean_reading(classifier, purifier, x, draws=draws, seed=5)
    assert_close(found.probabilities, torch.stack([reading.probabilities for reading in alone]).mean(dim=0))
    assert found.draws == draws and found.agreeing == sum(reading.top == found.top for reading in alone)
    assert len({reading.top for reading in alone}) > 1 and found.agreeing < draws
    sizes = [len(some) for some in purified_readings(classifier, purifier, x, draws=draws)]
    assert sizes == [AT_ONCE, 2]


def test_the_picture_shown_is_the_first_draw(classifier, picture):
    done = run(Settings(purifier=Purifier(), seed=3), picture, classifier)
    first = Purifier()(done.source.expand(4, -1, -1, -1), torch.Generator().manual_seed(3))[:1]
    assert is_but_for_rounding(done.purified, quantise(first))
    assert torch.equal(done.purified, purified_picture(Purifier(), done.source, seed=3))
    drawn, readings = next(purified_draws(classifier, Purifier(), done.source, draws=6, seed=3))
    assert is_but_for_rounding(done.purified, drawn[:1]) and len(drawn) == len(readings) == AT_ONCE
    (alone,) = read(classifier, done.purified)
    one = mean_reading(classifier, Purifier(), done.source, draws=1, seed=3)
    assert torch.equal(one.probabilities, alone.probabilities) and (one.draws, one.agreeing) == (1, 1)
    assert not torch.equal(done.purified_reading.probabilities, alone.probabilities)


def test_a_run_reads_the_mean_and_gives_it_again_to_the_bit(classifier, picture):
    settings = Settings(purifier=STRONG, seed=9, draws=6)
    first, again = (run(settings, picture, classifier).readings(classifier)["purified"] for _ in range(2))
    assert torch.equal(first.probabilities, again.probabilities) and first.agreeing == again.agreeing
    expected = mean_reading(classifier, STRONG, quantise(picture), draws=6, seed=9)
    assert torch.equal(first.probabilities, expected.probabilities) and first.draws == 6


def test_settings_read_from_json_give_the_same_run_to_the_bit(classifier, picture):
    settings = Settings(attack=Attack(settings=QUICK, known=Purifier(blocks=1)), purifier=Purifier())
    first = run(settings, picture, classifier)
    torch.rand(3)  # whatever ran before
    again = run(Settings.from_json(settings.to_json()), picture, classifier)
    assert [hash_of(x) for x in first.pictures().values()] == [hash_of(x) for x in again.pictures().values()]
    assert len(set(map(hash_of, first.pictures().values()))) == 3
    other = run(Settings(attack=settings.attack, purifier=Purifier(), seed=1), picture, classifier)
    assert torch.equal(other.attacked, first.attacked) and not torch.equal(other.purified, first.purified)


def test_a_run_has_what_was_asked_for_and_no_more(classifier, picture):
    plain = run(Settings(), picture, classifier)
    assert list(plain.pictures()) == ["original"] and plain.source is plain.original and not plain.stages
    purifier = Purifier(blocks=2, scales=(1, 0.5))
    clean = run(Settings(purifier=purifier), picture, classifier)
    assert list(clean.pictures()) == ["original", "purified"] and len(clean.stages) == 4
    assert torch.equal(clean.purified, quantise(purifier(clean.original, torch.Generator().manual_seed(0))))


def test_an_attack_stays_in_its_ball_and_flees_the_reading(classifier, picture):
    done = run(Settings(attack=Attack(settings=AttackSettings(eps=8 / 255, steps=10))), picture, classifier)
    original, attacked = read(classifier, done.original, done.attacked)
    assert (done.attacked - done.original).abs().max() <= 8 / 255 + 1e-6
    assert attacked.probability(original.top) < original.probability(original.top)


def test_an_attack_that_was_stopped_is_recorded_and_repeated(classifier, picture):
    begun = Session(original=quantise(picture))
    steps = attack(begun, "pgd", 2, 8, ANY, 3, False)
    session = next(steps).session  # and then the visitor presses Stop
    assert session.attack.stopped_after == 1 and session.attack.settings.steps == 8
    stored = Settings.from_json(session.run.settings.to_json())
    assert torch.equal(run(stored, picture, classifier).attacked, session.attacked)
    *_, last = steps
    done = last.session
    assert done.attack.stopped_after is None and not torch.equal(done.attacked, session.attacked)
    assert ("Attack steps", "1 of 8, then it was stopped") in attack_rows(session.attack)
    assert control_values(stored, classifier.labels)["steps"] == 8


def test_the_page_has_a_control_for_the_denoiser(classifier):
    learned = Purifier(denoiser="learned", blocks=2, scales=(1,), sigma=6 / 255)
    for how in (None, Attack(known=learned)):
        values = control_values(Settings(purifier=learned, attack=how), classifier.labels)
        assert values["denoiser"] == "learned"
        assert purifier_from(*(values[name] for name in purifier_values(learned))) == learned
    with pytest.raises(ValueError, match="no controls for"):
        control_values(Settings(purifier=replace(learned, bands=False)), classifier.labels)


def test_an_attack_may_be_made_on_another_classifier(classifier, surrogate, picture):
    attack = Attack(settings=QUICK, classifier="surrogate")
    made_here = run(Settings(attack=attack), picture, surrogate).attacked
    transferred = run(Settings(attack=attack), picture, classifier, surrogate).attacked
    assert torch.equal(made_here, transferred)
    assert not torch.equal(transferred, run(Settings(attack=Attack(settings=QUICK)), picture, classifier).attacked)


def test_a_target_that_the_classifier_does_not_know_is_refused(classifier, picture):
    with pytest.raises(ValueError, match="target must be one of"):
        run(Settings(attack=Attack(target="Freckle")), picture, classifier)
    assert Attack().target == ANY


def test_the_hash_is_that_of_the_pixels(picture):
    changed = quantise(picture)
    assert hash_of(changed) == hash_of(picture)
    changed[0, 0, 0, 0] = 1 - changed[0, 0, 0, 0]
    assert hash_of(changed) != hash_of(picture)
