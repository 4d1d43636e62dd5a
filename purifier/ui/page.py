"""The page: three steps, their results and the pyramid. It lays out components and wires them to their handlers."""

import os
from pathlib import Path

import gradio as gr

from purifier.attacks import ATTACKS, AttackSettings
from purifier.classifiers import DEFAULT, default_device, load_classifier
from purifier.evaluation.tables import read_evaluations
from purifier.pipeline import ALL_SCALES, Purifier
from purifier.ui import api, handlers
from purifier.ui.actions import ANY, Session
from purifier.ui.controls import ATTACK_STEPS, BLOCKS, EPSILON, SIGMA, WEIGHT, Range
from purifier.ui.examples import example_gallery
from purifier.ui.robustness import robustness_section
from purifier.ui.view import example_buttons, scale_name

NOTICE = "Research and teaching; not a medical device."
PURIFIER, ATTACK = Purifier(), AttackSettings()
LAUNCH = dict(
    theme=gr.themes.Soft(
        primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    ).set(  # white on primary_700 has enough contrast, and labels need no box
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        block_title_background_fill="none",
        block_title_text_color="*body_text_color",
        block_title_padding="0",
        block_label_background_fill="*background_fill_primary",
        block_label_text_color="*body_text_color",
        block_title_background_fill_dark="none",
        block_info_text_color="*body_text_color",
    ),
    css_paths=Path(__file__).parent / "style.css",
    run_history=False,  # pictures are the visitor's own
    max_file_size="100mb",
    footer_links=["api"],
    state_session_capacity=200,  # visitors whose pictures are kept in memory
)
# A click anywhere in the list of examples counts where it meets one.
CHOOSE_EXAMPLE = """
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('click', {index: Number(button.dataset.index)});
});
"""
DAY = 24 * 60 * 60  # seconds


