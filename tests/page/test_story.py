import pytest
import torch

from purifier.attacks import AttackSettings
from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.pictures.files import quantise, read_image
from purifier.pipeline import Purifier
from purifier.readings import is_right, read
from purifier.runs import Attack, Settings, run
from purifier.ui.examples import BUNDLED
from purifier.ui.session import Session
from purifier.ui.story import open_page, story


def in_order():
    codes = sorted(DIAGNOSES, key=lambda code: not DIAGNOSES[code].malignant)
    return [(code, path) for code in codes for path in sorted(BUNDLED.glob(f"{code}-*.png"))]


@pytest.fixture(scope="module")
def told():
    return story()


def test_it_is_the_first_example_that_the_default_settings_make_benign_and_restore(told, classifier):
    settings = Settings(attack=Attack(settings=AttackSettings()), purifier=Purifier())
    for code, path in in_order():
        x = quantise(read_image(path))
        is_it = torch.equal(x, told.original)
        if not is_it and not is_right(read(classifier, x)[0], code):
            continue
        done = run(settings, x, classifier)
        readings = done.readings(classifier)
        crossed = DIAGNOSES[readings["attacked"].top].malignant != DIAGNOSES[code].malignant
        assert (crossed and is_right(readings["purified"], code)) == is_it
        if is_it:
            assert torch.equal(done.attacked, told.attacked) and torch.equal(done.purified, told.purified)
            assert told.truth == code and told.run.settings == settings
            return
    raise AssertionError("no example is restored")


def test_the_page_opens_with_it_and_invites_to_go_on(told):
    *_, update = open_page(Session())
    assert update.session is told and "Now try your own." in update.status and update.truth == told.truth
    assert "Purification brought the right reading back." in update.verdict
    assert list(open_page(told)) == []  # nothing of the visitor's is replaced
