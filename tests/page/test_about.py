import re

import pytest

from purifier import __version__
from purifier.classifiers.classifier import bundled_classifiers
from purifier.ui.tabs import about as module
from purifier.ui.tabs.about import about, card
from purifier.wording.language import languages, speaking


def test_it_names_the_versions_and_the_weights():
    _, versions = about()
    assert __version__ in versions
    assert len(re.findall("`[0-9a-f]{12}`", versions)) == len(bundled_classifiers())


@pytest.mark.parametrize("language", languages()[1:])
def test_each_language_has_a_text_of_its_own_with_the_same_parts(language):
    text, _ = about()
    with speaking(language):
        translated, versions = about()
    assert translated != text and __version__ in versions
    for part in ("^#", "^- ", r"\$"):
        assert len(re.findall(part, translated, re.M)) == len(re.findall(part, text, re.M)), part


def test_what_is_not_translated_is_in_english(tmp_path, monkeypatch):
    (tmp_path / "about.en.md").write_text(f"text{module.CARDS}{{version}}", encoding="utf-8")
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    with speaking("de"):
        assert about() == ("text", __version__)


def test_a_card_s_headings_stand_below_the_page_s():
    assert card(bundled_classifiers()[0]).lstrip().startswith("###")
