import base64
import re
from html import unescape

import pytest
import torch

from purifier.pictures.files import quantise, read_image
from purifier.readings import Reading
from purifier.templates import macros
from purifier.ui.view import within
from purifier.wording.language import catalogue, speaking
from purifier.wording.readings import headline
from purifier.wording.runs import scale_name

WIPED = "Left of the line: {left}. Right: {right}."
example_buttons = macros("picture.html").examples


def card(name, title, x, note, reading, against=None):
    return macros("results.html").card(name, title, x, reading, "", against, None, [], note, "augmented")


@pytest.fixture
def reading():
    return Reading(["MEL", "NV", "<b>odd</b>"], torch.tensor([0.25, 0.7, 0.05]))


def test_a_picture_in_the_page_has_exactly_the_pixels_that_were_read():
    x = quantise(torch.rand(1, 3, 70, 90))
    tag = macros("picture.html").picture(x, "a picture")
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
    for html in (card("odd", "<i>", x, "<i>", odd), example_buttons([(x, "<i>")])):
        assert "<i>" not in html and "<b>odd" not in html


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
    assert "<b>30&nbsp;%</b>" in card("original", "Original", x, "", known)
    assert reading.malignant() is None and "together" not in card("original", "Original", x, "", reading)


def test_words_are_translated_and_what_scripts_look_for_is_not(reading, monkeypatch):
    for text, translated in {
        "Melanocytic nevus": "Nävus",
        "{title} picture, read as {reading}": "{title}: {reading}",
        "{picture}, full size": '{picture} "groß"',
        WIPED: "{right} | {left}",
    }.items():
        monkeypatch.setitem(catalogue("de"), text, translated)
    x = torch.zeros(1, 3, 64, 64)
    with speaking("de"):
        html = card("purified", "Gereinigt", x, "", reading)
    assert 'id="lp-card-purified"' in html and 'data-against="lp-card-original"' in html
    assert '<th scope="row">Nävus</th>' in html
    assert 'aria-label="Gereinigt: Nävus, 70 % "groß""' in unescape(html)
    assert 'data-wiped="{right} | {left}"' in html


def test_names_are_small_within_an_english_sentence_only():
    assert within("Melanoma") == "melanoma"
    with speaking("de"):
        assert within("Melanom") == "Melanom"
