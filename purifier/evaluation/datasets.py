"""Labelled pictures to measure on: ISIC 2019 in its official layout (``isic2019.py``), or a folder of one's own with a
folder for each diagnosis (``diagnosis_folders.py``)."""

import hashlib
import json
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from purifier.evaluation import diagnosis_folders, isic2019
from purifier.evaluation.isic2019 import LABELS as LABELS
from purifier.evaluation.splits import SPLITS, Sample
from purifier.evaluation.splits import is_bcn20000 as is_bcn20000
from purifier.evaluation.splits import source_of as source_of
from purifier.evaluation.splits import split_of as split_of
from purifier.pictures.files import read_image
from purifier.pictures.folders import folders_in

KINDS = {"train": "training", "val": "validation", "test": "test"}
UNREADABLE = (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)  # the last ones: archives


def read_isic2019(folder: str | Path, split: str = "all") -> list[Sample]:
    """The labelled pictures of ``folder``, in the order of the ground truth.

    Raises ``FileNotFoundError`` or ``ValueError`` naming the file, row, column or picture that is wrong or missing.
    """
    _check_split(split)
    return [sample for sample in isic2019.all_samples(Path(folder)) if split in ("all", sample.split)]


def read_samples(folder: str | Path, split: str = "all") -> list[Sample]:
    """The labelled pictures of a folder in ISIC 2019's layout, or of one with a folder of pictures for each diagnosis.

    The folders' names are mapped as labels are (``MEL``, ``melanoma`` ...). What the bundled classifiers were trained
    or tuned on, told by the ISIC number in a picture's name, is in the splits ``train`` and ``val``; everything else
    in such folders is in ``test``. Raises ``FileNotFoundError`` or ``ValueError`` for anything else.
    """
    _check_split(split)
    return [sample for sample in _all_samples(Path(folder)) if split in ("all", sample.split)]


def read_split(folder: str | Path, split: str) -> tuple[list[Sample], dict[str, list[str]]]:
    """The pictures of a split to measure on, and the names of the others by what they are.

    ``all`` is all of them; of a folder for each diagnosis, all but known training pictures, which are had by ``train``
    alone. Raises ``ValueError`` where there is none.
    """
    _check_split(split)
    folder = Path(folder)
    samples, by_diagnosis = _all_samples(folder), not _is_official(folder)
    wanted = [split] if split != "all" else ["val", "test"] if by_diagnosis else SPLITS
    kept, left_out = [sample for sample in samples if sample.split in wanted], defaultdict(list)
    for sample in samples:
        if sample.split not in wanted:
            left_out[_kind(sample)].append(sample.image)
    if by_diagnosis and (loose := diagnosis_folders.loose_pictures(folder)):
        left_out["pictures in no diagnosis's folder"] = loose
    if not kept:
        counts = Counter(sample.split for sample in samples)
        there = ", ".join(f"{counts[name]} in {name}" for name in SPLITS if counts[name]) or "none in any other"
        but = ", which leaves out what the bundled classifiers were trained on (--split train)" if by_diagnosis else ""
        raise ValueError(f"{folder} has no pictures in the split {split}, and {there}. Use --split all{but}.")
    return kept, dict(left_out)


def seen_in_making(samples: Sequence[Sample]) -> dict[str, int]:
    """How many of the pictures the bundled classifiers were trained or tuned on, by what they are."""
    return dict(Counter(_kind(sample) for sample in samples if sample.is_known and sample.split != "test"))


def _kind(sample: Sample) -> str:
    if sample.is_known:
        return f"{KINDS[sample.split]} pictures of the bundled classifiers"
    return f"pictures of the split {sample.split}"


def _check_split(split: str) -> None:
    if split not in (*SPLITS, "all"):
        raise ValueError(f"split must be one of {', '.join(SPLITS)} or all, and is {split!r}.")


def _all_samples(folder: Path) -> list[Sample]:
    return isic2019.all_samples(folder) if _is_official(folder) else diagnosis_folders.all_samples(folder)


def _is_official(folder: Path) -> bool:
    inner, truth = folders_in(folder), isic2019.tables_in(folder, isic2019.TRUTH)
    return not inner or bool(truth) or any(path.name.lower().endswith("_input") for path in inner)


def read_pixels(samples: Sequence[Sample], size: int) -> Tensor:
    """The pictures as one uint8 tensor (N, 3, size, size): centre square, resized. Errors name the picture."""
    out = torch.empty(len(samples), 3, size, size, dtype=torch.uint8)

    def read(i: int) -> None:
        try:
            out[i] = _square(samples[i], size)
        except UNREADABLE as error:
            raise ValueError(f"{samples[i].image}: {error}") from error

    with ThreadPoolExecutor() as threads:
        list(threads.map(read, range(len(samples))))
    return out


def read_readable(samples: Sequence[Sample], size: int) -> tuple[Tensor, list[Sample], dict[str, str]]:
    """As ``read_pixels``, without the pictures that cannot be read: also the samples that were, and why others not."""
    pixels, kept, skipped = [], [], {}
    for sample in samples:
        try:
            pixels.append(_square(sample, size)[None])
            kept.append(sample)
        except UNREADABLE as error:
            skipped[sample.image] = str(error)
    if not kept:
        why = f" The first: {next(iter(skipped.values()))}" if skipped else ""
        raise ValueError(f"None of the {len(samples)} pictures can be read.{why}")
    return torch.cat(pixels), kept, skipped


def _square(sample: Sample, size: int) -> Tensor:
    return (read_image(sample.path.read_bytes(), size)[0] * 255).round().byte()


def lesions_of(samples: Sequence[Sample]) -> list[str]:
    """The pictures' lesions; a picture without one is its own."""
    return [sample.lesion or sample.image for sample in samples]


def label_indices(samples: Sequence[Sample]) -> Tensor:
    """The labels as indices into ``LABELS``, (N,) int64."""
    return torch.tensor([LABELS.index(sample.label) for sample in samples])


def digest_of_samples(samples: Sequence[Sample]) -> str:
    """SHA-256 of which pictures they are, in their order, with their labels and lesions; not of the pixels."""
    said = [(sample.image, sample.label, sample.lesion) for sample in samples]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()
