"""Every defence on the same picture, for the tab 'Evidence' and for the API."""

from collections import Counter
from dataclasses import dataclass, replace

from torch import Tensor

from purifier.classifiers.classifier import Classifier
from purifier.classifiers.taxonomy import full_name
from purifier.defences import FAMILIES, Defence, get_defence
from purifier.pictures.files import quantise
from purifier.pipeline import SUITED, Purifier
from purifier.ui.session import Session


@dataclass(frozen=True)
class Row:
    """A defence on one picture, in English. ``kept`` is the share of the draws that are read as the original, in per
    cent; PSNR and SSIM are against the original, of the first draw."""

    defence: str
    read_as: str
    kept: float
    draws: int
    psnr: float
    ssim: float
    milliseconds: float


def all_defences(purifier: Purifier) -> list[Defence]:
    """None, MDDA with the settings of ``purifier`` and with what suits its other denoiser, and every peer with its
    tuned setting."""
    others = [f"mdda-{denoiser}" for denoiser in SUITED if denoiser != purifier.denoiser]
    return [get_defence("none"), get_defence("mdda", purifier), *(get_defence(name) for name in (*others, *FAMILIES))]


def defend(
    session: Session, defence: Defence, classifier: Classifier, reference: str, draws: int
) -> tuple[Row, Tensor]:
    """One row, and the first draw's picture."""
    from purifier.evaluation.defended import apply_defence  # its import takes seconds, which the page's start is spared

    x, draws = session.source.to(classifier.mean.device), draws if defence.random else 1
    shown = replace(defence, function=lambda x, generator: quantise(defence(x, generator)))  # what is shown is read
    found = [apply_defence(shown, classifier, x, seed) for seed in range(draws)]
    counts = Counter(classifier.labels[int(one.probabilities.argmax())] for one in found)
    row = Row(
        defence=defence.title,
        read_as=full_name(counts.most_common(1)[0][0]),
        kept=100 * counts[reference] / draws,
        draws=draws,
        psnr=found[0].psnr(session.original).item(),
        ssim=found[0].ssim(session.original).item(),
        milliseconds=1000 * sum(one.seconds for one in found) / draws,
    )
    return row, found[0].pictures.cpu()
