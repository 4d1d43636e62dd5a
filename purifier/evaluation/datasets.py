"""ISIC 2019 in its official layout, and the lesion-disjoint split that every command shares.

``ISIC_2019_Training_Input`` (a folder of JPEGs, or ``.zip`` of it), ``ISIC_2019_Training_GroundTruth.csv``
(one-hot) and, where there is one, ``ISIC_2019_Training_Metadata.csv`` (for ``lesion_id``).
"""

import csv
import hashlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from purifier.images import SUFFIXES, read_image
from purifier.taxonomy import DIAGNOSES, code_of

SPLITS = ("train", "val", "test")
LABELS = list(DIAGNOSES)
FIRST_HAM10000 = 24306  # ids below it are MSK's, UDA's and SONIC's
LAST_HAM10000 = 34320  # ids above it are BCN20000's


@dataclass(frozen=True)
class Sample:
    """One labelled picture: ``label`` is an ISIC 2019 code, ``path`` has ``read_bytes``."""

    image: str
    path: Path | zipfile.Path
    label: str
    lesion: str

    @property
    def split(self) -> str:
        return split_of(self.lesion, self.image)


def is_bcn20000(image: str) -> bool:
    """Whether an ISIC 2019 picture comes from BCN20000, by its number."""
    return image.startswith("ISIC_") and image[5:].isdigit() and int(image[5:]) > LAST_HAM10000


def source_of(image: str) -> str:
    """Which of ISIC 2019's collections a picture comes from, by its number; "" for pictures of other names."""
    number = image.removeprefix("ISIC_")
    if not number.isdigit():
        return ""
    return "MSK" if int(number) < FIRST_HAM10000 else "BCN20000" if is_bcn20000(image) else "HAM10000"


def split_of(lesion: str, image: str) -> str:
    """``train`` (75 %), ``val`` (10 %) or ``test`` (15 % of the lesions), decided by a hash of the lesion.

    A picture without lesion is its own lesion. BCN20000 is ``train`` as a whole: the bundled weights saw
    thumbnails of it that came without lesion ids, so no other assignment could keep lesions apart.
    """
    if is_bcn20000(image):
        return "train"
    place = int(hashlib.sha256((lesion or image).encode()).hexdigest()[:8], 16) / 2**32
    return "test" if place < 0.15 else "val" if place < 0.25 else "train"


def read_isic2019(folder: str | Path, split: str = "all") -> list[Sample]:
    """The labelled pictures of ``folder``, in the order of the ground truth.

    Raises ``FileNotFoundError`` or ``ValueError`` naming the file, column or picture that is missing.
    """
    if split not in (*SPLITS, "all"):
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or all, and is {split!r}.")
    folder = Path(folder)
    truth = _one(folder, "*GroundTruth.csv")
    pictures = _pictures(folder, truth.name.removesuffix("_GroundTruth.csv") + "_Input")
    lesions = {row["image"]: row.get("lesion_id", "") for path in folder.glob("*Metadata.csv") for row in _rows(path)}
    samples = []
    for row in _rows(truth):
        label = _label(row, truth)
        if label is None:  # UNK: in the official file, with no picture
            continue
        if row["image"] not in pictures:
            raise ValueError(f"{truth.name} lists {row['image']}, and {folder} has no picture of that name.")
        sample = Sample(row["image"], pictures[row["image"]], label, lesions.get(row["image"]) or row["image"])
        if split in ("all", sample.split):
            samples.append(sample)
    return samples


def read_samples(folder: str | Path, split: str = "all") -> list[Sample]:
    """The labelled pictures of a folder in ISIC 2019's layout, or of one with a folder of pictures for each diagnosis.

    The folders' names are mapped as labels are (``MEL``, ``melanoma`` ...). Each picture is then its own lesion. Raises
    ``FileNotFoundError`` or ``ValueError`` for anything else.
    """
    folder = Path(folder)
    inner = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not inner or any(folder.glob("*GroundTruth.csv")) or any(path.name.endswith("_Input") for path in inner):
        return read_isic2019(folder, split)
    unknown = [path.name for path in inner if code_of(path.name) not in DIAGNOSES]
    if unknown:
        raise ValueError(
            f"{folder} has no *GroundTruth.csv (ISIC 2019's layout), and its folders {', '.join(unknown)} are none of "
            f"the diagnoses {', '.join(LABELS)}."
        )
    samples = [
        Sample(f"{path.name}/{picture.name}", picture, code_of(path.name), "")
        for path in inner
        for picture in sorted(path.iterdir())
        if picture.suffix.lower() in SUFFIXES
    ]
    return [sample for sample in samples if split in ("all", sample.split)]


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{folder} must hold exactly one {pattern} (ISIC 2019's layout), and holds {len(found)}."
        )
    return found[0]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or "image" not in rows[0]:
        raise ValueError(f"{path} has no rows with a column 'image'.")
    return rows


def _label(row: dict[str, str], truth: Path) -> str | None:
    missing = [label for label in LABELS if label not in row]
    if missing:
        raise ValueError(f"{truth} lacks the columns {', '.join(missing)}.")
    labels = [label for label in LABELS if float(row[label]) == 1]
    if len(labels) > 1:
        raise ValueError(f"{truth} gives {row['image']} more than one diagnosis: {', '.join(labels)}.")
    return labels[0] if labels else None


def _pictures(folder: Path, name: str) -> dict[str, Path | zipfile.Path]:
    """Each picture by its name, from the folder ``name`` or the archive of it."""
    if (folder / name).is_dir():
        return {path.stem: path for path in (folder / name).glob("*.jp*g")}
    archive = folder / f"{name}.zip"
    if not archive.is_file():
        raise FileNotFoundError(f"{folder} must hold the pictures in {name} or {name}.zip (ISIC 2019's layout).")
    with zipfile.ZipFile(archive) as opened:
        names = [inner for inner in opened.namelist() if inner.lower().endswith((".jpg", ".jpeg"))]
    root = zipfile.Path(archive)
    return {Path(inner).stem: root / inner for inner in names}


def read_pixels(samples: Sequence[Sample], size: int) -> Tensor:
    """The pictures as one uint8 tensor (N, 3, size, size): centre square, resized."""
    out = torch.empty(len(samples), 3, size, size, dtype=torch.uint8)
    for i, sample in enumerate(samples):
        out[i] = (read_image(sample.path.read_bytes(), size)[0] * 255).round()
    return out


def read_readable(samples: Sequence[Sample], size: int) -> tuple[Tensor, list[Sample], dict[str, str]]:
    """As ``read_pixels``, without the pictures that cannot be read: also the samples that were, and why others not."""
    pixels, kept, skipped = [], [], {}
    for sample in samples:
        try:
            pixels.append(read_pixels([sample], size))
            kept.append(sample)
        except (ValueError, OSError) as error:
            skipped[sample.image] = str(error)
    if not kept:
        why = f" The first: {next(iter(skipped.values()))}" if skipped else ""
        raise ValueError(f"None of the {len(samples)} pictures can be read.{why}")
    return torch.cat(pixels), kept, skipped


def label_indices(samples: Sequence[Sample]) -> Tensor:
    """The labels as indices into ``LABELS``, (N,) int64."""
    return torch.tensor([LABELS.index(sample.label) for sample in samples])


def digest_of_samples(samples: Sequence[Sample]) -> str:
    """SHA-256 of which pictures they are, in their order, with their labels and lesions; not of the pixels."""
    said = [(sample.image, sample.label, sample.lesion) for sample in samples]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
