"""Write the README's pictures of the page: ``python -m tests.helpers.screenshot``. It needs Chromium."""

from playwright.sync_api import Page, sync_playwright

from purifier.ui.page import build_page
from tests.helpers.browser import FLAGS, fill, open_tab, press
from tests.helpers.paths import CHROMIUM, ROOT
from tests.helpers.server import serving

OUT = ROOT / "assets" / "screenshots"
WIDTH, HEIGHT = 1440, 900


def main() -> None:
    OUT.mkdir(exist_ok=True)
    with serving(build_page()) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.set_default_timeout(300_000)  # milliseconds
        page.goto(url)
        page.get_by_text("Now try your own.").wait_for()
        shoot(page, "try-it")
        press(page, "Watch the purification")
        page.locator(".lp-theatre").get_by_label("Step").fill("3")
        shoot(page, "theatre")
        open_tab(page, "Evidence")
        press(page, "Purify many times")
        page.get_by_text("100 of 100 times, done.").wait_for()
        fill(page, "number input for Draws", "5")
        press(page, "Compare all")
        page.get_by_text("14 of 14 defences, done.").wait_for()
        shoot(page, "evidence")
        page.goto(f"{url}?lesson=6")
        page.get_by_text("Lesson 6 of 7").wait_for()
        page.get_by_role("button", name="A. ").click()
        page.get_by_text("The lesson is done.").wait_for()
        shoot(page, "learn")
        browser.close()


def shoot(page: Page, name: str) -> None:
    # As tall as the page, so that the line at the bottom of the window is at the bottom of the picture.
    page.set_viewport_size({"width": WIDTH, "height": page.evaluate("document.documentElement.scrollHeight")})
    page.wait_for_timeout(500)  # the last pictures are painted
    page.screenshot(path=OUT / f"{name}.png")
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


if __name__ == "__main__":
    main()
