"""The pictures offered to try: the bundled ones, or a teacher's own folder named by PURIFIER_EXAMPLES."""

import warnings
from collections import Counter
from pathlib import Path

from torch import Tensor

from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.files import ASSETS
from purifier.pictures.files import SUFFIXES, centre_square, open_picture, to_batch
from purifier.settings import environment
from purifier.wording.readings import diagnosis

MOST = 40  # examples on the page
THUMBNAIL = 112  # pixels a side
BUNDLED = ASSETS / "examples"


def are_bundled() -> bool:
    """Whether the examples are the bundled ones, which a generative model drew."""
    return environment().examples is None


def example_files(folder: Path | None = None) -> list[Path]:
    """The files of ``folder``, or those to show, by diagnosis (melanomas first) and name.

    Raises ``FileNotFoundError`` where PURIFIER_EXAMPLES is no folder with pictures.
    """
    chosen = None if folder else environment().examples
    folder = folder or (chosen.expanduser() if chosen else BUNDLED)
    files = [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
    files.sort(key=lambda path: (place(path), path.name))
    if chosen and not files:
        raise FileNotFoundError(f"PURIFIER_EXAMPLES is {chosen}, where there is no folder with pictures.")
    return files


def code_in(path: Path) -> str:
    """``MEL`` of ``MEL-1.png``; of other names whatever stands before a hyphen."""
    return path.stem.split("-")[0]


def truth_of(path: Path) -> str | None:
    """The diagnosis that its name says, a code of ISIC 2019's; None where it says none."""
    return code_in(path) if code_in(path) in DIAGNOSES else None


def place(path: Path) -> int:
    """Where its diagnosis stands among ISIC 2019's; after them where its name says none."""
    return list(DIAGNOSES).index(code_in(path)) if code_in(path) in DIAGNOSES else len(DIAGNOSES)


def caption(path: Path) -> str:
    """``MEL-1.png`` is a melanoma; any other name speaks for itself."""
    return diagnosis(code_in(path)) if code_in(path) in DIAGNOSES else path.stem


def example_gallery() -> list[tuple[Tensor, Path]]:
    """Thumbnail and file of the first ``MOST`` examples, one of each diagnosis before the second of any. One that
    cannot be read is named in a warning."""
    gallery, seen = [], Counter()

    def turn(path: Path) -> int:
        seen[code_in(path)] += 1
        return seen[code_in(path)]

    for path in sorted(example_files(), key=turn)[:MOST]:
        try:
            gallery.append((to_batch(centre_square(open_picture(path), THUMBNAIL)), path))
        except (ValueError, OSError) as error:
            warnings.warn(f"The example {path.name} is left out: {error}", stacklevel=2)
    return gallery
