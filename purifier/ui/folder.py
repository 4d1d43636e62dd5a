"""The folder in which pictures lie while they are needed. Gradio, which keeps them there, is not imported yet when it
is prepared, and knows only those files that this server has finished: uploads that broke off, and what a server had
that was killed, it would leave."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG

NAME = "lesion-purifier"
VARIABLE = "GRADIO_TEMP_DIR"
UNFINISHED = 60  # seconds without another byte of an upload


def prepare() -> None:
    """Make the folder, for this user alone, within the one that GRADIO_TEMP_DIR names, and name it there.

    Raises ``PermissionError`` where nothing can be written to it, or it is somebody else's.
    """
    within = os.environ.get(VARIABLE) or "the system's temporary folder"
    remedy = f"Let {VARIABLE} name a folder where pictures can lie while they are needed."
    try:
        folder = Path(os.environ.get(VARIABLE) or tempfile.gettempdir()) / NAME
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        foreign = folder.is_symlink() or hasattr(os, "geteuid") and folder.stat().st_uid != os.geteuid()
    except OSError as error:
        raise PermissionError(f"Nothing can be written to {within} ({error.strerror or error}). {remedy}") from error
    if foreign:
        raise PermissionError(f"{folder} belongs to somebody else. {remedy}")
    os.environ[VARIABLE] = str(folder)


def tidy(idle: float) -> None:
    """Delete files to which nothing was written for ``idle`` seconds, and sooner, those whose upload broke off; and the
    folders that this leaves empty. What cannot be deleted now is tried again at the next call."""
    folder, now = Path(os.environ.get(VARIABLE, "")), time.time()
    if folder.name != NAME:  # not ours
        return
    for path in folder.rglob("*"):
        with suppress(OSError):
            found = path.lstat()
            kept = UNFINISHED if S_ISREG(found.st_mode) and path.parent == folder else idle
            if now - max(found.st_mtime, found.st_ctime) > kept:
                path.rmdir() if S_ISDIR(found.st_mode) else path.unlink()
