"""The page: its look, and its tabs."""

import functools
import json
import os
from collections.abc import Sequence

import gradio as gr

from purifier.classifiers.classifier import default_device
from purifier.ui.components import I18N, QUIET, STATIC, label, script
from purifier.ui.drawer import Drawer
from purifier.ui.endpoints import add_endpoints
from purifier.ui.forgetting import IDLE, LOOK, add_forgetting
from purifier.ui.serving import app_settings, tell_of_files
from purifier.ui.session import Session
from purifier.ui.tabs.about import add_about
from purifier.ui.tabs.evidence import add_evidence
from purifier.ui.tabs.learn import add_learn
from purifier.ui.tabs.try_it import add_try_it
from purifier.ui.turns import take_turns
from purifier.wording.language import languages

TITLE = "<h1>Lesion Purifier</h1><p>Skin-cancer classifiers can be fooled by changes nobody sees.</p>"
LEVEL = "clinician"  # at the first visit
FOLLOW = """() => {
  const isThere = (location.hash || "#try") === "#%s";
  if (document.body.dataset.started && !isThere) history.pushState(null, "", location.search + "#%s");
}"""
NOTICE = "Research and teaching; not a medical device."
FOOTER = (
    "<strong>Research and teaching; not a medical device.</strong> The purifier re-implements MDDA (Wang, Li, Shen "
    "&amp; Qiao 2023) from its public description. An attacker who knows the purifier can defeat it. Pictures are "
    "deleted from this server when you close the page, or after ten minutes without use, and are not used for anything "
    "else. Computing on:"
)
LAUNCH = dict(
    theme=gr.themes.Soft(
        primary_hue="teal", neutral_hue="slate", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    ).set(  # white on primary_700 has enough contrast, and labels need no box
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_secondary_background_fill_hover_dark="*neutral_700",  # and not as if it were the first of them
        block_title_background_fill="none",
        block_title_text_color="*body_text_color",
        block_title_padding="0",
        checkbox_label_background_fill_selected="*primary_700",
        checkbox_label_background_fill_selected_dark="*primary_700",
        body_text_color_subdued="*neutral_600",
        block_label_background_fill="*background_fill_primary",
        block_label_background_fill_dark="*background_fill_primary",
        block_label_text_color="*body_text_color",
        block_title_background_fill_dark="none",
        block_info_text_color="*body_text_color",
        input_border_width="1px",
        input_border_color="*neutral_400",
        input_border_color_dark="*neutral_500",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
    ),
    css_paths=STATIC / "style.css",
    i18n=I18N,
    mcp_server=True,
    run_history=False,  # pictures are the visitor's own
    max_file_size="100mb",
    footer_links=["api"],
    ssr_mode=False,  # a Space would have another server in front, which does not know our headers
    state_session_capacity=200,  # visitors whose pictures are kept in memory
)


def build_page() -> gr.Blocks:
    """The whole page; ``launch(**LAUNCH)`` serves it."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    with gr.Blocks(title="Lesion Purifier", analytics_enabled=False, delete_cache=(LOOK, IDLE)) as page:
        add_endpoints()  # first, so that they get their names and not the page's own events
        session = gr.State(Session())
        drawer = Drawer()
        with gr.Row(elem_classes="lp-header"):
            gr.HTML(label(TITLE), elem_classes="lp-title")
            level = gr.Radio(
                [(str(label("Clinician")), LEVEL), (str(label("Researcher")), "researcher")],
                value=LEVEL,
                label=label("Level"),
                show_label=False,
                container=False,
                elem_classes="lp-level",
            )
            gr.Button(label("Settings"), size="sm", min_width=90, elem_classes="lp-settings").click(
                None, None, None, js=script("drawer.js"), api_visibility="private"
            )
        with gr.Tab(label("Try"), elem_id="try") as first:
            try_it = add_try_it(page, session, drawer)
        with gr.Tab(label("Learn"), elem_id="learn") as learn:
            add_learn(try_it, learn)
        with gr.Tab(label("Evidence"), elem_id="evidence") as evidence:
            add_evidence(session, try_it, drawer.controls["seed"], evidence)
        with gr.Tab(label("About"), elem_id="about") as about:
            add_about(page)
        _remember(page, level, (first, learn, evidence, about))
        # Gradio translates one text in each component.
        gr.HTML(f"<p>{label(FOOTER)} {default_device().type}.</p>")
        add_forgetting(page)
        gr.HTML(f'<p class="lp-notice"><strong>{label(NOTICE)}</strong></p>', elem_classes="lp-always")
    take_turns(page)
    tell_of_files(page)
    page.launch = functools.partial(page.launch, app_kwargs=app_settings())
    return page


def _remember(page: gr.Blocks, level: gr.Radio, tabs: Sequence[gr.Tab]) -> None:
    """Keep the level in the browser, and the tab in the address, so that a reload comes back to both."""
    kept = gr.BrowserState(LEVEL, storage_key="lesion-purifier-level", secret="no secret")
    start = f"level => ({script('load.js')})({json.dumps(languages())})(level)"
    page.load(None, kept, level, js=start, **QUIET)
    level.change(None, level, kept, js="level => document.body.dataset.level = level", **QUIET)
    for tab in tabs:
        tab.select(None, None, None, js=FOLLOW % (tab.elem_id, tab.elem_id), **QUIET)
