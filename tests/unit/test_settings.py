"""What the environment sets."""

import re

import pytest

from purifier.settings import PREFIX, Environment, environment
from tests.helpers.paths import ROOT

NAMES = {PREFIX + name.upper() for name in Environment.model_fields}


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (*NAMES, "SPACE_ID", "GRADIO_SERVER_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PURIFIER_HUB", "some", "PURIFIER_HUB must be 'off', 'listed' or 'any', and is 'some'."),
        ("PURIFIER_HUB_LISTED", "owner/name,name", "PURIFIER_HUB_LISTED must be owner/name or"),
        ("PURIFIER_HUB_LISTED", "../name", "PURIFIER_HUB_LISTED must be owner/name or"),
        ("PURIFIER_HUB_MOST_MB", "0", "PURIFIER_HUB_MOST_MB must be greater than 0, and is '0'."),
        ("PURIFIER_HUB_MOST_MB", "nan", "PURIFIER_HUB_MOST_MB must be"),
        ("PURIFIER_HUB_MOST_MB", "much", "PURIFIER_HUB_MOST_MB must be a valid number"),
        ("PURIFIER_SHUTDOWN_SECONDS", "-1", "PURIFIER_SHUTDOWN_SECONDS must be greater than or equal to 0"),
        ("PURIFIER_OFFLINE", "perhaps", "PURIFIER_OFFLINE must be a valid boolean"),
        ("PURIFIER_LOG", "xml", "PURIFIER_LOG must be 'off' or 'json'"),
        ("PURIFIER_FRAME_ANCESTORS", "*; script-src *", "PURIFIER_FRAME_ANCESTORS must be 'self', 'none' or"),
        ("PURIFIER_HUBB", "off", "PURIFIER_HUBB is not known. There are PURIFIER_EXAMPLES, "),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{re.escape(said)}") as refused:
        environment()
    assert "\n" not in str(refused.value)


def test_nothing_and_an_empty_text_are_the_defaults(monkeypatch):
    defaults = environment()
    for name in NAMES:
        monkeypatch.setenv(name, "")
    assert environment() == defaults == Environment.model_construct(hub="any", log="off", frame_ancestors="'self'")


@pytest.mark.parametrize(
    ("given", "public"),
    [
        ({"SPACE_ID": "owner/space"}, True),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, True),
        ({"GRADIO_SERVER_NAME": "127.0.0.1"}, False),
        ({}, False),
    ],
)
def test_a_page_for_strangers_is_stricter(monkeypatch, given, public):
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert (environment().hub, environment().log) == (("listed", "json") if public else ("any", "off"))
    assert ("https://huggingface.co" in environment().frame_ancestors) == ("SPACE_ID" in given)


def test_the_documents_list_every_setting_and_no_other():
    rows = re.findall(r"^\| `(PURIFIER_\w+)`", (ROOT / "docs" / "serving.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)


def test_nothing_else_reads_these_variables():
    """What is read elsewhere would be refused at start as not known."""
    modules = [*(ROOT / "purifier").rglob("*.py"), ROOT / "app.py"]
    reading = re.compile(r"(environ\b|getenv)[^\n]*PURIFIER_")
    assert [path for path in modules if reading.search(path.read_text(encoding="utf-8"))] == []
