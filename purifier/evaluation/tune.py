"""Settings of MDDA and of every peer, chosen by one rule on validation lesions. The home of Optuna.

The rule: a trial's merit is its worst accuracy, among clean pictures and those that an oblivious PGD-20 attacked at
each epsilon. Of at most so many trials, those whose merit is within one standard error of the best cannot be told from
it (Breiman et al., 1984). They are the finalists, with MDDA's first guess, and are measured again over fresh draws of
their noise, since the best of many trials owes something to its draw. By these figures, of those within one standard
error of the best the one is taken that costs least on clean pictures. MDDA has several numbers, and its trials are
proposed by the tree-structured Parzen estimator (Bergstra et al., 2011); its peers have one, and all values are tried.
What is not in MDDA's definition is not searched but shown by the sensitivity plot: shares of noise and weight by scale
(decay), of the scales in the last merge (tilt), low frequencies alone of coarser scales (bands), a last smoothing.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import optuna
import torch
from torch import Tensor
from tqdm import tqdm

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import Classifier
from purifier.defences import FAMILIES, Defence, get_defence
from purifier.denoiser import digest_of_weights
from purifier.evaluation.datasets import Sample, read_pixels
from purifier.evaluation.evaluate import over_batches, targets
from purifier.evaluation.grid import digest_of_pixels
from purifier.evaluation.plots import plot_sensitivity, plot_tradeoff
from purifier.evaluation.settings import BATCH, EPS, TRIALS, check_eps
from purifier.figures import save_figure
from purifier.files import begin, write_atomically
from purifier.pictures.files import SIZE
from purifier.pipeline import Purifier
from purifier.seeds import seed_of

STEPS = 20  # of the attack
FRESH_DRAWS = 3  # of each finalist
STARTUP = 6  # trials at random before the estimator proposes any
# Scale 2 costs seven times what the others cost together, and a last smoothing is a defence by itself, which would keep
# a purifier with no noise and no denoising from being the identity: what they do is in the sensitivity plot.
SCALES = {"1": (1.0,), "1, 1/2": (1.0, 0.5), "1, 1/2, 1/4": (1.0, 0.5, 0.25)}
Setting = str | Purifier  # of a peer its name with the number
# Where MDDA's searches begin, by denoiser: a first guess, and the best of an earlier search on fewer pictures or, with
# the learned one, what suits it.
STARTS = {
    "mdda-rof": (
        Purifier(denoiser="rof", scales=(1.0, 0.5, 0.25), blocks=2, sigma=8 / 255, weight=0.02, own=0.5),
        Purifier(denoiser="rof", scales=(1.0, 0.5), blocks=4, sigma=12 / 255, weight=0.04, own=0.8),
    ),
    "mdda-learned": (
        Purifier(denoiser="learned", scales=(1.0, 0.5), blocks=1, sigma=8 / 255, own=0.6),
        Purifier(denoiser="learned"),
    ),
}
VARIED = f"mdda-{Purifier.denoiser}"  # whose settings the sensitivity plot varies
SENSITIVITY: dict[str, tuple] = {
    "blocks": (1, 2, 3, 4),
    "sigma": (4 / 255, 8 / 255, 12 / 255, 16 / 255, 20 / 255),
    "weight": (0.0, 0.03, 0.06, 0.09),  # of ROF
    "scales": ((1.0,), (1.0, 0.5), (1.0, 0.5, 0.25), (2.0, 1.0, 0.5, 0.25)),
    "own": (0.6, 0.8, 0.95, 1.0),
    "tilt": (0.0, 2.0, 4.0),
    "bands": (True, False),
    "decay": (0.0, 0.5, 1.0),
    "smooth": (0.0, 1.0, 2.0),
}


def tune(
    classifier: Classifier,
    samples: Sequence[Sample],
    out: Path,
    *,
    defences: Sequence[str] = (*STARTS, *FAMILIES),
    eps: Sequence[float] = EPS,
    trials: int = TRIALS,
    seed: int = 0,
    sensitivity: bool = True,
) -> dict:
    """Choose the settings of ``defences`` (families, ``mdda-rof`` and ``mdda-learned``); ``eps`` in 1/255. Resumes
    where it was stopped.

    Every trial is a line of ``out/trials.jsonl``; ``out/best.json`` holds the choice, ``out/sensitivity.png`` what
    each setting of MDDA does when the others stay at the best. Raises ``ValueError`` for unknown defences.
    """
    unknown = [name for name in defences if name not in (*STARTS, *FAMILIES)]
    if unknown or trials < 1:
        known = ", ".join((*STARTS, *FAMILIES))
        raise ValueError(f"Tuned are {known}, in 1 or more trials; asked: {unknown}, {trials}.")
    check_eps(eps)
    settings = {"classifier": classifier.source, "weights": classifier.digest(), "denoiser": digest_of_weights()}
    settings |= {"eps": list(eps), "seed": seed}
    pixels = read_pixels(samples, SIZE)
    begin(out, {**settings, "images": [sample.image for sample in samples], "pixels": digest_of_pixels(pixels)})
    pictures, y = attacked_pictures(classifier, samples, pixels, eps, seed, out)
    kept = Trials(out / "trials.jsonl")

    def score(setting: str | Purifier, draws: Sequence[int] = (0,)) -> dict[str, float]:
        """Of a peer by its name or of MDDA by its settings; what draws no noise is the same in every draw."""
        is_peer = isinstance(setting, str)
        what = {"defence": setting} if is_peer else {"defence": "mdda", "purifier": asdict(setting)}
        defence = get_defence(setting) if is_peer else get_defence("mdda", setting)
        if not defence.random:
            draws = (0,)
        if draws != (0,):
            what["draws"] = list(draws)
        return kept.get(what, lambda: accuracies(defence, classifier, pictures, y, seed, draws))

    def final(found: dict[Setting, dict[str, float]]) -> dict:
        """What the rule takes of the trials, with its accuracy over the fresh draws."""
        guesses = [first for first, *_ in STARTS.values()]
        finalists = within_one_error(found, len(y)) + [setting for setting in found if setting in guesses]
        again = {setting: score(setting, range(1, 1 + FRESH_DRAWS)) for setting in dict.fromkeys(finalists)}
        setting = chosen(again, len(y))
        named = {"defence": setting} if isinstance(setting, str) else {"defence": "mdda", "purifier": asdict(setting)}
        return {**named, "accuracy": again[setting], "trials": len(found), "finalists": len(again)}

    best, tried = {}, []
    bar = tqdm(defences, desc="tune")
    for family in bar:
        bar.set_postfix_str(family)
        if family in STARTS:
            found = try_mdda(STARTS[family], score, trials, seed)
        else:
            names = [f"{family}{value:g}" for value in FAMILIES[family].values[:trials]]
            found = {name: score(name) for name in names}
        best[family] = final(found)
        tried += [(family, accuracy) for accuracy in found.values()]
    write_atomically(out / "best.json", (json.dumps(best, indent=2) + "\n").encode())
    for kind in list(pictures)[1:]:
        points = [(family, accuracy["clean"], accuracy[kind]) for family, accuracy in tried]
        figure = plot_tradeoff(points, f"{kind}, oblivious attacker")
        save_figure(figure, out / f"tradeoff-{kind.removesuffix('/255').replace(' ', '-').lower()}")
    if sensitivity and VARIED in best:
        centre = Purifier.read(best[VARIED]["purifier"])
        told = [setting for setting in SENSITIVITY if setting != "weight" or centre.denoiser == "rof"]
        points = [(setting, value) for setting in told for value in SENSITIVITY[setting]]
        found = []
        for setting, value in tqdm(points, desc="sensitivity"):
            purifier = replace(centre, **{setting: value})
            accuracy = score(purifier)
            found.append({"setting": setting, "value": shown(setting, value), "accuracy": accuracy})
        write_atomically(out / "sensitivity.json", (json.dumps(found, indent=2) + "\n").encode())
        save_figure(plot_sensitivity(found), out / "sensitivity")
    return best


def shown(setting: str, value) -> str:
    """A setting's value as it stands in a table or plot."""
    if setting == "sigma":
        return f"{value * 255:g}/255"
    return ", ".join(f"{scale:g}" for scale in value) if setting == "scales" else f"{value:g}"


