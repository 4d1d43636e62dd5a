import math
from copy import copy
from dataclasses import replace

import pytest
import torch

from purifier.readings import (
    MOST_BARS,
    Reading,
    bars,
    distance,
    is_malignant,
    is_out_of_distribution,
    is_right,
    mean_of,
    read,
)

LABELS = ["NV", "MEL", "AK"]


def reading(*probabilities, labels=LABELS, **more):
    return Reading(list(labels), torch.tensor(probabilities), **more)


def test_a_reading_in_numbers():
    found = reading(0.25, 0.5, 0.25)
    assert (found.top, found.probability("AK"), found.malignant()) == ("MEL", 0.25, 0.75)
    assert list(found.as_dict().items()) == [
        ("Melanoma", 0.5),
        ("Melanocytic nevus", 0.25),
        ("Actinic keratosis", 0.25),
    ]
    assert reading(0.5, 0.5, labels=["NV", "a label from the Hub"]).malignant() is None


@pytest.mark.parametrize(("threshold", "unsure"), [(0.0, False), (0.5, False), (0.6, True)])
def test_a_reading_below_the_threshold_is_unsure(threshold, unsure):
    assert reading(0.25, 0.5, 0.25, abstain_below=threshold).unsure is unsure


def test_the_mean_of_draws_and_how_many_agree_with_it():
    draws = [reading(0.6, 0.3, 0.1, abstain_below=0.4), reading(0.5, 0.3, 0.2), reading(0.1, 0.6, 0.3)]
    found = mean_of(draws)
    assert found.probabilities.tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert (found.draws, found.labels, found.abstain_below) == (3, LABELS, 0.4)
    assert found.agreeing == {"NV": 2, "MEL": 1}[found.top]
    assert (reading(1, 0, 0).draws, reading(1, 0, 0).agreeing) == (1, 1)


def test_pictures_are_read_as_the_classifier_reads_them(classifier):
    x, z = (torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    for found, picture in zip(read(classifier, x, z), (x, z), strict=True):
        assert torch.allclose(found.probabilities, classifier.probabilities(picture)[0], atol=1e-6)
        assert not found.probabilities.requires_grad and found.labels == classifier.labels
        assert found.abstain_below == classifier.calibration.abstain_below > 0


def test_noise_is_no_dermoscopic_picture_and_without_statistics_nobody_can_tell(classifier):
    noise = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    assert is_out_of_distribution(classifier, noise) is True
    unchecked = copy(classifier)
    unchecked.calibration = replace(classifier.calibration, out_of_distribution=None)
    assert is_out_of_distribution(unchecked, noise) is False


@pytest.mark.parametrize(
    ("truth", "right"),
    [("MEL", True), ("NV", False), ("BCC", None), (None, None)],  # no such label; not known
)
def test_a_reading_is_right_or_wrong_where_the_truth_is_known(truth, right):
    assert is_right(reading(0.2, 0.6, 0.2), truth) is right


@pytest.mark.parametrize(("label", "malignant"), [("MEL", True), ("AK", True), ("NV", False), ("a cat", False)])
def test_what_counts_as_malignant(label, malignant):
    assert is_malignant(label) is malignant


def test_many_labels_are_shown_as_their_likeliest():
    few = [f"label {i}" for i in range(MOST_BARS)]
    assert [name for name, _ in bars(reading(*range(MOST_BARS), labels=few))] == few
    many = [*few, "one more"]
    shown = bars(reading(*range(MOST_BARS + 1), labels=many))
    assert [name for name, _ in shown] == many[:0:-1] and [value for _, value in shown] == list(range(MOST_BARS, 0, -1))


def test_a_distance_is_told_in_three_ways():
    x, z = torch.zeros(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    z[0, 0, 0, 0], z[0, 1, 1, 1] = 0.3, 0.4
    assert distance(x, z) == pytest.approx({"linf": 0.4, "l2": 0.5, "psnr": -10 * math.log10(0.25 / 12)})
    assert distance(z, z) == {"linf": 0, "l2": 0, "psnr": None}
    with pytest.raises(ValueError, match="z must be finite"):
        distance(x, z / 0)
