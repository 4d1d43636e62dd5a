"""Folders that a command fills bit by bit, and that a stopped run finds again."""

import json
import os
from pathlib import Path


def begin(out: Path, settings: dict) -> None:
    """Write the settings into a new folder; in one that has some, they must be the same.

    Raises ``ValueError`` where they are not.
    """
    settings = json.loads(json.dumps(settings))
    path = out / "settings.json"
    if path.exists():
        before = json.loads(path.read_text())
        differing = [key for key in settings if settings[key] != before.get(key)]
        if differing:
            raise ValueError(
                f"{out} holds a run of other settings ({', '.join(differing)} differ). Choose another one or delete it."
            )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(settings, indent=2).encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Either the whole file is there or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
