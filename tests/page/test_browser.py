# ruff: noqa: F811 (pytest's fixtures are arguments)
"""A visitor's way through the page, in a real browser."""

import base64
import csv
import json
import re
import time
from html import unescape

import pytest
from PIL import Image, ImageDraw

from purifier.pictures.files import to_batch, to_png
from purifier.pipeline import ALL_SCALES, Purifier
from purifier.runs import attack_steps
from purifier.ui import actions
from purifier.ui.drawer import strengths
from purifier.ui.evidence.essay import all_records, claim_drawn, stored_cases
from purifier.wording.runs import scale_name
from tests.helpers.browser import SETTLED, card, choose_example, fill, open_settings, open_tab, press
from tests.helpers.pictures import lesion_like

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's and the browser's own threads and sockets


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "lesion.tif"  # browsers do not show TIFF: the page must
    lesion_like(0, 300).save(path)
    return path


def upload(page, path):
    page.locator("#lp-open input[type=file]").set_input_files(path)
    page.get_by_text("This is what the classifier reads.").wait_for()


def headline(page, title):
    return card(page, title).locator(".lp-headline").inner_text()


def unfold(page, title):
    card(page, title).get_by_text("All diagnoses").click()


def story(page):
    """The page as it opens."""
    page.get_by_text("Now try your own.").wait_for(timeout=120_000)


def test_upload_attack_purify(page, file):
    upload(page, file)
    unfold(page, "Original")
    assert card(page, "Original").get_by_role("row").count() == 8
    original = headline(page, "Original")

    press(page, "Attack it")
    page.get_by_text("Attack: step 20 of 20, done.").wait_for()
    unfold(page, "Attacked")
    attacked = card(page, "Attacked").inner_text()
    assert "changed" in attacked and original.split(",")[0] not in headline(page, "Attacked")
    assert "at most 2 of 255 levels" in attacked

    press(page, "Purify it")
    page.get_by_text("Purified.").wait_for()
    unfold(page, "Purified")
    assert "of 4 draws alone read as" in card(page, "Purified").inner_text()
    assert "do not diagnose from it" in card(page, "Purified").inner_text()
    for image in page.locator(".lp-panel img").all():
        assert image.evaluate("i => i.complete && i.naturalWidth > 0")
    for title in ("Original", "Attacked"):  # what was opened stays open when the cards are drawn again
        assert card(page, title).get_by_role("table").is_visible()


@pytest.mark.parametrize("level", ["Clinician", "Researcher"])
def test_the_page_opens_with_a_finished_story_whole_on_a_small_screen(page, level):
    page.set_viewport_size({"width": 1024, "height": 768})
    page.get_by_role("radio", name=level).check()
    story(page)
    assert page.get_by_text("Purification brought the right reading back.").is_visible()
    notice = page.get_by_text("Research and teaching; not a medical device.").last.bounding_box()["y"]
    boxes = [page.locator(".lp-panel").nth(i).bounding_box() for i in range(3)]
    assert all(box["y"] > 0 and box["y"] + box["height"] <= notice for box in boxes)
    assert len({box["width"] for box in boxes}) == 1 and len({box["y"] for box in boxes}) == 1
    for title, action in zip(
        ("Original", "Attacked", "Purified"), ("Choose a picture", "Attack it", "Purify it"), strict=True
    ):
        whole = card(page, title).bounding_box()
        button = page.get_by_role("button", name=action, exact=True).bounding_box()
        assert button["y"] >= whole["y"] + whole["height"] and button["y"] + button["height"] <= notice
        assert card(page, title).locator(".lp-headline").is_visible()
    assert page.evaluate("scrollY") == 0


def test_on_a_phone_the_verdict_is_gone_to(page):
    page.set_viewport_size({"width": 390, "height": 844})
    story(page)
    page.get_by_role("button", name="Purify it", exact=True).scroll_into_view_if_needed()
    press(page, "Purify it")
    page.get_by_text("Purified.", exact=True).wait_for()
    page.wait_for_function("document.querySelector('#lp-verdict').getBoundingClientRect().top > -1")


