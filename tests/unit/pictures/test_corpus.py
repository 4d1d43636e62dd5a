"""What strangers may upload: files of all kinds that are broken, too large or not what they say, and mutations of sound
ones."""

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom import uid

from purifier.pictures.files import open_picture
from purifier.texts import UserError
from tests.helpers.corpus import PICTURE, corpus, exif, icc, tiff, written, zeros
from tests.helpers.dicom import PIXELS, dicom, encapsulated, jpeg
from tests.helpers.paths import ROOT

MOST_SECONDS, MOST_BYTES = 10, 1.5 * 2**30  # of one CPU, slow and busy, and of memory with what torch takes
INTERNALS = re.compile(r"/\w+/|0x[0-9a-f]{6}|Traceback|\.(py|cpp|c):|Error\b|<_io")  # of a program, in a message


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """By name, of a fresh process that reads every file in a child."""
    folder = tmp_path_factory.mktemp("corpus") / "files"
    command = [sys.executable, "-m", "tests.helpers.corpus", str(folder)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=600)
    assert run.returncode == 0, run.stderr
    return {told["name"]: told for told in map(json.loads, run.stdout.splitlines())}


def test_the_corpus_is_large_and_each_name_is_given_once():
    assert len({case.name for case in corpus()}) == len(corpus()) >= 80


@pytest.mark.parametrize("case", corpus(), ids=lambda case: ascii(case.name))
def test_each_file_is_read_or_refused_in_words(outcomes, case):
    told = outcomes[case.name]
    assert told["status"] == 0, "it crashed"
    assert told["kind"] == ("UserError" if case.says else ""), told["said"]
    assert re.search(case.says, told["said"]) and not INTERNALS.search(told["said"])
    assert told["seconds"] < MOST_SECONDS
    assert told["bytes"] < MOST_BYTES


SOUND = [
    written("JPEG", exif=exif(), icc_profile=icc(), quality=50),
    written("JPEG", PICTURE.convert("CMYK"), progressive=True),
    written("PNG", exif=exif(), icc_profile=icc()),
    written("PNG", PICTURE.convert("P")),
    written("PNG", Image.new("I;16", PICTURE.size, 4711)),
    written("WEBP", exif=exif(), icc_profile=icc()),
    written("WEBP", PICTURE.convert("RGBA"), lossless=True),
    tiff([zeros(PICTURE.width * PICTURE.height * 3)], t259=[8], t34675=icc()),
    *(written("TIFF", PICTURE, compression=kind) for kind in ("tiff_lzw", "jpeg", "packbits")),
    written("TIFF", PICTURE.convert("1"), compression="group4"),
    written("BMP"),
    written("BMP", PICTURE.convert("P")),
    dicom(PIXELS.tobytes()),
    dicom(PIXELS.tobytes(), uid.ImplicitVRLittleEndian),
    encapsulated(jpeg()),
    encapsulated(jpeg(kind="JPEG2000"), uid.JPEG2000Lossless, PhotometricInterpretation="RGB"),
]
NUMBERS = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x80")


@st.composite
def damaged(draw) -> bytes:
    """A sound file after one to six changes: bytes overwritten, put in, left out or repeated, the end cut off, or
    another file's bytes. Half of them lie in the first 600 bytes, where headers are."""
    data = bytearray(draw(st.sampled_from(SOUND)))
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(data)) | st.integers(0, min(600, len(data))))
        end = place + draw(st.integers(0, 64))
        some = draw(st.binary(min_size=1, max_size=8) | st.sampled_from(NUMBERS))
        match draw(st.sampled_from(("overwrite", "insert", "leave out", "repeat", "cut", "splice"))):
            case "overwrite":
                data[place : place + len(some)] = some
            case "insert":
                data[place:place] = some
            case "leave out":
                del data[place:end]
            case "repeat":
                data[place:place] = data[place:end] * draw(st.integers(1, 50))
            case "cut":
                del data[place:]
            case "splice":
                data[place:end] = draw(st.sampled_from(SOUND))[place:end]
    return bytes(data)


@settings(
    max_examples=int(os.environ.get("FUZZ", "300")),
    derandomize="FUZZ" not in os.environ,
    deadline=MOST_SECONDS * 1000,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(damaged())
def test_damaged_files_are_read_or_refused_and_nothing_else(data):
    try:
        picture = open_picture(data)
    except UserError as error:
        assert not INTERNALS.search(str(error)), str(error)
    else:
        assert picture.mode == "RGB" and min(picture.size) >= 64 and not picture.info
