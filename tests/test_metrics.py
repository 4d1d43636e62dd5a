import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score, roc_auc_score

from purifier.evaluation.intervals import bootstrap
from purifier.evaluation.metrics import clean_scores, mean_over_draws, proportion, worst_over_draws

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
    assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(y, predicted))
    assert scores["balanced_accuracy"]["value"] == pytest.approx(balanced_accuracy_score(y, predicted))
    recalls = recall_score(y, predicted, average=None)
    assert [scores["recall"][label]["value"] for label in LABELS] == pytest.approx(list(recalls))
    assert scores["melanoma_auroc"]["value"] == pytest.approx(roc_auc_score(y == 0, probabilities[:, 0]))
    for score in (scores["accuracy"], scores["balanced_accuracy"], scores["melanoma_auroc"]):
        assert score["low"] < score["value"] < score["high"]


def test_labels_that_do_not_occur_do_not_count(answers):
    probabilities, y = answers
    kept = y > 0
    scores = clean_scores(probabilities[kept], y[kept], LABELS)
    assert set(scores["recall"]) == {"NV", "BCC"} and "melanoma_auroc" not in scores


def test_wilson_s_interval():
    score = proportion(torch.tensor([True] * 8 + [False] * 2))  # Wilson (1927): 0.490 to 0.943
    assert (score["value"], round(score["low"], 3), round(score["high"], 3)) == (0.8, 0.490, 0.943)


def test_the_bootstrap_s_interval_is_that_of_the_mean():
    values = np.random.default_rng(0).normal(size=400)
    score = bootstrap(lambda chosen: values[chosen].mean(), 400)
    half = 1.96 * values.std() / 20
    assert score["low"] == pytest.approx(values.mean() - half, abs=0.02)
    assert score["high"] == pytest.approx(values.mean() + half, abs=0.02)
    assert score == bootstrap(lambda chosen: values[chosen].mean(), 400)


def test_mean_and_worst_over_draws():
    correct = torch.tensor([[True, True, False, False], [True, False, True, False]])
    assert mean_over_draws(correct)["value"] == 0.5
    assert worst_over_draws(correct)["value"] == 0.25
