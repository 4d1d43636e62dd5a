"""Attack a picture, purify it, and read it on the way: what the page, its API, the command line and reports share.

Every picture is a batch of one, (1, 3, H, W), with 8-bit values: what is shown is what is read. ``Settings`` hold all
that a run depends on besides the picture, and go to JSON and back.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import islice

import torch
from torch import Tensor

from purifier.alarm import Alarm, alarm_of
from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import DEFAULT, Classifier, default_device
from purifier.classifiers.taxonomy import code_of
from purifier.defences import MOST_DRAWS
from purifier.pictures.files import quantise, to_picture
from purifier.pipeline import ONLY_ROF, Purifier, Stage
from purifier.readings import Reading, mean_of, read
from purifier.strict import built, strict
from purifier.texts import Text, UserError

AT_ONCE = 4  # purifications, of many
SAMPLES = 4  # of the purifier's noise, at each step of an attacker who knows it
ANY = "any other"  # in place of a target: get away from the present reading
MAX_SEED = 2**32 - 1
Cell = tuple[Tensor, Reading]  # a picture and its reading


@strict
class Attack:
    """How a picture was attacked: by whom, with what aim. ``classifier`` is the one that the attacker has, which need
    not be the one that reads; ``known`` the purifier that the attacker attacks through, averaging over its noise.

    The attacked picture has 8-bit values, so that its bound is the whole number of levels (1/255) in ``settings.eps``;
    ``ValueError`` where that is none.
    """

    settings: AttackSettings = field(default_factory=AttackSettings)
    target: str = ANY  # a label, or ANY: flee the reading of the original
    classifier: str = DEFAULT
    known: Purifier | None = None
    seed: int = 0
    stopped_after: int | None = None  # steps, where it did not go to its end

    def __post_init__(self) -> None:
        _check(Text("Seed"), self.seed, 0, MAX_SEED)
        if self.levels < 1:
            raise UserError(
                "Epsilon is {value}/255. A picture's values are whole numbers of 1/255, so with less than 1/255 "
                "nothing can change.",
                value=f"{255 * self.settings.eps:.3g}",
            )
        if self.settings.steps < 1:
            raise UserError("An attack has at least 1 step, and this one {count}.", count=self.settings.steps)
        if self.stopped_after is not None and self.stopped_after < 1:
            raise ValueError(f"stopped_after must be at least 1, and is {self.stopped_after}.")

    @property
    def levels(self) -> int:
        """The largest change of a value, in 1/255."""
        return math.floor(255 * self.settings.eps + 1e-6)  # 255 * (2 / 255) may come out below 2


def _check(name: Text, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UserError(
            "{name} must be a whole number from {low} to {high}, and is {value}.",
            name=name,
            low=low,
            high=high,
            value=value,
        )


@strict
class Settings:
    """All that a run depends on besides its picture. None for what was not done.

    ``draws``, from 1 to ``MOST_DRAWS``, is how many purifications the reading of the purified picture is the mean of.
    Raises ``ValueError`` for numbers out of range.
    """

    classifier: str = DEFAULT
    attack: Attack | None = None
    purifier: Purifier | None = None
    seed: int = 0  # of the purifier's noise
    draws: int = 4

    def __post_init__(self) -> None:
        _check(Text("Seed"), self.seed, 0, MAX_SEED)
        _check(Text("Draws averaged"), self.draws, 1, MOST_DRAWS)

    @property
    def is_learned(self) -> bool:
        """Whether the learned denoiser takes part, in the purification or in the attack."""
        known = None if self.attack is None else self.attack.known
        return any(p is not None and p.denoiser == "learned" for p in (self.purifier, known))

    def to_json(self) -> str:
        """As text that ``from_json`` reads."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Settings":
        """Settings as ``to_json`` wrote them, or as they lie under "settings" in a report's JSON. Those that do not say
        how many draws, or which denoiser, are from a version that had one draw and ROF.

        Raises ``ValueError`` for anything else.
        """
        try:
            values = json.loads(text)
            values = values.get("settings", values) if isinstance(values, dict) else values
            return built(cls, _completed(values) if isinstance(values, dict) else values)
        except ValueError as error:
            raise UserError("These are not the settings of a run: {reason}", reason=str(error)) from error


