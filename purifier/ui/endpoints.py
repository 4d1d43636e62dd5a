"""``classify``, ``attack``, ``purify`` and ``compare`` for programs, with components of their own that no page shows.

Each is a tool of the page's MCP server as well.
"""

import gradio as gr

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import DEFAULT
from purifier.pipeline import Purifier
from purifier.runs import ANY, Settings
from purifier.ui import api
from purifier.ui.components import PROGRAMS, as_given
from purifier.ui.controls import ATTACK_STEPS, BLOCKS, COMPARE_DRAWS, EPSILON, MEAN_DRAWS, SIGMA, WEIGHT
from purifier.ui.events import errors_as_messages


def add_endpoints() -> None:
    """Add them to the page that is being built (within a gr.Blocks)."""
    settings = AttackSettings()
    shared = dict(api_visibility="public", **PROGRAMS)
    with gr.Column(visible=False):
        picture = as_given(gr.Image(label="Picture", format="png"))
        original = as_given(gr.Image(label="Original", format="png"))
        classifier = gr.Textbox(DEFAULT, label="Classifier")
        method = gr.Textbox(settings.method, label="Method")
        target = gr.Textbox(ANY, label="Target")
        epsilon = gr.Number(round(settings.eps * 255), label=EPSILON.name)
        steps = gr.Number(settings.steps, label=ATTACK_STEPS.name)
        # Without a value is what depends on the denoiser.
        blocks, sigma = (gr.Number(label=allowed.name) for allowed in (BLOCKS, SIGMA))
        weight = gr.Number(Purifier.weight, label=WEIGHT.name)
        denoiser = gr.Textbox(Purifier.denoiser, label="Denoiser")
        scales = gr.JSON(label="Scales")
        scales.api_info = lambda: {"type": "array", "items": {"type": "number"}}  # JSON's own is no valid schema
        of_purifier = [blocks, sigma, weight, scales]
        seed = gr.Number(0, label="Seed")
        knows = gr.Checkbox(False, label="The attacker knows the purifier")
        draws = gr.Number(8, label=COMPARE_DRAWS.name)
        averaged = gr.Number(Settings().draws, label=MEAN_DRAWS.name)
        result, reading = gr.Image(label="Result", format="png"), gr.JSON(label="Reading")
        gr.Button().click(
            errors_as_messages(api.classify), [picture, classifier], reading, api_name="classify", **shared
        )
        gr.Button().click(
            errors_as_messages(api.attack),
            [picture, classifier, method, epsilon, steps, target, seed, knows, *of_purifier, denoiser],
            [result, reading],
            api_name="attack",
            **shared,
        )
        gr.Button().click(
            errors_as_messages(api.purify),
            [picture, classifier, *of_purifier, seed, averaged, denoiser],
            [result, reading],
            api_name="purify",
            **shared,
        )
        gr.Button().click(
            errors_as_messages(api.compare),
            [picture, classifier, draws, original],
            gr.JSON(label="Defences"),
            api_name="compare",
            **shared,
        )
