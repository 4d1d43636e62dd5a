"""How long a visitor waits: for the page, and after each click. Seconds are reported, and nothing fails by them.

The page is ``python app.py``, in a process of its own. The browser looks in each of its frames whether what is waited
for is there, and computes on the same cores as the server, as a visitor's does not. ``test_bare_attack`` is what an
attack on the page takes at least: as the server makes it, in one thread.
"""

import pytest
import torch

from purifier.classifiers.classifier import load_classifier
from purifier.pictures.files import read_image
from purifier.runs import Attack, attack_steps
from tests.helpers.browser import choose_example
from tests.helpers.paths import ROOT
from tests.helpers.server import free_port, start_app

ROUNDS = 5
SAYS = "text => [...document.querySelectorAll('.lp-status')].some(line => line.textContent.includes(text))"


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    port = free_port()
    server, _ = start_app(tmp_path_factory.mktemp("app") / "log", port)
    yield f"http://127.0.0.1:{port}"
    server.terminate()
    server.wait()


def test_start(benchmark, tmp_path):
    """A cold start of ``python app.py`` in a new process, to the page's first answer."""
    started = []
    try:
        benchmark.pedantic(lambda: started.append(start_app(tmp_path / "log")), rounds=3)
    finally:
        for server, _ in started:
            server.terminate()
            server.wait()


def _press(page, name: str, said: str) -> None:
    """Press a button, at once, and wait until the page says that."""
    page.get_by_role("button", name=name, exact=True).dispatch_event("click")
    page.wait_for_function(SAYS, arg=said)


def _attacked(page) -> None:
    _press(page, "Attack it", "done.")


CLICKS = {
    "first step of the attack": ([], lambda page: _press(page, "Attack it", "Attack: step")),
    "attacked": ([], _attacked),
    "first draw": ([_attacked], lambda page: _press(page, "Purify it", "Purify: draw 1 of")),
    "purified": ([_attacked], lambda page: _press(page, "Purify it", "Purified.")),
}


@pytest.mark.parametrize("name", CLICKS)
def test_click(benchmark, browser, app, name):
    """From a click to what it shows, in a fresh page each time, with an example picture and the default settings."""
    before, timed = CLICKS[name]
    pages = []

    def set_up() -> tuple[tuple, dict]:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        pages.append(page)
        page.goto(app)
        for step in (choose_example, *before):
            step(page)
        page.wait_for_timeout(500)  # for what follows an answer
        return (page,), {}

    try:
        benchmark.pedantic(timed, setup=set_up, rounds=ROUNDS, warmup_rounds=1)
    finally:
        for page in pages:
            page.close()


def test_bare_attack(benchmark):
    """The default attack on an example, without a page, in one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    x, classifier = read_image(ROOT / "assets" / "examples" / "AK-1.png"), load_classifier()
    try:
        benchmark.pedantic(lambda: list(attack_steps(classifier, x, Attack())), rounds=ROUNDS, warmup_rounds=2)
    finally:
        torch.set_num_threads(threads)
