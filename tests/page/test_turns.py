"""Who is computed for next: real clients of a small page with the page's queue."""

import threading
import time
from concurrent.futures import wait
from types import SimpleNamespace

import gradio as gr
import pytest
from gradio.queueing import EventQueue
from gradio_client import Client
from gradio_client.utils import QueueError

from purifier.ui import turns
from purifier.ui.components import COMPUTE, LOAD
from purifier.ui.turns import FairQueue, take_turns
from tests.helpers.server import serving

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own threads and sockets
LONG = 30  # seconds


class Work:
    """What was begun, and what ran beside what; the first request waits until it is let go."""

    def __init__(self):
        self.begun, self.beside, self.running, self.go = [], set(), [], threading.Event()

    def __call__(self, name: str) -> str:
        """``name`` is the visitor's letter, and a number."""
        self.begun.append(name)
        self.running.append(name)
        self.beside |= {tuple(sorted((name, other))) for other in self.running if other != name}
        self.go.wait(LONG)
        time.sleep(0.1)
        self.running.remove(name)
        return name


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def ask(work):
    """A new visitor, who asks for something by these names, one after another: for work, or "a1 loads"."""
    with gr.Blocks() as page:
        text = gr.Textbox()
        gr.Button().click(work, text, text, api_name="work", **COMPUTE)
        gr.Button().click(work, text, text, api_name="load", **LOAD)
    take_turns(page)

    with serving(page) as url:

        def asked(*names):
            client, jobs = Client(url, verbose=False), []
            for name in names:
                count, until = page._queue.events_recorded, time.monotonic() + LONG
                jobs.append(client.submit(name, api_name="/load" if name.endswith("loads") else "/work"))
                while page._queue.events_recorded == count and not jobs[-1].done() and time.monotonic() < until:
                    time.sleep(0.02)
            return jobs

        yield asked


def test_who_loads_takes_no_turn_from_others_and_waits_for_work_of_one_s_own(ask, work):
    jobs = ask("a1", "a2 loads") + ask("b1 loads") + ask("c1 loads") + ask("d1 loads") + ask("e1")
    until = time.monotonic() + LONG
    while len(work.begun) < 5 and time.monotonic() < until:
        time.sleep(0.02)
    assert sorted(work.begun) == ["a1", "b1 loads", "c1 loads", "d1 loads", "e1"]
    work.go.set()
    assert [job.result() for job in jobs] == ["a1", "a2 loads", "b1 loads", "c1 loads", "d1 loads", "e1"]
    assert ("a1", "a2 loads") not in work.beside


def test_one_visitor_after_another_and_of_each_one_thing_after_another(ask, work):
    """The second comes when five requests of the first wait, and is served at once; the third comes before most."""
    jobs = ask("a1", "a2", "a3", "a4", "a5") + ask("b1", "b2") + ask("c1")
    while len(work.begun) < 2:
        time.sleep(0.02)
    assert work.begun == ["a1", "b1"]  # two at once
    work.go.set()
    wait([job.future for job in jobs], timeout=LONG)
    assert [job.result() for job in jobs] == ["a1", "a2", "a3", "a4", "a5", "b1", "b2", "c1"]
    assert "c1" in work.begun[2:4]  # threads that are started together begin in any order
    assert [name for name in work.begun if name[0] == "a"] == ["a1", "a2", "a3", "a4", "a5"]
    assert ("a1", "b1") in work.beside and all(one[0] != other[0] for one, other in work.beside)


def test_who_has_too_much_waiting_is_refused(ask, work, monkeypatch):
    monkeypatch.setattr(turns, "MOST_WAITING", 2)
    *jobs, too_much = ask("a1", "a2", "a3", "a4")
    other = ask("b1")
    with pytest.raises(QueueError):
        too_much.result(LONG)
    work.go.set()
    assert [job.result(LONG) for job in jobs + other] == ["a1", "a2", "a3", "b1"]


def test_next_is_who_has_waited_longest_since_a_turn():
    queue, waiting = object.__new__(FairQueue), EventQueue(COMPUTE["concurrency_id"], None)  # a page has loops to close
    queue.served, queue.active_jobs = [], []
    queue.event_queue_per_concurrency_id = {waiting.concurrency_id: waiting}
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        waiting.queue.append(SimpleNamespace(name=name, session_hash=name[0], concurrency_id=waiting.concurrency_id))
    begun = [queue.get_events()[0][0].name for _ in range(6)]
    assert begun == ["a1", "b1", "c1", "a2", "b2", "a3"] and queue.get_events() is None
