"""The endpoints for programs: the page's actions, with a picture file in and a picture file out.

A reading is a dict: ``diagnosis`` (the likeliest), ``probabilities`` (full name to calibrated probability, likeliest
first), ``draws`` (of the purification whose mean they are; otherwise 1), ``agreeing`` (those draws that alone have the
same diagnosis), ``unsure`` (its confidence is below the classifier's threshold), ``unlike_dermoscopy`` (None where the
classifier cannot tell), ``malignant`` (the probability of all malignant and precancerous diagnoses together; None where
a label is not one of ISIC 2019's), and ``recognition_rate``, what was measured of the classifier on test pictures that
nobody attacked (None for classifiers from elsewhere). That of a purified picture has an ``alarm`` too, a dict:
``score`` (from 0 to 13.8: how far apart the readings before and after purification are), ``false_alarm_rate`` (the
share of clean pictures that score as high) and ``attacked`` (whether these are so few that the picture looks attacked),
both None where the classifier was not calibrated with this purifier and so many draws.
"""

import json
import math
from dataclasses import asdict

from PIL import Image
from torch import Tensor

from purifier.alarm import alarm_of
from purifier.classifiers.classifier import Classifier, measured_scores
from purifier.classifiers.taxonomy import full_name
from purifier.pictures.files import quantise, read_image, to_picture
from purifier.pipeline import Purifier
from purifier.readings import Reading, is_out_of_distribution, mean_of, read
from purifier.runs import Attack, Settings, attack_steps, purified_draws
from purifier.texts import UserError
from purifier.ui.comparison import all_defences, defend
from purifier.ui.controls import COMPARE_DRAWS, MEAN_DRAWS, SEED, attack_from, purifier_from, purifier_values
from purifier.ui.session import Session, classifier_for_page

Told = dict[str, object]  # a reading, as above


def classify(picture: str, classifier: str) -> Told:
    """Read a dermoscopic picture: the probability of every diagnosis, and how far to trust it.

    Research and teaching; not a medical device.

    Args:
        picture: JPEG, PNG, WebP, TIFF, BMP or DICOM file; its central square is used, at 224 pixels a side.
        classifier: a bundled name, or 'hf-hub:owner/name@revision'.

    Returns:
        The reading: diagnosis, probabilities, draws, agreeing, unsure, unlike_dermoscopy, malignant, recognition_rate.
    """
    x, loaded = _batch(picture), _classifier(classifier)
    return _told(loaded, x, read(loaded, x)[0], classifier)


def attack(
    picture: str,
    classifier: str,
    method: str,
    epsilon: int,
    steps: int,
    target: str,
    seed: int,
    knows_purifier: bool,
    blocks: int | None = None,
    sigma: float | None = None,
    weight: float = Purifier.weight,
    scales: list[float] | None = None,
    denoiser: str = Purifier.denoiser,
) -> tuple[Image.Image, Told]:
    """Perturb a picture so that the classifier misreads it.

    Research and teaching; not a medical device.

    Args:
        picture: the picture file.
        classifier: a bundled name, or 'hf-hub:owner/name@revision'.
        method: pgd, bim, mi_fgsm or fgsm.
        epsilon: the largest change of any value, in levels of 255; a whole number from 1 to 16.
        steps: number of steps, at most 100; without meaning for fgsm.
        target: label to be taken for or its full name (such as NV or Melanocytic nevus), or 'any other'.
        seed: of the random start.
        knows_purifier: whether the attacker attacks through the purifier with the settings that follow, averaging over
            its noise; otherwise these have no meaning.
        blocks: how often the purifier diffuses, denoises and aggregates; unless given, what suits the denoiser.
        sigma: standard deviation of its noise, in levels of 255; unless given, what suits the denoiser.
        weight: of the total variation, where the denoiser is rof.
        scales: of its pyramid, 1 among them; unless given, what suits the denoiser.
        denoiser: learned, a network that was trained on dermoscopic pictures, or rof, the paper's total variation.

    Returns:
        The attacked picture (PNG, 224 x 224) and its reading.
    """
    x, loaded = _batch(picture), _classifier(classifier)
    knows = _flag("knows_purifier", knows_purifier)
    known = _purifier(denoiser, weight, blocks=blocks, sigma=sigma, scales=scales) if knows else None
    settings = Attack(
        settings=attack_from(_text("method", method), epsilon, steps),
        target=_text("target", target),
        classifier=classifier,
        known=known,
        seed=SEED.check(seed),
    )
    *_, adv = attack_steps(loaded, quantise(x), settings)
    return to_picture(adv), _told(loaded, adv, read(loaded, adv)[0], classifier)


