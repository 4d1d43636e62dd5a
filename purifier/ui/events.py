"""How the page's events are wired: handlers that speak the visitor's language, errors as messages, and new starts."""

import asyncio
import contextvars
import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import gradio as gr
from gradio.components import Component
from gradio.events import Dependency

from purifier.ui.components import QUIET
from purifier.ui.observed import Refusal, observed
from purifier.ui.status import STOPPED, status, warn, words_of
from purifier.ui.updates import by_component
from purifier.wording.language import ENGLISH, say, speaking, spoken, wanted

EXPECTED = (ValueError, OSError)  # what a visitor can do something about, or has to wait for
PAUSE = 0.15  # seconds
END = object()  # of a handler's steps
THREADS = ThreadPoolExecutor(64, "handler")  # more than all queues compute at once


def as_given(answer: object) -> object:
    """For handlers that give what Gradio takes."""
    return answer


def in_language(
    handler: Callable, around: Callable[[], AbstractContextManager] = nullcontext, answer: Callable = as_given
) -> Callable:
    """``handler``, every step of it ``around`` and speaking the language that the visitor's browser asks for.

    Gradio puts the request, which tells it, before the handler's own arguments. Called without one, as in a test,
    the language spoken stays. ``answer`` makes of what the handler gives what Gradio takes.
    """

    def split(args: tuple) -> tuple[str, tuple]:
        if args and hasattr(args[0], "headers"):
            return wanted(dict(args[0].headers).get("accept-language")), args[1:]
        return spoken(), args

    if inspect.isgeneratorfunction(handler):
        # Asynchronous, so that what is ended is ended at once, though its step goes on for seconds: Gradio's page
        # forgets what is begun before the end of the last is known.
        @functools.wraps(handler)
        async def wrapped(*args):
            language, rest = split(args)
            steps, is_ended = handler(*rest), False

            def step() -> object:
                try:
                    with speaking(language), around():  # around each step, which may have a thread of its own
                        made = noticed(next(steps, END))
                        return made if made is END else answer(made)
                finally:
                    if is_ended:
                        steps.close()

            with observed(handler) as noticed:
                try:
                    while (given := await _in_a_thread(step)) is not END:
                        yield given
                finally:
                    is_ended = True
                    with suppress(ValueError):  # its step goes on, and closes it then
                        steps.close()

    else:

        @functools.wraps(handler)
        def wrapped(*args):
            language, rest = split(args)
            with observed(handler) as noticed, speaking(language), around():
                return answer(noticed(handler(*rest)))

    # Gradio looks for the request in the signature, which functools.wraps takes from the handler.
    request = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=gr.Request)
    plain = inspect.signature(handler)
    wrapped.__signature__ = plain.replace(parameters=[request, *plain.parameters.values()])
    wrapped.__annotations__ = {**inspect.get_annotations(handler), "request": gr.Request}
    return wrapped


async def _in_a_thread(step: Callable) -> object:
    """What ``step`` gives; whoever is cancelled does not wait for its end."""
    return await asyncio.get_running_loop().run_in_executor(THREADS, contextvars.copy_context().run, step)


def errors_as_messages(handler: Callable, answer: Callable = as_given) -> Callable:
    """``handler`` ``in_language``; errors that a visitor can do something about become messages, and what is on the
    page stays."""
    return in_language(handler, _errors_as_messages, answer)


@contextmanager
def _errors_as_messages() -> Iterator[None]:
    try:
        yield
    except EXPECTED as error:
        raise failure(error) from error


def failure(error: Exception) -> gr.Error:
    """An error as Gradio shows it. Not printed: the words may hold what a visitor wrote."""
    return gr.Error(words_of(error), title=say("That did not work"), duration=10, print_exception=False)


def update_on(
    event: Callable,
    handler: Callable,
    inputs: Component | Sequence[Component],
    outputs: Mapping[str, Component],
    **settings: object,
) -> Dependency:
    """At ``event``, update ``outputs`` (components by the names of an ``Update``'s fields) by what ``handler`` gives.
    Errors that a visitor can do something about are said on the status lines among them, if there are any: one that is
    raised leaves a badge on every component.

    ``settings`` are Gradio's, of the event.
    """
    answer = functools.partial(by_component, outputs=outputs)
    lines = [name for name in outputs if name.endswith("status")]
    told = _errors_on(lines, handler) if lines else handler
    return event(errors_as_messages(told, answer), inputs, list(outputs.values()), **settings)


def _errors_on(lines: Sequence[str], handler: Callable) -> Callable:
    @functools.wraps(handler)
    def wrapped(*args) -> Iterator[object]:
        try:
            given = handler(*args)
            if inspect.isgenerator(given):
                yield from given
            else:
                yield given
        except EXPECTED as error:
            yield Refusal(**dict.fromkeys(lines, warn(error)))

    return wrapped


def restart_on(
    event: Callable,
    running: Sequence[Dependency],
    handler: Callable,
    inputs: Sequence[Component],
    outputs: Mapping[str, Component],
    *,
    kept: Component | None = None,
) -> Dependency:
    """At ``event`` end what is ``running``; then ``update_on`` it, waiting for nobody.

    ``kept`` is given the index that the event tells.
    """
    first = pause if kept is None else clicked_index
    ended = event(first, None, kept, cancels=list(running), **QUIET)
    return update_on(ended.then, handler, list(inputs), outputs, **QUIET | dict(concurrency_id="read", queue=True))


def stop_on(event: Callable, running: Sequence[Dependency], lines: Sequence[Component]) -> None:
    """At ``event`` end what is ``running``, and say on the status ``lines`` that it is."""
    ended = event(pause, None, None, cancels=list(running), **QUIET)
    ended.then(in_language(lambda: dict.fromkeys(lines, status(say(STOPPED)))), None, list(lines), **QUIET)


def empty_on(events: Sequence[Callable], running: Sequence[Dependency], outputs: Sequence[Component]) -> None:
    """At any of ``events`` end what is ``running``, and leave nothing in ``outputs``."""
    nothing = f"() => {[''] * len(outputs)}"
    for event in events:
        event(None, None, list(outputs), js=nothing, cancels=list(running), **QUIET)


def pause() -> None:
    """Time for the browser to close the stream of what was ended: an answer that comes meanwhile would be lost, or
    the stream's last one would come after it."""
    time.sleep(PAUSE)


def clicked_index(event: gr.EventData) -> int:
    """Which of several was clicked, after a ``pause``."""
    pause()
    return event.index


def redraw(
    event: Callable, draw: Callable, inputs: Sequence[Component], outputs: Component | Sequence[Component]
) -> None:
    """``draw`` again at ``event`` what stands on the page in English from the start, for a visitor who speaks another
    language."""

    @functools.wraps(draw)
    def drawn(*args):
        return gr.skip() if spoken() == ENGLISH else draw(*args)

    event(in_language(drawn), inputs, outputs, **QUIET)
