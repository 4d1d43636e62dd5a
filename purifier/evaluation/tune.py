"""Settings of MDDA and of every peer, chosen by one rule on validation lesions. The home of Optuna.

The rule: a trial's merit is its worst accuracy, among clean pictures and those that an oblivious PGD-20 attacked at
each epsilon. Of at most so many trials, those whose merit is within one standard error of the best cannot be told from
it (Breiman et al., 1984); of them the one is taken that costs least on clean pictures. MDDA has several numbers, and
its trials are proposed by the tree-structured Parzen estimator (Bergstra et al., 2011); its peers have one, and all
values are tried.
"""

import io
import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import torch
from torch import Tensor
from tqdm import tqdm

from purifier.attacks import AttackSettings
from purifier.classifiers import Classifier
from purifier.defences import FAMILIES, Defence, get_defence
from purifier.evaluation.datasets import Sample, read_pixels
from purifier.evaluation.evaluate import BATCH, over_batches, targets
from purifier.evaluation.grid import begin, seed_of, write_atomically
from purifier.evaluation.settings import EPS, TRIALS
from purifier.figures import plot_sensitivity, save_figure
from purifier.images import SIZE
from purifier.pipeline import Purifier

STEPS = 20  # of the attack
FIRST = Purifier(scales=(1.0, 0.5, 0.25), blocks=2, sigma=8 / 255, weight=0.02, own=0.5)  # a first guess
STARTUP = 6  # trials at random before the estimator proposes any
# Scale 2 costs seven times what the others cost together, and a last smoothing is a defence by itself, which would keep
# a purifier with no noise and no denoising from being the identity: what they do is in the sensitivity plot.
SCALES = {"1, 1/2": (1.0, 0.5), "1, 1/2, 1/4": (1.0, 0.5, 0.25)}
SENSITIVITY: dict[str, tuple] = {
    "blocks": (1, 2, 3, 4),
    "sigma": (0.0, 4 / 255, 8 / 255, 12 / 255, 16 / 255),
    "weight": (0.0, 0.01, 0.02, 0.03, 0.05),
    "scales": ((1.0,), (1.0, 0.5), (1.0, 0.5, 0.25), (2.0, 1.0, 0.5, 0.25)),
    "own": (0.25, 0.5, 0.75, 1.0),
    "decay": (0.0, 0.5, 1.0),
    "tilt": (0.0, 0.5, 1.0, 2.0),
    "smooth": (0.0, 0.5, 1.0, 2.0),
}


def tune(
    classifier: Classifier, samples: Sequence[Sample], out: Path, *,
    defences: Sequence[str] = ("mdda", *FAMILIES), eps: Sequence[float] = EPS, trials: int = TRIALS, seed: int = 0,
    sensitivity: bool = True,
) -> dict:  # fmt: skip
    """Choose the settings of ``defences`` (families, and ``mdda``); ``eps`` in 1/255. Resumes where it was stopped.

    Every trial is a line of ``out/trials.jsonl``; ``out/best.json`` holds the choice, ``out/sensitivity.png`` what
    each setting of MDDA does when the others stay at the best. Raises ``ValueError`` for unknown defences.
    """
    unknown = [name for name in defences if name != "mdda" and name not in FAMILIES]
    if unknown or trials < 1:
        raise ValueError(f"Tuned are mdda, {', '.join(FAMILIES)}, in 1 or more trials; asked: {unknown}, {trials}.")
    settings = {"classifier": classifier.source, "eps": list(eps), "seed": seed}
    begin(out, {**settings, "images": [sample.image for sample in samples]})
    pictures, y = attacked_pictures(classifier, samples, eps, seed, out)
    kept = Trials(out / "trials.jsonl")

    def score(name: str, purifier: Purifier | None = None) -> dict[str, float]:
        what = {"defence": name} if purifier is None else {"defence": name, "purifier": asdict(purifier)}
        return kept.get(what, lambda: accuracies(get_defence(name, purifier), classifier, pictures, y, seed))

    best = {}
    bar = tqdm(defences, desc="tune")
    for family in bar:
        bar.set_postfix_str(family)
        if family == "mdda":
            best[family] = tune_mdda(lambda purifier: score("mdda", purifier), trials, len(samples), seed)
            continue
        names = [f"{family}{value:g}" for value in FAMILIES[family].values[:trials]]
        found = {name: score(name) for name in names}
        name = chosen(found, len(samples))
        best[family] = {"defence": name, "accuracy": found[name], "trials": len(found)}
    write_atomically(out / "best.json", (json.dumps(best, indent=2) + "\n").encode())
    if sensitivity and "mdda" in best:
        centre = Purifier(**best["mdda"]["purifier"])
        points = [(setting, value) for setting, values in SENSITIVITY.items() for value in values]
        found = []
        for setting, value in tqdm(points, desc="sensitivity"):
            purifier = replace(centre, **{setting: value})
            accuracy = score("mdda", purifier)
            found.append({"setting": setting, "value": shown(setting, value), "accuracy": accuracy})
        write_atomically(out / "sensitivity.json", (json.dumps(found, indent=2) + "\n").encode())
        save_figure(plot_sensitivity(found), out / "sensitivity")
    return best