def test_the_truth_makes_verdicts_facts(page, file):
    upload(page, file)
    press(page, "Attack it")
    page.get_by_text("Attack: step 20 of 20, done.").wait_for()
    page.get_by_text("The readings disagree").wait_for()
    page.get_by_label("Known diagnosis").click()
    name = headline(page, "Original").split(",")[0]
    page.get_by_role("option", name=name, exact=True).click()
    page.get_by_text("The attack hid").wait_for()
    assert "right" in card(page, "Original").inner_text() and "wrong" in card(page, "Attacked").inner_text()
    page.get_by_label("Known diagnosis").click()
    other = headline(page, "Attacked").split(",")[0]
    page.get_by_role("option", name=other, exact=True).click()
    page.get_by_text("The classifier was wrong before anyone attacked.").wait_for()
    assert "right" in card(page, "Attacked").inner_text()


def test_what_was_made_with_other_settings_is_marked_and_its_report_withdrawn(page):
    story(page)
    page.get_by_text("Take it away").click()
    press(page, "Make the report")
    page.get_by_text("The report is ready.").wait_for()
    open_settings(page)
    page.get_by_label("range slider for Epsilon").fill("3")
    old = page.get_by_text("Made with Epsilon, in 1/255: 2; run again.")
    old.first.wait_for()
    assert old.count() == 2
    page.get_by_role("link", name="Settings (JSON)").wait_for(state="detached")
    page.get_by_label("range slider for Epsilon").fill("2")
    old.first.wait_for(state="detached")
    page.get_by_role("radio", name="16", exact=True).check()
    page.get_by_text("Made with Draws averaged: 4; run again.").wait_for()
    press(page, "Purify it")
    page.get_by_text("Purified.", exact=True).wait_for()
    page.get_by_text("Made with").first.wait_for(state="detached")


def test_the_same_classifier_again_keeps_the_purified_picture(page):
    story(page)
    open_settings(page, "Clinician")
    menu = page.get_by_label("Classifier")
    menu.click()
    page.get_by_role("option", name="augmented").click()
    menu.press("Tab")
    page.wait_for_timeout(1500)
    assert card(page, "Purified").get_by_role("img").is_visible()
    assert page.get_by_text("Purification brought the right reading back.").is_visible()


def test_clinicians_see_words_and_researchers_numbers_and_both_are_remembered(page):
    story(page)
    open_settings(page, "Clinician")
    assert page.get_by_text("Strength of the attack").is_visible()
    for name in ("Epsilon", "Noise seed", "Attack steps", "Denoising weight"):
        assert not page.get_by_text(name).first.is_visible()
    page.get_by_role("radio", name="hardly visible").check()
    page.get_by_text("Made with other settings; run again.").first.wait_for()
    page.get_by_role("radio", name="Researcher").check()
    assert page.get_by_label("range slider for Epsilon").input_value() == "4"
    assert not page.get_by_text("Strength of the attack").is_visible()
    page.get_by_label("range slider for Epsilon").fill("3")
    open_tab(page, "About")
    page.wait_for_function("location.hash === '#about'")
    page.reload()
    page.get_by_role("tab", name="About", selected=True).wait_for()
    page.wait_for_function("document.body.dataset.level === 'researcher'")
    assert page.get_by_role("radio", name="Researcher").is_checked()


def test_the_attack_is_seen_alone_on_the_lesion_and_flipped_while_held(page):
    story(page)
    attacked, frame = card(page, "Attacked"), card(page, "Attacked").locator(".lp-zoom img")
    for choice, seen in (("Change", "alone"), ("on lesion", "on-lesion"), ("Picture", None)):
        attacked.get_by_role("radio", name=choice).check()
        for view in ("alone", "on-lesion"):
            assert attacked.locator(f"[data-view={view}]").is_visible() == (view == seen)
    original = card(page, "Original").locator(".lp-zoom img").get_attribute("src")
    before = frame.get_attribute("src")
    button = attacked.get_by_role("button", name="Hold: the original")
    button.focus()
    page.keyboard.down("Space")
    assert frame.get_attribute("src") == original != before
    page.keyboard.up("Space")
    assert frame.get_attribute("src") == before
    button.hover()
    page.mouse.down()
    assert frame.get_attribute("src") == original
    page.mouse.up()
    assert frame.get_attribute("src") == before
    press(page, "Wipe")
    assert "Left of the line: Original" in page.get_by_role("dialog").inner_text()


