from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score, roc_auc_score

from purifier.evaluation import intervals
from purifier.evaluation.intervals import (
    PERCENT,
    WHOLE_PERCENT,
    Score,
    auroc,
    balanced_share,
    bootstrap,
    share,
    written,
)
from purifier.evaluation.metrics import Answers, calibration_error, clean_scores
from purifier.results.summary import answers_of

LABELS = ["MEL", "NV", "BCC"]


@pytest.fixture
def answers():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(3, (300,), generator=generator)
    logits = torch.randn(300, 3, generator=generator) + 1.5 * torch.nn.functional.one_hot(y, 3)
    return logits.softmax(1), y


def test_scores_are_scikit_learn_s(answers):
    probabilities, y = answers
    scores, predicted = clean_scores(probabilities, y, LABELS), probabilities.argmax(1)
    assert scores["accuracy"].value == pytest.approx(accuracy_score(y, predicted))
    assert scores["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(y, predicted))
    recalls = recall_score(y, predicted, average=None)
    assert [scores["recall"][label]["value"] for label in LABELS] == pytest.approx(list(recalls))
    assert scores["melanoma_auroc"].value == pytest.approx(roc_auc_score(y == 0, probabilities[:, 0]))
    for score in (scores["accuracy"], scores["balanced_accuracy"], scores["melanoma_auroc"]):
        assert score.low < score.value < score.high


def test_labels_that_do_not_occur_do_not_count(answers):
    probabilities, y = answers
    kept = y > 0
    scores = clean_scores(probabilities[kept], y[kept], LABELS)
    assert set(scores["recall"]) == {"NV", "BCC"} and "melanoma_auroc" not in scores


def test_a_recall_is_of_so_many_pictures_and_lesions(answers):
    probabilities, y = answers
    lesions = [f"lesion {i // 2}" for i in range(len(y))]
    for k, label in enumerate(LABELS):
        recall = clean_scores(probabilities, y, LABELS, lesions)["recall"][label]
        of_it = {lesion for lesion, truth in zip(lesions, y.tolist(), strict=True) if truth == k}
        assert (recall["images"], recall["lesions"]) == ((y == k).sum(), len(of_it))


def test_without_melanomas_among_the_labels_there_is_no_area(answers):
    probabilities, y = answers
    assert "melanoma_auroc" not in clean_scores(probabilities, y, ["AK", "NV", "BCC"])


def test_wilson_s_interval():
    score = share(torch.tensor([True] * 8 + [False] * 2))  # Wilson (1927): 0.490 to 0.943
    assert (score.value, round(score.low, 3), round(score.high, 3)) == (0.8, 0.490, 0.943)


def test_the_bootstrap_s_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(size=400)
    score = bootstrap(lambda chosen: values[chosen].mean(), 400)
    half = 1.96 * values.std() / 20
    assert score.low == pytest.approx(values.mean() - half, abs=0.02)
    assert score.high == pytest.approx(values.mean() + half, abs=0.02)
    assert score == bootstrap(lambda chosen: values[chosen].mean(), 400)


def test_every_resample_has_as_many_lesions_as_there_are():
    everything = bootstrap(lambda chosen: len(chosen), 50)
    assert everything == Score(value=50, low=50, high=50)
    pairs = bootstrap(lambda chosen: len(chosen), 50, lesions=np.repeat(np.arange(25), 2))
    assert pairs == Score(value=50, low=50, high=50)


def test_a_class_that_a_resample_lacks_does_not_count_in_it():
    score = balanced_share([True, False, True, False], [0, 1, 1, 1])
    assert score.value == pytest.approx((1 + 1 / 3) / 2)
    assert score.low == 0 and score.high == 1


def test_a_balanced_share_of_several_draws_is_the_mean_of_theirs():
    values, truth = np.array([[1, 0], [1, 1], [0, 0], [0, 1]]), [0, 0, 1, 1]
    by_draw = [balanced_share(draw, truth).value for draw in values.T]
    assert balanced_share(values, truth).value == pytest.approx(np.mean(by_draw)) == 0.5


def test_an_area_over_several_draws_is_the_mean_of_theirs():
    generator = np.random.default_rng(0)
    truth, scores = np.repeat([0, 1], 30), generator.normal(size=(60, 3)) + np.repeat([0, 1], 30)[:, None]
    by_draw = [roc_auc_score(truth, draw) for draw in scores.T]
    assert auroc(truth, scores).value == pytest.approx(np.mean(by_draw))


def test_a_resample_with_one_class_alone_has_no_area():
    score = auroc([1, 0], [0.2, 0.1])
    assert score == Score(value=1, low=1, high=1)  # half of the resamples have one class


def test_mean_and_worst_over_draws():
    correct = np.array([[True, True, False, False], [True, False, True, False]]).T
    answers = Answers(truth=np.ones(4, bool), predicted=correct, lesion=np.arange(4))
    assert answers.scores()["accuracy"].value == 0.5
    assert answers.scores()["worst_of_draws"].value == 0.25


def flattened(scores):
    """Every number of scores but the counts of pictures."""
    if isinstance(scores, Score):
        scores = asdict(scores)
    if isinstance(scores, dict):
        return [number for name, part in scores.items() if name != "images" for number in flattened(part)]
    return [scores]


def test_several_pictures_of_a_lesion_count_as_one(answers, monkeypatch):
    """Each picture five times, in any order, says no more than each once."""
    monkeypatch.setattr(intervals, "RESAMPLES", 300)
    probabilities, y = answers
    lesions = [f"L{i}" for i in range(300)]
    order = np.random.default_rng(0).permutation(1500)
    times = torch.arange(300).repeat(5)[order]
    named = [lesions[i] for i in times]
    once, again = (
        clean_scores(probabilities, y, LABELS, lesions),
        clean_scores(probabilities[times], y[times], LABELS, named),
    )
    assert again["images"] == 1500 and again["lesions"] == once["lesions"] == 300
    assert flattened(again) == pytest.approx(flattened(once))
    hits = torch.rand(3, 300, generator=torch.Generator().manual_seed(1)) < 0.7
    for values in (hits.T, hits.all(dim=0), hits[0]):
        assert flattened(share(values[times], named)) == pytest.approx(flattened(share(values, lesions)))
    assert flattened(auroc((y == 0)[times], probabilities[times, 0], named)) == pytest.approx(
        flattened(auroc(y == 0, probabilities[:, 0], lesions))
    )
    as_pictures = clean_scores(probabilities[times], y[times], LABELS)
    for name in ("accuracy", "balanced_accuracy", "melanoma_auroc"):
        assert as_pictures[name].high - as_pictures[name].low < 0.6 * (once[name].high - once[name].low)


def test_the_trials_are_the_lesions():
    """SciPy's Wilson interval of as many trials as there are lesions."""
    correct = torch.tensor([True, True, True, True, False, False, True, True])
    interval = binomtest(3, 4).proportion_ci(method="wilson")  # 6 of 8 right, of 4 lesions
    for found in (share(correct, list("aabbccdd")), share(correct[:, None], list("aabbccdd"))):
        assert (found.value, found.low, found.high) == pytest.approx((0.75, interval.low, interval.high))


def test_cards_and_evaluation_have_the_same_intervals(answers):
    """The card's scores of some answers are those of the evaluation's rows."""
    probabilities, y = answers
    lesions = np.random.default_rng(2).integers(90, size=300).astype(str)
    scores = clean_scores(probabilities, y, LABELS, lesions)
    rows = pd.DataFrame(
        {
            "image": [f"{i:03d}" for i in range(300)],
            "lesion": lesions,
            "draw": 0,
            "label": [LABELS[i] for i in y],
            "predicted": [LABELS[i] for i in probabilities.argmax(1)],
            "p_MEL": probabilities[:, 0].numpy(),
        }
    )
    found = {name: flattened(score) for name, score in answers_of(rows).scores().items()}
    assert scores["lesions"] == len(set(lesions)) < 300
    recall = {key: value for key, value in scores["recall"]["MEL"].items() if key not in ("images", "lesions")}
    assert found["accuracy"] == pytest.approx(flattened(scores["accuracy"]))
    assert found["balanced_accuracy"] == pytest.approx(flattened(scores["balanced_accuracy"]))
    assert found["melanoma_sensitivity"] == pytest.approx(flattened(recall))
    assert found["melanoma_auroc"] == pytest.approx(flattened(scores["melanoma_auroc"]))


def test_rows_without_a_lesion_are_lesions_of_their_own():
    rows = pd.DataFrame({"image": list("abcd"), "lesion": "", "draw": 0, "label": "NV", "predicted": "NV"})
    assert answers_of(rows).lesions == 4


def test_the_calibration_error_is_the_gap_of_confidence_and_accuracy_in_fifteen_bins():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 5, generator=generator)
    y = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()  # calibrated by construction
    assert calibration_error(logits.softmax(1), y) < 0.015
    probabilities = (3 * logits).softmax(1)
    confidence, right = probabilities.amax(1).double(), (probabilities.argmax(1) == y).double()
    bins = (15 * confidence).long().clamp(max=14)
    gaps = [((confidence - right)[bins == b].sum() / len(y)).abs() for b in range(15)]
    assert calibration_error(probabilities, y) == pytest.approx(sum(gaps).item(), abs=1e-3) and sum(gaps) > 0.1


def test_scores_are_written_as_fractions_and_in_per_cent_and_what_is_none_as_a_dash():
    score = Score(value=0.8749, low=0.5049, high=0.9949)
    assert written(score) == score.written() == "0.875 (0.505 to 0.995)"
    assert written(score, PERCENT) == "87.5 % (50–99)" and written(score, WHOLE_PERCENT) == "87 % (50–99)"
    assert written(None) == written(float("nan"), PERCENT) == "–"
