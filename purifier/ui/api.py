"""The endpoints for programs: the page's actions, with a picture file in and a picture file out."""

import math
from dataclasses import asdict

from PIL import Image
from torch import Tensor

from purifier.images import read_image, to_picture
from purifier.pipeline import Purifier
from purifier.readings import read
from purifier.runs import Attack, attack_steps, purified_picture
from purifier.ui.compare import all_defences, defend
from purifier.ui.controls import COMPARE_DRAWS, SEED
from purifier.ui.handlers import attack_from, purifier_from
from purifier.ui.session import Session, classifier_for_page


def classify(picture: str, classifier: str) -> dict[str, float]:
    """Read a dermoscopic picture: the probability of every diagnosis, likeliest first.

    Research and teaching; not a medical device.

    Args:
        picture: JPEG, PNG, WebP, TIFF, BMP or DICOM file; its central square is used, at 224 pixels a side.
        classifier: a bundled name, or 'hf-hub:owner/name@revision'.

    Returns:
        Full name of the diagnosis to probability.
    """
    return read(classifier_for_page(classifier), _batch(picture))[0].as_dict()


def attack(
    picture: str, classifier: str, method: str, epsilon: int, steps: int, target: str, seed: int
) -> tuple[Image.Image, dict[str, float]]:
    """Perturb a picture so that the classifier misreads it; the attacker does not know the purifier.

    Research and teaching; not a medical device.

    Args:
        picture: the picture file.
        classifier: a bundled name, or 'hf-hub:owner/name@revision'.
        method: pgd, bim, mi_fgsm or fgsm.
        epsilon: the largest change of any value, in levels of 255; a whole number from 1 to 16.
        steps: number of steps, at most 100; without meaning for fgsm.
        target: label to be taken for (such as NV), or 'any other'.
        seed: of the random start.

    Returns:
        The attacked picture (PNG, 224 x 224) and its reading.
    """
    adv, loaded = _batch(picture), classifier_for_page(classifier)
    settings = Attack(settings=attack_from(method, epsilon, steps), target=target, seed=SEED.check(seed))
    *_, adv = attack_steps(loaded, adv, settings)
    return to_picture(adv), read(loaded, adv)[0].as_dict()


def purify(
    picture: str, classifier: str, blocks: int, sigma: float, weight: float, scales: list[float], seed: int
) -> tuple[Image.Image, dict[str, float]]:
    """Purify a picture by multiscale diffusive and denoising aggregation (MDDA), and read the result.

    Research and teaching; not a medical device.

    Args:
        picture: the picture file.
        classifier: a bundled name, or 'hf-hub:owner/name@revision'.
        blocks: how often to diffuse, denoise and aggregate.
        sigma: standard deviation of the noise, in levels of 255.
        weight: of the total variation in the denoising.
        scales: of the pyramid, 1 among them.
        seed: of the noise.

    Returns:
        The purified picture (PNG, 224 x 224) and its reading.
    """
    x, loaded = _batch(picture), classifier_for_page(classifier)
    clean = purified_picture(purifier_from(blocks, sigma, weight, scales), x, seed=SEED.check(seed))
    return to_picture(clean), read(loaded, clean)[0].as_dict()


def compare(picture: str, classifier: str, draws: int, original: str | None = None) -> list[dict]:
    """Put a picture through every defence, each with its tuned setting, and read what comes out.

    Research and teaching; not a medical device.

    Args:
        picture: the picture file, attacked or not.
        classifier: a bundled name, or 'hf-hub:owner/name@revision'.
        draws: of each defence that draws noise, from 1 to 50.
        original: the picture before the attack, to which the others are compared; without one, the picture itself.

    Returns:
        A record for each defence: its commonest reading, how often (in per cent) the original's reading, draws, PSNR
        and SSIM to the original, milliseconds.
    """
    x, loaded = _batch(picture), classifier_for_page(classifier)
    session = Session(original=x if original is None else _batch(original), attacked=x)
    reference, draws = read(loaded, session.original)[0].top, COMPARE_DRAWS.check(draws)
    rows = (defend(session, defence, loaded, reference, draws)[0] for defence in all_defences(Purifier()))
    return [{**asdict(row), "psnr": row.psnr if math.isfinite(row.psnr) else None} for row in rows]


def _batch(picture: str | None) -> Tensor:
    if picture is None:
        raise ValueError("No picture was given.")
    return read_image(picture)
