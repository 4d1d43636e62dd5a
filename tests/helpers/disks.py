"""Small file systems in memory, which can be full or read-only; where nothing may be mounted, tests skip."""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BLOCK = 4096  # bytes


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size at ``folder``, which is made."""
    folder.mkdir()
    if not _does("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder):
        pytest.skip("needs to mount a file system: root may")
    try:
        yield folder
    finally:
        _does("umount", "--lazy", folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A ``disk`` to which nothing can be written meanwhile."""
    assert _does("mount", "-o", "remount,ro", folder)
    try:
        yield
    finally:
        assert _does("mount", "-o", "remount,rw", folder)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A ``disk`` without room meanwhile."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(BLOCK)):
                pass
        except OSError as error:
            assert error.errno == errno.ENOSPC
    try:
        yield
    finally:
        ballast.unlink()


def _does(*command: str | Path) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:  # no such program
        return False
