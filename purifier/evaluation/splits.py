"""Labelled pictures, which of them are one, and the lesion-disjoint split that every command shares."""

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import Path as InZip

from purifier.evaluation.known import OFFICIAL, known_ids, known_lesions, number_of
from purifier.pictures.folders import own_name

SPLITS = ("train", "val", "test")
FIRST_HAM10000 = 24306  # ids below it are MSK's, UDA's and SONIC's
LAST_HAM10000 = 34320  # ids above it are BCN20000's
LAST_BCN20000 = 73254  # ids above it are no pictures of ISIC 2019


@dataclass(frozen=True)
class Sample:
    """One labelled picture: ``label`` is an ISIC 2019 code, ``path`` has ``read_bytes``.

    ``known_split`` is given where more is known of the picture than its lesion's hash tells.
    """

    image: str
    path: Path | InZip
    label: str
    lesion: str
    known_split: str = ""

    @property
    def split(self) -> str:
        """``train``, ``val`` or ``test``."""
        return self.known_split or split_of(self.lesion, self.image)

    @property
    def is_known(self) -> bool:
        """Whether the bundled classifiers were trained, tuned or tested with it or another picture of its lesion."""
        names = (self.image, self.lesion)
        return self.lesion in known_ids() or any(
            is_bcn20000(name) or number_of(name) in known_lesions() for name in names
        )


def is_bcn20000(image: str) -> bool:
    """Whether an ISIC 2019 picture comes from BCN20000, by its number."""
    return LAST_HAM10000 < (number_of(image) or 0) <= LAST_BCN20000


def source_of(image: str) -> str:
    """Which of ISIC 2019's collections a picture comes from, by its number; "" for pictures of other names."""
    number = number_of(image)
    if number is None or number > LAST_BCN20000:
        return ""
    return "MSK" if number < FIRST_HAM10000 else "BCN20000" if is_bcn20000(image) else "HAM10000"


def identity_of(name: str) -> str:
    """``ISIC_0024310`` of ``MEL/ISIC_0024310.jpg``, ``isic_0024310_downsampled.PNG`` and the like; of other names what
    is left without folder and suffix."""
    number = number_of(name)
    return own_name(name) if number is None else f"ISIC_{number:07d}"


def split_of(lesion: str, image: str) -> str:
    """``train`` (75 %), ``val`` (10 %) or ``test`` (15 % of the lesions), decided by a hash of the lesion.

    A picture without lesion is its own lesion. BCN20000 is ``train`` as a whole: the bundled weights saw
    thumbnails of it that came without lesion ids, so no other assignment could keep lesions apart.
    """
    if is_bcn20000(image) or is_bcn20000(lesion) or OFFICIAL.fullmatch(lesion) and lesion.startswith("BCN"):
        return "train"
    place = int(hashlib.sha256((lesion or identity_of(image)).encode()).hexdigest()[:8], 16) / 2**32
    return "test" if place < 0.15 else "val" if place < 0.25 else "train"


def known_split(image: str, lesion: str, otherwise: str) -> str:
    """The split of a picture that the bundled classifiers were made with, or of whose lesion they saw another; else
    ``otherwise``. Where ISIC 2019's own id of the lesion is given, that decides."""
    known = known_lesions()
    if OFFICIAL.fullmatch(lesion) and not is_bcn20000(image):
        is_known = lesion in known_ids() or number_of(image) in known or lesion.startswith("BCN")
        return split_of(lesion, image) if is_known else otherwise
    for name in (image, lesion):
        if is_bcn20000(name) or number_of(name) in known:
            return split_of(known.get(number_of(name), ""), identity_of(name))
    return otherwise


def kept_apart(samples: list[Sample]) -> list[Sample]:
    """The samples with each lesion in one split: train if any of its pictures is, else val if any is."""
    splits = defaultdict(set)
    for sample in samples:
        splits[sample.lesion].add(sample.split)
    of_lesion = {lesion: min(found, key=SPLITS.index) for lesion, found in splits.items()}
    return [replace(sample, known_split=of_lesion[sample.lesion]) for sample in samples]
