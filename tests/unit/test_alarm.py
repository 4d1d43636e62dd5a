import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from purifier.alarm import FALSE_ALARMS, FLOOR, Alarm, alarm_of, disagreement, false_alarm_rate
from purifier.classifiers.classifier import AlarmCalibration, Calibration
from purifier.pipeline import Purifier
from purifier.readings import Reading
from purifier.wording.language import languages, speaking
from purifier.wording.readings import suspicion
from tests.helpers.classifiers import fake_classifier

CLEAN = tuple(i / 10 for i in range(99))  # 0 to 9.8
MADE = AlarmCalibration(purifier=Purifier(), draws=4, weights="", scores=CLEAN)


def readings(confidence: float, draws: int = 4) -> tuple[Reading, Reading]:
    """Sure of NV before, and less so after purification."""
    labels = ["NV", "MEL"]
    before, after = torch.tensor([1.0, 0.0]), torch.tensor([confidence, 1 - confidence])
    return Reading(labels, before), Reading(labels, after, draws=draws)


def score_of(confidence: float) -> float:
    """Of these readings, in closed form."""
    change = 1 - confidence
    return change * (math.log((1 + FLOOR) / (confidence + FLOOR)) + math.log((change + FLOOR) / FLOOR))


@pytest.fixture
def calibrated():
    classifier = fake_classifier()
    classifier.calibration = Calibration(alarm=MADE)
    return classifier


@pytest.mark.parametrize("confidence", [1.0, 0.9, 0.5, 0.0])
def test_the_score_is_jeffreys_divergence_above_a_floor(confidence):
    pair = [reading.probabilities[None] for reading in readings(confidence)]
    assert_close(disagreement(*pair), torch.tensor([score_of(confidence)]))
    assert_close(disagreement(*pair), disagreement(*pair[::-1]))


def test_the_score_is_the_sum_of_both_divergences_of_kullback_and_leibler():
    p, q = torch.rand(2, 3, 8, generator=torch.Generator().manual_seed(0)).softmax(dim=2) + FLOOR
    both = F.kl_div(p.log(), q, reduction="none") + F.kl_div(q.log(), p, reduction="none")
    assert_close(disagreement(p - FLOOR, q - FLOOR), both.sum(dim=1))


def test_the_score_of_float32_agrees_with_float64():
    """Also of probabilities far below the floor."""
    before, after = (8 * torch.randn(2, 200, 8, generator=torch.Generator().manual_seed(0))).softmax(2)
    reference = disagreement(before.double(), after.double())
    assert_close(disagreement(before, after).double(), reference, rtol=1e-5, atol=1e-6)


def test_the_score_has_the_gradient_of_finite_differences():
    logits = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: disagreement(*z.softmax(dim=2)), logits)


@pytest.mark.parametrize("higher", [0, 1, 3, 4, 5, 98, 99])
def test_the_rate_counts_the_clean_pictures_that_score_as_high(calibrated, higher):
    """Of 99, so many do."""
    before, after = readings(0.5)
    scores = (0.0,) * (99 - higher) + (13.0,) * higher
    calibrated.calibration = Calibration(alarm=replace(MADE, scores=scores))
    alarm = alarm_of(calibrated, before, after, Purifier())
    assert (alarm.score, alarm.false_alarm_rate) == (pytest.approx(score_of(0.5)), (higher + 1) / 100)
    assert alarm.attacked is (higher <= 4)


def test_it_is_false_for_a_twentieth_of_the_pictures_it_was_calibrated_on(calibrated):
    scores = torch.rand(200, generator=torch.Generator().manual_seed(0)).sort().values.tolist()
    calibrated.calibration = Calibration(alarm=replace(MADE, scores=scores))
    rates = [false_alarm_rate(score, calibrated, Purifier(), 4) for score in scores]
    assert 0.04 < sum(rate <= FALSE_ALARMS for rate in rates) / 200 <= FALSE_ALARMS


def test_a_higher_score_never_has_a_higher_rate(calibrated):
    rates = [
        alarm_of(calibrated, *readings(confidence.item()), Purifier()).false_alarm_rate
        for confidence in torch.linspace(1, 0, 50)
    ]
    assert rates == sorted(rates, reverse=True) and rates[0] == 1 and rates[-1] == 1 / 100


@pytest.mark.parametrize("change", [dict(purifier=Purifier(sigma=0.01)), dict(draws=2), None])
def test_without_a_calibration_for_these_settings_there_is_the_score_alone(calibrated, change):
    calibrated.calibration = Calibration(alarm=None if change is None else replace(MADE, **change))
    alarm = alarm_of(calibrated, *readings(0.25), Purifier())
    assert alarm == Alarm(score=pytest.approx(score_of(0.25))) and alarm.attacked is None
    assert "was not measured" in suspicion(alarm)


def test_the_alarm_is_told_in_every_language():
    alarms = [Alarm(score=1.0, false_alarm_rate=rate) for rate in (None, FALSE_ALARMS, 0.06)]
    told = set()
    for language in languages():
        with speaking(language):
            told |= {suspicion(alarm) for alarm in alarms}
    assert len(told) == len(alarms) * len(languages())
    assert "looks attacked; so do 5.0 % of clean pictures" in suspicion(alarms[1])
    assert "does not look attacked; 6.0 % of clean pictures look" in suspicion(alarms[2])
