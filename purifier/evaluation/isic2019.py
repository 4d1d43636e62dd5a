"""ISIC 2019's official layout: ``ISIC_2019_Training_Input`` (a folder of pictures, or ``.zip`` of it),
``ISIC_2019_Training_GroundTruth.csv`` (one-hot) and, where there is one, ``ISIC_2019_Training_Metadata.csv`` (for
``lesion_id``). The tables may be as spreadsheets save them (``spreadsheets.py``)."""

import functools
import re
from collections import defaultdict
from pathlib import Path
from zipfile import Path as InZip

from purifier.classifiers.taxonomy import DIAGNOSES, code_of
from purifier.evaluation.known import known_lesions, number_of
from purifier.evaluation.splits import Sample, identity_of, kept_apart, known_split, split_of
from purifier.evaluation.spreadsheets import read_rows
from purifier.pictures.folders import own_name, pictures_in, pictures_in_zip

LABELS = list(DIAGNOSES)
UNKNOWN = "UNK"  # the official table's column for none of the diagnoses
IMAGE_COLUMNS = ("image", "image_id", "isic_id", "image_name")  # ISIC 2019's, HAM10000's, the Archive's and ISIC 2020's
NAMED = 5  # of what may be thousands
TRUTH, METADATA = "groundtruth.csv", "metadata.csv"


def all_samples(folder: Path) -> list[Sample]:
    """The labelled pictures, in the order of the ground truth. Errors as in ``datasets.read_isic2019``."""
    truth = _truth(folder)
    pictures, lesions = (
        _pictures(folder, re.sub(f"_{TRUTH}$", "", truth.name, flags=re.I) + "_Input"),
        lesions_in(folder),
    )
    rows = _labelled(truth)
    missing = [own_name(row["image"]) for _, row, _ in rows if _picture_of(row["image"], pictures) is None]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        raise ValueError(
            f"{truth.name} lists {', '.join(missing[:NAMED])}{more}, and {folder} has no picture of that name."
        )
    samples, seen = [], {}
    for number, row, label in rows:
        path, image = _picture_of(row["image"], pictures), _spelt(own_name(row["image"]))
        identity = identity_of(image)
        for same in (str(path), identity):
            first, other = seen.get(same, (number, label))
            if other != label:
                raise ValueError(
                    f"{truth}, rows {first} and {number}, give {image} two diagnoses: {other} and {label}."
                )
        if str(path) not in seen:
            lesion = lesions.get(identity.lower()) or known_lesions().get(number_of(image)) or identity
            samples.append(Sample(image, path, label, lesion, known_split(image, lesion, split_of(lesion, image))))
        seen |= dict.fromkeys((str(path), identity), (number, label))
    return kept_apart(samples)


def tables_in(folder: Path, ending: str) -> list[Path]:
    """The files of a folder whose names end so, in any case, without what editors and macOS keep beside them."""
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(ending) and path.is_file())
    return [path for path in found if not path.name.startswith((".", "~$"))]


def lesions_in(folder: Path) -> dict[str, str]:
    """The lesion of each picture that the folder's metadata give, by its identity in lower case."""
    lesions = {}
    for path in tables_in(folder, METADATA):
        for number, row in _rows(path):
            identity, lesion = identity_of(row["image"]), row.get("lesion_id", "")
            before = lesions.setdefault(identity.lower(), lesion) if lesion else lesion
            if before != lesion:
                raise ValueError(f"{path}, row {number}, gives {identity} the lesion {lesion}, another row {before}.")
    return lesions


