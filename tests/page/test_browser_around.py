# ruff: noqa: F811 (pytest's fixtures are arguments)
"""Around the page, in a real browser: lessons, further ways to a picture, what is taken away, and languages."""

import json
import re
import zipfile

import pytest

from purifier.lessons import LESSONS, teach
from purifier.pictures import isic_archive
from purifier.pictures.files import quantise, read_image
from purifier.runs import hash_of
from purifier.ui.examples import BUNDLED
from purifier.wording.readings import headline
from tests.helpers.archive import ID
from tests.helpers.browser import card, choose_example, open_settings, open_tab, press

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's and the browser's own threads and sockets


def readings_so_far(page):
    """The headlines on the cards that are seen."""
    texts = page.locator(".lp-card .lp-headline:visible").all_inner_texts()
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in texts if text != "–"]


def open_lesson(page, served, number):
    page.goto(f"{served}?lesson={number + 1}")
    page.get_by_text(f"Lesson {number + 1} of {len(LESSONS)}").wait_for()


def choose_answer(page, k):
    page.get_by_role("button", name=f"{'ABC'[k]}. ").click()
    page.get_by_text("The lesson is done.").wait_for(timeout=240_000)


@pytest.mark.parametrize("number", range(len(LESSONS)))
def test_a_lesson_lets_predict_runs_and_shows_what_it_claims(page, served, number):
    lesson = LESSONS[number]
    done, seen = teach(lesson, BUNDLED / lesson.example)
    expected = seen[done.settings.classifier]
    open_lesson(page, served, number)
    assert readings_so_far(page) == [headline(expected["original"])]
    assert not page.get_by_text(lesson.look[0]).or_(page.get_by_text(lesson.question)).is_visible()
    right, chosen = lesson.outcome(done, seen), number % 3
    choose_answer(page, chosen)
    assert lesson.claim(done, seen)
    shown = [headline(reading) for reading in expected.values()]
    assert readings_so_far(page)[: len(shown)] == shown
    page.get_by_text("You predicted it." if chosen == right else "It came out otherwise.").wait_for()
    page.get_by_text(f"Score: {int(chosen == right)} of 1").wait_for()
    look, cards = (page.locator(where).bounding_box() for where in (f"text={lesson.look[0]}", ".lp-learn .lp-cards"))
    assert look["x"] > cards["x"] + cards["width"], "what to look at stands beside the pictures"
    page.get_by_text(lesson.question).wait_for()
    answer = page.locator(".lp-lesson details")
    assert answer.get_by_text(lesson.answer).is_hidden()
    answer.locator("summary").click()
    assert answer.get_by_text(lesson.answer).is_visible()
    for name in lesson.readers:
        row = page.locator(".lp-readers").get_by_role("row", name=name)
        assert ("not fooled" in row.inner_text()) == (seen[name]["attacked"].top == seen[name]["original"].top)
    open_tab(page, "Try")
    assert readings_so_far(page) == shown
    if lesson.settings.attack is not None:
        open_settings(page, "Clinician")
        knows = page.get_by_label("The attacker knows the purifier").is_checked()
        assert knows == (lesson.settings.attack.known is not None)


def test_lessons_are_turned_like_pages_and_the_address_keeps_the_place(page, served):
    open_lesson(page, served, 4)
    press(page, "Next")
    page.get_by_text("Lesson 6 of 7").wait_for()
    press(page, "Back")
    page.get_by_text("Lesson 5 of 7").wait_for()
    page.wait_for_function("location.search === '?lesson=5' && location.hash === '#learn'")
    open_tab(page, "About")
    page.wait_for_function("location.hash === '#about'")
    open_tab(page, "Learn")
    page.wait_for_function("location.hash === '#learn'")
    page.go_back()
    page.get_by_role("tab", name="About", selected=True).wait_for()
    page.go_back()
    page.get_by_role("tab", name="Learn", selected=True).wait_for()
    page.go_back()
    page.get_by_text("Lesson 6 of 7").wait_for()
    page.go_forward()
    page.get_by_text("Lesson 5 of 7").wait_for()
    page.wait_for_function("location.search === '?lesson=5' && location.hash === '#learn'")
    page.reload()
    page.get_by_text("Lesson 5 of 7").wait_for()
    choose_answer(page, 2)
    press(page, "Back")
    page.get_by_text("Lesson 4 of 7").wait_for()
    assert page.get_by_role("button", name="A. ").is_enabled() and "Purified" in page.locator(".lp-learn").inner_text()
    press(page, "Next")
    page.get_by_text("You predicted it.").wait_for()
    assert page.get_by_role("button", name="A. ").is_disabled()
    press(page, "Run it again")
    page.get_by_text("The lesson is done.").wait_for()
    page.get_by_text("Score: 1 of 1").wait_for()


