"""The tab 'Try': original, attacked and purified picture in one row, and the theatre below it."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import gradio as gr
from torch import Tensor

from purifier.classifiers.classifier import load_classifier
from purifier.templates import macros
from purifier.ui.actions import attack, change_classifier, choose, purify, set_truth, use_classifier
from purifier.ui.components import LOAD, PRIVATE, QUIET, as_given, label, script
from purifier.ui.controls import UNKNOWN, truth_choices
from purifier.ui.drawer import Drawer
from purifier.ui.events import redraw, restart_on, stop_on, update_on
from purifier.ui.examples import are_bundled, caption, example_gallery
from purifier.ui.heat import look
from purifier.ui.more_pictures import MorePictures
from purifier.ui.parts import TryIt
from purifier.ui.presets import PRESETS, live, set_up
from purifier.ui.results import drawn
from purifier.ui.session import Session
from purifier.ui.stale import mark
from purifier.ui.status import status
from purifier.ui.story import open_page
from purifier.ui.take_away import TakeAway
from purifier.ui.theatre import SCRIPTS, watch
from purifier.ui.updates import Update
from purifier.ui.view import CARDS
from purifier.wording.language import languages, say, speaking

NO_PERSON = (
    '<p class="lp-note">Upload no picture that shows who it is; a picture stays on this server until you close the '
    "page, or for ten minutes without use.</p>"
)
KNOWS = '<p class="lp-note">The attacker knows the purifier (see Settings).</p>'
DRAWN = '<p class="lp-note">The examples were drawn by a generative model: they are of no patient.</p>'
NO_PROOF = (
    "<p>A heat map shows where the network's last features spoke for a reading, not why, and not that "
    "the reading is right: for a wrong one it can look the same.</p>"
)
LOST = (
    "The server does not answer. When it does again, this page begins anew, without your pictures; if it does not "
    "within a few minutes, reload it."
)
NO_CLIPBOARD = "The browser hands over no picture from the clipboard. Press Ctrl+V, or drop a file on the page."


def add_try_it(page: gr.Blocks, session: gr.State, drawer: Drawer) -> TryIt:
    """Lay out the tab and wire it."""
    examples, empty = example_gallery(), drawn(Session(), load_classifier())
    with gr.Column(elem_classes="lp-top"):
        verdict = gr.HTML(empty.verdict, elem_id="lp-verdict")
        with gr.Row(elem_classes="lp-line"):
            said = gr.HTML(status(""))
            looking = gr.Checkbox(
                label=label("Where does it look?"), container=False, min_width=80, elem_classes="lp-look"
            )
        gr.HTML(label(NO_PROOF), elem_classes="lp-no-proof")
        row = gr.Row(elem_classes="lp-row")
    with row:
        with gr.Column(elem_classes="lp-panel", min_width=200):
            original = gr.HTML(empty.original_card, js_on_load=CARDS)
            with gr.Row(elem_id="lp-open"):
                picture = as_given(
                    gr.UploadButton(label("Choose a picture"), file_types=["image"], min_width=80, scale=2)
                )
                paste = gr.Button(label("Paste"), min_width=50)
            gallery = gr.HTML(_gallery(examples), js_on_load=script("examples.js"))
            truth = gr.Dropdown(
                truth_choices(label), value=UNKNOWN, label=label("Known diagnosis"), elem_classes="lp-truth"
            )
        with gr.Column(elem_classes="lp-panel", min_width=200):
            attacked = gr.HTML(empty.attacked_card, js_on_load=CARDS)
            attacked_old = gr.HTML(elem_classes="lp-old")
            start_attack = gr.Button(label("Attack it"), variant="primary")
            gr.HTML(label(KNOWS), elem_classes="lp-knows")
        with gr.Column(elem_classes="lp-panel", min_width=200):
            purified = gr.HTML(empty.purified_card, js_on_load=CARDS)
            purified_old = gr.HTML(elem_classes="lp-old")
            with gr.Row():
                start_purify = gr.Button(label("Purify it"), variant="primary", scale=3, min_width=80)
                cancel = gr.Button(label("Stop"), min_width=50)
            start_watch = gr.Button(label("Watch the purification"))
    about, source = gr.HTML(empty.about), gr.HTML()
    theatre = gr.HTML(js_on_load=SCRIPTS, elem_id="lp-theatre")
    further, take_away = MorePictures(), TakeAway()
    gr.HTML(label(NO_PERSON))
    if are_bundled():
        gr.HTML(label(DRAWN))

    controls = drawer.controls
    shown = dict(
        session=session,
        verdict=verdict,
        original_card=original,
        attacked_card=attacked,
        purified_card=purified,
        attacked_old=attacked_old,
        purified_old=purified_old,
        looking=looking,
        about=about,
        theatre=theatre,
        status=said,
        report=take_away.links,
        report_status=take_away.said,
    )
    for event in (start_attack.click, start_purify.click):  # in the browser, before the server knows
        event(None, None, said, js=_told("waiting.js", lambda: say("Waiting for its turn.")), api_visibility="private")
    attacking = update_on(start_attack.click, attack, [session, *drawer.attack, *drawer.purifier], shown, **PRIVATE)
    purifying = update_on(
        start_purify.click, purify, [session, *drawer.purifier, controls["seed"], controls["draws"]], shown, **PRIVATE
    )
    epsilon, target = controls["epsilon"], controls["target"]
    following = update_on(
        epsilon.input,
        live,
        [session, drawer.is_live, epsilon, target, controls["attack_seed"]],
        shown,
        trigger_mode="always_last",
        **PRIVATE,
    )
    watching = update_on(start_watch.click, watch, [session], dict(theatre=theatre, status=said), **PRIVATE)
    heating = update_on(looking.input, look, [looking, session], shown, trigger_mode="always_last", **PRIVATE)
    chosen = dict(truth=truth, source=source, **shown)
    opening = update_on(
        page.load,
        open_page,
        [session],
        chosen,
        api_visibility="private",
        show_progress="hidden",
        concurrency_id="read",
        concurrency_limit=None,
    )
    running = [attacking, purifying, following, watching, opening]
    stop_on(cancel.click, running, [said])
    # And what is made of the picture that was there.
    naming = update_on(truth.input, set_truth, [truth, session], shown, **PRIVATE)
    running = [*running, heating, naming, *take_away.wire(controls | chosen)]
    running += further.wire(chosen, running)
    # A new picture waits for nobody, and what still runs on the last one must not come after it.
    restart_on(picture.upload, running, choose, [picture, session], chosen)
    paste.click(None, None, said, js=_told("paste.js", lambda: say(NO_CLIPBOARD)), api_visibility="private")
    clicked = gr.State(0)

    def choose_example(i: int, state: Session) -> Update:
        return choose(str(examples[i][1]), state, is_own=False)

    restart_on(gallery.click, running, choose_example, [clicked, session], chosen, kept=clicked)
    for preset, button in zip(PRESETS, drawer.presets, strict=True):
        restart_on(button.click, running, partial(set_up, preset), [session], dict(target=target, **chosen))
    changed = dict(target=target, classifier=controls["classifier"], **shown)
    wanted = [controls["classifier"], session]
    loaded = update_on(controls["classifier"].input, change_classifier, wanted, changed, **PRIVATE | LOAD)
    changing = update_on(loaded.then, use_classifier, wanted, changed, **PRIVATE)
    settings = [session, drawer.is_live, *drawer.attack, *drawer.purifier, controls["seed"], controls["draws"]]
    marks = {name: shown[name] for name in ("attacked_old", "purified_old", "theatre", "report", "report_status")}
    others = [control.change for name, control in controls.items() if name != "classifier"]
    for event in (*others, *(done.then for done in (attacking, purifying, following, changing))):
        update_on(event, mark, settings, marks, **QUIET)
    controls["knows"].change(
        None, controls["knows"], None, js="on => document.body.toggleAttribute('data-knows', on)", **QUIET
    )
    page.load(None, None, None, js=_told("lost.js", lambda: say(LOST), str), api_visibility="private")
    redraw(page.load, lambda: _gallery(examples), [], gallery)
    anew = [picture.upload, gallery.click, *further.events, *(button.click for button in drawer.presets)]
    outdating = [*anew, start_attack.click, *(control.change for control in controls.values())]
    return TryIt(drawer.purifier, controls | chosen, running, [*anew, cancel.click], outdating)


def _gallery(examples: Sequence[tuple[Tensor, Path]]) -> str:
    return macros("picture.html").examples([(x, caption(path)) for x, path in examples])


def _told(name: str, text: Callable[[], str], made: Callable[[str], str] = status) -> str:
    """JavaScript: the function ``name``, given what is ``made`` of a text in every language: a status line."""
    said = {}
    for code in languages():
        with speaking(code):
            said[code] = made(text())
    return f"() => ({script(name)})({json.dumps(said)})"
