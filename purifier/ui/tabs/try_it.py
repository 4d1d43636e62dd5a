"""The tab 'Try it': three steps, their results, and the pyramid."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gradio as gr
from gradio.components import Component
from torch import Tensor

from purifier.attacks import ATTACKS, AttackSettings
from purifier.classifiers.classifier import DEFAULT, load_classifier
from purifier.pipeline import ALL_SCALES, Purifier
from purifier.runs import ANY, Settings
from purifier.templates import macros
from purifier.ui.actions import NO_PYRAMID, attack, change_classifier, choose, purify, show_block
from purifier.ui.components import PRIVATE, STATIC, label, slider, unopened
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
from purifier.ui.events import errors_as_messages, redraw, restart_on, stop_on, update_on
from purifier.ui.examples import are_bundled, caption, example_gallery
from purifier.ui.more_pictures import MorePictures
from purifier.ui.presets import PRESETS, live, set_up
from purifier.ui.results import result_cards
from purifier.ui.session import Session, classifier_for_page
from purifier.ui.status import status
from purifier.ui.take_away import TakeAway
from purifier.ui.updates import Update
from purifier.ui.view import ZOOM, scale_name
from purifier.wording.language import languages, say, speaking

DROP = (
    "Drop a dermoscopic picture here, or click to choose one. It stays on this server for about a day: none that shows "
    "who it is."
)
DRAWN = "Examples, drawn by a generative model: of no patient."
DENOISER = (
    "The network was trained on dermoscopic pictures, attacked ones among them, and keeps more of the picture. ROF is "
    "the paper's and needs no training."
)
KEY = (
    '<p class="lp-key"><span><span class="lp-malignant"></span>malignant or precancerous (striped)</span>'
    '<span><span class="lp-other"></span>benign, or not grouped</span></p>'
)
HEADING = "<h2>The pyramid, scale by scale</h2>"


@dataclass(frozen=True)
class TryIt:
    """What other tabs use of this one."""

    purifier: list[Component]  # blocks, sigma, weight, scales, denoiser
    seed: Component  # of the purifier's noise
    draws: Component  # that are averaged
    outputs: dict[str, Component]  # the controls and what handlers draw, by the names of Update's fields


def add_try_it(page: gr.Blocks, session: gr.State) -> TryIt:
    """Lay out the tab and wire it."""
    examples, purifier, settings = example_gallery(), Purifier(), AttackSettings()
    with gr.Row():
        with gr.Column(elem_classes="lp-step", min_width=300, scale=6):
            gr.HTML(label("<h2><b>1</b> Picture</h2>"))
            with gr.Row():
                with gr.Column(min_width=240):
                    picture = unopened(
                        gr.Image(
                            label=label("Dermoscopic picture"),
                            show_label=False,
                            sources=["upload", "clipboard", "webcam"],
                            format="png",
                            height=230,
                            buttons=[],
                            placeholder=label(DROP),
                        )
                    )
                    classifier = gr.Dropdown(
                        classifier_choices(label),
                        value=DEFAULT,
                        label=label("Classifier"),
                        allow_custom_value=True,
                        info=label("Or type one on the Hub: hf-hub:owner/name@revision"),
                    )
                with gr.Column(min_width=240):
                    gallery = gr.HTML(
                        _gallery(examples), js_on_load=(STATIC / "examples.js").read_text(encoding="utf-8")
                    )
            further = MorePictures()
        with gr.Column(elem_classes="lp-step", min_width=260, scale=3):
            gr.HTML(label("<h2><b>2</b> Attack</h2>"))
            with gr.Row(elem_classes="lp-presets"):
                presets = [gr.Button(label(preset.title), size="sm", min_width=80) for preset in PRESETS]
            epsilon = slider(
                EPSILON, round(settings.eps * 255), "How much any colour value may change; 2 is invisible."
            )
            target = gr.Dropdown(
                target_choices(load_classifier().labels, label), value=ANY, label=label("Make it read as")
            )
            knows = gr.Checkbox(
                label=label("The attacker knows the purifier"),
                info=label("And attacks through it, which takes longer."),
            )
            with gr.Accordion(label("More about the attack"), open=False):
                is_live = gr.Checkbox(
                    label=label("Live"),
                    info=label("Attacks in one step (FGSM) whenever epsilon moves, and shows what it does."),
                )
                method = gr.Dropdown(
                    [(str(label(method.title)), name) for name, method in ATTACKS.items()],
                    value=settings.method,
                    label=label("Method"),
                )
                steps = slider(ATTACK_STEPS, settings.steps)
                attack_seed = gr.Number(0, label=label("Attack seed"), precision=0)
            start_attack = gr.Button(label("Attack"), variant="primary")
        with gr.Column(elem_classes="lp-step", min_width=260, scale=3):
            gr.HTML(label("<h2><b>3</b> Purify</h2>"))
            sigma = slider(SIGMA, purifier.sigma * 255, "Strength of the noise that drowns the attack.")
            blocks = slider(BLOCKS, purifier.blocks, "How often to diffuse, denoise and aggregate.")
            draws = gr.Radio(
                DRAW_CHOICES,
                value=Settings().draws,
                label=label(MEAN_DRAWS.name),
                info=label("Of the noise: the mean reading of several is right more often, and takes longer."),
            )
            with gr.Accordion(label("More about the purifier"), open=False):
                denoiser = gr.Radio(
                    denoiser_choices(label), value=purifier.denoiser, label=label("Denoiser"), info=label(DENOISER)
                )
                weight = slider(WEIGHT, purifier.weight, "Of the total variation: more is smoother.")
                scales = gr.CheckboxGroup(
                    [(scale_name(scale), scale) for scale in ALL_SCALES],
                    value=list(purifier.scales),
                    label=label("Scales"),
                )
                seed = gr.Number(0, label=label("Noise seed"), precision=0)
            with gr.Row():
                start_purify = gr.Button(label("Purify"), variant="primary", scale=3, min_width=100)
                cancel = gr.Button(label("Stop"), min_width=70)
    said = gr.HTML(status(""), elem_classes="lp-tight")
    results = gr.HTML(_results(Session()), js_on_load=ZOOM)
    gr.HTML(label(KEY))
    take_away = TakeAway()
    gr.HTML(label(HEADING), elem_classes="lp-section")
    block = gr.Radio([], label=label("Look back at"), visible=False)
    pyramid = gr.HTML(label(NO_PYRAMID), js_on_load=ZOOM)
    redraw(page.load, lambda state: (_gallery(examples), _results(state)), [session], [gallery, results])

    of_purifier = [blocks, sigma, weight, scales, denoiser]
    drawn = dict(session=session, results=results, pyramid=pyramid, block_menu=block, status=said)
    for event in (start_attack.click, start_purify.click, classifier.input):  # in the browser, before the server knows
        event(None, None, said, js=_waiting(), api_visibility="private")
    attacking = update_on(
        start_attack.click,
        attack,
        [session, method, epsilon, steps, target, attack_seed, knows, *of_purifier],
        drawn,
        **PRIVATE,
    )
    purifying = update_on(start_purify.click, purify, [session, *of_purifier, seed, draws], drawn, **PRIVATE)
    following = update_on(
        epsilon.input,
        live,
        [session, is_live, epsilon, target, attack_seed],
        drawn,
        trigger_mode="always_last",
        **PRIVATE,
    )
    running = [attacking, purifying, following]
    stop_on(cancel.click, running, [said])
    # A new picture waits for nobody, and what still runs on the last one must not come after it.
    # Not on clear: the upload icon clears too, and what is on the page should stay until there is something new.
    chosen = dict(picture=picture, **drawn)
    restart_on(picture.upload, running, choose, [picture, session], chosen)
    clicked = gr.State(0)

    def choose_example(i: int, state: Session) -> Update:
        return choose(str(examples[i][1]), state, is_own=False)

    restart_on(gallery.click, running, choose_example, [clicked, session], chosen, kept=clicked)
    for preset, button in zip(PRESETS, presets, strict=True):
        restart_on(button.click, running, partial(set_up, preset), [session], dict(target=target, **chosen))
    changed = dict(target=target, classifier=classifier, **drawn)
    update_on(classifier.input, change_classifier, [classifier, session], changed, **PRIVATE)
    block.input(
        errors_as_messages(show_block), [session, block], pyramid, api_visibility="private", show_progress="hidden"
    )
    denoiser.input(
        lambda chosen: [purifier_values(Purifier(denoiser=chosen))[name] for name in ("blocks", "sigma", "scales")],
        denoiser,
        [blocks, sigma, scales],
        api_visibility="private",
        show_progress="hidden",
        queue=False,
    )
    denoiser.change(
        lambda chosen: gr.update(interactive=chosen == "rof"),
        denoiser,
        weight,
        api_visibility="private",
        show_progress="hidden",
        queue=False,
    )
    controls = dict(
        classifier=classifier,
        epsilon=epsilon,
        target=target,
        knows=knows,
        method=method,
        steps=steps,
        attack_seed=attack_seed,
        blocks=blocks,
        sigma=sigma,
        weight=weight,
        scales=scales,
        denoiser=denoiser,
        seed=seed,
        draws=draws,
    )
    further.wire(chosen, running)
    take_away.wire(controls | drawn)
    return TryIt(of_purifier, seed, draws, controls | chosen)


def _results(session: Session) -> str:
    return result_cards(session, classifier_for_page(session.classifier))


def _gallery(examples: Sequence[tuple[Tensor, Path]]) -> str:
    shown = [(x, caption(path)) for x, path in examples]
    return macros("picture.html").examples(shown, say(DRAWN) if are_bundled() else "")


def _waiting() -> str:
    """JavaScript for what the status says at once."""
    said = {}
    for code in languages():
        with speaking(code):
            said[code] = status(say("Waiting for its turn."))
    show = (STATIC / "waiting.js").read_text(encoding="utf-8")
    return f"() => ({show})({json.dumps(said)})"
