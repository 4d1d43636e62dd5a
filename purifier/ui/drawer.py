"""The drawer 'Settings': every parameter of attack, purifier and classifier. Clinicians choose among words, researchers
numbers; both set the same controls."""

import json
from collections.abc import Sequence

import gradio as gr
from gradio.components import Component
from gradio.i18n import I18nData

from purifier.attacks import ATTACKS, AttackSettings
from purifier.classifiers.classifier import DEFAULT, load_classifier
from purifier.pipeline import ALL_SCALES, SUITED, Purifier
from purifier.runs import ANY, Settings
from purifier.ui.components import QUIET, as_given, label, slider
from purifier.ui.controls import (
    ATTACK_STEPS,
    BLOCKS,
    DRAW_CHOICES,
    EPSILON,
    MEAN_DRAWS,
    SIGMA,
    WEIGHT,
    classifier_choices,
    denoiser_choices,
    purifier_values,
    target_choices,
)
from purifier.ui.presets import PRESETS
from purifier.wording.runs import scale_name

DENOISER = (
    "The network was trained on dermoscopic pictures, attacked ones among them, and keeps more of the picture. ROF is "
    "the paper's and needs no training. Choosing one sets noise, blocks and scales to what suits it."
)
SUITING = ("blocks", "sigma", "scales")  # what choosing a denoiser sets


def suiting(denoiser: str) -> dict[str, object]:
    """The controls that choosing a denoiser sets, by name: to what suits it."""
    values = purifier_values(Purifier(denoiser=denoiser))
    return {name: values[name] for name in SUITING}


def strengths(denoiser: str) -> dict[str, float]:
    """What the words for the purifier's strength mean with a denoiser: sigma, in 1/255."""
    gentle, strong = {"learned": (6, 18), "rof": (8, 20)}[denoiser]
    return {"gentle": gentle, "usual": suiting(denoiser)["sigma"], "strong": strong}


class Drawer:
    """Laid out where it is made, closed. ``controls`` are by the names of ``Update``'s fields."""

    def __init__(self) -> None:
        purifier, attack = Purifier(), AttackSettings()
        suited = suiting(purifier.denoiser)
        # A sidebar, since it stands beside the row where there is room, so that what a setting does is seen.
        with gr.Sidebar(position="right", open=False, width=330, elem_classes="lp-drawer"):
            gr.HTML(label("<h2>Attack</h2>"), elem_classes="lp-section")
            with gr.Row(elem_classes="lp-presets"):
                self.presets = [gr.Button(label(preset.title), size="sm", min_width=80) for preset in PRESETS]
            strength = _words(
                label("Strength of the attack"),
                ((label("invisible"), 2), (label("hardly visible"), 4), (label("visible"), 8)),
                attack.eps * 255,
            )
            with gr.Column(elem_classes="lp-researcher"):
                epsilon = slider(
                    EPSILON, round(attack.eps * 255), "How much any colour value may change; 2 is invisible."
                )
                self.is_live = gr.Checkbox(
                    label=label("Live"),
                    info=label("Attacks in one step (FGSM) whenever epsilon moves, and shows what it does."),
                )
                method = gr.Dropdown(
                    [(str(label(method.title)), name) for name, method in ATTACKS.items()],
                    value=attack.method,
                    label=label("Method"),
                )
                steps = slider(ATTACK_STEPS, attack.steps)
                attack_seed = as_given(gr.Number(0, label=label("Attack seed"), precision=0))
            target = gr.Dropdown(
                target_choices(load_classifier().labels, label), value=ANY, label=label("Make it read as")
            )
            knows = gr.Checkbox(
                label=label("The attacker knows the purifier"),
                info=label("And attacks through it, which takes longer."),
            )
            gr.HTML(label("<h2>Purifier</h2>"), elem_classes="lp-section")
            power = _words(
                label("Strength of the purifier"),
                ((label("gentle"), "gentle"), (label("usual"), "usual"), (label("strong"), "strong")),
                "usual",
            )
            rounds = _words(label("Rounds"), [(n, n) for n in (1, 2, 3, 4)], purifier.blocks)
            with gr.Column(elem_classes="lp-researcher"):
                sigma = slider(SIGMA, suited["sigma"], "Strength of the noise that drowns the attack.")
                blocks = slider(BLOCKS, purifier.blocks, "How often to diffuse, denoise and aggregate.")
                denoiser = gr.Radio(
                    denoiser_choices(label), value=purifier.denoiser, label=label("Denoiser"), info=label(DENOISER)
                )
                weight = slider(
                    WEIGHT,
                    purifier.weight,
                    "Of the total variation, with ROF: more is smoother.",
                    interactive=purifier.denoiser == "rof",
                )
                scales = gr.CheckboxGroup(
                    [(scale_name(scale), scale) for scale in ALL_SCALES],
                    value=list(purifier.scales),
                    label=label("Scales"),
                )
                seed = as_given(gr.Number(0, label=label("Noise seed"), precision=0))
            draws = gr.Radio(
                DRAW_CHOICES,
                value=Settings().draws,
                label=label(MEAN_DRAWS.name),
                info=label("Of the noise: the mean reading of several depends less on the draw, and takes longer."),
            )
            gr.HTML(label("<h2>Classifier</h2>"), elem_classes="lp-section")
            classifier = gr.Dropdown(
                classifier_choices(label),
                value=DEFAULT,
                label=label("Classifier"),
                allow_custom_value=True,
                info=label("Or type one on the Hub: hf-hub:owner/name@revision"),
            )
        of_attack = dict(
            method=method, epsilon=epsilon, steps=steps, target=target, attack_seed=attack_seed, knows=knows
        )
        self.attack = list(of_attack.values())
        of_purifier = dict(blocks=blocks, sigma=sigma, weight=weight, scales=scales, denoiser=denoiser)
        self.purifier = list(of_purifier.values())
        self.controls = dict(classifier=classifier, **of_attack, **of_purifier, seed=seed, draws=draws)
        for words, number in ((strength, epsilon), (rounds, blocks)):
            _link(words, number)
        _link_power(power, denoiser, sigma)
        denoiser.input(
            lambda chosen: list(suiting(chosen).values()), denoiser, [of_purifier[name] for name in SUITING], **QUIET
        )
        denoiser.change(lambda chosen: gr.update(interactive=chosen == "rof"), denoiser, weight, **QUIET)


def _words(title: I18nData, choices: Sequence[tuple[object, float | str]], value: float | str) -> gr.Radio:
    """Words for some values of a number, or of several."""
    shown = [(str(word), number) for word, number in choices]
    return gr.Radio(shown, value=value, label=title, elem_classes="lp-clinician")


def _link(words: gr.Radio, number: Component) -> None:
    """A word sets the number; where the number has none, no word is chosen."""
    values = [value for _, value in words.choices]
    words.input(None, words, number, js="value => value", **QUIET)
    number.change(None, number, words, js=f"value => {values}.includes(value) ? value : null", **QUIET)


def _link_power(power: gr.Radio, denoiser: gr.Radio, sigma: Component) -> None:
    """A word sets ``sigma``, by the denoiser; where it has none, no word is chosen."""
    meant = f"({json.dumps({name: strengths(name) for name in SUITED})})"
    power.input(None, [power, denoiser], sigma, js=f"(word, denoiser) => {meant}[denoiser][word]", **QUIET)
    named = (
        f"(denoiser, sigma) => Object.entries({meant}[denoiser]).find(([word, value]) => value === sigma)?.[0] ?? null"
    )
    for control in (denoiser, sigma):
        control.change(None, [denoiser, sigma], power, js=named, **QUIET)
