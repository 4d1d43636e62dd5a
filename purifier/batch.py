"""Many picture files, one after the other: what ``purifier classify``, ``attack``, ``purify`` and ``report`` do.

``out/results.csv`` has a row for each picture. A stopped run goes on where it was: a picture is done again only if its
file has changed.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from purifier import __version__
from purifier.classifiers import Classifier
from purifier.folders import begin, write_atomically
from purifier.images import SUFFIXES, quantise, read_image, to_png
from purifier.readings import is_foreign, read
from purifier.runs import Run, Settings, run

Row = dict[str, str | float | bool]
# Of a picture's file and what was made of it, what is to be written besides, by file name.
Extra = Callable[[Run, Classifier], dict[str, bytes]]


def find_pictures(paths: Sequence[Path]) -> dict[str, Path]:
    """Files, and the pictures in folders and the folders below them, by the name that their results have.

    Raises ``FileNotFoundError`` for what is not there and for folders without pictures, ``ValueError`` where two
    pictures would have the same name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            named = {file.relative_to(path).as_posix(): file for file in files}
            if not named:
                raise FileNotFoundError(f"{path} holds no pictures ({', '.join(SUFFIXES)}).")
        elif path.is_file():
            named = {path.name: path}
        else:
            raise FileNotFoundError(f"There is no file or folder {path}.")
        twice = sorted(set(named) & set(found))
        if twice:
            raise ValueError(f"Two pictures are called {twice[0]}: give the folder that both lie in.")
        found |= named
    return found


def work_through(
    pictures: dict[str, Path], settings: Settings, classifier: Classifier, attacker: Classifier | None = None, *,
    out: Path | None = None, extra: Extra | None = None,
) -> Iterator[Row]:  # fmt: skip
    """Do what ``settings`` say to every picture, and yield a row for each; with ``out``, write pictures and rows there.

    A row has ``error`` where a picture cannot be read. Raises ``ValueError`` where ``out`` holds a run of other
    settings.
    """
    table = None
    if out is not None:
        source = {"classifier_source": classifier.source, "version": __version__}
        begin(out, {"settings": asdict(settings), "report": extra is not None, **source})
        table = Table(out / "results.csv", columns(classifier, settings))
    for name, path in pictures.items():
        content = path.read_bytes()
        key = {"file": name, "sha256": hashlib.sha256(content).hexdigest()}
        known = table.known(key) if table is not None else None
        if known is not None:
            yield known
            continue
        try:
            x = read_image(content)
        except ValueError as error:
            row = {**key, "error": str(error)}
        else:
            done = run(settings, x, classifier, attacker)
            row = {**key, "error": "", **readings_row(done, classifier)}
            if out is not None:
                write_pictures(done, out, name)
                for file, data in (extra(done, classifier) if extra else {}).items():
                    write_atomically(out / name / file, data)
        if table is not None:
            table.add(row)
        yield row


def write_pictures(done: Run, out: Path, name: str) -> None:
    """What was made of a picture, as PNG: ``out/<name>/attacked.png`` and ``purified.png``."""
    for kind, x in done.pictures().items():
        if kind != "original":
            (out / name).mkdir(parents=True, exist_ok=True)
            write_atomically(out / name / f"{kind}.png", to_png(x))


def columns(classifier: Classifier, settings: Settings) -> list[str]:
    kinds = ["original"] + ["attacked"] * (settings.attack is not None) + ["purified"] * (settings.purifier is not None)
    scores = ("read_as", "unsure", "malignant", *(f"p_{label}" for label in classifier.labels))
    return ["file", "sha256", "error", "dermoscopic", *(f"{kind}_{score}" for kind in kinds for score in scores)]


def readings_row(done: Run, classifier: Classifier) -> Row:
    """What is read in every picture of a run."""
    pictures: dict[str, Tensor] = done.pictures()
    row: Row = {"dermoscopic": not is_foreign(classifier, quantise(done.original))}
    for kind, reading in zip(pictures, read(classifier, *pictures.values()), strict=True):
        malignant = reading.malignant()
        row |= {
            f"{kind}_read_as": reading.top,
            f"{kind}_unsure": reading.unsure,
            f"{kind}_malignant": "" if malignant is None else round(malignant, 4),
            **{f"{kind}_p_{label}": round(reading.probability(label), 4) for label in classifier.labels},
        }
    return row


class Table:
    """The rows of a CSV file that grows; what a stop cut off in its last line is forgotten."""

    def __init__(self, path: Path, names: list[str]) -> None:
        self.path, self.names = path, names
        with path.open(newline="") if path.exists() else io.StringIO() as file:
            rows = [row for row in csv.DictReader(file) if list(row) == names and None not in row.values()]
        self.rows = {(row["file"], row["sha256"]): row for row in rows}
        write_atomically(path, self._text([dict(zip(names, names, strict=True)), *self.rows.values()]).encode())

    def known(self, key: Row) -> Row | None:
        """The row of a picture that was done before; None for one that could not be read then."""
        row = self.rows.get((key["file"], key["sha256"]))
        return row if row is not None and not row["error"] else None

    def add(self, row: Row) -> None:
        with self.path.open("a", newline="") as file:
            file.write(self._text([row]))

    def _text(self, rows: list[Row]) -> str:
        file = io.StringIO()
        csv.DictWriter(file, self.names, restval="").writerows(rows)
        return file.getvalue()
