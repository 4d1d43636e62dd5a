import asyncio
import time
from functools import partial
from threading import Event

import gradio as gr
import pytest
from gradio.helpers import special_args

from purifier.texts import NotFound
from purifier.ui import actions
from purifier.ui.events import errors_as_messages, in_language, redraw
from purifier.ui.session import Session
from purifier.wording.language import catalogue, say, speaking, spoken

GERMAN = gr.Request(headers={"accept-language": "de-CH,de;q=0.9"})


@pytest.fixture(autouse=True)
def translation(monkeypatch):
    for text, translated in {
        "Done.": "Fertig.",
        "That did not work": "Das ging nicht",
        "There is no picture at {path}.": "Kein Bild unter {path}.",
    }.items():
        monkeypatch.setitem(catalogue("de"), text, translated)


def called(handler, *inputs, event=None):
    """``handler`` as Gradio calls it in a German browser."""
    arguments, *_ = special_args(handler, list(inputs), GERMAN, event)
    return handler(*arguments)


def test_a_handler_speaks_the_visitor_s_language_and_nobody_else_does():
    handler = in_language(lambda name, *rest: (say("Done."), name, rest))
    assert called(handler, "a", 1, 2) == ("Fertig.", "a", (1, 2))
    assert handler("a") == ("Done.", "a", ())
    assert called(in_language(partial(lambda fixed: say("Done.") + fixed, "!"))) == "Fertig.!"
    with speaking("de"):
        assert handler("a")[0] == "Fertig."
    assert spoken() == "en"


def test_every_step_speaks_it_in_whatever_thread_and_between_steps_no_one_does():
    def steps(count):
        for i in range(count):
            yield i, say("Done.")

    async def run():
        found = []
        async for step in called(in_language(steps), 2):
            found.append((step, spoken()))
        return found

    assert asyncio.run(run()) == [((0, "Fertig."), "en"), ((1, "Fertig."), "en")]


def test_a_run_that_is_stopped_is_closed():
    closed = []

    def steps():
        try:
            yield 1
        finally:
            closed.append(True)

    async def run():
        running = called(errors_as_messages(steps))
        await anext(running)
        await running.aclose()

    asyncio.run(run())
    assert closed == [True]


def test_a_run_that_is_ended_in_a_long_step_is_ended_at_once_and_closed_after_it():
    begun, goes_on, closed = Event(), Event(), Event()

    def steps():
        try:
            begun.set()
            goes_on.wait(20)
            yield 1
        finally:
            closed.set()

    async def run():
        step = asyncio.ensure_future(anext(called(errors_as_messages(steps))))
        await asyncio.to_thread(begun.wait, 20)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(step, 5)
        assert not closed.is_set()
        goes_on.set()
        await asyncio.to_thread(closed.wait, 20)

    asyncio.run(run())
    assert closed.is_set()


def test_who_leaves_while_a_classifier_is_loaded_keeps_nobody_waiting(monkeypatch):
    goes_on, loaded = Event(), Event()

    def load(name, progress):
        goes_on.wait(20)
        loaded.set()

    monkeypatch.setattr(actions, "classifier_for_page", load)

    async def run():
        running = called(errors_as_messages(actions.change_classifier), "hf-hub:a/b", Session())
        assert "a/b wird geladen" in (await anext(running)).status
        started = time.monotonic()
        await running.aclose()
        assert time.monotonic() - started < 2 and not loaded.is_set()
        goes_on.set()
        await asyncio.to_thread(loaded.wait, 20)

    asyncio.run(run())


def test_events_are_still_handed_over():
    class Target:
        proxy_url = None

    def handler(state, event: gr.EventData):
        return say("Done."), state, event.index

    assert called(errors_as_messages(handler), "state", event=gr.EventData(Target, {"index": 3})) == (
        "Fertig.",
        "state",
        3,
    )


@pytest.mark.parametrize("is_generator", [False, True])
def test_errors_are_said_in_the_visitor_s_language(is_generator):
    def fail(path):
        raise NotFound("There is no picture at {path}.", path=path)

    def fail_later(path):
        yield fail(path)

    with pytest.raises(gr.Error) as found:
        result = called(errors_as_messages(fail_later if is_generator else fail), "/x.png")
        asyncio.run(anext(result))
    assert found.value.message == "Kein Bild unter /x.png." and found.value.title == "Das ging nicht"
    with pytest.raises(gr.Error, match="There is no picture at /x.png."):
        errors_as_messages(fail)("/x.png")


def test_what_stands_there_is_drawn_again_for_other_languages_only():
    wired = []
    redraw(lambda handler, inputs, outputs, **settings: wired.append(handler), lambda: say("Done."), [], gr.HTML())
    assert called(wired[0]) == "Fertig."
    assert wired[0](gr.Request(headers={"accept-language": "xx"})) == gr.skip()