def build_page() -> gr.Blocks:
    """The whole page; ``launch(**LAUNCH)`` serves it."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    examples = example_gallery()
    with gr.Blocks(title="Lesion Purifier", analytics_enabled=False, delete_cache=(DAY // 24, DAY)) as page:
        _endpoints()  # first, so that they get their names and not the page's own events
        session = gr.State(Session(), time_to_live=DAY)
        gr.HTML(
            "<h1>Lesion Purifier</h1><p>Skin-cancer classifiers can be fooled by changes nobody sees. Pick a picture, "
            "attack it, purify it, and watch every scale.</p>",
            elem_classes="lp-title",
        )
        with gr.Row():
            with gr.Column(elem_classes="lp-step", min_width=300, scale=6):
                _step(1, "Picture")
                with gr.Row():
                    with gr.Column(min_width=240):
                        picture = _unopened(gr.Image(
                            label="Dermoscopic picture", sources=["upload", "clipboard"], format="png", height=230,
                            buttons=[], placeholder="Drop a picture here, paste one, or click to choose",
                        ))  # fmt: skip
                        classifier = gr.Dropdown(
                            handlers.classifier_choices(), value=DEFAULT, label="Classifier", allow_custom_value=True,
                            info="Or type one on the Hub: hf-hub:owner/name@revision",
                        )  # fmt: skip
                    with gr.Column(min_width=240):
                        gallery = gr.HTML(
                            example_buttons([(x, text) for x, text, _ in examples]), js_on_load=CHOOSE_EXAMPLE
                        )
            with gr.Column(elem_classes="lp-step", min_width=260, scale=3):
                _step(2, "Attack")
                epsilon = _slider(EPSILON, round(ATTACK.eps * 255), "The largest change of any value.")
                target = gr.Dropdown(
                    handlers.target_choices(load_classifier().labels), value=ANY, label="Make it read as",
                    info="What the attacker wants the classifier to say.",
                )  # fmt: skip
                with gr.Accordion("More about the attack", open=False):
                    method = gr.Dropdown(
                        [(text, name) for name, (text, _) in ATTACKS.items()], value=ATTACK.method, label="Method"
                    )
                    steps = _slider(ATTACK_STEPS, ATTACK.steps)
                    attack_seed = gr.Number(0, label="Attack seed", precision=0)
                attack = gr.Button("Attack", variant="primary")
            with gr.Column(elem_classes="lp-step", min_width=260, scale=3):
                _step(3, "Purify")
                sigma = _slider(SIGMA, PURIFIER.sigma * 255, "What diffusion adds, each time.")
                blocks = _slider(BLOCKS, PURIFIER.blocks, "How often to diffuse, denoise and aggregate.")
                with gr.Accordion("More about the purifier", open=False):
                    weight = _slider(WEIGHT, PURIFIER.weight, "Of the total variation: more is smoother.")
                    scales = gr.CheckboxGroup(
                        [(scale_name(scale), scale) for scale in ALL_SCALES],
                        value=list(PURIFIER.scales),
                        label="Scales",
                    )
                    seed = gr.Number(0, label="Noise seed", precision=0)
                with gr.Row():
                    purify = gr.Button("Purify", variant="primary", scale=3, min_width=100)
                    cancel = gr.Button("Stop", min_width=70)
        status = gr.HTML(handlers.status(""))
        gr.HTML("<h2>What the classifier reads</h2>" + _key(), elem_classes="lp-section")
        results = gr.HTML(handlers.result_cards(Session(), load_classifier()))
        gr.HTML("<h2>The pyramid, scale by scale</h2>", elem_classes="lp-section")
        block = gr.Radio([], label="Look back at", visible=False)
        pyramid = gr.HTML(handlers.NO_PYRAMID)
        with gr.Accordion("How robust is it? What was measured", open=False):
            gr.HTML(robustness_section(read_evaluations().values()))
        gr.HTML(_footer())
        gr.HTML(f'<p class="lp-notice"><strong>{NOTICE}</strong></p>', elem_classes="lp-always")

        shown = [session, results, pyramid, block, status]
        private = dict(api_visibility="private", concurrency_id="compute", concurrency_limit=1, show_progress="hidden")
        # Not on clear: the upload icon clears too, and what is on the page should stay until there is something new.
        picture.upload(handlers.readable(handlers.choose), [picture, session], [picture, *shown], **private)

        @handlers.readable
        def choose_example(state: Session, event: gr.EventData):
            return handlers.choose(str(examples[event.index][2]), state)

        gallery.click(choose_example, session, [picture, *shown], **private)
        classifier.input(
            handlers.change_classifier, [classifier, session],
            [session, results, pyramid, block, target, classifier, status], **private,
        )  # fmt: skip
        attacking = attack.click(
            handlers.readable(handlers.attack),
            [session, method, epsilon, steps, target, attack_seed], shown, **private,
        )  # fmt: skip
        purifying = purify.click(
            handlers.readable(handlers.purify),
            [session, blocks, sigma, weight, scales, seed],
            shown,
            **private,
        )
        cancel.click(
            lambda: handlers.status("Stopped; what was finished stays."), None, status,
            cancels=[attacking, purifying], api_visibility="private", queue=False,
        )  # fmt: skip
        block.input(handlers.show_block, [session, block], pyramid, api_visibility="private", show_progress="hidden")
    return page


def _endpoints() -> None:
    """``classify``, ``attack`` and ``purify`` for programs, with components of their own that no page shows."""
    shared = dict(api_visibility="public", concurrency_id="compute", concurrency_limit=1)
    with gr.Column(visible=False):
        picture = _unopened(gr.Image(label="Picture", format="png"))
        classifier = gr.Textbox(DEFAULT, label="Classifier")
        method = gr.Textbox(ATTACK.method, label="Method")
        target = gr.Textbox(ANY, label="Target")
        epsilon = gr.Number(round(ATTACK.eps * 255), label=EPSILON.name)
        steps = gr.Number(ATTACK.steps, label=ATTACK_STEPS.name)
        blocks = gr.Number(PURIFIER.blocks, label=BLOCKS.name)
        sigma = gr.Number(PURIFIER.sigma * 255, label=SIGMA.name)
        weight = gr.Number(PURIFIER.weight, label=WEIGHT.name)
        scales = gr.JSON(list(PURIFIER.scales), label="Scales")
        seed = gr.Number(0, label="Seed")
        result, reading = gr.Image(label="Result", format="png"), gr.JSON(label="Reading")
        gr.Button().click(
            handlers.readable(api.classify), [picture, classifier], reading, api_name="classify", **shared
        )
        gr.Button().click(
            handlers.readable(api.attack), [picture, classifier, method, epsilon, steps, target, seed],
            [result, reading], api_name="attack", **shared,
        )  # fmt: skip
        gr.Button().click(
            handlers.readable(api.purify), [picture, classifier, blocks, sigma, weight, scales, seed],
            [result, reading], api_name="purify", **shared,
        )  # fmt: skip


def _slider(allowed: Range, value: float, info: str | None = None) -> gr.Slider:
    return gr.Slider(allowed.low, allowed.high, value, step=allowed.step, label=allowed.name, info=info)


def _unopened(picture: gr.Image) -> gr.Image:
    """Hand over the uploaded file as it is, so that our reader's messages are the ones shown.

    Set on the component and not in a subclass, beside which Gradio would write a file.
    """
    picture.preprocess = lambda payload: None if payload is None else payload.path
    return picture


def _step(number: int, title: str) -> None:
    gr.HTML(f"<h2><b>{number}</b> {title}</h2>")


def _key() -> str:
    return (
        '<p class="lp-key"><span><span class="lp-malignant"></span>malignant or precancerous (striped)</span>'
        '<span><span class="lp-other"></span>benign, or not grouped</span></p>'
    )


def _footer() -> str:
    return (
        f"<p><strong>{NOTICE}</strong> The purifier re-implements MDDA (Wang, Li, Shen &amp; Qiao 2023) from its "
        "public description. The attack here does not know the purifier; one that does can defeat it. Pictures stay on "
        f"this server for about a day and are not used for anything else. Computing on: {default_device().type}.</p>"
    )
