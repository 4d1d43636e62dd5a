"""docs/strength.md: what was tried to make the purifier stronger, losses included, with figures on validation lesions.

The attempts are told in assets/strength/attempts.toml; the figures are those of the runs of ``purifier evaluate`` in
the folders beside it. The page's words are in strength.md beside this file.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from purifier.evaluation.intervals import WHOLE_PERCENT, written
from purifier.files import ASSETS
from purifier.results.record import Record, find, pictures, read_evaluations
from purifier.results.tables import accuracy_table, markdown
from purifier.strict import built, strict

TEMPLATE = Path(__file__).with_name("strength.md")
FOLDER = ASSETS / "strength"
CONDITIONS = {
    "clean": ("none", None),
    "2/255": ("pgd20", 2.0),
    "8/255": ("pgd20", 8.0),
    "2/255, brightness alone": ("grey20", 2.0),
    "8/255, brightness alone": ("grey20", 8.0),
}


@strict
class Attempt:
    """What was tried and why, how long it took, what came of it, and where it was measured."""

    what: str
    why: str
    hours: float  # on two cores, of training
    result: str
    measured: tuple[tuple[str, str], ...] = ()  # runs, each with one of its defences


def read_attempts(path: Path = FOLDER / "attempts.toml") -> list[Attempt]:
    """As they were made, the first first. Raises ``ValueError`` for a key that is unknown or missing."""
    return [built(Attempt, one) for one in tomllib.loads(path.read_text(encoding="utf-8"))["attempts"]]


def write_strength_page(page: Path, folder: Path = FOLDER) -> None:
    """Write the page, and the runs' tables anew."""
    for name, records in read_evaluations(folder).items():
        (folder / name / "table.md").write_text(accuracy_table(records) + "\n", encoding="utf-8")
    page.write_text(strength_page(folder), encoding="utf-8")


def strength_page(folder: Path = FOLDER) -> str:
    """The page in Markdown."""
    runs, attempts = read_evaluations(folder), read_attempts(folder / "attempts.toml")
    return TEMPLATE.read_text(encoding="utf-8").format(
        attempts="\n\n".join(_section(number, one, runs) for number, one in enumerate(attempts, 1)),
        hours=f"{sum(one.hours for one in attempts):.0f}",
        commands="\n".join(f"    {(folder / run / 'command.txt').read_text(encoding='utf-8').strip()}" for run in runs),
    )


def _section(number: int, attempt: Attempt, runs: dict[str, list[Record]]) -> str:
    hours = f"{attempt.hours:g} hours of training. " if attempt.hours else ""
    parts = [f"## {number}. {attempt.what}", f"{attempt.why} {hours}**{attempt.result}**"]
    if attempt.measured:
        rows = pd.DataFrame(_row(runs[run], defence) for run, defence in attempt.measured)
        parts.append(markdown(rows.loc[:, (rows != "–").any()]))
    return "\n\n".join(parts)


def _row(records: Sequence[Record], defence: str) -> dict[str, str]:
    found = {"classifier": f"`{records[0].classifier}`", "defence": f"`{defence}`", "pictures": str(pictures(records))}
    for title, (attack, eps) in CONDITIONS.items():
        record = find(records, attack, eps, defence)
        found[title] = written(record and record.accuracy, WHOLE_PERCENT)
    return found
