"""Was this picture attacked? A purifier takes most of an attack away and leaves what a lesion is read by, so that the
readings before and after it are far apart where there was an attack: feature squeezing (Xu, Evans & Qi, 2018) with the
purifier as the squeezer.

How far, Jeffreys' divergence says. On 48 validation pictures, six of each diagnosis, read in four draws of ROF by an
``augmented`` of then, the area under the ROC curve against clean ones was, under FGSM at 2/255 and PGD-20 at 2/255,
0.83 and 0.94; of the L1 distance that feature squeezing takes 0.77 and 0.88, of the mean drop of the likeliest label's
log-probability 0.70 and 0.85. With a lower ``FLOOR`` it would find PGD nearly always, but by PGD's excessive
confidence, which an attacker need not have, and which is found as well without a purifier.

How high a score is, only clean pictures tell: those that the classifier's ``AlarmCalibration`` holds. An attacker who
knows the alarm can lower it.
"""

from bisect import bisect_left
from dataclasses import dataclass

from torch import Tensor

from purifier.classifiers.classifier import Classifier
from purifier.pipeline import Purifier
from purifier.readings import Reading

FALSE_ALARMS = 0.05  # share of clean pictures that the alarm may call attacked
FLOOR = 1e-3  # below which it hardly matters how small a probability is


def disagreement(before: Tensor, after: Tensor) -> Tensor:
    """The alarm's score (B,), from 0 to 13.8: Jeffreys' divergence between the probabilities (B, K) that pictures are
    read with before and after they are purified, ``FLOOR`` added to each; of several draws, after is their mean."""
    return ((after - before) * ((after + FLOOR).log() - (before + FLOOR).log())).sum(dim=1)


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """What speaks for an attack on a picture. ``false_alarm_rate`` is at least the share of clean pictures whose score
    is as high; None where the classifier was not calibrated with this purifier and so many draws."""

    score: float  # see disagreement
    false_alarm_rate: float | None = None

    @property
    def attacked(self) -> bool | None:
        """Whether so few clean pictures score as high that the picture looks attacked; None where that is not known."""
        return None if self.false_alarm_rate is None else self.false_alarm_rate <= FALSE_ALARMS


def alarm_of(classifier: Classifier, before: Reading, after: Reading, purifier: Purifier) -> Alarm:
    """The alarm of a picture that ``classifier`` reads as ``before``, and as ``after`` behind ``purifier``."""
    score = disagreement(before.probabilities[None], after.probabilities[None]).item()
    return Alarm(score=score, false_alarm_rate=false_alarm_rate(score, classifier, purifier, after.draws))


def false_alarm_rate(score: float, classifier: Classifier, purifier: object, draws: int) -> float | None:
    """The share of scores as high among those of the clean pictures of the classifier's calibration and this one: a
    conformal p-value, so that of pictures like those a share of at most r has a rate of at most r. None where it was
    calibrated with another purifier, other ``draws``, or not at all."""
    made = classifier.calibration.alarm
    if made is None or (made.purifier, made.draws) != (purifier, draws):
        return None
    return (len(made.scores) - bisect_left(made.scores, score) + 1) / (len(made.scores) + 1)