def test_a_picture_chosen_meanwhile_ends_the_lesson_s_run(page, served):
    attacks = [lesson.settings.attack for lesson in LESSONS]
    open_lesson(page, served, next(i for i, attack in enumerate(attacks) if attack and attack.known))  # takes seconds
    page.get_by_role("button", name="A. ").click()
    page.locator(".lp-learn").get_by_text("Attack: step").wait_for()
    open_tab(page, "Try")
    choose_example(page)
    before = readings_so_far(page)
    page.wait_for_timeout(3000)
    assert readings_so_far(page) == before and len(before) == 1
    open_tab(page, "Learn")
    assert not page.get_by_text("The lesson is done.").is_visible()


def test_the_chosen_tab_can_be_read(page, served):
    """4.5 to 1 against white (WCAG), where Gradio's own colour has 2.5."""
    page.goto(served)
    tab = page.get_by_role("tab", name="Try")
    red, green, blue = (
        (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
        for c in (
            int(level) / 255 for level in re.findall(r"\d+", tab.evaluate("it => getComputedStyle(it).color"))[:3]
        )
    )
    assert 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) > 4.5


@pytest.mark.parametrize("named", ["-1", "0", "99", "1.5", "x"])
def test_an_address_without_a_lesson_of_that_number_opens_the_first(page, served, named):
    page.goto(f"{served}?lesson={named}")
    page.get_by_text(f"Lesson 1 of {len(LESSONS)}").wait_for()
    assert page.get_by_role("button", name="A. ").is_enabled()


