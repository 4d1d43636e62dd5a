"""What docs/robustness.md is written from: the runs in ``assets/evaluation`` and ``assets/detection``, by their names.

A run is called by its classifier and its kind: ``augmented-balanced`` are as many pictures of each diagnosis as there
are, attacked by someone who does not know the defence, ``augmented-adaptive`` few, attacked by someone who knows it
too. Runs of other names count where they are on the pictures of one of these.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from purifier.classifiers.classifier import DEFAULT
from purifier.files import ASSETS
from purifier.pipeline import Purifier
from purifier.results.detection import Detected, read_detections
from purifier.results.record import Record, pooled, read_evaluations

Runs = dict[str, list[Record]]
BALANCED, ADAPTIVE = "balanced", "adaptive"  # kinds of runs
FIRST = f"{DEFAULT}-{BALANCED}"
NEEDED = {FIRST: ("summary", "tradeoff", "sources"), f"{DEFAULT}-{ADAPTIVE}": ("summary",)}  # files of every page


@dataclass(frozen=True, kw_only=True)
class Stored:
    """All that was measured, by the names of the runs."""

    evaluation: Path  # the folder
    runs: Runs
    tradeoffs: Runs
    sources: Runs
    detections: dict[str, list[Detected]]

    @classmethod
    def read(cls, assets: Path = ASSETS) -> "Stored":
        """Raises ``ValueError`` where a run is missing that the page cannot do without."""
        folder = assets / "evaluation"
        files = [folder / run / f"{kind}.json" for run, kinds in NEEDED.items() for kind in kinds]
        if missing := [path.relative_to(folder).as_posix() for path in files if not path.is_file()]:
            raise ValueError(f"The page cannot be written without {', '.join(missing)} in {folder}.")
        runs, tradeoffs, sources = (read_evaluations(folder, kind) for kind in ("summary", "tradeoff", "sources"))
        detections = read_detections(assets / "detection")
        return cls(evaluation=folder, runs=runs, tradeoffs=tradeoffs, sources=sources, detections=detections)

    @cached_property
    def choices(self) -> list[list[Record]]:
        """The records of runs on the same pictures as one."""
        return pooled(self.runs.values())

    @cached_property
    def by_run(self) -> Runs:
        """For the name of each run all records on its choice of pictures."""
        found = {records[0].choice: records for records in self.choices}
        return {name: found[records[0].choice] for name, records in self.runs.items()}

    def of_kind(self, kind: str) -> Runs:
        """For each classifier all records on the pictures of its run of this kind, the default classifier first."""
        found = {r[0].classifier: r for name, r in self.by_run.items() if name == f"{r[0].classifier}-{kind}"}
        return dict(sorted(found.items(), key=lambda item: item[0] != DEFAULT))

    def purifier(self, run: str = FIRST) -> dict:
        """The settings that MDDA had in a run."""
        return json.loads((self.evaluation / run / "settings.json").read_text(encoding="utf-8"))["purifier"]

    @property
    def made_otherwise(self) -> list[str]:
        """The runs in which MDDA had other settings than in the first one."""
        usual = Purifier.read(self.purifier())
        return [run for run in self.runs if Purifier.read(self.purifier(run)) != usual]
