"""What the committed evaluation found: claims, each with a figure and a menu; and every record in a table."""

import functools
from collections.abc import Callable, Sequence

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from purifier.results.claims import CLAIMS, Case, cases
from purifier.results.detection import read_detections
from purifier.results.plots import plot_dots
from purifier.results.record import read_evaluations
from purifier.results.tables import every_record
from purifier.templates import Markup, macros
from purifier.ui.components import label
from purifier.ui.events import in_language
from purifier.ui.view import drawing
from purifier.wording.language import ENGLISH, say, speaking, spoken

INTRO = (
    "<p>Purification by MDDA in claims that are computed from what was measured on held-out pictures. Choose a "
    "classifier and the size of the attack, and claim and figure follow. A dot is a share, its line the 95 % "
    "interval. How many pictures stands below each figure; attacks that know the defence take long, and are made on "
    "fewer.</p>"
)
TABLE = (
    "<h2>All records</h2><p>Everything that was measured. Search for a defence, an attack or a classifier, or click a "
    "heading to sort and filter. Compare only rows of the same classifier and number of pictures.</p>"
)
# Gradio's field for searching has a title alone, which is no name to every screen reader.
NAMED = "() => document.querySelectorAll('.lp-evidence-records .search-input').forEach(x => x.ariaLabel = x.title)"
NOTHING = "No evaluation has been stored yet."


def add_essay(tab: gr.Tab) -> None:
    """Add the components and events to the page that is being built; all is drawn when the tab is first seen."""
    gr.HTML(label(INTRO) if stored_cases() else label(NOTHING))
    menus, drawn = [], []
    for name, found in stored_cases().items():
        with gr.Row(elem_classes="lp-evidence-claim"):
            with gr.Column(scale=2, min_width=300):
                words = gr.HTML()
                menu = gr.Dropdown(list(found), label=label("Measured with"))
            with gr.Column(scale=3, min_width=300):
                figure = gr.HTML()
        menu.input(
            in_language(functools.partial(claim_drawn, name)),
            menu,
            [words, figure],
            api_visibility="private",
            show_progress="hidden",
        )
        menus.append(menu)
        drawn += [words, figure]
    _draw_once(tab, essay, menus, drawn)


def add_records(tab: gr.Tab) -> None:
    """Add the table to the page that is being built; it is filled when the tab is first seen."""
    gr.HTML(label(TABLE))
    table = gr.Dataframe(
        datatype=["str", "number", "str", "str", "str", "number", "number", "str", "number"],
        interactive=False,
        show_search="search",
        label=label("All records"),
        show_label=False,
        max_height=480,
        wrap=True,
        column_widths=[f"{width}px" for width in (130, 90, 215, 250, 105, 95, 115, 100, 110)],
        elem_classes="lp-evidence-records",
    )
    filled = _draw_once(tab, all_records, [], [table, gr.HTML()])
    filled.then(None, None, None, js=NAMED, api_visibility="private")


def _draw_once(tab: gr.Tab, draw: Callable, inputs: Sequence[Component], outputs: Sequence[Component]) -> Dependency:
    shown = gr.State("")
    return tab.select(
        in_language(draw_once(draw, len(outputs))),
        [shown, *inputs],
        [*outputs, shown],
        api_visibility="private",
        show_progress="hidden",
    )


def draw_once(draw: Callable, count: int) -> Callable:
    """A handler that gives the ``count`` parts of ``draw`` and the language spoken, unless they are there in it."""

    def drawn(shown: str, *values) -> tuple:
        return (*[gr.skip()] * count, shown) if shown == spoken() else (*draw(*values), spoken())

    return drawn


def essay(*chosen: str | None) -> list[str]:
    """Every claim's words and figure, for the titles of their cases."""
    return [part for name, case in zip(stored_cases(), chosen, strict=True) for part in claim_drawn(name, case)]


def all_records() -> tuple[dict, Markup]:
    """The table, and a link to it as a file in English."""
    return _records(spoken())


def claim_drawn(name: str, case: str | None) -> tuple[str, str]:
    """A claim's words and its figure for a title of its cases."""
    return _claim(name, case, spoken())


@functools.cache
def stored_cases() -> dict[str, dict[str, Case]]:
    """What each claim can be made of, of what is stored; without claims that were not measured."""
    found = cases(read_evaluations().values(), read_evaluations(kind="tradeoff").values(), read_detections().values())
    return {name: of_it for name, of_it in found.items() if of_it}


@functools.cache
def _claim(name: str, case: str | None, language: str) -> tuple[str, str]:
    """Drawn once for all visitors."""
    with speaking(language):
        if case is None:
            return f"<p>{say(NOTHING)}</p>", ""  # the menu was emptied
        claim, parts = CLAIMS[name](stored_cases()[name][case]), macros("evidence.html")
        figure = parts.figure(drawing(plot_dots(claim.dots)), claim.title, claim.caption)
        return parts.claim(list(stored_cases()).index(name) + 1, claim), figure


@functools.cache
def _records(language: str) -> tuple[dict, Markup]:
    """Made once for all visitors."""
    runs = [records for kind in ("summary", "tradeoff") for records in read_evaluations(kind=kind).values()]
    with speaking(ENGLISH):
        file = every_record(runs).to_csv(index=False)
    with speaking(language):
        table, text = every_record(runs), say("Download the table as CSV")
    value = {
        "headers": list(table.columns),
        "data": table.astype(object).where(table.notna(), None).to_numpy().tolist(),
    }
    return value, Markup("<p>{}</p>").format(macros("links.html").link(text, "records.csv", "text/csv", file))
