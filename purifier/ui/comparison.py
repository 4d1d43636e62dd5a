"""Every defence on the same picture, for the tab 'Compare' and for the API."""

import time
from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from purifier.classifiers.classifier import Classifier
from purifier.classifiers.taxonomy import full_name
from purifier.defences import FAMILIES, Defence, get_defence
from purifier.pictures.files import quantise
from purifier.pipeline import Purifier
from purifier.readings import read
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
    """None, MDDA with the settings of ``purifier``, and every peer with its tuned one."""
    return [get_defence("none"), get_defence("mdda", purifier), *(get_defence(name) for name in FAMILIES)]


def defend(
    session: Session, defence: Defence, classifier: Classifier, reference: str, draws: int
) -> tuple[Row, Tensor]:
    """One row, and the first draw's picture."""
    # Its import takes seconds, which the page's start is spared.
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    device = classifier.mean.device
    x, draws = session.source.to(device), draws if defence.random else 1
    counts, spent, first = Counter(), 0.0, None
    for draw in range(draws):
        start = time.perf_counter()
        with torch.no_grad():
            generator = torch.Generator().manual_seed(draw)
            if defence.copies == 1:
                picture = quantise(defence(x, generator))
                answer = read(classifier, picture.cpu())[0].top
            else:  # the vote's first copy is shown
                picture = quantise(defence(x, torch.Generator().manual_seed(draw)))
                answer = classifier.labels[int(defence.read(classifier, x, generator).argmax())]
        spent += time.perf_counter() - start
        counts[answer] += 1
        first = picture.cpu() if first is None else first
    row = Row(
        defence=defence.title,
        read_as=full_name(counts.most_common(1)[0][0]),
        kept=100 * counts[reference] / draws,
        draws=draws,
        psnr=peak_signal_noise_ratio(first, session.original, data_range=1.0).item(),
        ssim=structural_similarity_index_measure(first, session.original, data_range=1.0).item(),
        milliseconds=1000 * spent / draws,
    )
    return row, first