def test_where_the_classifier_looks_lies_over_the_pictures_until_they_change(page):
    page.set_viewport_size({"width": 1024, "height": 768})
    attacked_example(page)
    press(page, "Purify it")
    page.get_by_text("Purified.", exact=True).wait_for()
    heat, switch = page.locator(".lp-heat img:visible"), page.get_by_label("Where does it look?")
    assert heat.count() == 0 and not page.get_by_text("A heat map shows where").is_visible()
    switch.check()
    page.get_by_text("Each heat map is for what its card says.").wait_for()
    assert heat.count() == 3 and page.get_by_text("not that the reading is right").is_visible()
    for title in ("Original", "Attacked", "Purified"):
        name = headline(page, title).split(",")[0].lower()
        assert card(page, title).get_by_role("img", name=f"spoke for {name} most at").is_visible()
    notice = page.get_by_text("Research and teaching; not a medical device.").last.bounding_box()["y"]
    boxes = [page.locator(".lp-panel").nth(i).bounding_box() for i in range(3)]
    assert all(box["y"] > 0 and box["y"] + box["height"] <= notice for box in boxes)

    hold = card(page, "Attacked").get_by_role("button", name="Hold: the original")
    hold.hover()
    page.mouse.down()
    assert heat.count() == 2
    page.mouse.up()
    card(page, "Attacked").get_by_role("button", name="most at").click()
    assert "Left of the line: Attacked picture, read as" in page.get_by_role("dialog").inner_text()
    page.get_by_role("button", name="Close").click()

    switch.uncheck()
    page.locator(".lp-heat").first.wait_for(state="detached")
    switch.check()
    heat.nth(2).wait_for()
    page.get_by_role("group", name="Examples").get_by_role("button").nth(1).click()
    page.get_by_text("This is what the classifier reads.").wait_for()
    assert heat.count() == 0 and not switch.is_checked()


PASTE = """async data => {
  const blob = await (await fetch(data)).blob();
  await navigator.clipboard.write([new ClipboardItem({'image/png': blob})]);
}"""