def _truth(folder: Path) -> Path:
    found = tables_in(folder, TRUTH)
    if len(found) == 1:
        return found[0]
    others = [path.name for path in tables_in(folder, METADATA) if path.name.lower().startswith("ham10000")]
    raise FileNotFoundError(
        f"{folder} must hold exactly one *GroundTruth.csv (ISIC 2019's layout), and holds {len(found)}; or pictures in "
        f"a folder for each diagnosis ({', '.join(LABELS)})."
        + (f" {others[0]} is HAM10000's: put its pictures in a folder for each dx (akiec, bcc ...)." if others else "")
    )


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their numbers; columns by ISIC 2019's names: ``image``, ``lesion_id``, ``UNK`` and the codes."""
    rows = []
    for number, row in read_rows(path):
        columns = [_column(name) for name in row]
        twice = sorted({column for column in columns if column and columns.count(column) > 1})
        if twice:
            raise ValueError(f"{path} has more than one column that means {', '.join(twice)}.")
        named = dict(zip(columns, row.values(), strict=True))
        if "image" not in named:
            break
        if not own_name(named["image"]):
            raise ValueError(f"{path}, row {number}, names no image.")
        rows.append((number, named))
    if not rows:
        raise ValueError(f"{path} has no rows with a column 'image'.")
    return rows


@functools.cache
def _column(name: str) -> str:
    if name.lower() in IMAGE_COLUMNS:
        return "image"
    if name.lower() == "lesion_id":
        return "lesion_id"
    return name.upper() if name.upper() in (UNKNOWN, "AKIEC") else code_of(name)


def _labelled(truth: Path) -> list[tuple[int, dict[str, str], str]]:
    """The rows that give a diagnosis, with their numbers and labels."""
    rows = _rows(truth)
    if missing := [label for label in LABELS if label not in rows[0][1]]:
        is_2018 = "AKIEC" in rows[0][1]
        raise ValueError(
            f"{truth} lacks the columns {', '.join(missing)}."
            + (" AKIEC is ISIC 2018's: put the pictures in a folder for each diagnosis." if is_2018 else "")
        )
    labelled = [(number, row, _label(row, f"{truth}, row {number}")) for number, row in rows]
    return [(number, row, label) for number, row, label in labelled if label != UNKNOWN]  # which come with no picture


def _label(row: dict[str, str], where: str) -> str:
    labels = [label for label in (*LABELS, UNKNOWN) if _is_one(row.get(label, ""), f"{where}, column {label}")]
    if len(labels) != 1:
        many = f"more than one diagnosis: {', '.join(labels)}" if labels else "no diagnosis"
        raise ValueError(f"{where}, gives {own_name(row['image'])} {many}.")
    return labels[0]


def _is_one(cell: str, where: str) -> bool:
    """Whether a cell holds 1 (or ``1.0``, ``1,0``), and not 0 or nothing; ``ValueError`` for anything else."""
    try:
        value = float(cell.replace(",", ".") or 0)
    except ValueError:
        value = None
    if value not in (0, 1):
        raise ValueError(f"{where}: {cell!r} is neither 0 nor 1.")
    return value == 1


def _spelt(name: str) -> str:
    """``ISIC_0024310`` of ``isic_0024310``; other names as they are."""
    return name.upper() if re.fullmatch(r"isic_\d{7}", name, re.IGNORECASE) else name


def _pictures(folder: Path, name: str) -> dict[str, list[Path | InZip]]:
    """The pictures by their own names in lower case, from the folder ``name`` or the archive of it, in any case."""
    beside = {path.name.lower(): path for path in sorted(folder.iterdir())}
    inside, archive = beside.get(name.lower()), beside.get(f"{name}.zip".lower())
    if inside is not None and inside.is_dir():
        paths = pictures_in(inside)
    elif archive is not None:
        paths = pictures_in_zip(archive)
    else:
        raise FileNotFoundError(f"{folder} must hold the pictures in {name} or {name}.zip (ISIC 2019's layout).")
    pictures = defaultdict(list)
    for path in paths:
        pictures[own_name(path.name).lower()].append(path)
    return pictures


def _picture_of(image: str, pictures: dict[str, list[Path | InZip]]) -> Path | InZip | None:
    """The picture of a name, with ``_downsampled`` or without; ``ValueError`` where there are several that differ."""
    name = own_name(image).lower()
    plain = name.removesuffix("_downsampled")
    found = next((pictures[key] for key in (name, plain, f"{plain}_downsampled") if key in pictures), [None])
    if len(found) > 1 and len({path.read_bytes() for path in found}) > 1:
        raise ValueError(f"There are several pictures of {own_name(image)}: {', '.join(map(str, found))}.")
    return found[0]
