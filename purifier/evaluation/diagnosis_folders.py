"""A folder of one's own with a folder of pictures for each diagnosis, named as labels are (``MEL``, ``melanoma`` ...).

A picture that the bundled classifiers were made with is told by the ISIC number in its name. Everything else is
nobody's training picture, and so in the split ``test``.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from purifier.classifiers.taxonomy import DIAGNOSES, code_of
from purifier.evaluation.isic2019 import LABELS, lesions_in
from purifier.evaluation.known import OFFICIAL, known_lesions, number_of
from purifier.evaluation.splits import Sample, identity_of, kept_apart, known_split
from purifier.pictures.folders import folders_in, is_picture, is_stored, pictures_in


def all_samples(folder: Path) -> list[Sample]:
    """The pictures of every diagnosis, named by their paths in ``folder``. Errors as in ``datasets.read_samples``."""
    labels = _labels(folder)
    lesions = _lesions(labels, folder)
    samples = []
    for path, label in labels.items():
        image = path.relative_to(folder).as_posix()
        samples.append(Sample(image, path, label, lesions[path], known_split(image, lesions[path], "test")))
    return kept_apart(samples)


def loose_pictures(folder: Path) -> list[str]:
    """The names of pictures that lie beside the folders, and so have no diagnosis."""
    return sorted(path.name for path in folder.iterdir() if is_stored(path) and is_picture(path))


def _labels(folder: Path) -> dict[Path, str]:
    """The pictures with the diagnosis whose folder they lie in."""
    inner = folders_in(folder)
    unknown = [path.name for path in inner if code_of(path.name) not in DIAGNOSES and not _is_run(path)]
    if unknown:
        raise ValueError(
            f"{folder} has no *GroundTruth.csv (ISIC 2019's layout), and its folders {', '.join(unknown)} are none of "
            f"the diagnoses {', '.join(LABELS)}."
        )
    labels = {path: code_of(top.name) for top in inner if not _is_run(top) for path in pictures_in(top)}
    for path, label in labels.items():
        for part in path.relative_to(folder).parts[1:-1]:
            if code_of(part) in DIAGNOSES and code_of(part) != label:
                raise ValueError(f"{path} lies in the folders of two diagnoses, {label} and {code_of(part)}.")
    return labels


def _is_run(path: Path) -> bool:
    """Whether it is the --out folder of a run, which some people put beside their pictures."""
    return code_of(path.name) not in DIAGNOSES and (path / "settings.json").is_file()


def _lesions(labels: dict[Path, str], folder: Path) -> dict[Path, str]:
    """The lesion of each picture; copies of one picture, by its number or its bytes, are one lesion.

    Raises ``ValueError`` for a picture under two diagnoses.
    """
    told, lesions = lesions_in(folder), {}
    for path in labels:
        known = told.get(identity_of(path.name).lower()) or known_lesions().get(number_of(path.name))
        lesions[path] = known or _name(path, folder)
    renamed = {}
    for copies in [*_of_one_number(labels), *_of_same_bytes(labels)]:
        if other := next((path for path in copies if labels[path] != labels[copies[0]]), None):
            raise ValueError(f"{copies[0]} and {other} are one picture, and under two diagnoses.")
        found = sorted({_now(lesions[path], renamed) for path in copies}, key=lambda lesion: (_is_own(lesion), lesion))
        renamed |= dict.fromkeys(found[1:], found[0])
    return {path: _now(lesion, renamed) for path, lesion in lesions.items()}


def _name(path: Path, folder: Path) -> str:
    """Of a picture that has no known lesion: its ISIC number or, since other names may come twice, its path."""
    return path.relative_to(folder).as_posix() if number_of(path.name) is None else identity_of(path.name)


def _now(lesion: str, renamed: dict[str, str]) -> str:
    while lesion in renamed:
        lesion = renamed[lesion]
    return lesion


def _is_own(lesion: str) -> bool:
    """Whether it says nothing about ISIC 2019."""
    return number_of(lesion) is None and OFFICIAL.fullmatch(lesion) is None


def _of_one_number(paths: Iterable[Path]) -> list[list[Path]]:
    return _several((number_of(path.name), path) for path in paths if number_of(path.name) is not None)


def _of_same_bytes(paths: Iterable[Path]) -> list[list[Path]]:
    same_length = _several((path.stat().st_size, path) for path in paths if path.exists())  # only these are read
    return [same for paths in same_length for same in _several(_digests(paths))]


def _digests(paths: Iterable[Path]) -> Iterator[tuple[bytes, Path]]:
    for path in paths:
        try:
            yield hashlib.sha256(path.read_bytes()).digest(), path
        except OSError:  # it is named when it is to be read
            continue


def _several(keyed: Iterable[tuple[object, Path]]) -> list[list[Path]]:
    """The paths of each key that has several."""
    groups = defaultdict(list)
    for key, path in keyed:
        groups[key].append(path)
    return [group for group in groups.values() if len(group) > 1]
