"""The numbers of a mixture of two classifiers, chosen on validation lesions with no training (MixedNUTS: Bai et al.,
2024).

The search needs no attack of its own. PGD-20 attacks the robust member once; for each way to sharpen its logits, the
mixture's share is the least with which a given part of the pictures that the robust member still reads rightly stays
so, whatever the accurate member says. Of these mixtures the best on clean pictures is attacked as a whole for each such
part, by its exact gradient and, since sharpening may hide the robust member's, by that of the mixture without it. The
rule: of those that keep the robust member's accuracy under attack within one standard error, the best on clean
pictures; where none does, the one that keeps most.
"""

import io
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from purifier.attacks import AttackSettings, Model
from purifier.classifiers.classifier import (
    Classifier,
    load_classifier,
    read_calibration,
    write_calibration,
    write_mixture,
)
from purifier.classifiers.hub import CARD, read_config
from purifier.classifiers.mixed import MEMBERS, MIXED, Mixing, Mixture, mixed, refuse_other_labels, sharpened
from purifier.evaluation.datasets import Sample, lesions_of, read_pixels
from purifier.evaluation.evaluate import over_batches, targets, withstands
from purifier.evaluation.grid import digest_of_pixels
from purifier.evaluation.intervals import Score, wilson
from purifier.evaluation.tune import Trials
from purifier.files import begin, write_atomically
from purifier.pictures.files import SIZE
from purifier.seeds import seed_of
from purifier.training.calibrate import abstention_threshold, fit_temperature

STEPS = 20  # of the attack
SCALES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
POWERS = (1.0, 1.5, 2.0, 3.0, 4.0)
CLAMPS = (-2.0, -1.5, -1.0, -0.5, 0.0)
KEPT = (0.8, 0.9, 0.95, 1.0)  # parts of what the robust member withstands

README = """{licence}# A mixture of `{accurate}` and `{robust}`

**Research and teaching; not a medical device.** Two classifiers of dermoscopic pictures as one, chosen by `purifier
mix` on {images} validation pictures of {lesions} lesions: {share:g} of its probabilities are `{robust}`'s, sharpened
(scale {scale:g}, power {power:g}, clamp {clamp:g}), the rest `{accurate}`'s. Nothing was trained.

Accuracy on these pictures, clean and under white-box PGD-{steps} at {eps:g}/255 on each classifier as a whole, where a
picture counts as lost as soon as any step fools it, or the same attack on `{robust}` does. The mixture is attacked by
its own gradient, and by that of the mixture without sharpening, which might hide it. The numbers were chosen on the
same pictures, so expect somewhat less on others. Brackets hold 95 % intervals (Wilson).

| classifier | clean | attacked |
| --- | --- | --- |
{rows}
"""


