"""Write the README's picture of the page: ``python -m tests.screenshot``. It needs Chromium."""

from pathlib import Path

from playwright.sync_api import sync_playwright

from purifier.ui.page import LAUNCH, build_page
from tests.conftest import CHROMIUM
from tests.test_browser import FLAGS, card, press

OUT = Path(__file__).parent.parent / "assets" / "screenshot.png"
EXAMPLE = "Melanocytic nevus"


def main() -> None:
    demo = build_page()
    _, url, _ = demo.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 900}, color_scheme="light")
        page.goto(url)
        page.get_by_role("group", name="Examples").get_by_role("button", name=EXAMPLE, exact=True).click()
        card(page, "Original").get_by_role("img").wait_for()
        press(page, "Attack")
        page.get_by_text("done.").wait_for()
        press(page, "Purify")
        page.get_by_text("Purified.").wait_for()
        # As tall as the page, so that the line at the bottom of the window is at the bottom of the picture.
        page.set_viewport_size({"width": 1440, "height": page.evaluate("document.documentElement.scrollHeight")})
        page.wait_for_timeout(500)  # the last pictures are painted
        page.screenshot(path=OUT)
        browser.close()
    demo.close()


if __name__ == "__main__":
    main()
