"""The report as one page of HTML that loads nothing from anywhere."""

from datetime import datetime
from pathlib import Path

from purifier.classifiers.classifier import Classifier
from purifier.reports.facts import Facts, as_json, facts_of
from purifier.runs import Run
from purifier.templates import render
from purifier.wording import runs as words

STYLE = (Path(__file__).parent / "static" / "report.css").read_text(encoding="utf-8")


def html_report(
    run: Run, classifier: Classifier, *, attacker: Classifier | None = None, made: datetime | None = None
) -> str:
    """The report as one page that loads nothing from anywhere. Arguments as of ``record``."""
    return page_of(facts_of(run, classifier, attacker, made))


def page_of(facts: Facts, *, style: str = STYLE, attached: bool = False) -> str:
    """The page of facts that were found already; the record is in it, or else ``attached`` to the file."""
    values = dict(facts=facts, words=words, json=as_json(facts), style=style, attached=attached)
    return str(render("report.html", **values))
