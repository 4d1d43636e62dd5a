"""How long the Hub may take. Its client asks a silent Hub again and again, waits for as long as it is told to, and
listens for ever to one that sends a byte now and then."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import httpx2
from huggingface_hub import get_session, set_client_factory

from purifier.texts import Unreachable

SILENT = 30.0  # seconds in which a Hub says something; its client asks one that is not there for 15


class Patience:
    """With a download of ``repository`` that may take ``seconds``."""

    def __init__(self, repository: str, seconds: float) -> None:
        self.repository, self.seconds = repository, seconds
        self.heard = time.monotonic()
        self.until = self.heard + seconds

    def check(self) -> None:
        """Raise ``ConnectionError`` where there is none left."""
        if time.monotonic() >= self.until:
            raise Unreachable(
                "The download of {repository} from the Hub was ended: it took more than {seconds} seconds. Try again "
                "later, or choose a bundled classifier.",
                repository=self.repository,
                seconds=f"{self.seconds:g}",
            )
        if time.monotonic() >= self.heard + SILENT:
            raise Unreachable(
                "The download of {repository} from the Hub was ended: for {seconds} seconds nothing came. Try again "
                "later, or choose a bundled classifier.",
                repository=self.repository,
                seconds=f"{SILENT:g}",
            )

    def left(self) -> float:
        """Seconds."""
        return max(0.001, min(self.until, self.heard + SILENT) - time.monotonic())

    def hear(self) -> None:
        """Something came."""
        self.check()
        self.heard = time.monotonic()


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)


@contextmanager
def patient(repository: str, seconds: float) -> Iterator[None]:
    """What is asked of the Hub within the block, by this thread, ends in time."""
    token = _patience.set(Patience(repository, seconds))
    try:
        yield
    finally:
        _patience.reset(token)


def listening() -> Patience | None:
    """What ``patient`` has, within its block."""
    return _patience.get()


class Heard(httpx2.SyncByteStream):
    """A body that is read no longer than there is ``patience``."""

    def __init__(self, stream: httpx2.SyncByteStream, patience: Patience) -> None:
        self.stream, self.patience = stream, patience

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.stream:
            self.patience.hear()
            yield chunk

    def close(self) -> None:
        """As httpx2 has it."""
        self.stream.close()


def _ask(request: httpx2.Request) -> None:
    if patience := _patience.get():
        patience.check()
        waits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            kind: min(waits.get(kind) or SILENT, patience.left()) for kind in ("connect", "read", "write", "pool")
        }


def _answer(response: httpx2.Response) -> None:
    if patience := _patience.get():
        patience.hear()
        response.headers.pop("retry-after", None)  # or it is obeyed, however long
        response.headers.pop("ratelimit", None)
        response.stream = Heard(response.stream, patience)


_HOOKS = get_session().event_hooks  # of huggingface_hub's own client


def _client() -> httpx2.Client:
    hooks = {"request": [*_HOOKS["request"], _ask], "response": [*_HOOKS["response"], _answer]}
    return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None)  # as theirs


set_client_factory(_client)
