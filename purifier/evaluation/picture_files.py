"""Which files of a folder or a zip archive are pictures, and what they are called."""

import zipfile
from pathlib import Path, PurePosixPath

from purifier.dicom import is_dicom
from purifier.images import SUFFIXES

# Pictures of other suffixes: what cannot be read of them is named, not passed over.
PICTURES = (*SUFFIXES, ".jfif", ".jpe", ".mpo", ".gif", ".jp2", ".heic", ".heif", ".avif", ".dicom")


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones; none of what is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder and of all folders in it, sorted."""
    found = sorted(path for path in folder.rglob("*") if is_picture(path))
    return [path for path in found if not is_hidden(path.relative_to(folder).as_posix())]


def pictures_in_zip(archive: Path) -> list[zipfile.Path]:
    """The pictures of an archive, wherever in it they lie; ``ValueError`` where it cannot be read."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
        root = zipfile.Path(archive)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is no zip archive that can be read: {error}.") from None
    return [root / name for name in names if not is_hidden(name) and PurePosixPath(name).suffix.lower() in PICTURES]


def is_picture(path: Path) -> bool:
    """By its suffix or, as scanners number them without one, because it says that it is DICOM."""
    suffix = path.suffix.lower()
    if is_hidden(path.name) or not path.is_file():
        return False
    return suffix in PICTURES or (not suffix or suffix[1:].isdigit()) and _says_dicom(path)


def _says_dicom(path: Path) -> bool:
    try:
        return is_dicom(path)
    except OSError:
        return False


def is_hidden(name: str) -> bool:
    """``._x.jpg``, ``.ipynb_checkpoints`` and ``__MACOSX``, and what lies in them: no pictures."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def own_name(name: str) -> str:
    """A picture's name without folder and suffix, however its path is written."""
    own = PurePosixPath(name.replace("\\", "/"))
    return own.stem if own.suffix.lower() in PICTURES else own.name
