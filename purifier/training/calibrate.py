"""What is fitted to a classifier after its training: temperature, abstention threshold, out-of-distribution check."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

from purifier.alarm import disagreement
from purifier.classifiers.classifier import (
    AlarmCalibration,
    Calibration,
    Classifier,
    OutOfDistribution,
    digest_of,
    load_classifier,
    read_calibration,
    write_calibration,
)
from purifier.defences import get_defence
from purifier.evaluation.datasets import Sample
from purifier.evaluation.detection import mean_behind
from purifier.evaluation.evaluate import choose, over_batches, predict
from purifier.pipeline import Purifier
from purifier.runs import Settings
from purifier.seeds import seed_of

ANSWERED_ACCURACY = 0.9  # of the validation readings that are not "unsure"
FALSE_ALARM = 0.015  # share of validation lesions that the out-of-distribution check may doubt
FITTED_ON = 1000  # training pictures


def calibrate(folder: Path, train: Sequence[Sample], validation: Sequence[Sample]) -> Calibration:
    """Fit everything to the classifier in ``folder``, write it into its config, and return it."""
    write_calibration(folder, Calibration())
    classifier = load_classifier(f"local-dir:{folder}")
    probabilities, y = predict(classifier, validation)
    temperature = fit_temperature(probabilities.log(), y)
    calibrated = (probabilities.log() / temperature).softmax(dim=1)
    calibration = Calibration(
        temperature=temperature,
        abstain_below=abstention_threshold(calibrated, y),
        out_of_distribution=fit_out_of_distribution(classifier, choose(train, FITTED_ON, seed=0), validation),
    )
    write_calibration(folder, calibration)
    return calibration


def calibrate_alarm(
    folder: Path, validation: Sequence[Sample], *, seed: int = 0, device: torch.device | str = "cpu"
) -> AlarmCalibration:
    """Score clean pictures with the default purifier and draws, write the scores into the config of the classifier in
    ``folder``, and return them."""
    classifier, defence, draws = (
        load_classifier(f"local-dir:{folder}", device=device),
        get_defence("mdda"),
        Settings.draws,
    )

    def score(x: Tensor, y: Tensor, i: int) -> Tensor:
        seeds = [seed_of(seed, "alarm", i, draw) for draw in range(draws)]
        return disagreement(classifier.probabilities(x), mean_behind(classifier, defence, x, seeds))

    scores = over_batches(classifier, validation, score, "alarm").sort().values
    made = AlarmCalibration(purifier=Purifier(), draws=draws, weights=digest_of(folder), scores=rounded(scores))
    write_calibration(folder, replace(read_calibration(folder), alarm=made))
    return made


def fit_temperature(logits: Tensor, y: Tensor) -> float:
    """The temperature with the least cross-entropy of logits (N, K) and labels (N,) (Guo et al., 2017)."""

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(logits.double() / 2**log_temperature, y).item()

    return round(2 ** float(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x), 4)


def abstention_threshold(probabilities: Tensor, y: Tensor) -> float:
    """The least confidence from which on ``ANSWERED_ACCURACY`` of the readings are right; 1 where there is none."""
    confidence, predicted = probabilities.max(dim=1)
    confidence, order = confidence.sort(descending=True)
    accuracy = (predicted == y)[order].double().cumsum(0) / torch.arange(1, len(y) + 1)
    good = (accuracy >= ANSWERED_ACCURACY).nonzero()
    return round(confidence[good[-1]].item(), 4) if len(good) else 1.0


def fit_out_of_distribution(
    classifier: Classifier, train: Sequence[Sample], validation: Sequence[Sample]
) -> OutOfDistribution:
    """Mean and standard deviation on training pictures; the threshold doubts ``FALSE_ALARM`` of the validation ones."""
    means = over_batches(classifier, train, lambda x, y, i: classifier.stage_means(x), "features")
    std = means.std(dim=0)
    std = std.clamp(min=0.01 * std.mean().item())  # a channel that is always off says nothing about distance
    check = OutOfDistribution(mean=rounded(means.mean(dim=0)), std=rounded(std), threshold=0.0)
    classifier.calibration = Calibration(out_of_distribution=check)
    distances = over_batches(classifier, validation, lambda x, y, i: classifier.distance(x), "distances")
    return replace(check, threshold=round(distances.quantile(1 - FALSE_ALARM).item(), 4))


def rounded(values: Tensor) -> list[float]:
    """Four significant digits, to keep the config short."""
    return [float(f"{value:.4g}") for value in values.tolist()]
