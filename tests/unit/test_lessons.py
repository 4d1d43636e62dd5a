"""Every lesson's claim, on the bundled examples."""

from dataclasses import replace

import pytest
import torch

from purifier.attacks import AttackSettings
from purifier.lessons import LESSONS, noise_like, seen_by, teach
from purifier.pictures.files import read_image
from purifier.pipeline import Purifier
from purifier.readings import Reading
from purifier.runs import Attack, Run, Settings, run
from purifier.ui.examples import BUNDLED
from tests.helpers.paths import ROOT

RIGHT = ({2}, {0}, {2}, {1}, {2}, {0, 2}, {1})  # what the claims leave of each lesson's choices


@pytest.mark.parametrize("number", range(len(LESSONS)), ids=lambda i: LESSONS[i].title)
def test_a_lesson_s_claim_holds_and_says_which_prediction_is_right(number):
    lesson = LESSONS[number]
    done, seen = teach(lesson, BUNDLED / lesson.example)
    assert lesson.claim(done, seen)
    assert lesson.outcome(done, seen) in RIGHT[number]


def test_the_claims_can_fail_and_other_predictions_are_right_then(classifier):
    """A purifier and an attack that do nothing, or too much, are noticed."""
    nothing = [0, 2, 0, 1, 0, 1, 0]
    for lesson, expected in zip(LESSONS, nothing, strict=True):
        idle = Purifier(scales=(1,), blocks=1, sigma=0, gain=0)
        settings = replace(lesson.settings, attack=None, purifier=lesson.settings.purifier and idle)
        done = run(settings, read_image(BUNDLED / lesson.example), classifier)
        if lesson.settings.attack is not None:
            done = replace(done, settings=lesson.settings, attacked=done.original)
        seen = seen_by(done, lesson.readers)
        assert not lesson.claim(done, seen), lesson.title
        assert lesson.outcome(done, seen) == expected, lesson.title


LABELS = ["NV", "MEL", "BCC", "BKL"]
NV, MEL, BCC, BKL = range(4)


def reads(top, share):
    """``share`` for the likeliest label, the rest for the next one."""
    probabilities = torch.zeros(len(LABELS))
    probabilities[top], probabilities[(top + 1) % len(LABELS)] = share, 1 - share
    return Reading(LABELS, probabilities)


@pytest.mark.parametrize(
    ("number", "right", "seen"),
    [
        (1, 0, dict(original=(NV, 0.7), attacked=(NV, 0.9))),
        (1, 1, dict(original=(NV, 0.7), attacked=(BKL, 0.6))),
        (1, 2, dict(original=(NV, 0.7), attacked=(BKL, 0.8))),
        (2, 0, dict(original=(MEL, 0.9), attacked=(NV, 0.95))),
        (2, 1, dict(original=(MEL, 0.9), attacked=(NV, 0.85))),
        (2, 2, dict(original=(MEL, 0.9), attacked=(BKL, 0.95))),
        (3, 0, dict(original=(BKL, 0.9), attacked=(BCC, 0.95))),
        (3, 1, dict(original=(BKL, 0.9), attacked=(MEL, 0.8))),
        (3, 2, dict(original=(BKL, 0.9), attacked=(MEL, 0.9))),
        (4, 0, dict(original=(BCC, 0.9), attacked=(NV, 0.9), purified=(NV, 0.6))),
        (4, 1, dict(original=(BCC, 0.9), attacked=(NV, 0.9), purified=(BCC, 0.6))),
        (4, 2, dict(original=(BCC, 0.9), attacked=(NV, 0.9), purified=(BKL, 0.6))),
        (5, 0, dict(original=(MEL, 0.9), purified=(MEL, 0.6))),
        (5, 1, dict(original=(MEL, 0.9), purified=(BCC, 0.6))),
        (5, 2, dict(original=(MEL, 0.9), purified=(NV, 0.6))),
    ],
)
def test_which_prediction_is_right_is_computed_from_the_readings(number, right, seen):
    lesson = LESSONS[number - 1]
    done = Run(lesson.settings, torch.zeros(1, 3, 8, 8))
    readings = {name: reads(*how) for name, how in seen.items()}
    assert lesson.outcome(done, {lesson.settings.classifier: readings}) == right


@pytest.mark.parametrize(("fooled", "right"), [((), 0), (("robust",), 1), (("robust", "standard"), 2)])
def test_the_others_that_are_fooled_are_counted(fooled, right):
    lesson = LESSONS[-1]
    names = (lesson.settings.classifier, "standard", "robust")
    tops = {name: BKL if name in (*fooled, names[0]) else NV for name in names}
    seen = {name: dict(original=reads(NV, 0.9), attacked=reads(top, 0.9)) for name, top in tops.items()}
    assert lesson.outcome(Run(lesson.settings, torch.zeros(1, 3, 8, 8)), seen) == right


def test_noise_has_the_attack_s_changes_elsewhere():
    x, change = torch.full((1, 3, 9, 7), 0.5), torch.randint(-2, 3, (1, 3, 9, 7)) / 255
    done = Run(Settings(attack=Attack(settings=AttackSettings(eps=2 / 255))), x, x + change)
    added = noise_like(done) - x
    assert not torch.equal(added.round(decimals=4), change.round(decimals=4))
    assert torch.allclose(added.flatten(2).sort().values, change.flatten(2).sort().values, atol=0.6 / 255)


def test_lessons_are_short_and_have_sources():
    assert all(len(set(lesson.choices)) == 3 for lesson in LESSONS)
    assert all(lesson.minutes <= 5 and lesson.sources and len(lesson.look) == 3 for lesson in LESSONS)
    assert all((ROOT / "assets" / "examples" / lesson.example).is_file() for lesson in LESSONS)
