"""What the tests in a real browser share: its start, the served page, and a visitor's usual moves."""

import pytest

from purifier.ui.page import build_page
from tests.helpers.server import serving

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def served(browser):
    with serving(build_page()) as url:
        yield url


@pytest.fixture
def page(browser, served):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(120_000)  # milliseconds: to certify takes a minute on slow processors
    errors, outside = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: outside.append(request.url))
    page.goto(served)
    page.get_by_role("button", name="Attack it", exact=True).wait_for()
    yield page
    page.close()
    assert not errors
    assert all(url.startswith((served, "data:", "blob:")) for url in outside), "the page called out"


def press(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()


def card(page, title):
    return page.get_by_role("figure", name=title)


def choose_example(page):
    page.get_by_role("group", name="Examples").get_by_role("button").first.click()
    page.get_by_text("This is what the classifier reads.").wait_for()


def open_settings(page, level="Researcher"):
    page.get_by_role("radio", name=level).check()
    press(page, "Settings")
    page.get_by_role("heading", name="Purifier", exact=True).wait_for()


SETTLED = "() => new Promise(done => setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(done)), 100))"


def fill(page, label, text):
    """Type into a field until it keeps what was typed.

    Gradio puts the content of an accordion on the page when it is opened, and sets its values a few milliseconds later.
    """
    field = page.get_by_label(label)
    for _ in range(10):
        field.fill(text)
        page.evaluate(SETTLED)
        if field.input_value() == text:
            return
    raise AssertionError(f"{label} does not keep {text!r}, and shows {field.input_value()!r}.")
