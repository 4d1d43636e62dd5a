"""Which files of a folder or a zip archive are pictures, and what they are called."""

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from purifier.pictures.files import SUFFIXES, looks_like_a_picture

# Of pictures that are not read, or not always: these are named, not passed over.
PICTURES = (
    *SUFFIXES, ".mpo", ".heic", ".heif", ".avif", ".gif", ".jxl", ".jp2", ".j2k", ".jpx", ".psd", ".svg", ".eps",
    ".ico", ".tga", ".ppm", ".pgm", ".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".raf", ".rw2", ".raw",
)  # fmt: skip


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones; none of what is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder and of all folders in it, sorted."""
    return [file for _, file in files_in(folder) if is_picture(file)]


def files_in(folder: Path, out: Path | None = None) -> Iterator[tuple[str, Path]]:
    """Every file below ``folder`` with its name from there, in order, and folders that cannot be opened; without what
    is hidden and what is in ``out``. Links are followed, each folder once."""
    found: list[Path] = []
    seen = {folder.resolve()} | ({out.resolve()} if out is not None else set())

    def closed(error: OSError) -> None:
        found.append(Path(error.filename))

    for root, folders, files in os.walk(folder, followlinks=True, onerror=closed):
        inner = [name for name in folders if not is_hidden(name) and Path(root, name).resolve() not in seen]
        seen |= {Path(root, name).resolve() for name in inner}
        folders[:] = inner
        found += [file for name in files if is_stored(file := Path(root, name))]
    for file in sorted(found):
        yield printable(file.relative_to(folder).as_posix()), file


def is_stored(file: Path) -> bool:
    """A file that is not hidden, or a link to nowhere, which is to be said; no pipe, which could wait for ever."""
    return not is_hidden(file.name) and (file.is_file() or (file.is_symlink() and not file.exists()))


def printable(name: str) -> str:
    """A file's name, in which bytes that are no UTF-8, as old archives have them, are written as ``\\xe9``."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def pictures_in_zip(archive: Path) -> list[zipfile.Path]:
    """The pictures of an archive, wherever in it they lie; ``ValueError`` where it cannot be read."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
        root = zipfile.Path(archive)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{archive} is no zip archive that can be read: {error}.") from None
    return [root / name for name in names if not is_hidden(name) and PurePosixPath(name).suffix.lower() in PICTURES]


def is_picture(file: Path) -> bool:
    """Whether somebody who gives the folder means this file: by its suffix or, of another or none, by its first bytes.
    What cannot be opened is meant, so that it is said."""
    if file.suffix.lower() in PICTURES:
        return True
    try:
        return looks_like_a_picture(file)
    except OSError:
        return True


def is_hidden(name: str) -> bool:
    """``._x.jpg``, ``.ipynb_checkpoints`` and ``__MACOSX``, and what lies in them: no pictures."""
    return any(part.startswith(".") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def own_name(name: str) -> str:
    """A picture's name without folder and suffix, however its path is written."""
    path = PurePosixPath(name.replace("\\", "/"))
    return path.stem if path.suffix.lower() in PICTURES else path.name