def test_a_class_is_counted_and_shown_large(page, served):
    open_lesson(page, served, 4)
    assert not page.get_by_role("button", name="+ A").is_visible()
    page.get_by_text("For teachers: the class, the projector, handouts").click()
    page.get_by_label("Count the predictions of a class").check()
    for _ in range(3):
        press(page, "+ C")
    page.get_by_label("Hands for A").fill("9")
    page.get_by_text("Predictions of the class: 12").wait_for()
    choose_answer(page, 0)
    bars = page.locator(".lp-tally")
    bars.get_by_text("came true").wait_for()
    assert [row.split()[0] for row in bars.get_by_role("row").all_inner_texts() if "came true" in row] == ["C"]
    page.reload()
    page.get_by_text("Predictions of the class: 12").wait_for()
    page.get_by_text("For teachers: the class, the projector, handouts").click()
    press(page, "Next")
    page.get_by_text("Predictions of the class: 0").wait_for()
    press(page, "Back")
    page.get_by_text("Predictions of the class: 12").wait_for()
    press(page, "Begin a new class")
    page.get_by_text("Predictions of the class: 0").wait_for()
    assert page.get_by_role("button", name="A. ").is_enabled()
    before = page.locator(".lp-learn h2").first.bounding_box()["height"]
    page.get_by_label("Projector view").check()
    assert page.locator(".lp-learn h2").first.bounding_box()["height"] > 1.2 * before
    page.get_by_label("Projector view").uncheck()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation_in_a_lesson(page, served, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    open_lesson(page, served, 4)
    choose_answer(page, 1)
    page.get_by_text("For teachers: the class, the projector, handouts").click()
    page.get_by_label("Count the predictions of a class").check()
    page.wait_for_timeout(500)
    found = Axe().run(page).response["violations"]
    assert not [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]


def test_handouts_are_made_for_students_and_for_teachers(page, browser, served):
    open_lesson(page, served, 0)
    page.get_by_text("For teachers: the class, the projector, handouts").click()
    press(page, "Make the handouts")
    page.get_by_text("The handouts are ready").wait_for(timeout=240_000)
    for name, answers in (("Handout for students", 0), ("Handout with answers, for teachers", len(LESSONS))):
        file = download(page, name).read_text(encoding="utf-8")
        sheet = browser.new_page()
        sheet.set_content(file)
        assert sheet.get_by_role("heading", level=2).count() == len(LESSONS) + (answers > 0)
        assert sheet.get_by_text("\u2611").count() == answers
        assert sheet.evaluate("[...document.images].every(x => x.naturalWidth === 224)")
        sheet.close()


def download(page, name):
    with page.expect_download() as started:
        page.get_by_role("link", name=name).click()
    return started.value.path()


def test_a_run_is_taken_away_and_repeated_to_the_bit(page, served, tmp_path):
    choose_example(page)
    press(page, "Attack it")
    page.get_by_text("Attack: step 20 of 20, done.").wait_for()
    open_settings(page)
    page.get_by_role("radio", name="16", exact=True).check()
    press(page, "Purify it")
    page.get_by_text("Purified.", exact=True).wait_for()
    card(page, "Purified").get_by_text("All diagnoses").click()
    assert "of 16 draws" in card(page, "Purified").inner_text()
    page.get_by_text("Take it away").click()
    press(page, "Make the report")
    page.get_by_text("The report is ready.").wait_for()
    first = json.loads(download(page, "Settings (JSON)").read_text(encoding="utf-8"))
    assert f"{first['pictures']['purified']['agreeing']} of 16 draws" in card(page, "Purified").inner_text()
    assert download(page, "Report to print (PDF)").read_bytes().startswith(b"%PDF-")
    assert "not a medical device" in download(page, "Report to read (HTML)").read_text(encoding="utf-8")
    with zipfile.ZipFile(download(page, "All pictures (ZIP)")) as archive:
        for name in ("original", "attacked", "purified"):
            x = quantise(read_image(archive.read(f"{name}.png")))
            assert hash_of(x) == first["pictures"][name]["sha256"]

    run = tmp_path / "run.json"
    run.write_text(json.dumps(first), encoding="utf-8")
    page.get_by_role("slider", name="Blocks").press("ArrowRight")
    page.get_by_role("radio", name="1", exact=True).check()
    page.get_by_label("Load settings (run.json)").or_(
        page.locator("input[type=file][accept='.json']")
    ).last.set_input_files(run)
    page.get_by_text("The settings are loaded.").wait_for()
    assert card(page, "Original").get_by_role("img").count() == 1
    press(page, "Attack it")
    page.get_by_text("Attack: step 20 of 20, done.").wait_for()
    press(page, "Purify it")
    page.get_by_text("Purified.", exact=True).wait_for()
    press(page, "Make the report")
    page.get_by_text("The report is ready.").wait_for()
    again = json.loads(download(page, "Settings (JSON)").read_text(encoding="utf-8"))
    assert again["pictures"] == first["pictures"] and again["settings"] == first["settings"]


def test_settings_that_are_none_are_refused_and_nothing_is_lost(page, tmp_path):
    choose_example(page)
    page.get_by_text("Take it away").click()
    bad = tmp_path / "run.json"
    bad.write_text('{"seed": "one"}', encoding="utf-8")
    page.locator("input[type=file][accept='.json']").set_input_files(bad)
    page.get_by_text("These are not the settings of a run").first.wait_for()
    assert card(page, "Original").get_by_role("img").is_visible()


def test_a_dicom_file_is_opened(page, tmp_path):
    pytest.importorskip("pydicom")
    from tests.helpers.dicom import encapsulated, jpeg

    path = tmp_path / "lesion.dcm"
    path.write_bytes(encapsulated(jpeg()))
    page.get_by_text("More ways to open a picture").click()
    page.locator("input[type=file][accept='.dcm']").set_input_files(path)
    page.get_by_text("This is what the classifier reads.").wait_for()


def test_the_archive_is_hidden_where_it_cannot_be_reached(page):
    page.get_by_text("More ways to open a picture").click()
    page.get_by_text("The ISIC Archive cannot be reached").wait_for()
    assert not page.get_by_role("button", name="Fetch").is_visible()


def test_a_picture_comes_from_the_archive_with_its_licence(browser, served, archive):
    archive.answers[f"/api/v2/images/{isic_archive.EXAMPLES[0][0]}/"] = archive.answers[f"/api/v2/images/{ID}/"]
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(served)
    page.get_by_text("More ways to open a picture").click()
    number = page.get_by_label("Picture of the ISIC Archive")
    number.fill("24306")
    number.press("Enter")
    press(page, "Fetch")
    page.get_by_text("licence CC-BY-NC").wait_for()
    number.fill("9999999")
    number.press("Enter")
    press(page, "Fetch")
    page.get_by_text("ISIC_9999999").first.wait_for()
    assert card(page, "Original").get_by_role("img").is_visible()
    page.close()


@pytest.mark.parametrize(
    ("locale", "attack", "purify", "done", "tabs"),
    [
        ("de-CH", "Angreifen", "Reinigen", "Gereinigt.", ("Lernen", "Belege")),
        ("zh-CN", "攻击", "净化", "净化完成。", ("学习", "证据")),
    ],
)
def test_the_page_speaks_the_browser_s_language(browser, served, locale, attack, purify, done, tabs):
    context = browser.new_context(locale=locale, viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.goto(served)
    for tab in tabs:
        page.get_by_role("tab", name=tab, exact=True).wait_for()
    page.locator(".lp-examples button").first.click()
    page.wait_for_function("document.querySelectorAll('.lp-panel .lp-zoom').length === 1")
    press(page, attack)
    page.locator(".lp-status").filter(has_text="20").first.wait_for()
    press(page, purify)
    page.get_by_text(done, exact=True).wait_for()
    words = page.locator("body").inner_text()
    for english in (
        "Original",
        "Attacked",
        "Purified",
        "Melanoma,",
        "Choose",
        "Press",
        "The readings",
        "Blocks",
        "malignant",
        "right",
    ):
        assert english not in words.replace("Original", "" if locale.startswith("de") else "Original"), english
    context.close()
