from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from purifier.alarm import FALSE_ALARMS, Alarm, alarm_of, disagreement
from purifier.classifiers.classifier import AlarmCalibration, Calibration
from purifier.pipeline import Purifier
from purifier.readings import Reading
from purifier.wording.language import languages, speaking
from purifier.wording.readings import suspicion
from tests.helpers.classifiers import fake_classifier

CLEAN = tuple(i / 100 for i in range(99))  # 0 to 0.98
MADE = AlarmCalibration(purifier=Purifier(), draws=4, weights="", scores=CLEAN)


def readings(score: float, draws: int = 4) -> tuple[Reading, Reading]:
    """Whose L1 distance is ``score``."""
    labels = ["NV", "MEL"]
    before, after = torch.tensor([1.0, 0.0]), torch.tensor([1 - score / 2, score / 2])
    return Reading(labels, before), Reading(labels, after, draws=draws)


@pytest.fixture
def calibrated():
    classifier = fake_classifier()
    classifier.calibration = Calibration(alarm=MADE)
    return classifier


def test_the_score_is_the_distance_of_the_probabilities():
    before = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5]])
    after = torch.tensor([[0.0, 1, 0], [0.5, 0.25, 0.25], [0.2, 0.3, 0.5]])
    assert_close(disagreement(before, after), torch.tensor([2.0, 0.5, 0.0]))


def test_the_score_has_the_gradient_of_finite_differences():
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: disagreement(*z.softmax(dim=2)), logits)


@pytest.mark.parametrize(
    "score, rate", [(0.985, 1 / 100), (0.98, 2 / 100), (0.945, 5 / 100), (0.935, 6 / 100), (0.0, 1.0)]
)
def test_the_rate_counts_the_clean_pictures_that_score_as_high(calibrated, score, rate):
    before, after = readings(score + 1e-4)
    alarm = alarm_of(calibrated, before, after, Purifier())
    below = readings(score - 1e-4) if score else (before, before)
    assert alarm.score == pytest.approx(score + 1e-4, abs=1e-6)
    assert alarm_of(calibrated, below[0], replace(below[1], draws=4), Purifier()).false_alarm_rate >= rate - 1e-9
    assert alarm.false_alarm_rate <= rate + 1e-9
    assert alarm.attacked is (alarm.false_alarm_rate <= FALSE_ALARMS)


def test_a_higher_score_never_has_a_higher_rate(calibrated):
    rates = [alarm_of(calibrated, *readings(score), Purifier()).false_alarm_rate for score in torch.linspace(0, 2, 50)]
    assert rates == sorted(rates, reverse=True) and rates[0] == 1 and rates[-1] == 1 / 100


@pytest.mark.parametrize("change", [dict(purifier=Purifier(sigma=0.01)), dict(draws=2), None])
def test_without_a_calibration_for_these_settings_there_is_the_score_alone(calibrated, change):
    calibrated.calibration = Calibration(alarm=None if change is None else replace(MADE, **change))
    alarm = alarm_of(calibrated, *readings(1.5), Purifier())
    assert alarm == Alarm(score=pytest.approx(1.5)) and alarm.attacked is None
    assert "was not measured" in suspicion(alarm)


def test_the_alarm_is_told_in_every_language():
    alarms = [Alarm(score=1.0, false_alarm_rate=rate) for rate in (None, FALSE_ALARMS, 0.06)]
    told = set()
    for language in languages():
        with speaking(language):
            told |= {suspicion(alarm) for alarm in alarms}
    assert len(told) == len(alarms) * len(languages())
    assert "looks attacked: of clean pictures, 5.0 %" in suspicion(alarms[1])
    assert "does not look attacked: of clean pictures, 6.0 %" in suspicion(alarms[2])
