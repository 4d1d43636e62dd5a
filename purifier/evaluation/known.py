"""Which pictures of ISIC 2019 the bundled classifiers were made with, and their lesions, with no metadata at hand.

The table lies in ``assets/isic2019``; its README says where it is from and its licence. It is written by
``python -m purifier.evaluation.known ISIC2019``, a folder in ISIC 2019's layout.
"""

import csv
import functools
import gzip
import io
import re
import sys
from pathlib import Path

from purifier.evaluation.spreadsheets import read_rows
from purifier.files import ASSETS

TABLE = ASSETS / "isic2019" / "lesions.csv.gz"
OFFICIAL = re.compile(r"(HAM|BCN|MSK\d?)_\d{7}")  # ISIC 2019's ids of lesions
NUMBERED = re.compile(r"(?<![a-z])isic[-_ ]?(\d{7})(?!\d)", re.IGNORECASE)


def number_of(name: str) -> int | None:
    """24310 of ``MEL/ISIC_0024310.jpg``, ``isic_0024310_downsampled.PNG`` and the like: the number of the ISIC Archive
    in a picture's own name, wherever it lies; None of other names."""
    found = NUMBERED.search(name.replace("\\", "/").rpartition("/")[2])
    return int(found[1]) if found else None


@functools.cache
def known_lesions() -> dict[int, str]:
    """The lesion of each picture that was at hand, by its number; "" where it is the only one of its lesion.

    BCN20000's thumbnails, of which no lesion is known, are not among them.
    """
    with gzip.open(TABLE, "rt", encoding="ascii", newline="") as file:
        return {int(row["number"]): row["lesion_id"] for row in csv.DictReader(file)}


@functools.cache
def known_ids() -> frozenset[str]:
    """The ids of these lesions, where they have one."""
    return frozenset(known_lesions().values()) - {""}


def write_known_lesions(folder: Path) -> None:
    """Write the table from the metadata in ``folder``."""
    (metadata,) = folder.glob("*Metadata.csv")
    lesions = sorted((number_of(row["image"]), row["lesion_id"]) for _, row in read_rows(metadata))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("number", "lesion_id"), *lesions])
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_bytes(gzip.compress(text.getvalue().encode("ascii"), compresslevel=9, mtime=0))


if __name__ == "__main__":
    write_known_lesions(Path(sys.argv[1]))