def mix(
    accurate: str, robust: str, samples: Sequence[Sample], out: Path, *, eps: float = 2.0, seed: int = 0, device: str
) -> dict[str, dict[str, Score]]:
    """Choose a mixture of two classifiers, which may have any names, and write it to ``out``; ``eps`` in 1/255. Resumes
    where it was stopped.

    Returns the accuracy of ``accurate``, ``robust`` and ``mixed`` on ``clean`` and ``attacked`` pictures. Every trial
    is a line of ``out/trials.jsonl``, ``out/mixed.json`` holds the choice. Raises ``ValueError`` for members that do
    not know the same diagnoses in the same order, and where the robust one withstands no attack.
    """
    members = [load_classifier(name, device=device) for name in (accurate, robust)]
    refuse_other_labels(*(member.labels for member in members), "the mixture")
    digests = {name: member.digest() for name, member in zip((accurate, robust), members, strict=True)}
    settings = {"accurate": accurate, "robust": robust, "weights": digests, "eps": eps, "seed": seed}
    pixels = digest_of_pixels(read_pixels(samples, SIZE))
    begin(out, {**settings, "images": [sample.image for sample in samples], "pixels": pixels})
    y, attack = targets(members[0], samples), AttackSettings(eps=eps / 255, steps=STEPS)
    trials = Trials(out / "trials.jsonl")
    read = readings(*members, samples, attack, seed, out / "readings.pt")

    def score(what: dict, classifier: Classifier, logits: Tensor, through: Model) -> dict[str, float]:
        """Accuracy of ``classifier``, whose ``logits`` (N, 2, K) of clean pictures and of those attacked on the robust
        member are known. Where both are right it is attacked by its own gradient, and by that of ``through``."""

        def held(x: Tensor, y: Tensor, i: int) -> Tensor:
            own = withstands(classifier, x, y, attack, 1, seed_of(seed, "attack", i))
            if through is classifier:
                return torch.stack([own, own], dim=1)
            return torch.stack([own, own & withstands(classifier, x, y, attack, 1, seed_of(seed, i), through)], dim=1)

        def measured() -> dict[str, float]:
            right = (logits.argmax(2) == y[:, None]).all(dim=1).tolist()
            left = [sample for sample, is_right in zip(samples, right, strict=True) if is_right]
            counts = [0, 0]
            if left:
                counts = over_batches(classifier, left, held, ", ".join(map(str, what.values()))).sum(dim=0).tolist()
            own, both = (count / len(y) for count in counts)
            return {"clean": accuracy(logits[:, 0], y), "attacked": both, "attacked by its own gradient": own}

        return trials.get(what, measured)

    def unsharpened(x: Tensor) -> Tensor:
        """What gives the attack the robust member's gradient, which sharpening may hide."""
        return torch.logaddexp(*(member(x).log_softmax(dim=1) for member in members))

    found = {
        kind: score({"classifier": kind}, member, read[:, i::2], member)
        for i, (kind, member) in enumerate(zip(MEMBERS, members, strict=True))
    }
    finalists = {}
    for mixing in dict.fromkeys(best_for(kept, read, y, trials) for kept in KEPT):
        whole = Classifier(Mixture(*members, mixing), members[0].labels, "mixed").eval().to(device)
        logits = torch.stack([mixed(*read[:, at : at + 2].unbind(1), mixing) for at in (0, 2)], dim=1)
        finalists[mixing] = score({"classifier": "mixed", **asdict(mixing)}, whole, logits, unsharpened)
    mixing = chosen(finalists, found["robust"]["attacked"], len(y))
    found["mixed"] = finalists[mixing]

    write_mixture(out, accurate, robust, mixing)
    calibrate(out, mixed(read[:, 0], read[:, 1], mixing), y)
    lesions = len(set(lesions_of(samples)))
    scores = {kind: {what: wilson(value, lesions) for what, value in of.items()} for kind, of in found.items()}
    about = {**settings, "images": len(samples), "lesions": lesions, "mixing": asdict(mixing), "steps": STEPS}
    content = {**about, "accuracy": {kind: {what: vars(s) for what, s in of.items()} for kind, of in scores.items()}}
    write_atomically(out / "mixed.json", (json.dumps(content, indent=2) + "\n").encode())
    said = {**about, **asdict(mixing), "licence": licence_of(out), "rows": table(scores)}
    write_atomically(out / CARD, README.format(**said).encode())
    return scores


def readings(
    accurate: Classifier, robust: Classifier, samples: Sequence[Sample], attack: AttackSettings, seed: int, path: Path
) -> Tensor:
    """Logits (N, 4, labels), kept in a file: both members' of clean pictures, and of those attacked on ``robust``."""
    if path.exists():
        return torch.load(path, weights_only=True)

    def read(x: Tensor, y: Tensor, i: int) -> Tensor:
        adv = attack(robust, x, y, generator=torch.Generator().manual_seed(seed_of(seed, "readings", i)))
        return torch.stack([accurate(x), robust(x), accurate(adv), robust(adv)], dim=1)

    file, found = io.BytesIO(), over_batches(accurate, samples, read, "readings")
    torch.save(found, file)
    write_atomically(path, file.getvalue())
    return found


