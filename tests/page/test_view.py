import base64
import re
from html import unescape

import pytest
import torch

from purifier.pictures.files import quantise, read_image
from purifier.readings import Reading
from purifier.templates import macros
from purifier.ui.view import picture_tag, pyramid_row, scale_name, within
from purifier.wording.language import catalogue, speaking
from purifier.wording.readings import headline

WIPED = "Left of the line: {left}. Right: {right}."
card, example_buttons, pyramid_table = (
    macros("reading.html").card,
    macros("picture.html").examples,
    macros("pyramid.html").table,
)


@pytest.fixture
def reading():
    return Reading(["MEL", "NV", "<b>odd</b>"], torch.tensor([0.25, 0.7, 0.05]))


def test_a_picture_in_the_page_has_exactly_the_pixels_that_were_read():
    x = quantise(torch.rand(1, 3, 70, 90))
    tag = picture_tag(x, "a picture")
    data = re.search(r'src="data:image/png;base64,([^"]+)"', tag)[1]
    assert torch.equal(read_image(base64.b64decode(data), size=None), x)
    assert 'alt="a picture"' in tag and 'width="90" height="70"' in tag


def test_a_reading_has_full_names_and_percentages(reading):
    assert reading.top == "NV"
    assert headline(reading) == "Melanocytic nevus, 70 %"
    assert list(reading.as_dict()) == ["Melanocytic nevus", "Melanoma", "<b>odd</b>"]


def test_cards_say_whether_the_reading_is_still_the_original_s(reading):
    other = Reading(reading.labels, torch.tensor([0.9, 0.05, 0.05]))
    x = torch.zeros(1, 3, 64, 64)
    assert "as the original" in card("purified", "Purified", x, "", reading, against=reading)
    assert "changed" in card("attacked", "Attacked", x, "", other, against=reading)
    assert "changed" not in card("original", "Original", x, "", reading)


def test_labels_of_others_cannot_inject_markup(reading):
    odd = Reading(reading.labels, torch.tensor([0.0, 0.0, 1.0]))
    x = torch.zeros(1, 3, 64, 64)
    table = pyramid_table([pyramid_row(1.0, [(x, odd)] * 4, ["<b>odd</b>", "NV"])], ["<b>odd</b>", "NV"], caption="<b>")
    for html in (card("odd", "<b>", x, "<b>", odd), table, example_buttons([(x, "<b>")])):
        assert "<b>" not in html


def test_the_pyramid_marks_each_cell_and_leaves_room_for_scales_to_come(reading):
    melanoma = Reading(reading.labels, torch.tensor([0.9, 0.05, 0.05]))
    odd = Reading(reading.labels, torch.tensor([0.0, 0.0, 1.0]))
    x = torch.zeros(1, 3, 64, 64)
    row = pyramid_row(0.5, [(x, reading), (x, melanoma), (x, odd), (x, reading)], ["NV", "MEL"])
    assert re.findall(r"&#(\d+);", row) == ["9679", "9650", "9670", "9679"]
    assert row.count("<img") == 4 and "Scale 1/2" in row and "64 px" in row
    waiting = pyramid_row(0.25, None)
    assert waiting.count("lp-empty") == 4 and "<img" not in waiting


@pytest.mark.parametrize(("scale", "name"), [(2.0, "2"), (1.0, "1"), (0.5, "1/2"), (0.25, "1/4")])
def test_scales_have_names(scale, name):
    assert scale_name(scale) == name


def test_a_reading_below_the_threshold_is_unsure_and_says_so():
    probabilities = torch.tensor([0.25, 0.7, 0.05])
    sure, unsure = (Reading(["MEL", "NV", "AK"], probabilities, abstain_below=least) for least in (0.6, 0.75))
    x = torch.zeros(1, 3, 64, 64)
    assert not sure.unsure and "? unsure" not in card("original", "Original", x, "", sure)
    assert unsure.unsure and "? unsure" in card("original", "Original", x, "", unsure)


def test_malignant_diagnoses_are_added_up_where_all_labels_are_known(reading):
    known = Reading(["MEL", "NV", "AK"], torch.tensor([0.25, 0.7, 0.05]))
    assert known.malignant() == pytest.approx(0.3)
    x = torch.zeros(1, 3, 64, 64)
    assert "together: <b>30&nbsp;%</b>" in card("original", "Original", x, "", known)
    assert reading.malignant() is None and "together" not in card("original", "Original", x, "", reading)


def test_words_are_translated_and_what_scripts_look_for_is_not(reading, monkeypatch):
    for text, translated in {
        "Melanocytic nevus": "Nävus",
        "{title} picture, read as {reading}": "{title}: {reading}",
        "{picture}, full size": '{picture} "groß"',
        WIPED: "{right} | {left}",
        "Scale {scale}": "Skala {scale}",
    }.items():
        monkeypatch.setitem(catalogue("de"), text, translated)
    x = torch.zeros(1, 3, 64, 64)
    with speaking("de"):
        html = card("purified", "Gereinigt", x, "", reading)
        row = pyramid_row(0.5, None)
    assert 'id="lp-card-purified"' in html and 'data-against="lp-card-original"' in html
    assert '<th scope="row">Nävus</th>' in html and "Skala 1/2" in row
    assert 'aria-label="Gereinigt: Nävus, 70 % "groß""' in unescape(html)
    assert 'data-wiped="{right} | {left}"' in html


def test_names_are_small_within_an_english_sentence_only():
    assert within("Melanoma") == "melanoma"
    with speaking("de"):
        assert within("Melanom") == "Melanom"
