"""The page's controls: their ranges, which its API keeps too (one call must not hold everyone's queue), their menus,
and the settings that their values describe."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gradio as gr

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import bundled_classifiers
from purifier.classifiers.hub import PUBLIC, offered_repositories
from purifier.classifiers.taxonomy import DIAGNOSES, full_name
from purifier.pipeline import Purifier
from purifier.runs import ANY, MAX_SEED, MOST_DRAWS, Settings
from purifier.texts import Text, UserError
from purifier.wording.language import say
from purifier.wording.runs import DENOISERS


@dataclass(frozen=True)
class Range:
    """What a number on the page may be."""

    name: str
    low: float
    high: float
    step: float

    def check(self, value: float | None) -> float:
        """``value`` as a whole number where the step is one; ``ValueError`` for an empty field, for what is no such
        number, and outside the range."""
        whole = isinstance(self.step, int)
        values = dict(name=Text(self.name), low=self.low, high=self.high, value=value)
        if not _is_number(value) or not self.low <= value <= self.high:
            raise UserError("{name} must be a number from {low} to {high}, and is {value}.", **values)
        if whole and value != int(value):
            raise UserError("{name} must be a whole number from {low} to {high}, and is {value}.", **values)
        return int(value) if whole else float(value)


def _is_number(value: object) -> bool:
    """One that a float can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


EPSILON = Range("Epsilon, in 1/255", 1, 16, 1)  # whole levels, so that an 8-bit picture keeps the bound
ATTACK_STEPS = Range("Attack steps", 1, 100, 1)
BLOCKS = Range("Blocks", 1, 6, 1)
SIGMA = Range("Noise sigma, in 1/255", 0, 32, 0.5)
WEIGHT = Range("Denoising weight", 0, 0.1, 0.0025)
DRAWS = Range("Purifications of each picture", 8, 400, 1)
SMOOTHING = Range("Smoothing noise, in 1/255", 4, 64, 1)
CERTIFY_SAMPLES = Range("Noisy draws", 50, 2000, 1)
COMPARE_DRAWS = Range("Draws", 1, 50, 1)
MEAN_DRAWS = Range("Draws averaged", 1, MOST_DRAWS, 1)
DRAW_CHOICES = (1, 4, 16)  # of them on the page
SEED = Range("Seed", 0, MAX_SEED, 1)
UNKNOWN = ""  # in place of a known diagnosis
ELSEWHERE = "These settings have values that the page has no controls for. Use the command purifier report."


def classifier_choices(translate: Callable = say) -> list[tuple[str, str]]:
    """The menu of classifiers: the bundled ones, then public ones on the Hub."""
    bundled = {  # the menu is narrow
        "augmented": translate("augmented: the default"),
        "mixed": translate("mixed: two as one"),
        "robust": translate("robust: attack-trained"),
        "standard": translate("standard: ordinary"),
        "surrogate": translate("surrogate: a ResNet"),
    }
    gated, public = translate("gated"), []
    for repository in offered_repositories():
        about = PUBLIC.get(repository)
        known = [] if about is None else [about.format, *([str(gated)] if about.gated else [])]
        public.append((f"{repository} ({', '.join(['Hub', *known])})", f"hf-hub:{repository}"))
    return [(str(bundled.get(name, name)), name) for name in bundled_classifiers()] + public


def target_choices(labels: Sequence[str], translate: Callable = say) -> list[tuple[str, str]]:
    """The menu of what an attack may aim at."""
    return [
        (str(translate("Any other diagnosis")), ANY),
        *((str(translate(full_name(label))), label) for label in labels),
    ]


def truth_choices(translate: Callable = say) -> list[tuple[str, str]]:
    """The menu of what a picture may really show."""
    known = ((str(translate(diagnosis.name)), code) for code, diagnosis in DIAGNOSES.items())
    return [(str(translate("if you know it")), UNKNOWN), *known]


def denoiser_choices(translate: Callable = say) -> list[tuple[str, str]]:
    """The menu of denoisers."""
    return [(str(translate(name)), denoiser) for denoiser, name in DENOISERS.items()]


def attack_from(method: str, epsilon: int, steps: int) -> AttackSettings:
    """The attack that the controls describe; ``epsilon`` in units of 1/255."""
    return AttackSettings(method=method, eps=EPSILON.check(epsilon) / 255, steps=ATTACK_STEPS.check(steps))


def purifier_from(blocks: int, sigma: float, weight: float, scales: list[float] | None, denoiser: str) -> Purifier:
    """The purifier that the controls describe; ``sigma`` in units of 1/255."""
    if not isinstance(scales, list) or not all(_is_number(scale) for scale in scales):
        raise UserError("scales must be a list of numbers, and are {scales}.", scales=scales)
    chosen = tuple(sorted((float(scale) for scale in scales), reverse=True))
    if 1 not in chosen:
        raise UserError("Scale 1 must be among the scales: it is the picture as the classifier reads it.")
    sigma, weight = SIGMA.check(sigma) / 255, WEIGHT.check(weight)
    return Purifier(blocks=BLOCKS.check(blocks), sigma=sigma, weight=weight, scales=chosen, denoiser=denoiser)


def control_values(settings: Settings, labels: Sequence[str]) -> dict[str, object]:
    """The controls that settings describe, by the names of ``Update``'s fields; the classifier is the attacker's. What
    was not done leaves its controls as they are.

    ``labels`` are the classifier's. Raises ``ValueError`` for settings that the page has no controls for.
    """
    attack, purifier = settings.attack, settings.purifier
    values: dict[str, object] = {"classifier": settings.classifier if attack is None else attack.classifier}
    if attack is not None:
        how = attack.settings
        epsilon = round(255 * how.eps)
        if attack_from(how.method, epsilon, how.steps) != how:
            raise UserError(ELSEWHERE)
        if attack.target != ANY and attack.target not in labels:
            raise UserError(
                "{classifier} does not know the diagnosis {diagnosis}.",
                classifier=attack.classifier,
                diagnosis=Text(full_name(attack.target)),
            )
        target = gr.Dropdown(choices=target_choices(labels), value=attack.target)
        values |= dict(
            epsilon=epsilon,
            target=target,
            knows=attack.known is not None,
            method=how.method,
            steps=how.steps,
            attack_seed=SEED.check(attack.seed),
        )
    shown = purifier or (attack.known if attack else None)
    if shown is not None:
        of_purifier = purifier_values(shown)
        if purifier_from(**of_purifier) != shown or (attack and attack.known not in (None, shown)):
            raise UserError(ELSEWHERE)
        values |= dict(**of_purifier, seed=SEED.check(settings.seed))
    if purifier is not None:
        if settings.draws not in DRAW_CHOICES:
            raise UserError(ELSEWHERE)
        values["draws"] = settings.draws
    return values


def purifier_values(purifier: Purifier) -> dict[str, object]:
    """The controls that a purifier describes; ``purifier_from`` takes them back."""
    sigma = round(255 * purifier.sigma, 6)
    return dict(
        blocks=purifier.blocks,
        sigma=sigma,
        weight=purifier.weight,
        scales=list(purifier.scales),
        denoiser=purifier.denoiser,
    )
