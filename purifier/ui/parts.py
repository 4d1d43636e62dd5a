"""What a tab's module uses of another tab."""

from collections.abc import Callable
from dataclasses import dataclass

from gradio.components import Component
from gradio.events import Dependency


@dataclass(frozen=True)
class TryIt:
    """What other tabs use of 'Try'."""

    purifier: list[Component]  # blocks, sigma, weight, scales, denoiser
    outputs: dict[str, Component]  # the controls and what handlers draw, by the names of Update's fields
    running: list[Dependency]  # what may still draw
    anew: list[Callable]  # the events that bring another picture, and the one that stops
    outdating: list[Callable]  # those after which what was made of the picture elsewhere is old
