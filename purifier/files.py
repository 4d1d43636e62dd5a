"""Where the files that come with the package lie; and folders that a command fills bit by bit, and that a stopped run
finds again."""

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from purifier.texts import UserError

_HERE = Path(__file__).parent
# Weights, example pictures and measurements. An installed package holds them; in a checkout, and installed editable
# from it, they lie beside the package.
ASSETS = _HERE / "assets" if (_HERE / "assets").is_dir() else _HERE.parent / "assets"
MANIFEST = ASSETS / "MANIFEST"  # of the weights, as sha256sum writes and checks it
MISSING = object()
SHORT = 60  # characters of a value that is written out


@functools.cache
def bundled_digests() -> dict[str, str]:
    """SHA-256 of each bundled file of weights as it was released, by its path in ``ASSETS``."""
    lines = MANIFEST.read_text(encoding="utf-8").splitlines()
    return {path: digest for digest, path in (line.split() for line in lines)}


def digest_of_file(path: Path) -> str:
    """SHA-256 of its content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_bundled(folder: Path = ASSETS) -> None:
    """Raise ``ValueError`` for bundled weights in ``folder`` that are not those released, or are not there."""
    for name, digest in bundled_digests().items():
        path = ASSETS / name
        if not path.is_relative_to(folder):
            continue
        if not path.is_file():
            raise UserError("The bundled weights {file} are missing: install or check out the package anew.", file=name)
        if digest_of_file(path) != digest:
            raise UserError(
                "The bundled weights {file} are not those that were released: install or check out the package anew.",
                file=name,
            )


def write_manifest() -> None:
    """Declare the bundled weights as they are now to be those released."""
    files = sorted(path for kind in ("models/*", "denoiser") for path in ASSETS.glob(f"{kind}/model.safetensors"))
    lines = [f"{digest_of_file(path)}  {path.relative_to(ASSETS).as_posix()}\n" for path in files]
    write_atomically(MANIFEST, "".join(lines).encode())
    bundled_digests.cache_clear()


def begin(out: Path, settings: dict) -> None:
    """Write the settings into a new folder; in one that has some, they must be the same.

    Raises ``ValueError`` naming those that are not, and where ``out`` is a file.
    """
    settings = json.loads(json.dumps(settings))
    path = out / "settings.json"
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file, and results go to a folder. Choose another name.")
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if found := list(differences(before, settings)):
            raise ValueError(
                f"{out} holds a run of other settings ({', '.join(dict.fromkeys(name for name, _ in found))} differ). "
                f"Choose another one or delete it. {' '.join(said for _, said in found)}"
            )
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(settings, indent=2).encode())


def differences(before: object, now: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Where ``now`` has another value than ``before``: the outermost name, and a sentence. Of a dict in ``before``,
    names that ``now`` lacks do not count. Long values are not written out."""
    if isinstance(before, dict) and isinstance(now, dict):
        for name in now:
            inner = f"{path}.{name}" if path else name
            yield from differences(before.get(name, MISSING), now[name], inner)
    elif before != now:
        there, here = ("nothing" if value is MISSING else json.dumps(value) for value in (before, now))
        short = len(there) <= SHORT and len(here) <= SHORT
        yield path.partition(".")[0], f"{path}: {there} there, {here} now." if short else f"{path} is another."


def write_atomically(path: Path, content: bytes) -> None:
    """Either the whole file is there or none of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
