"""How long a visitor waits: for the page, and after each click. Seconds are reported, and nothing fails by them."""

import pytest

from tests.helpers.browser import card, choose_example, press
from tests.helpers.server import start_app

ROUNDS = 5


def test_start(benchmark, tmp_path):
    """A cold start of ``python app.py`` in a new process, to the page's first answer."""
    started = []
    try:
        benchmark.pedantic(lambda: started.append(start_app(tmp_path / "log")), rounds=ROUNDS)
    finally:
        for server, _ in started:
            server.terminate()
            server.wait()


def _first_attack_step(page) -> None:
    press(page, "Attack it")
    page.get_by_text("Attack: step").wait_for()


def _attacked(page) -> None:
    press(page, "Attack it")
    page.get_by_text("done.").wait_for()


def _first_draw(page) -> None:
    press(page, "Purify it")
    page.get_by_text("Purify: draw 1 of").wait_for()


def _purified(page) -> None:
    press(page, "Purify it")
    page.get_by_text("Purified.").wait_for()
    card(page, "Purified").get_by_role("img").wait_for()


CLICKS = {
    "example": ([], choose_example),
    "first step of the attack": ([choose_example], _first_attack_step),
    "attacked": ([choose_example], _attacked),
    "first draw": ([choose_example, _attacked], _first_draw),
    "purified": ([choose_example, _attacked], _purified),
}


@pytest.mark.parametrize("name", CLICKS)
def test_click(benchmark, browser, served, name):
    """From a click to what it shows, in a fresh page each time."""
    before, timed = CLICKS[name]
    pages = []

    def set_up() -> tuple[tuple, dict]:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        pages.append(page)
        page.goto(served)
        page.get_by_role("button", name="Attack it", exact=True).wait_for()
        for step in before:
            step(page)
        return (page,), {}

    try:
        benchmark.pedantic(timed, setup=set_up, rounds=ROUNDS, warmup_rounds=1)
    finally:
        for page in pages:
            page.close()
