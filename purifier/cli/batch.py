"""Many picture files, one after the other: what ``purifier classify``, ``attack``, ``purify`` and ``report`` do.

``out/results.csv`` has a row for each picture. A stopped run goes on where it was. A picture is done again where its
file or the weights have changed, or where something that was written of it is missing.
"""

import csv
import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from purifier import __version__
from purifier.classifiers.classifier import Classifier
from purifier.denoiser import digest_of_weights
from purifier.files import begin, write_atomically
from purifier.pictures.files import SUFFIXES, quantise, read_image, to_png
from purifier.pictures.folders import files_in, is_picture, printable
from purifier.readings import is_out_of_distribution
from purifier.runs import Run, Settings, run

Row = dict[str, str | float | bool]
# What is written of a picture besides, by file name: its content from what was done and the classifier.
Extra = Mapping[str, Callable[[Run, Classifier], bytes]]
RESULTS = "results.csv"
ALARM = ("alarm_score", "alarm_false_alarm_rate", "alarm_attacked")  # the last two empty where that is not known


def find_pictures(paths: Sequence[Path], out: Path | None = None) -> dict[str, Path]:
    """Files, and the pictures in folders and the folders below them, by the name that their results have.

    What is hidden (``._a.png``, ``.ipynb_checkpoints``) and what lies in ``out``, where results go, is left out. Raises
    ``FileNotFoundError`` for what is not there and for folders without pictures, ``ValueError`` where two pictures
    would have the same name, and where ``out`` is one of the folders.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.is_dir():
            if out is not None and out.resolve() == path.resolve():
                raise ValueError(f"Results cannot go to {out}, where the pictures are. Choose another --out.")
            named = {name: file for name, file in files_in(path, out) if is_picture(file)}
            if not named:
                raise FileNotFoundError(f"{path} holds no pictures ({', '.join(SUFFIXES)}).")
        elif path.is_file():
            named = {printable(path.name): path}
        else:
            raise FileNotFoundError(f"There is no file or folder {path}.")
        twice = sorted(set(named) & set(found))
        if twice:
            raise ValueError(f"Two pictures are called {twice[0]}: give the folder that both lie in.")
        found |= named
    return found


def passed_over(paths: Sequence[Path], pictures: Mapping[str, Path], out: Path | None = None) -> list[str]:
    """The files in the folders of ``paths`` that are none of ``pictures``, which ``find_pictures`` found, by name."""
    return [name for path in paths if path.is_dir() for name, _ in files_in(path, out) if name not in pictures]


def work_through(
    pictures: dict[str, Path],
    settings: Settings,
    classifier: Classifier,
    attacker: Classifier | None = None,
    *,
    out: Path | None = None,
    extra: Extra | None = None,
) -> Iterator[Row]:
    """Do what ``settings`` say to every picture, and yield a row for each; with ``out``, write pictures and rows there.

    A row has ``error`` where a picture cannot be read. Raises ``ValueError`` where ``out`` holds a run of other
    settings.
    """
    table, extra = None, extra or {}
    weights = "+".join(used.digest() for used in (classifier, attacker) if used is not None)
    if settings.is_learned:
        weights += f"+{digest_of_weights()}"
    if out is not None:
        begin(out, {"settings": asdict(settings), "report": bool(extra), "version": __version__})
        table = Table(out / RESULTS, columns(classifier, settings), weights)
    written = [*(f"{kind}.png" for kind in kinds(settings)[1:]), *extra]
    for name, path in pictures.items():
        key = {"file": name, "sha256": "", "weights": weights}
        try:
            content = path.read_bytes()
            key["sha256"] = hashlib.sha256(content).hexdigest()
            known = None if table is None else table.known(key)
            if known is not None and all((out / name / file).is_file() for file in written):
                yield known
                continue
            x = read_image(content)
        except (ValueError, OSError) as error:
            row = {**key, "error": _reason(error)}
        else:
            done = run(settings, x, classifier, attacker)
            row = {**key, "error": "", **readings_row(done, classifier)}
            if out is not None:
                made = {f"{kind}.png": to_png(x) for kind, x in done.pictures().items() if kind != "original"}
                made |= {file: make(done, classifier) for file, make in extra.items()}
                for file, data in made.items():
                    (out / name).mkdir(parents=True, exist_ok=True)
                    write_atomically(out / name / file, data)
        if table is not None:
            table.add(row)
        yield row


def _reason(error: Exception) -> str:
    """Of an error of the operating system without the path, which stands beside it."""
    if isinstance(error, OSError) and error.strerror:
        return f"It cannot be opened: {error.strerror}."
    return str(error)


def kinds(settings: Settings) -> list[str]:
    """The names of the pictures that a run of ``settings`` has."""
    return ["original"] + ["attacked"] * (settings.attack is not None) + ["purified"] * (settings.purifier is not None)


def columns(classifier: Classifier, settings: Settings) -> list[str]:
    """The names of the columns of ``results.csv``."""
    scores = ("read_as", "unsure", "malignant", *(f"p_{label}" for label in classifier.labels))
    of_kinds = [f"{kind}_{score}" for kind in kinds(settings) for score in scores]
    of_draws = ["purified_draws", "purified_agreeing", *ALARM] if settings.purifier is not None else []
    return ["file", "sha256", "weights", "error", "dermoscopic", *of_kinds, *of_draws]


def readings_row(done: Run, classifier: Classifier) -> Row:
    """What is read in every picture of a run, and in how many of the draws alone the purified one is read so."""
    row: Row = {"dermoscopic": not is_out_of_distribution(classifier, quantise(done.original))}
    readings = done.readings(classifier)
    for kind, reading in readings.items():
        malignant = reading.malignant()
        row |= {
            f"{kind}_read_as": reading.top,
            f"{kind}_unsure": reading.unsure,
            f"{kind}_malignant": "" if malignant is None else round(malignant, 4),
            **{f"{kind}_p_{label}": round(reading.probability(label), 4) for label in classifier.labels},
        }
    if "purified" in readings:
        alarm = done.alarm(classifier, readings)
        of_alarm = round(alarm.score, 4), alarm.false_alarm_rate, alarm.attacked
        row |= {"purified_draws": readings["purified"].draws, "purified_agreeing": readings["purified"].agreeing}
        row |= {name: "" if value is None else value for name, value in zip(ALARM, of_alarm, strict=True)}
    return row


class Table:
    """The rows of a CSV file that grows, one for each picture. Those of other ``weights`` are forgotten, and so is what
    a stop cut off in the last line."""

    def __init__(self, path: Path, names: list[str], weights: str) -> None:
        self.path, self.names = path, names
        with path.open(newline="", encoding="utf-8-sig") if path.exists() else io.StringIO() as file:
            rows = [row for row in csv.DictReader(file) if list(row) == names and None not in row.values()]
        self.rows = {row["file"]: row for row in rows if row["weights"] == weights}
        self._rewrite()

    def known(self, key: Row) -> Row | None:
        """The row of a picture that was done before; None for one that could not be read then, or was another."""
        row = self.rows.get(key["file"])
        return row if row is not None and not row["error"] and all(row[name] == key[name] for name in key) else None

    def add(self, row: Row) -> None:
        """Add a row, in the place of the one that the picture has."""
        if row["file"] in self.rows:
            del self.rows[row["file"]]
            self._rewrite()
        self.rows[row["file"]] = row
        with self.path.open("ab") as file:
            file.write(self._text([row]))

    def _rewrite(self) -> None:
        write_atomically(self.path, self._text([dict(zip(self.names, self.names, strict=True)), *self.rows.values()]))

    def _text(self, rows: list[Row]) -> bytes:
        file = io.StringIO()
        csv.DictWriter(file, self.names, restval="").writerows(rows)
        return file.getvalue().encode("utf-8")
