from dataclasses import replace

import pytest

from purifier.classifiers.classifier import load_classifier
from purifier.pictures.files import read_image
from purifier.readings import read
from purifier.runs import ANY
from purifier.ui.presets import PRESETS, live, set_up
from purifier.ui.session import Session
from purifier.ui.updates import Update
from tests.helpers.paths import ROOT

MELANOMA, BENIGN, ANYTHING = PRESETS


def example(name):
    return Session(original=read_image(ROOT / "assets" / "examples" / f"{name}.png"))


@pytest.mark.parametrize(("preset", "start", "target"), [(MELANOMA, "MEL", "NV"), (BENIGN, "NV", "MEL")])
def test_a_preset_chooses_a_picture_that_suits_and_aims(preset, start, target):
    update = set_up(preset, Session())
    reading = read(load_classifier(), update.session.original)[0]
    assert update.target == target and reading.top in preset.suits and start in preset.suits


def test_a_picture_that_suits_stays():
    for preset, start, aim in ((MELANOMA, "MEL-1", "NV"), (ANYTHING, "NV-1", ANY)):
        update = set_up(preset, example(start))
        assert update == Update(status=update.status, target=aim)


def test_live_attacks_in_one_step_of_the_size_asked_for_or_not_at_all():
    session = example("NV-1")
    (update,) = live(session, False, 4, ANY, 0)
    assert update == Update()
    (update,) = live(session, True, 4, ANY, 0)
    assert (update.session.attacked - session.original).abs().max() == pytest.approx(4 / 255, abs=1e-6)
    with pytest.raises(ValueError, match="Choose a picture first"):
        next(live(Session(), True, 4, ANY, 0))


def test_a_visitor_s_own_picture_is_never_replaced():
    session = replace(example("NV-1"), is_own=True)
    with pytest.raises(
        ValueError, match="Your picture is read as melanocytic nevus, and this attack starts from a mel"
    ):
        set_up(MELANOMA, session)
    update = set_up(MELANOMA, example("NV-1"))
    assert update.target == "NV" and read(load_classifier(), update.session.original)[0].top == "MEL"