def shown(setting: str, value) -> str:
    if setting == "sigma":
        return f"{value * 255:g}/255"
    return ", ".join(f"{scale:g}" for scale in value) if setting == "scales" else f"{value:g}"


def merit(accuracy: dict[str, float]) -> float:
    """What is maximised: the worst."""
    return min(accuracy.values())


def chosen(found: dict[Hashable, dict[str, float]], images: int) -> Hashable:
    """The trial that the rule takes, of all by their names."""
    best = max(map(merit, found.values()))
    enough = best - (best * (1 - best) / images) ** 0.5
    among = [name for name, accuracy in found.items() if merit(accuracy) >= enough]
    return max(among, key=lambda name: (found[name]["clean"], merit(found[name])))


def tune_mdda(score: Callable[[Purifier], dict[str, float]], trials: int, images: int, seed: int) -> dict:
    """The one of ``trials`` settings that the rule takes; the first that is tried is ``FIRST``."""
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.enqueue_trial({
        "scales": next(name for name, scales in SCALES.items() if scales == FIRST.scales), "blocks": FIRST.blocks,
        "sigma": round(FIRST.sigma * 255), "weight": FIRST.weight, "own": FIRST.own,
        "decay": FIRST.decay, "tilt": FIRST.tilt,
    })  # fmt: skip
    found = {}

    def objective(trial: optuna.Trial) -> float:
        purifier = Purifier(
            scales=SCALES[trial.suggest_categorical("scales", list(SCALES))],
            blocks=trial.suggest_int("blocks", 1, 4),
            sigma=trial.suggest_int("sigma", 0, 20, step=2) / 255,
            weight=round(trial.suggest_float("weight", 0.005, 0.06, step=0.0025), 4),
            own=round(trial.suggest_float("own", 0.2, 1.0, step=0.1), 1),
            decay=trial.suggest_float("decay", 0.0, 1.0, step=0.25),
            tilt=trial.suggest_float("tilt", 0.0, 2.0, step=0.5),
        )
        found[purifier] = score(purifier)
        return merit(found[purifier]) + 1e-3 * sum(found[purifier].values())  # the mean breaks ties

    study.optimize(objective, n_trials=trials)
    purifier = chosen(found, images)
    return {"defence": "mdda", "purifier": asdict(purifier), "accuracy": found[purifier], "trials": trials}


def attacked_pictures(
    classifier: Classifier, samples: Sequence[Sample], eps: Sequence[float], seed: int, out: Path
) -> tuple[dict[str, Tensor], Tensor]:
    """The pictures clean and under each attack, by name, kept in ``out``; and their labels."""
    y, path = targets(classifier, samples), out / "pictures.pt"
    if path.exists():
        return torch.load(path, weights_only=True), y

    def pgd(value: float) -> Tensor:
        def attacked(x: Tensor, y: Tensor, i: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed_of(seed, value, i))
            return AttackSettings(eps=value / 255, steps=STEPS)(classifier, x, y, generator=generator)

        return over_batches(classifier, samples, attacked, f"PGD {value:g}/255")

    pictures = {"clean": read_pixels(samples, SIZE) / 255, **{f"PGD {value:g}/255": pgd(value) for value in eps}}
    file = io.BytesIO()
    torch.save(pictures, file)
    write_atomically(path, file.getvalue())
    return pictures, y


def accuracies(
    defence: Defence, classifier: Classifier, pictures: dict[str, Tensor], y: Tensor, seed: int
) -> dict[str, float]:
    """Of the classifier behind the defence, one draw, on each kind of picture."""
    found = {}
    for kind, x in pictures.items():
        right = []
        for i, (batch, t) in enumerate(zip(x.split(BATCH), y.split(BATCH), strict=True)):
            generator = torch.Generator().manual_seed(seed_of(seed, kind, i))
            with torch.no_grad():
                right.append(defence.read(classifier, batch.to(classifier.mean.device), generator).argmax(1).cpu() == t)
        found[kind] = torch.cat(right).double().mean().item()
    return found


class Trials:
    """What was tried, one JSON object a line, so that nothing is computed twice."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, {}
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                trial = json.loads(line)
            except ValueError:  # cut short when the process was stopped
                continue
            self.known[json.dumps(trial["what"])] = trial["accuracy"]
        write_atomically(path, "".join(self.line(key) for key in self.known).encode())

    def line(self, key: str) -> str:
        return json.dumps({"what": json.loads(key), "accuracy": self.known[key]}) + "\n"

    def get(self, what: dict, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        key = json.dumps(what)
        if key not in self.known:
            self.known[key] = compute()
            with self.path.open("a") as file:
                file.write(self.line(key))
        return self.known[key]