def best_for(kept: float, read: Tensor, y: Tensor, trials: Trials) -> Mixing:
    """Of all ways to sharpen, with the share that each needs to keep that part of what the robust member withstands,
    the one that reads most clean pictures rightly; of equal ones that with the highest likelihood of the truth.

    Raises ``ValueError`` where the robust member withstands no attack.
    """
    held = read[:, 3].argmax(1) == y
    if not held.any():
        raise ValueError("The robust member withstands the attack on none of these pictures.")

    def trial(scale: float, power: float, clamp: float) -> tuple[float, float, Mixing]:
        def measured() -> dict[str, float]:
            share = least_share(sharpened(read[held, 3], numbers(1.0)), y[held], kept)
            logits = mixed(read[:, 0], read[:, 1], numbers(share))
            return {"share": share, "clean": accuracy(logits, y), "likelihood": -F.cross_entropy(logits, y).item()}

        def numbers(share: float) -> Mixing:
            return Mixing(share=share, scale=scale, power=power, clamp=clamp)

        found = trials.get({"kept": kept, "scale": scale, "power": power, "clamp": clamp}, measured)
        return found["clean"], found["likelihood"], numbers(found["share"])

    return max(itertools.starmap(trial, itertools.product(SCALES, POWERS, CLAMPS)), key=lambda trial: trial[:2])[-1]


def least_share(logits: Tensor, y: Tensor, kept: float) -> float:
    """The least share with which the robust member alone decides on the part ``kept`` of attacked pictures that it
    reads rightly, whose sharpened ``logits`` (N, K) these are: ``share * margin > 1 - share``, where the margin is the
    truth's probability less the next one. 1 where sharpening puts another first."""
    probabilities = logits.softmax(dim=1)
    truth = probabilities.gather(1, y[:, None])
    others = probabilities.scatter(1, y[:, None], -1.0).amax(dim=1, keepdim=True)
    margin = (truth - others).flatten().quantile(1 - kept, interpolation="lower").item()
    return min(1.0, (math.floor(1e4 / (1 + max(margin, 0.0))) + 1) / 1e4)


def chosen(found: dict[Mixing, dict[str, float]], attacked: float, images: int) -> Mixing:
    """Of the mixtures within one standard error of an accuracy ``attacked`` the best on clean pictures; where there is
    none, the best on attacked ones."""
    enough = attacked - (attacked * (1 - attacked) / images) ** 0.5
    robust = [mixing for mixing, accuracy in found.items() if accuracy["attacked"] >= enough]
    if not robust:
        return max(found, key=lambda mixing: (found[mixing]["attacked"], found[mixing]["clean"]))
    return max(robust, key=lambda mixing: (found[mixing]["clean"], found[mixing]["attacked"]))


def calibrate(folder: Path, logits: Tensor, y: Tensor) -> None:
    """Fit temperature and abstention to the mixture in ``folder`` by its logits (N, K) of clean pictures. Its check of
    what is out of distribution is the accurate member's, whose features it looks at."""
    temperature = fit_temperature(logits, y)
    below = abstention_threshold((logits / temperature).softmax(dim=1), y)
    calibration = replace(read_calibration(folder), temperature=temperature, abstain_below=below)
    write_calibration(folder, calibration)


def licence_of(folder: Path) -> str:
    """The front matter of a card that names the licence of both members; "" where theirs differ or are not known, since
    it must be chosen by a person then."""
    config = read_config(folder, str(folder))[MIXED]
    licences = {config[kind].get("pretrained_cfg", {}).get("license") for kind in MEMBERS}
    licence = licences.pop()
    return "" if licences or not licence else f"---\nlicense: {licence}\n---\n\n"


def accuracy(logits: Tensor, y: Tensor) -> float:
    """The share of logits (N, K) whose highest is at the label (N,)."""
    return (logits.argmax(1) == y).double().mean().item()


def table(scores: dict[str, dict[str, Score]]) -> str:
    """The rows of the table in the README."""
    return "\n".join(
        f"| {kind} | {of['clean'].written()} | {of['attacked'].written()} |" for kind, of in scores.items()
    )
