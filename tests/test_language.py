import ast
import importlib
import re
from pathlib import Path

import pytest

from purifier.attacks import ATTACKS
from purifier.language import ENGLISH, FOLDER, catalogue, languages, say, say_again, speaking, spoken, wanted
from purifier.lessons import LESSONS
from purifier.taxonomy import DIAGNOSES
from purifier.ui import controls
from purifier.ui.about import CARDS
from purifier.ui.messages import MESSAGES
from purifier.ui.presets import PRESETS
from tests.test_package import ROOT

IN_BROWSER = {"label": 0, "translate": 0, "slider": 2}  # what translates, and which argument is the text
TRANSLATORS = {"say": 0, "say_again": 0, **IN_BROWSER}
TABLES = {  # texts that are said by another name than their own
    "attacks.py": [title for title, _ in ATTACKS.values()],
    "controls.py": [allowed.name for allowed in vars(controls).values() if isinstance(allowed, controls.Range)],
    "lessons.py": [
        text for lesson in LESSONS
        for text in (lesson.title, lesson.intro, *lesson.look, lesson.question, lesson.answer)
    ],
    "messages.py": MESSAGES,
    "presets.py": [text for preset in PRESETS for text in (preset.title, preset.kind)],
    "taxonomy.py": [diagnosis.name for diagnosis in DIAGNOSES.values()],
}  # fmt: skip


def modules() -> list[Path]:
    return sorted((ROOT / "purifier").rglob("*.py"))


def handed_over(path: Path, translators: dict[str, int]) -> list[ast.expr]:
    """What a module hands to ``say``, ``label`` and their like."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and (name := getattr(node.func, "id", "")) in translators:
            found += node.args[translators[name] :][:1]
    return found


def texts_in(path: Path, translators: dict[str, int] = TRANSLATORS) -> set[str]:
    """The literals that a module hands over, and its own constants."""
    found, module = set(), ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for text in handed_over(path, translators):
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            found.add(text.value)
        elif isinstance(text, ast.Name) and text.id.isupper():
            found.add(getattr(importlib.import_module(module), text.id))
    return found


def all_texts() -> dict[str, str]:
    """Every text that the page can say, with the module that says it."""
    said = {text: path.name for path in modules() for text in texts_in(path)}
    return {**{text: module for module, texts in TABLES.items() for text in texts}, **said}


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


def test_what_is_said_is_written_out():
    """With a place for every value: what Python has put together is in no catalogue."""
    composed = (ast.JoinedStr, ast.BinOp)
    found = [(path, node.lineno) for path in modules() for node in handed_over(path, TRANSLATORS)
             if isinstance(node, composed)]  # fmt: skip
    assert not found


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
        ("de-CH,de;q=0.9,en;q=0.8", "de"), ("zh-TW", "zh"), ("fr-FR,zh;q=0.5", "zh"), ("fr", "en"), ("", "en"),
        (None, "en"),
    ],
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
    monkeypatch.setitem(catalogue("de"), "{name} must be at least {low:g}.", "{name} muss mindestens {low:g} sein.")
    with speaking("de"):
        assert say_again("Blocks must be at least 1.").endswith("muss mindestens 1 sein.")
        assert say_again("Nobody knows this.") == "Nobody knows this."
    assert say_again("Blocks must be at least 1.") == "Blocks must be at least 1."
