"""The tab 'Evidence': claims from the stored records, the picture of 'Try', all records, and what researchers
ask for."""

import gradio as gr
from gradio.components import Component

from purifier.ui.evidence.essay import add_essay, add_records
from purifier.ui.evidence.researchers import add_for_researchers
from purifier.ui.evidence.this_picture import add_this_picture
from purifier.ui.parts import TryIt


def add_evidence(session: gr.State, try_it: TryIt, seed: Component, tab: gr.Tab) -> None:
    """Add the tab's components and events to the page that is being built; ``seed`` is that of the purifier's noise."""
    with gr.Column(elem_classes="lp-evidence"):
        add_essay(tab)
        add_this_picture(session, try_it.purifier, try_it.outdating)
        add_records(tab)
        add_for_researchers(session, try_it.purifier, seed, try_it.outdating)