def merit(accuracy: dict[str, float]) -> float:
    """What is maximised: the worst."""
    return min(accuracy.values())


def within_one_error(found: dict[Setting, dict[str, float]], images: int) -> list[Setting]:
    """The trials whose merit is within one standard error of the best."""
    best = max(map(merit, found.values()))
    enough = best - (best * (1 - best) / images) ** 0.5
    return [setting for setting, accuracy in found.items() if merit(accuracy) >= enough]


def chosen(found: dict[Setting, dict[str, float]], images: int) -> Setting:
    """Of the trials within one standard error the best on clean pictures."""
    return max(within_one_error(found, images), key=lambda setting: (found[setting]["clean"], merit(found[setting])))


def try_mdda(
    starts: Sequence[Purifier], score: Callable[[Purifier], dict[str, float]], trials: int, seed: int
) -> dict[Purifier, dict[str, float]]:
    """The accuracies of ``trials`` settings of the ``starts``' denoiser; the first that are tried are ``starts``."""
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    is_rof = starts[0].denoiser == "rof"
    for start in starts:
        first = {
            "scales": next(name for name, scales in SCALES.items() if scales == start.scales),
            "blocks": start.blocks,
            "sigma": round(start.sigma * 255),
            "own": start.own,
        }
        study.enqueue_trial(first | ({"weight": start.weight} if is_rof else {}))
    found = {}

    def objective(trial: optuna.Trial) -> float:
        values = dict(scales=SCALES[trial.suggest_categorical("scales", list(SCALES))])
        if is_rof:
            values |= dict(
                blocks=trial.suggest_int("blocks", 1, 5),
                sigma=trial.suggest_int("sigma", 2, 24, step=2) / 255,
                own=round(trial.suggest_float("own", 0.2, 0.9, step=0.1), 1),
                weight=round(trial.suggest_float("weight", 0.005, 0.06, step=0.0025), 4),
            )
        else:
            values |= dict(
                blocks=trial.suggest_int("blocks", 1, 4),
                sigma=trial.suggest_int("sigma", 2, 24, step=2) / 255,
                own=round(trial.suggest_float("own", 0.5, 1, step=0.05), 2),
            )
        purifier = replace(starts[0], **values)
        found[purifier] = score(purifier)
        return merit(found[purifier]) + 1e-3 * sum(found[purifier].values())  # the mean breaks ties

    study.optimize(objective, n_trials=trials)
    return found


