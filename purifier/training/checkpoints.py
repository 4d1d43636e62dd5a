"""Checkpoints that survive being interrupted, and a log one can plot."""

import csv
import os
from pathlib import Path

import torch


def save_checkpoint(path: Path, state: dict) -> None:
    """Write the whole file beside ``path`` and then rename it: ``path`` is never half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def load_checkpoint(path: Path) -> dict | None:
    """What ``save_checkpoint`` wrote, or None where there is nothing yet. Tensors and plain values only."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def append_row(path: Path, row: dict[str, float]) -> None:
    """Add ``row`` to a CSV file, with a header where the file is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)
