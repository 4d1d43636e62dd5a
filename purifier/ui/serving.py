"""How the page is served: with which headers, what it tells those who watch over it, and how it ends."""

import functools
import os
import signal
import threading
import time
from collections.abc import Callable

import gradio as gr
import torch
from gradio.exceptions import ComponentProcessingError
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from purifier import __version__
from purifier.denoise import compiled
from purifier.files import bundled_digests, check_bundled
from purifier.settings import environment
from purifier.ui.events import failure
from purifier.ui.forgetting import forgetting
from purifier.ui.memory import share_arena
from purifier.ui.observed import LOG, RUNNING, VERSION, WAITING, log_to_stderr
from purifier.ui.status import words_of
from purifier.wording.language import speaking, wanted

# Gradio's page runs scripts and styles that stand in it, and compiles some.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "frame-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
}
ASKS = ("/queue/join", "/call/", "/run/", "/api/")  # in the paths that ask for something to be computed
LOOK = 0.2  # seconds
LINGER = 3.0  # seconds in which the last answers' pictures are fetched


def app_settings() -> dict[str, object]:
    """What FastAPI is given, once for each launch: Gradio changes it."""
    routes = [Route("/health", health), Route("/metrics", metrics)]
    middleware = [Middleware(Headers), Middleware(LastCall)]
    return dict(routes=routes, middleware=middleware, lifespan=forgetting, exception_handlers={OSError: not_stored})


class Headers:
    """Adds what keeps browsers from running, sniffing and framing what they should not."""

    def __init__(self, app: ASGIApp) -> None:
        policy = {**POLICY, "frame-ancestors": environment().frame_ancestors}
        self.app, self.headers = app, {
            "Content-Security-Policy": "; ".join(f"{name} {sources}" for name, sources in policy.items()),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class LastCall:
    """Answers 503 to new work while the server ends."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        asks = scope["type"] == "http" and scope["method"] == "POST" and any(part in scope["path"] for part in ASKS)
        if asks and is_ending(scope["app"]):
            refusal = JSONResponse(
                {"detail": "The server is ending. Try again in a minute."}, 503, {"Retry-After": "60"}
            )
            return await refusal(scope, receive, send)
        await self.app(scope, receive, send)


async def not_stored(request: Request, error: OSError) -> PlainTextResponse:
    """What an upload is answered for which there is no room."""
    with speaking(wanted(request.headers.get("accept-language"))):
        return PlainTextResponse(words_of(error), 507)


def tell_of_files(page: gr.Blocks) -> None:
    """Say in words what keeps Gradio from reading a request's pictures or storing its answer's."""
    process = page.process_api

    @functools.wraps(process)
    async def told(*args: object, request: gr.Request | None = None, **settings: object) -> dict:
        try:
            return await process(*args, request=request, **settings)
        except (OSError, ComponentProcessingError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if not isinstance(cause, OSError):
                raise
            headers = {} if request is None else dict(request.headers)
            with speaking(wanted(headers.get("accept-language"))):
                raise failure(cause) from error

    page.process_api = told


def is_ending(app: ASGIApp) -> bool:
    """Whether ``finish`` has begun."""
    return getattr(app.state, "ending", False)


async def health(request: Request) -> JSONResponse:
    """200 while the page takes work, and 503 while it ends; what runs here, and how much of it."""
    ending, (waiting, running) = is_ending(request.app), requests_of(request.app.get_blocks())
    told = dict(status="ending" if ending else "ok", version=__version__, waiting=waiting, running=running)
    return JSONResponse({**told, "weights_sha256": bundled_digests()}, 503 if ending else 200)


async def metrics(request: Request) -> Response:
    """For Prometheus."""
    waiting, running = requests_of(request.app.get_blocks())
    WAITING.set(waiting)
    RUNNING.set(running)
    VERSION.labels(__version__).set(1)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def requests_of(page: gr.Blocks) -> tuple[int, int]:
    """How many wait in the queue, and how many are computed."""
    return len(page._queue), sum(job is not None for job in page._queue.active_jobs)


def serve(build: Callable[[], gr.Blocks], **launch: object) -> None:
    """Serve the page until Ctrl-C, or until SIGTERM and what was asked before it is done.

    Raises ``ValueError`` for settings and bundled weights that cannot be used, before anything is served.
    """
    settings, told = environment(), threading.Event()
    check_bundled()
    if settings.log == "json":
        log_to_stderr()
    share_arena()
    torch.set_num_threads(1)  # for each request: with more, those of one would wait for those of another
    page = build()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    page.launch(prevent_thread_lock=True, **launch)
    threading.Thread(target=compiled, daemon=True).start()  # so that no visitor waits for it
    LOG.info("serving", extra=dict(version=__version__))
    try:
        while not told.wait(LOOK):
            pass
        LOG.info("ending")
        finished = finish(page, settings.shutdown_seconds)
    except KeyboardInterrupt:
        finished = sum(requests_of(page)) == 0
        page.close()
    LOG.info("ended", extra=dict(finished=finished))
    if not finished:  # a thread that computes would be waited for
        os._exit(1)


def finish(page: gr.Blocks, seconds: float) -> bool:
    """Take no new work, wait up to ``seconds`` for what is computed or waits, and close; whether all of it was done."""
    page.app.state.ending, until = True, time.monotonic() + seconds
    while (busy := sum(requests_of(page)) > 0) and time.monotonic() < until:
        time.sleep(LOOK)
    if not busy:
        time.sleep(min(LINGER, seconds))
    page.server.config.timeout_graceful_shutdown = 1  # each open page keeps a stream that never ends
    page.close(verbose=False)
    return not busy