def attacked_pictures(
    classifier: Classifier, samples: Sequence[Sample], pixels: Tensor, eps: Sequence[float], seed: int, out: Path
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

    pictures = {"clean": pixels / 255, **{f"PGD {value:g}/255": pgd(value) for value in eps}}
    file = io.BytesIO()
    torch.save(pictures, file)
    write_atomically(path, file.getvalue())
    return pictures, y


def accuracies(
    defence: Defence, classifier: Classifier, pictures: dict[str, Tensor], y: Tensor, seed: int, draws: Sequence[int]
) -> dict[str, float]:
    """Of the classifier behind the defence on each kind of picture, the mean over the draws."""
    found = {}
    for kind, x in pictures.items():
        right, batches = [], list(zip(x.split(BATCH), y.split(BATCH), strict=True))
        for draw in draws:
            for i, (batch, t) in enumerate(batches, start=draw * len(batches)):
                generator = torch.Generator().manual_seed(seed_of(seed, kind, i))
                with torch.no_grad():
                    logits = defence.read(classifier, batch.to(classifier.mean.device), generator)
                right.append(logits.argmax(1).cpu() == t)
        found[kind] = torch.cat(right).double().mean().item()
    return found


class Trials:
    """What was tried, one JSON object a line, so that nothing is computed twice."""

    def __init__(self, path: Path) -> None:
        self.path, self.known = path, {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                trial = json.loads(line)
            except ValueError:  # cut short when the process was stopped
                continue
            self.known[json.dumps(trial["what"])] = trial["accuracy"]
        write_atomically(path, "".join(self.line(key) for key in self.known).encode())

    def line(self, key: str) -> str:
        """A trial as it stands in the file."""
        return json.dumps({"what": json.loads(key), "accuracy": self.known[key]}) + "\n"

    def get(self, what: dict, compute: Callable[[], dict[str, float]]) -> dict[str, float]:
        """The accuracies of ``what``, computed and kept where they are not known."""
        key = json.dumps(what)
        if key not in self.known:
            self.known[key] = compute()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(self.line(key))
        return self.known[key]
