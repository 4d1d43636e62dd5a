"""One update of the page: what the page's actions give, by name, and how Gradio takes it."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field

import gradio as gr
from gradio.components import Component

from purifier.ui.session import Session


def stays() -> Field:
    """A field whose component stays as it is where nothing is said of it."""
    return field(default_factory=gr.skip)


@dataclass(frozen=True, kw_only=True)
class Update:
    """New values for the components of 'Try'; the other components stay as they are."""

    session: Session = stays()
    source: str = stays()  # whose picture it is
    truth: str = stays()  # its known diagnosis, "" where it is not known
    verdict: str = stays()
    original_card: str = stays()
    attacked_card: str = stays()
    purified_card: str = stays()
    attacked_old: str = stays()  # that it was made with other settings
    purified_old: str = stays()
    looking: bool = stays()  # whether the heat maps are shown
    about: str = stays()  # how often the classifier is right
    theatre: str = stays()
    status: str = stays()
    report: str = stays()  # links to its files
    report_status: str = stays()
    # The controls, as a visitor reads them: epsilon and sigma in units of 1/255.
    classifier: str = stays()
    epsilon: int = stays()
    target: str | gr.Dropdown = stays()
    knows: bool = stays()
    method: str = stays()
    steps: int = stays()
    attack_seed: int = stays()
    blocks: int = stays()
    sigma: float = stays()
    weight: float = stays()
    scales: list[float] = stays()
    denoiser: str = stays()
    seed: int = stays()
    draws: int = stays()


def by_component(update: Update, outputs: Mapping[str, Component]) -> dict:
    """``update`` as an event takes it whose ``outputs`` are the components by the names of the fields.

    Raises ``KeyError`` for a new value whose component is none of ``outputs``.
    """
    changed = {name: value for name, value in vars(update).items() if value != gr.skip()}
    return {outputs[name]: value for name, value in changed.items()} or gr.skip()