def _completed(values: dict) -> dict:
    """Stored settings with what an earlier version left out."""
    found = {"draws": 1, **values}
    if isinstance(found.get("purifier"), dict):
        found["purifier"] = ONLY_ROF | found["purifier"]
    if isinstance(attack := found.get("attack"), dict) and isinstance(attack.get("known"), dict):
        found["attack"] = {**attack, "known": ONLY_ROF | attack["known"]}
    return found


@dataclass(frozen=True, eq=False)
class Run:
    """What was done to a picture and what came of it. ``purified`` is the first of the draws, and ``purified_reading``
    the mean of them all. ``stages`` are those of the first, each with its four pictures (before, diffused, denoised,
    aggregated) and their readings. ``truth`` is the true diagnosis, a code of ISIC 2019's, where it is known."""

    settings: Settings
    original: Tensor
    attacked: Tensor | None = None
    purified: Tensor | None = None
    purified_reading: Reading | None = None
    stages: tuple[tuple[Stage, list[Cell]], ...] = ()
    truth: str | None = None

    @property
    def source(self) -> Tensor:
        """What the purifier works on: the attacked picture where there is one."""
        return self.original if self.attacked is None else self.attacked

    def pictures(self) -> dict[str, Tensor]:
        """The pictures that there are, by name."""
        found = {"original": self.original, "attacked": self.attacked, "purified": self.purified}
        return {name: x for name, x in found.items() if x is not None}

    def alarm(self, classifier: Classifier, readings: dict[str, Reading]) -> Alarm | None:
        """Whether what was purified looks attacked, from ``readings`` as below; None where nothing was purified."""
        if self.purified is None:
            return None
        before = readings["original" if self.attacked is None else "attacked"]
        return alarm_of(classifier, before, readings["purified"], self.settings.purifier)

    def readings(self, classifier: Classifier) -> dict[str, Reading]:
        """How the run's classifier reads the pictures that there are, by name; ``purified`` has its mean reading."""
        found = {name: x for name, x in self.pictures().items() if name != "purified"}
        readings = dict(zip(found, read(classifier, *found.values()), strict=True))
        return readings if self.purified is None else {**readings, "purified": self.purified_reading}


def run(settings: Settings, x: Tensor, classifier: Classifier, attacker: Classifier | None = None) -> Run:
    """Do what ``settings`` say to ``x`` (1, 3, H, W). ``classifier`` and ``attacker`` are the loaded ones of their
    names; ``attacker`` is only needed where the attack was made on another.

    The same settings and picture give the same run, to the bit on the same machine.
    """
    attacked = None
    x = quantise(x).cpu()
    if settings.attack is not None:
        *_, attacked = attack_steps(attacker or classifier, x, settings.attack)
    return purify_run(Run(settings, x, attacked), classifier)


def purify_run(begun: Run, classifier: Classifier) -> Run:
    """``begun`` with its purification, if its settings ask for one. A mean reading that it has already stays."""
    purifier, seed = begun.settings.purifier, begun.settings.seed
    if purifier is None:
        return begun
    stages = tuple(purify_stages(classifier, purifier, begun.source, seed=seed))
    purified = merged_picture(purifier, [s for s, _ in stages if s.block == purifier.blocks], begun.source)
    reading = begun.purified_reading
    if reading is None:
        reading = mean_reading(classifier, purifier, begun.source, draws=begun.settings.draws, seed=seed)
    return replace(begun, stages=stages, purified=purified, purified_reading=reading)


def attack_steps(classifier: Classifier, x: Tensor, attack: Attack) -> Iterator[Tensor]:
    """The attacked picture after each step that was made; ``classifier`` is the attacker's.

    Without a target it flees the classifier's own reading of ``x``. An attacker who knows the purifier averages over
    ``SAMPLES`` of its noise. Raises ``ValueError`` for a target that the classifier does not know.
    """
    target = find_target(attack.target, classifier.labels)
    label = read(classifier, x)[0].top if target == ANY else target
    y = torch.tensor([classifier.labels.index(label)], device=classifier.mean.device)
    generator = torch.Generator().manual_seed(attack.seed)
    noise = torch.Generator().manual_seed(attack.seed + 1)
    known = attack.known
    model = classifier if known is None else lambda z: classifier(known(z, noise))
    settings = replace(attack.settings, eps=attack.levels / 255, samples=1 if known is None else SAMPLES)
    steps = settings.iterates(model, x.to(y.device), y, targeted=target != ANY, generator=generator)
    # eps is a whole number of levels and x has 8-bit values, so rounding does not leave the ball.
    return (quantise(adv).cpu() for adv in islice(steps, attack.stopped_after))


