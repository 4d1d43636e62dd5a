"""How long a visitor waits: for the page, and after each click. Seconds are reported, and nothing fails by them."""

import os
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.helpers.browser import card, choose_example, press
from tests.helpers.paths import ROOT

ROUNDS = 5


def test_start(benchmark, tmp_path):
    """A cold start of ``python app.py`` in a new process, to the page's first answer."""
    started = []

    def start() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        env = {**os.environ, "GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1"}
        with (tmp_path / "log").open("w", encoding="utf-8") as log:
            started.append(subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=env, stdout=log, stderr=log))
        while started[-1].poll() is None:
            try:
                return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60).close()
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((tmp_path / "log").read_text(encoding="utf-8"))

    try:
        benchmark.pedantic(start, rounds=ROUNDS)
    finally:
        for server in started:
            server.terminate()
            server.wait()


def _example(page) -> None:
    choose_example(page)


def _first_attack_step(page) -> None:
    press(page, "Attack")
    page.get_by_text("Attack: step").wait_for()


def _attacked(page) -> None:
    press(page, "Attack")
    page.get_by_text("done.").wait_for()


def _first_stage(page) -> None:
    press(page, "Purify")
    page.locator(".lp-pyramid img").first.wait_for()


def _purified(page) -> None:
    press(page, "Purify")
    page.get_by_text("Purified.").wait_for()
    card(page, "Purified").get_by_role("img").wait_for()


CLICKS = {
    "example": ([], _example),
    "first step of the attack": ([_example], _first_attack_step),
    "attacked": ([_example], _attacked),
    "first stage": ([_example, _attacked], _first_stage),
    "purified": ([_example, _attacked], _purified),
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
        page.get_by_role("button", name="Attack", exact=True).wait_for()
        for step in before:
            step(page)
        return (page,), {}

    try:
        benchmark.pedantic(timed, setup=set_up, rounds=ROUNDS, warmup_rounds=1)
    finally:
        for page in pages:
            page.close()
