"""How well attacked pictures are told from clean ones, by the alarm and by feature squeezing: a tidy row for each image
and attack. ``grid.py`` runs it; ``purifier.results.detection`` makes a table of the rows."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from purifier.alarm import disagreement, false_alarm_rate
from purifier.classifiers.classifier import Classifier
from purifier.defences import Defence
from purifier.evaluation.datasets import Sample
from purifier.evaluation.grid import Part, Rows, Work, attacked, run
from purifier.evaluation.settings import Detection
from purifier.evaluation.squeezing import squeezing_score
from purifier.pictures.files import quantise


def detect(detection: Detection, samples: Sequence[Sample], out: Path, *, device: torch.device | None = None) -> Rows:
    """Measure what is not measured yet in ``out``, and return all rows, as ``grid.run`` does. Clean and attacked
    pictures have 8-bit values, as the page has them."""

    def engine(works: Iterable[Work]) -> Iterator[tuple[Part, Rows]]:
        for work in works:
            yield work.part, scored(work)

    return run(detection, samples, out, device=device, engine=engine)


def scored(work: Work) -> Rows:
    """The rows of one part: ``predicted`` and, behind the purifier, ``purified`` are codes of diagnoses, ``alarm`` and
    ``squeezing`` are scores, and ``false_alarm_rate`` is by the classifier's calibration, NaN where it does not fit."""
    found = attacked(work)
    if found is None:
        return pd.DataFrame()
    classifier, adv, defence = found.classifier, quantise(found.adv), found.defences[-1]
    with torch.no_grad():
        before, squeezing = classifier.probabilities(adv), squeezing_score(classifier, adv)
        after = mean_behind(classifier, defence, adv, found.noise_seeds)
    scores = disagreement(before, after).tolist()
    rates = [false_alarm_rate(score, classifier, defence.function, work.grid.draws) for score in scores]
    columns = {
        "defence": defence.name,
        "predicted": [classifier.labels[i] for i in before.argmax(dim=1).tolist()],
        "purified": [classifier.labels[i] for i in after.argmax(dim=1).tolist()],
        "alarm": scores,
        "squeezing": squeezing.tolist(),
        "false_alarm_rate": [torch.nan if rate is None else rate for rate in rates],
    }
    return pd.DataFrame({**found.columns, **columns})


def mean_behind(classifier: Classifier, defence: Defence, x: Tensor, seeds: Sequence[int]) -> Tensor:
    """The mean probabilities (B, K) of the defended pictures, in 8-bit values, over a draw for each of ``seeds``."""
    draws = [defence(x, torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack([classifier.probabilities(quantise(clean)) for clean in draws]).mean(dim=0)
