import ast
import re

import pytest
from jinja2 import nodes

from purifier.texts import Text, UserError
from purifier.ui.tabs.about import CARDS
from purifier.wording.language import ENGLISH, FOLDER, catalogue, languages, say, speaking, spoken, wanted
from tests.helpers.texts import (
    IN_BROWSER,
    TRANSLATORS,
    all_texts,
    handed_over,
    handed_over_by,
    modules,
    templates,
    texts_in,
)


def places(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)[^}]*\}", text))


@pytest.mark.parametrize("language", languages()[1:])
def test_no_text_of_the_page_is_untranslated(language):
    known = catalogue(language)
    missing = {text: module for text, module in all_texts().items() if text not in known}
    assert not missing, "\n".join(f"{module}: {text}" for text, module in missing.items())


@pytest.mark.parametrize("language", languages()[1:])
def test_catalogues_are_sorted(language):
    assert list(catalogue(language)) == sorted(catalogue(language))


@pytest.mark.parametrize("language", languages()[1:])
def test_every_translation_is_of_a_text_of_the_page(language):
    assert not set(catalogue(language)) - set(all_texts())


@pytest.mark.parametrize("language", languages()[1:])
def test_translations_have_the_same_places_and_tags(language):
    for text, translated in catalogue(language).items():
        assert places(text) == places(translated), text
        assert sorted(re.findall(r"</?\w+", text)) == sorted(re.findall(r"</?\w+", translated)), text
        assert translated.strip(), text


def test_what_is_said_is_written_out():
    """With a place for every value: what Python has put together is in no catalogue."""
    composed = (ast.JoinedStr, ast.BinOp)
    found = [
        (path, node.lineno)
        for path in modules()
        for node in handed_over(path, TRANSLATORS)
        if isinstance(node, composed)
    ]
    assert not found
    # In a template that is a literal, or one text of a lesson.
    allowed = (nodes.Const, nodes.Getattr)
    found = [(path, node) for path in templates() for node in handed_over_by(path)]
    assert found and not [(path, node.lineno) for path, node in found if not isinstance(node, allowed)]


def test_what_the_page_s_own_modules_raise_can_be_translated():
    assert not [path for path in modules() if path.parent.name == "ui" and handed_over(path, {"ValueError": 0})]


def test_texts_of_the_browser_hold_no_brace():
    """Gradio takes the first one for the end of its marker."""
    assert not [text for path in modules() for text in texts_in(path, IN_BROWSER) if "}" in text]


def test_the_long_text_has_its_places_in_every_language():
    for file in FOLDER.glob("about.*.md"):
        before, after = file.read_text(encoding="utf-8").split(CARDS)
        assert before.strip() and places(after) == ["device", "torch", "version", "weights"], file


def test_there_are_english_chinese_and_german():
    assert languages() == [ENGLISH, "de", "zh"]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("zh-TW", "zh"),
        ("xx-XX,zh;q=0.5", "zh"),
        ("xx", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_browser_s_language_decides(header, language):
    assert wanted(header) == language


def test_a_language_is_spoken_within_its_block_only(monkeypatch):
    monkeypatch.setitem(catalogue("de"), "{n} of {count}", "{n} von {count}")
    with speaking("de"):
        assert spoken() == "de" and say("{n} of {count}", n=1, count=2) == "1 von 2"
        with speaking("xx"):
            assert say("{n} of {count}", n=1, count=2) == "1 of 2"
    assert spoken() == ENGLISH and say("{n} of {count}", n=1, count=2) == "1 of 2"


def test_german_has_decimal_commas(monkeypatch):
    monkeypatch.setitem(catalogue("de"), "{x:.1f} of {n}, {name}", "{x:.1f} von {n}, {name}")
    with speaking("de"):
        assert say("{x:.1f} of {n}, {name}", x=0.5, n=3, name="a.b") == "0,5 von 3, a.b"
    assert say("{x:.1f} of {n}, {name}", x=0.5, n=3, name="a.b") == "0.5 of 3, a.b"


def test_an_error_s_message_is_said_in_another_language_with_its_values(monkeypatch):
    monkeypatch.setitem(catalogue("de"), "{name} must be at least {low:g}.", "Mindestens {low:g} muss {name} sein.")
    monkeypatch.setitem(catalogue("de"), "Depth", "Tiefe")
    message = str(UserError("{name} must be at least {low:g}.", name=Text("Depth"), low=1))
    with speaking("de"):
        assert say(message) == "Mindestens 1 muss Tiefe sein."
        assert say(str(ValueError("Nobody knows {this}."))) == "Nobody knows {this}."
    assert say(message) == message == "Depth must be at least 1."
