"""What the server counts and logs of each request that it computes: never whose it was, nor what was in it. The home of
prometheus_client."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import gradio as gr
from prometheus_client import Gauge, Histogram

LOG = logging.getLogger("purifier")
SECONDS = Histogram(
    "purifier_request_seconds",
    "From the first to the last step of a request, without its time in the queue.",
    ("endpoint", "outcome"),  # done, refused (with a message), stopped (by the visitor) or failed
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100),
)
WAITING = Gauge("purifier_requests_waiting", "In the queue.")
RUNNING = Gauge("purifier_requests_running", "That are computed.")
VERSION = Gauge("purifier_info", "Always 1.", ("version",))


class Refusal(SimpleNamespace):
    """A step that says on the page why what was asked for is not done."""


@contextmanager
def observed(handler: Callable) -> Iterator[Callable[[object], object]]:
    """Count and log what runs within, by the name of its handler. Gives a function that every step goes through."""
    module = getattr(handler, "__module__", "").rpartition(".")[2]
    endpoint, outcome, usual = f"{module}.{getattr(handler, '__name__', 'unnamed')}", "failed", "done"
    start = time.monotonic()

    def noticed(step: object) -> object:
        nonlocal usual
        if isinstance(step, Refusal):
            usual = "refused"
        return step

    try:
        yield noticed
        outcome = usual
    except gr.Error:
        outcome = "refused"
        raise
    except (GeneratorExit, asyncio.CancelledError):
        outcome = "stopped"
        raise
    finally:
        seconds = time.monotonic() - start
        SECONDS.labels(endpoint, outcome).observe(seconds)
        LOG.info("request", extra=dict(endpoint=endpoint, outcome=outcome, seconds=round(seconds, 3)))


class JsonLines(logging.Formatter):
    """Each record is a line of JSON with what may be in its ``extra``, and nothing that others add to records; of an
    exception only the kind, for its text may name files."""

    EXTRA = ("endpoint", "outcome", "seconds", "version", "finished")

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        extra = {name: vars(record)[name] for name in self.EXTRA if name in vars(record)}
        kind = {"error": record.exc_info[0].__name__} if record.exc_info else {}
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        return json.dumps({"time": when, "level": record.levelname, "event": record.getMessage(), **extra, **kind})


def log_to_stderr() -> None:
    """From now on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    LOG.handlers, LOG.propagate = [handler], False
    LOG.setLevel(logging.INFO)