def find_target(target: str, labels: list[str]) -> str:
    """``ANY``, or the one of ``labels`` that ``target`` means: itself, or the same diagnosis in other words
    (``Melanoma`` for ``MEL``). Raises ``ValueError`` for anything else."""
    if target in (ANY, *labels):
        return target
    same = [label for label in labels if code_of(label).lower() == code_of(target).lower()]
    if len(same) != 1:
        raise UserError(
            "The target must be one of {labels}, and is {target}.", labels=", ".join(labels), target=repr(target)
        )
    return same[0]


def purify_stages(
    classifier: Classifier, purifier: Purifier, x: Tensor, *, seed: int = 0
) -> Iterator[tuple[Stage, list[Cell]]]:
    """Each stage with its four pictures and their readings."""
    device = classifier.mean.device
    stages = purifier.stages(x.to(device), torch.Generator().manual_seed(seed))
    while True:
        with torch.no_grad():  # around each step: a with-block around the yield would leak to the caller
            stage = next(stages, None)
        if stage is None:
            return
        pictures = [quantise(z).cpu() for z in (stage.before, stage.diffused, stage.denoised, stage.aggregated)]
        yield stage, list(zip(pictures, read(classifier, *pictures), strict=True))


def purified_picture(purifier: Purifier, x: Tensor, *, seed: int = 0) -> Tensor:
    """The purified picture alone."""
    with torch.no_grad():
        clean = purifier(x.to(default_device()), torch.Generator().manual_seed(seed))
    return quantise(clean).cpu()


def mean_reading(classifier: Classifier, purifier: Purifier, x: Tensor, *, draws: int, seed: int = 0) -> Reading:
    """The mean of the calibrated probabilities over ``draws`` purified pictures of ``x`` (1, 3, H, W)."""
    found = purified_readings(classifier, purifier, x, draws=draws, seed=seed)
    return mean_of([reading for some in found for reading in some])


def purified_readings(
    classifier: Classifier, purifier: Purifier, x: Tensor, *, draws: int, seed: int = 0
) -> Iterator[list[Reading]]:
    """The reading of each of ``draws`` purified pictures of one, at most ``AT_ONCE`` at a time."""
    return (readings for _, readings in purified_draws(classifier, purifier, x, draws=draws, seed=seed))


def purified_draws(
    classifier: Classifier, purifier: Purifier, x: Tensor, *, draws: int, seed: int = 0
) -> Iterator[tuple[Tensor, list[Reading]]]:
    """``draws`` purified pictures of one, (N, 3, H, W) of at most ``AT_ONCE`` at a time, each with its reading. The
    first picture is, but for rounding, what ``purified_picture`` gives for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    for done in range(0, draws, AT_ONCE):
        many = x.to(classifier.mean.device).expand(min(AT_ONCE, draws - done), -1, -1, -1)
        with torch.no_grad():
            clean = quantise(purifier(many, generator))
        yield clean.cpu(), read(classifier, clean)


def merged_picture(purifier: Purifier, last_block: list[Stage], x: Tensor) -> Tensor:
    """The purified picture from the stages of the last block: what ``purified_picture`` gives for the same seed."""
    with torch.no_grad():
        clean = purifier.merge([stage.aggregated for stage in last_block], x.shape[-2:])
    return quantise(clean).cpu()


def amplified(x: Tensor, adv: Tensor, factor: float) -> Tensor:
    """The perturbation on mid-grey, ``factor`` times as strong."""
    return quantise(0.5 + factor * (adv - x))


def hash_of(x: Tensor) -> str:
    """SHA-256 of a picture's 8-bit pixels, row by row, red, green and blue."""
    return hashlib.sha256(to_picture(x).tobytes()).hexdigest()


def amplification(run: Run) -> int:
    """How many times as strong the perturbation is shown: the attack's bound is then the whole range from mid-grey."""
    bound = run.settings.attack.settings.eps if run.settings.attack else 0
    return max(1, round(0.5 / bound)) if bound > 0 else 1


def perturbation(run: Run) -> Tensor:
    """What the attack added, amplified."""
    return amplified(run.original, run.attacked, amplification(run))
