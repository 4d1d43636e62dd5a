"""Every lesson's claim, on the bundled examples."""

from dataclasses import replace

import pytest

from purifier.lessons import LESSONS, seen_by, teach
from purifier.pictures.files import read_image
from purifier.pipeline import Purifier
from purifier.runs import run
from purifier.ui.examples import BUNDLED
from tests.helpers.paths import ROOT


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.title)
def test_a_lesson_s_claim_holds(lesson):
    assert lesson.claim(*teach(lesson, BUNDLED / lesson.example))


def test_the_claims_can_fail(classifier):
    """A purifier and an attack that do nothing, or too much, are noticed."""
    for lesson in LESSONS:
        idle = Purifier(scales=(1,), blocks=1, sigma=0, weight=0)
        settings = replace(lesson.settings, attack=None, purifier=lesson.settings.purifier and idle)
        done = run(settings, read_image(BUNDLED / lesson.example), classifier)
        if lesson.settings.attack is not None:
            done = replace(done, settings=lesson.settings, attacked=done.original)
        assert not lesson.claim(done, seen_by(done, lesson.readers)), lesson.title


def test_lessons_are_short_and_have_sources():
    assert all(lesson.minutes <= 5 and lesson.sources and len(lesson.look) == 3 for lesson in LESSONS)
    assert all((ROOT / "assets" / "examples" / lesson.example).is_file() for lesson in LESSONS)
