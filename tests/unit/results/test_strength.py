"""The page of what was tried, from the attempts and the runs beside them."""

import re

import pytest

from purifier.results import strength as module
from purifier.results.record import read_evaluations
from purifier.results.strength import FOLDER, read_attempts, strength_page, write_strength_page
from tests.helpers.paths import ROOT
from tests.helpers.records import record

ONE = '[[attempts]]\nwhat = "a"\nwhy = "b"\nhours = 1\nresult = "c"\n'


def test_the_page_is_what_the_command_writes_from_what_is_stored():
    page = (ROOT / "docs" / "strength.md").read_text(encoding="utf-8")
    assert page == strength_page(), "run: purifier results --docs docs/robustness.md"
    sections = [line.partition(". ")[2] for line in page.splitlines() if re.match(r"## \d", line)]
    assert sections == [attempt.what for attempt in read_attempts()]


def test_every_run_was_made_on_validation_pictures_and_is_shown():
    runs = read_evaluations(FOLDER)
    for run in runs:
        assert "--split val" in (FOLDER / run / "command.txt").read_text(encoding="utf-8")
    assert {run for attempt in read_attempts() for run, _ in attempt.measured} == set(runs)


def test_what_was_not_measured_is_a_dash():
    row = module._row([record("mdda", "none", accuracy=0.7), record("mdda", "pgd20", 2.0, accuracy=0.6)], "mdda")
    assert [row[title].partition(" %")[0] for title in ("clean", "2/255")] == ["70", "60"]
    assert row["8/255"] == "–"


def test_an_attempt_with_a_key_that_is_unknown_is_refused(tmp_path):
    path = tmp_path / "attempts.toml"
    path.write_text(ONE + 'hour = "d"\n', encoding="utf-8")
    with pytest.raises(ValueError, match="hour"):
        read_attempts(path)


def test_the_tables_of_the_runs_are_written_too(tmp_path):
    (tmp_path / "attempts.toml").write_text(ONE, encoding="utf-8")
    write_strength_page(tmp_path / "strength.md", tmp_path)
    assert "## 1. a\n\nb 1 hours of training. **c**" in (tmp_path / "strength.md").read_text(encoding="utf-8")