def test_a_picture_can_be_pasted(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate(PASTE, "data:image/png;base64," + base64.b64encode(to_png(to_batch(lesion_like(5, 300)))).decode())
    press(page, "Paste")
    page.get_by_text("This is what the classifier reads.").wait_for()


def test_three_clicks_from_an_example_to_the_purified_picture(page):
    examples = page.get_by_role("group", name="Examples").get_by_role("button")
    assert examples.count() >= 8
    examples.nth(1).click()
    page.get_by_text("This is what the classifier reads.").wait_for()
    assert page.get_by_label("Known diagnosis").input_value() == "Melanocytic nevus"
    press(page, "Attack it")
    page.get_by_text("Attack: step").wait_for()
    page.get_by_text("done.").wait_for()
    press(page, "Purify it")
    page.get_by_text("Purified.").wait_for()


def test_a_target_is_reached(page):
    choose_example(page)
    open_settings(page, "Clinician")
    page.get_by_label("Make it read as").click()
    page.get_by_role("option", name="Dermatofibroma").click()
    press(page, "Attack it")
    page.get_by_text("done.").wait_for()
    assert card(page, "Attacked").locator(".lp-headline").inner_text().startswith("Dermatofibroma")


def test_a_bad_file_is_refused_and_the_picture_kept(page, file, tmp_path):
    upload(page, file)
    before = card(page, "Original").get_by_role("img").get_attribute("src")
    bad = tmp_path / "bad.png"
    bad.write_text("this is no picture", encoding="utf-8")
    page.locator("#lp-open input[type=file]").set_input_files(bad)
    page.get_by_text("This is not a picture that can be read.").first.wait_for()
    assert card(page, "Original").get_by_role("img").get_attribute("src") == before


def test_a_classifier_that_cannot_be_loaded_is_answered_and_nothing_is_lost(page):
    choose_example(page)
    open_settings(page, "Clinician")
    menu = page.get_by_label("Classifier")
    menu.fill("nobody")
    menu.press("Enter")
    page.get_by_text("There is no bundled classifier 'nobody'").first.wait_for()
    assert card(page, "Original").get_by_role("img").is_visible()
    page.wait_for_function("menu => menu.value.startsWith('augmented')", arg=menu.element_handle())
    press(page, "Attack it")
    page.get_by_text("done.").wait_for()


def test_an_emptied_field_is_answered_with_its_name(page):
    choose_example(page)
    open_settings(page)
    fill(page, "Noise seed", "")
    press(page, "Purify it")
    page.get_by_text("Seed must be a number from 0").first.wait_for()
    assert not page.get_by_text("Error", exact=True).and_(page.locator(":visible")).count()


def test_the_denoiser_is_chosen_and_told(page):
    choose_example(page)
    open_settings(page)
    weight = page.get_by_role("slider", name="Denoising weight")
    assert weight.is_disabled()
    press(page, "Purify it")
    page.get_by_text("Purified.", exact=True).wait_for()
    press(page, "Watch the purification")
    learned, rof = Purifier(denoiser="learned"), Purifier(denoiser="rof")
    blocks = learned.blocks
    page.get_by_text(f"Block 1 of {blocks}: before.").wait_for()
    page.evaluate(SETTLED)
    page.locator(".lp-theatre").get_by_label("Step").fill("2")
    page.get_by_text(f"Block 1 of {blocks}: denoise. A network that was trained").wait_for()
    for denoiser, name in ((rof, "ROF (total variation)"), (learned, "learned network")):
        page.get_by_role("radio", name=name).check()
        wait_for_numbers(page, denoiser)
        page.wait_for_function(
            f"slider => slider.disabled === {json.dumps(denoiser is learned)}", arg=weight.element_handle()
        )
        for scale in ALL_SCALES:
            box = page.get_by_role("checkbox", name=scale_name(scale), exact=True)
            assert box.is_checked() == (scale in denoiser.scales)


def wait_for_numbers(page, purifier):
    """The numbers of the drawer are those of the purifier."""
    for name, value in {"Noise sigma, in 1/255": 255 * purifier.sigma, "Blocks": purifier.blocks}.items():
        field = page.get_by_label(f"number input for {name}")
        page.wait_for_function(f"field => field.value === '{value:g}'", arg=field.element_handle())


def test_the_words_for_the_purifier_s_strength_follow_the_denoiser(page):
    choose_example(page)
    open_settings(page)
    for denoiser, name in (("rof", "ROF (total variation)"), ("learned", "learned network")):
        page.get_by_role("radio", name=name).check()
        wait_for_numbers(page, Purifier(denoiser=denoiser))
        page.get_by_role("radio", name="Clinician").check()
        assert page.get_by_role("radio", name="usual", exact=True).is_checked()
        page.get_by_role("radio", name="strong", exact=True).check()
        page.get_by_role("radio", name="Researcher").check()
        wait_for_numbers(page, Purifier(denoiser=denoiser, sigma=strengths(denoiser)["strong"] / 255))
    page.get_by_label("range slider for Noise sigma").fill("2")
    page.get_by_role("radio", name="Clinician").check()
    for word in strengths("learned"):
        assert not page.get_by_role("radio", name=word, exact=True).is_checked()


def test_a_run_can_be_stopped_and_what_was_finished_stays(page):
    choose_example(page)
    open_settings(page)
    fill(page, "number input for Attack steps", "100")
    assert page.get_by_label("range slider for Attack steps").input_value() == "100"
    press(page, "Attack it")
    page.get_by_text("of 100,").wait_for()
    press(page, "Stop")
    page.get_by_text("Nothing runs any more; what was finished stays.").wait_for()
    page.wait_for_timeout(1500)
    assert page.get_by_text("Nothing runs any more; what was finished stays.").is_visible()
    assert card(page, "Attacked").get_by_role("img").is_visible()


def test_a_new_picture_ends_what_runs_on_the_last_one(page):
    choose_example(page)
    first = card(page, "Original").get_by_role("img").get_attribute("src")
    open_settings(page)
    fill(page, "number input for Attack steps", "100")
    press(page, "Attack it")
    page.get_by_text("of 100,").wait_for()
    page.get_by_role("group", name="Examples").get_by_role("button").nth(1).click()
    page.get_by_text("This is what the classifier reads.").wait_for()
    page.wait_for_timeout(1500)
    assert card(page, "Original").get_by_role("img").get_attribute("src") != first
    assert card(page, "Attacked").get_by_role("img").count() == 0
    assert page.get_by_text("This is what the classifier reads.").is_visible()


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    choose_example(page)
    press(page, "Purify it")
    page.get_by_text("Purified.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_notice_is_visible_and_no_button_says_diagnose(page):
    notice = page.get_by_text("Research and teaching; not a medical device.").last
    for place in (0, 600, 100_000):
        page.mouse.wheel(0, place)
        page.wait_for_timeout(200)
        box = notice.bounding_box()
        assert 0 <= box["y"] and box["y"] + box["height"] <= 900
    names = page.get_by_role("button").all_inner_texts()
    assert not any("diagnose" in name.lower() for name in names)


def attacked_example(page):
    choose_example(page)
    press(page, "Attack it")
    page.get_by_text("Attack: step 20 of 20, done.").wait_for()


def test_the_pyramid_is_played_stepped_through_and_looked_at(page):
    theatre = page.locator(".lp-theatre")
    attacked_example(page)
    press(page, "Watch the purification")
    page.get_by_text("Purify the picture first").first.wait_for()
    press(page, "Purify it")
    page.get_by_text("Purified.", exact=True).wait_for()
    press(page, "Watch the purification")
    defaults = Purifier()
    theatre.get_by_text(f"Block 1 of {defaults.blocks}: before.").wait_for()
    scales = len(defaults.scales)
    assert theatre.locator("tbody:visible img:visible").count() == scales
    press(page, "Next ▶❘")
    theatre.get_by_text("diffuse.").first.wait_for()
    assert theatre.locator("tbody:visible img:visible").count() == 2 * scales
    theatre.get_by_label("Step").fill(str(4 * defaults.blocks - 1))
    theatre.get_by_text(f"Block {defaults.blocks} of {defaults.blocks}: aggregate.").wait_for()
    assert theatre.locator("tbody:visible img:visible").count() == 5 * scales
    press(page, "▶ Play")
    page.get_by_role("button", name="❚❚ Pause").wait_for()
    theatre.get_by_text("The result.").wait_for()
    page.get_by_role("button", name="▶ Play").wait_for()  # it stopped by itself
    assert theatre.locator(".lp-outcome img:visible").count() == 3

    theatre.get_by_role("button", name="Purified, full size").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Purified")
    assert "Left of the line: Attacked. Right: Purified." in dialog.inner_text()
    before = dialog.locator(".lp-before")
    clips = []
    for _ in range(2):
        clips.append(before.evaluate("i => getComputedStyle(i).clipPath"))
        dialog.get_by_role("slider").press("End")
    assert clips[0] != clips[1]
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


def test_a_picture_of_the_results_opens_large(page):
    attacked_example(page)
    card(page, "Attacked").get_by_role("button", name="full size").click()
    assert "Right: Attacked picture" in page.get_by_role("dialog").inner_text()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("dialog").wait_for(state="hidden")


def test_a_preset_chooses_and_aims_and_the_attack_arrives(page):
    open_settings(page, "Clinician")
    press(page, "Melanoma made benign")
    page.get_by_text("the attack aims at: melanocytic nevus").wait_for()
    assert card(page, "Original").locator(".lp-headline").inner_text().startswith("Melanoma")
    press(page, "Attack it")
    page.get_by_text("done.").wait_for()
    assert card(page, "Attacked").locator(".lp-headline").inner_text().startswith("Melanocytic nevus")


def test_live_the_attack_follows_epsilon(page):
    choose_example(page)
    open_settings(page)
    page.get_by_label("Live").check()
    for epsilon in ("5", "3"):
        page.get_by_label("range slider for Epsilon").fill(epsilon)
        card(page, "Attacked").get_by_text(f"at most {epsilon} of 255 levels").wait_for(state="attached")


def test_each_claim_has_a_figure_that_follows_its_menu(page):
    found = stored_cases()
    count, place, (first, *others) = len(found), list(found).index("costs"), found["costs"]
    open_tab(page, "Evidence")
    claims = page.locator(".lp-evidence-claim")
    claims.locator(".lp-plot svg").nth(count - 1).wait_for()
    assert claims.count() == claims.locator("h2").count() == claims.locator(".lp-plot svg").count() == count
    assert claims.get_by_label("Measured with").count() == count == claims.get_by_role("figure").count()
    shown, other = claims.nth(place), others[0] if others else first
    words = [unescape(re.sub("<[^>]+>", "", claim_drawn("costs", name)[0])) for name in (first, other)]
    assert "".join(words[0].split()) in "".join(shown.inner_text().split())
    shown.get_by_label("Measured with").click()
    page.get_by_role("option", name=other, exact=True).click()
    told = re.search(r"makes (\S+) %", words[1])[0]  # how many melanomas
    shown.get_by_text(told).wait_for()
    open_tab(page, "About")
    open_tab(page, "Evidence")  # where the choice stays
    page.wait_for_timeout(500)
    assert "".join(words[1].split()) in "".join(shown.inner_text().split())


def test_all_records_are_searched_and_taken_away(page):
    open_tab(page, "Evidence")
    table = page.locator(".lp-evidence-records")

    def seen(text):
        return table.get_by_text(text).locator("visible=true")

    seen("JPEG of quality 20").first.wait_for()
    table.get_by_placeholder("Search").fill("MDDA")
    seen("JPEG of quality 20").first.wait_for(state="hidden")
    assert seen("MDDA").count() > 0 == seen("JPEG of quality 20").count()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the table as CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(all_records()[0]["data"]) and {row["knows the defence?"] for row in rows} == {
        "yes",
        "no",
        "–",
    }


def test_how_often_the_reading_returns_and_what_can_be_proved(page):
    attacked_example(page)
    open_tab(page, "Evidence")
    fill(page, "number input for Purifications of each picture", "8")
    press(page, "Purify many times")
    page.get_by_text("Purified 16 of 16 times, done.").wait_for()
    for name in ("The attacked picture", "The original, which nobody attacked"):
        region = page.get_by_role("region", name=name)
        assert "of 8 draws" in region.inner_text() and "95 % interval" in region.inner_text()
        counts = [int(text) for text in region.locator("td:last-child").all_inner_texts()]
        assert sum(counts) == 8 == region.locator("i").count()
    page.get_by_role("button", name="For researchers").click()
    press(page, "Draw the spectrum")
    page.get_by_role("img", name="Spectrum of the perturbation").wait_for()
    fill(page, "number input for Noisy draws", "50")
    press(page, "Certify")
    page.get_by_text("Done.", exact=True).wait_for()
    text = page.get_by_text("confidence 99.9 %").inner_text()
    assert "it abstains" in text or "within an L2 radius of 0." in text
    open_tab(page, "Try")
    choose_example(page)
    open_tab(page, "Evidence")
    assert page.get_by_role("region", name="The attacked picture").count() == 0, "it was another picture"
    assert not page.get_by_text("of 16 times").or_(page.get_by_text("confidence 99.9 %")).is_visible()


def test_what_is_begun_right_after_a_long_step_was_ended_is_done(page, monkeypatch):
    def slowly(*args):
        for adv in attack_steps(*args):
            time.sleep(2.5)
            yield adv

    story(page)
    with monkeypatch.context() as slow:
        slow.setattr(actions, "attack_steps", slowly)
        press(page, "Attack it")
        page.get_by_text("Attack: step 2 of 20").wait_for()
        assert "After 2 of 20 steps:" in page.locator("#lp-verdict").inner_text()
    choose_example(page)
    press(page, "Attack it")
    page.get_by_text("Attack: step 20 of 20, done.").wait_for()
    assert "After" not in page.locator("#lp-verdict").inner_text()


def test_many_draws_can_be_stopped_and_what_was_drawn_stays(page):
    attacked_example(page)
    open_tab(page, "Evidence")
    fill(page, "number input for Purifications of each picture", "400")
    press(page, "Purify many times")
    page.get_by_text("of 800 times,").wait_for()
    page.get_by_role("button", name="Stop").and_(page.locator(":visible")).first.click()
    page.get_by_text("Nothing runs any more; what was finished stays.").wait_for()
    assert page.get_by_role("region", name="The attacked picture").is_visible()


def test_every_defence_on_one_picture(page):
    attacked_example(page)
    open_tab(page, "Evidence")
    fill(page, "number input for Draws", "1")
    press(page, "Compare all")
    page.get_by_text("Compared 14 of 14 defences, done.").wait_for()
    tiles = page.locator(".lp-evidence-tiles li")
    assert tiles.count() == 15 == tiles.get_by_role("img").count()
    assert "not restored" in tiles.first.inner_text()  # the attack worked
    for name in ("nothing", "MDDA", "non-local means, h"):
        assert tiles.get_by_text(name).first.is_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the comparison as CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 15 and rows[0]["defence"] == "nothing" and float(rows[1]["ssim"]) < 1
    assert float(rows[0]["kept"]) == 0


def test_an_attacker_who_knows_the_purifier(page):
    choose_example(page)
    open_settings(page)
    page.get_by_label("The attacker knows the purifier").check()
    fill(page, "number input for Attack steps", "3")
    press(page, "Attack it")
    page.get_by_text("Attack: step 3 of 3, done.").wait_for()
    unfold(page, "Attacked")
    assert "at most 2 of 255 levels" in card(page, "Attacked").inner_text()


def test_a_drawing_is_noticed_and_a_lesion_is_not(page, tmp_path):
    picture = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(picture).line([(20, 20), (280, 150), (40, 260)], fill="blue", width=12)
    picture.save(tmp_path / "drawing.png")
    choose_example(page)
    assert "does not look like" not in card(page, "Original").inner_text()
    upload(page, tmp_path / "drawing.png")
    page.get_by_text("This does not look like a dermoscopic picture.").wait_for()


def test_the_settings_are_opened_and_closed_from_the_keyboard(page):
    drawer, button = page.locator(".lp-drawer"), page.get_by_role("button", name="Settings", exact=True)
    button.press("Enter")
    page.locator(".lp-drawer.open :focus").wait_for()
    page.keyboard.press("Escape")
    page.locator(".lp-drawer:not(.open)").wait_for(state="attached")
    assert button.evaluate("element => element === document.activeElement")
    button.press("Enter")
    page.locator(".lp-drawer.open :focus").wait_for()
    menu = drawer.get_by_label("Make it read as")
    menu.click()
    page.get_by_role("option").first.wait_for()
    menu.press("Escape")  # closes the menu alone
    page.wait_for_timeout(500)
    assert page.locator(".lp-drawer.open").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(page, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=scheme)
    story(page)
    page.get_by_label("Where does it look?").check()
    page.locator(".lp-heat").nth(2).wait_for()
    press(page, "Watch the purification")
    page.locator(".lp-theatre").wait_for()
    open_settings(page, {"light": "Clinician", "dark": "Researcher"}[scheme])
    for tab in page.get_by_role("tab").all():
        tab.click()
        page.wait_for_timeout(500)  # it fades in
        if tab.inner_text() == "Evidence":  # whose table is drawn when it is opened
            page.locator(".lp-evidence-records .search-input[aria-label]").wait_for()
        found = Axe().run(page).response["violations"]
        serious = [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in ("serious", "critical")]
        assert not serious, (tab.inner_text(), serious)
        if tab.inner_text() == "Try":
            press(page, "Settings")  # the drawer closes
            page.wait_for_timeout(500)
