import ast
import importlib
import re
from pathlib import Path

import pytest

from purifier.language import ENGLISH, catalogue, languages, say, say_again, speaking, spoken, wanted
from tests.test_package import ROOT

TRANSLATORS = ("say", "label", "say_again")


def texts_in(path: Path) -> set[str]:
    """What a module hands to ``say`` or ``label``: literals, and its own constants."""
    found, tree = set(), ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in TRANSLATORS and node.args:
            text = node.args[0]
            if isinstance(text, ast.Constant):
                found.add(text.value)
            elif isinstance(text, ast.Name) and text.id.isupper():
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.add(getattr(importlib.import_module(module), text.id))
    return found


def all_texts() -> dict[str, str]:
    """Every text that the page can say, with the module that says it."""
    return {text: path.name for path in sorted((ROOT / "purifier").rglob("*.py")) for text in texts_in(path)}


def places(text: str) -> list[str]:
    return sorted(re.findall(r"\{(\w+)[^}]*\}", text))


@pytest.mark.parametrize("language", languages()[1:])
def test_no_text_of_the_page_is_untranslated(language):
    known = catalogue(language)
    missing = {text: module for text, module in all_texts().items() if text not in known}
    assert not missing


@pytest.mark.parametrize("language", languages()[1:])
def test_translations_have_the_same_places_and_tags(language):
    for text, translated in catalogue(language).items():
        assert places(text) == places(translated), text
        assert sorted(re.findall(r"</?\w+", text)) == sorted(re.findall(r"</?\w+", translated)), text
        assert translated.strip(), text


def test_there_are_english_chinese_and_german():
    assert languages() == [ENGLISH, "de", "zh"]


@pytest.mark.parametrize(
    ("header", "language"),
    [("de-CH,de;q=0.9,en;q=0.8", "de"), ("zh-TW", "zh"), ("fr-FR,zh;q=0.5", "zh"), ("fr", "en"), ("", "en"), (None, "en")],
)  # fmt: skip
def test_the_browser_s_language_decides(header, language):
    assert wanted(header) == language


def test_a_language_is_spoken_within_its_block_only(monkeypatch):
    monkeypatch.setitem(catalogue("de"), "{n} of {count}", "{n} von {count}")
    with speaking("de"):
        assert spoken() == "de" and say("{n} of {count}", n=1, count=2) == "1 von 2"
        with speaking("xx"):
            assert say("{n} of {count}", n=1, count=2) == "1 of 2"
    assert spoken() == ENGLISH and say("{n} of {count}", n=1, count=2) == "1 of 2"


def test_a_finished_message_is_said_again_in_another_language(monkeypatch):
    monkeypatch.setitem(catalogue("de"), "{name} must be at least {low:g}.", "{name} muss mindestens {low} sein.")
    with speaking("de"):
        assert say_again("Blocks must be at least 1.").endswith("muss mindestens 1 sein.")
        assert say_again("Nobody knows this.") == "Nobody knows this."
    assert say_again("Blocks must be at least 1.") == "Blocks must be at least 1."