def purify(
    picture: str,
    classifier: str,
    blocks: int | None = None,
    sigma: float | None = None,
    weight: float = Purifier.weight,
    scales: list[float] | None = None,
    seed: int = 0,
    draws: int = Settings.draws,
    denoiser: str = Purifier.denoiser,
) -> tuple[Image.Image, Told]:
    """Purify a picture by multiscale diffusive and denoising aggregation (MDDA) several times, and read the mean.

    Research and teaching; not a medical device.

    Args:
        picture: the picture file.
        classifier: a bundled name, or 'hf-hub:owner/name@revision'.
        blocks: how often to diffuse, denoise and aggregate; unless given, what suits the denoiser.
        sigma: standard deviation of the noise, in levels of 255; unless given, what suits the denoiser.
        weight: of the total variation, where the denoiser is rof.
        scales: of the pyramid, 1 among them; unless given, what suits the denoiser.
        seed: of the noise.
        draws: purifications whose mean is read, from 1 to 64; of more it depends less on the draw, and it takes longer.
        denoiser: learned, a network that was trained on dermoscopic pictures, or rof, the paper's total variation.

    Returns:
        The first purified picture (PNG, 224 x 224), and the mean reading of all draws with the alarm, whether the
        picture that was given looks attacked.
    """
    x, loaded = _batch(picture), _classifier(classifier)
    purifier = _purifier(denoiser, weight, blocks=blocks, sigma=sigma, scales=scales)
    seed = SEED.check(seed)
    made = list(purified_draws(loaded, purifier, x, draws=MEAN_DRAWS.check(draws), seed=seed))
    clean, reading = made[0][0][:1], mean_of([one for _, some in made for one in some])
    alarm = alarm_of(loaded, read(loaded, x)[0], reading, purifier)
    told = {**_told(loaded, clean, reading, classifier), "alarm": {**asdict(alarm), "attacked": alarm.attacked}}
    return to_picture(clean), told


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
    x, loaded = _batch(picture), _classifier(classifier)
    session = Session(original=x if original is None else _batch(original), attacked=x)
    reference, draws = read(loaded, session.original)[0].top, COMPARE_DRAWS.check(draws)
    rows = (defend(session, defence, loaded, reference, draws)[0] for defence in all_defences(Purifier()))
    return [{**asdict(row), "psnr": row.psnr if math.isfinite(row.psnr) else None} for row in rows]


def _batch(picture: str | None) -> Tensor:
    if picture is None:
        raise UserError("No picture was given.")
    return read_image(picture)


def _purifier(denoiser: str, weight: float, **given: object) -> Purifier:
    """With what suits the denoiser where None is given."""
    suited = purifier_values(Purifier(denoiser=denoiser))
    chosen = {name: value for name, value in given.items() if value is not None}
    return purifier_from(**suited | chosen | {"weight": weight})


def _classifier(name: str | None) -> Classifier:
    return classifier_for_page(_text("classifier", name))


def _text(name: str, value: str | None) -> str:
    if not isinstance(value, str):
        raise UserError("{name} must be a text, and is {value}.", name=name, value=json.dumps(value))
    return value


def _flag(name: str, value: bool | None) -> bool:
    if not isinstance(value, bool):
        raise UserError("{name} must be true or false, and is {value}.", name=name, value=json.dumps(value))
    return value


def _told(classifier: Classifier, x: Tensor, reading: Reading, name: str) -> Told:
    """The reading of a picture by the loaded classifier of that name."""
    can_tell = classifier.calibration.out_of_distribution is not None
    return {
        "diagnosis": full_name(reading.top),
        "probabilities": reading.as_dict(),
        "draws": reading.draws,
        "agreeing": reading.agreeing,
        "unsure": reading.unsure,
        "unlike_dermoscopy": is_out_of_distribution(classifier, x) if can_tell else None,
        "malignant": reading.malignant(),
        "recognition_rate": _recognition_rate(name.strip(), reading.top),
    }


def _recognition_rate(name: str, top: str) -> dict[str, object] | None:
    """How often a bundled classifier is right, and how many pictures of the diagnosis ``top`` it recognises, each with
    its 95 % interval."""
    scores = measured_scores(name)
    if scores is None:
        return None
    return {
        "measured_on": f"{scores['images']} test pictures of ISIC 2019 that nobody attacked",
        "accuracy": scores["accuracy"],
        "balanced_accuracy": scores["balanced_accuracy"],
        "of_this_diagnosis": scores["recall"].get(top),
    }
