"""DICOM files of photographs, to pictures: the home of pydicom, which is optional.

Only the pixels, and the numbers that say how to read them, are ever parsed. So no name, number or date of a patient
can get into a picture, an error or a log.
"""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image

from purifier.pictures.dicom_pixels import BIG_ENDIAN, EXPLICIT, IMPLICIT, PHOTOMETRICS, STREAMS, Layout, picture_of
from purifier.texts import UserError

if TYPE_CHECKING:
    from pydicom import Dataset

CLASSES = (  # that are read, of SOP class
    "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic Image Storage
    "1.2.840.10008.5.1.4.1.1.77.1.7",  # Dermoscopic Photography Image Storage
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage
    "1.2.840.10008.5.1.4.1.1.7.2",  # the same for several frames, of which there may be one: Grayscale Byte
    "1.2.840.10008.5.1.4.1.1.7.3",  # Grayscale Word
    "1.2.840.10008.5.1.4.1.1.7.4",  # True Color
)
DEFLATED = "1.2.840.10008.1.2.1.99"
SAMPLES = {  # numbers a pixel, by photometric interpretation
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1,
    "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_ICT": 3, "YBR_RCT": 3,
}  # fmt: skip
PARSED = (
    "SOPClassUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData", "ICCProfile", "ColorSpace",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
)  # fmt: skip
NO_SYNTAX = (
    "The DICOM file does not say how its pixels are compressed: its TransferSyntaxUID is missing or unknown. Export it "
    "uncompressed, or as JPEG Baseline."
)
FIRST_GROUPS = (2, 8)  # with which a file begins that has no preamble
VRS = b"AE AS AT CS DA DT IS LO LT OB OW PN SH SQ ST TM UI UL UN US UT".split()


def is_dicom(source: str | PathLike | bytes) -> bool:
    """Whether a file (or its bytes) says that it is DICOM, or begins as DICOM does where it has no preamble."""
    if isinstance(source, bytes):
        return _start(source[:140]) is not None
    with open(source, "rb") as file:
        return _start(file.read(140)) is not None


def _start(head: bytes) -> int | None:
    """Where the first element lies; None for what is no DICOM."""
    if head[128:132] == b"DICM":
        return 132
    start = 4 if head.startswith(b"DICM") else 0
    return start if _encoding(head[start : start + 8]) else None


def _encoding(element: bytes) -> str | None:
    """The transfer syntax, if nothing is compressed, of a data set that begins with these 8 bytes."""
    if len(element) < 8:
        return None
    little, big = (int.from_bytes(element[:2], order) for order in ("little", "big"))
    if element[4:6] in VRS:
        return EXPLICIT if little in FIRST_GROUPS else BIG_ENDIAN if big in FIRST_GROUPS else None
    number, length = int.from_bytes(element[2:4], "little"), int.from_bytes(element[4:], "little")
    return IMPLICIT if little in FIRST_GROUPS and number < 0x100 and length < 0x400 and length % 2 == 0 else None


def open_dicom(source: str | PathLike | bytes, check_size: Callable[[int, int], None]) -> Image.Image:
    """The picture of a DICOM file as 8-bit RGB; ``check_size(width, height)`` may refuse it before it is decoded.

    Grey values are scaled from all that their bits can hold; display windows are not applied, and colour profiles are.
    A file without the preamble or without TransferSyntaxUID is read where its pixels are not compressed.
    Raises ``ValueError`` saying what is wrong.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise UserError(
            "DICOM files need pydicom: pip install pydicom. Or save the picture as a JPEG or PNG file."
        ) from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its log repeats what is wrong in a file
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        with _reading():
            storage, syntax, is_stated, dataset = _header(file)
        _check_kind(storage, syntax)
        with _reading():
            layout = _layout(dataset)
        _check_layout(layout, syntax)
        _check_pair(layout.photometric, syntax)
        check_size(*layout.size)
        with _reading():
            dataset.update(_parsed(file, syntax))
            is_stream = bool(dataset["PixelData"].is_undefined_length)
        if is_stream and not is_stated:
            raise UserError(NO_SYNTAX)
        with _reading():
            return picture_of(dataset, layout, syntax)


@contextmanager
def _reading() -> Iterator[None]:
    """For nearly any exception, as each part of a damaged file fails in its own way, and never with its words."""
    try:
        yield
    except (PermissionError, MemoryError):
        raise
    except Exception:
        raise UserError("The DICOM file is damaged or cut off and cannot be read.") from None


def _header(file: BinaryIO) -> tuple[str, str, bool, "Dataset"]:
    """The SOP class, the transfer syntax, whether it is stated, and what is parsed of all that is before the pixels."""
    from pydicom import Dataset
    from pydicom.filereader import read_dataset

    file.seek(_start(file.read(140)))
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
    stated, place = _text(meta.get("TransferSyntaxUID")), file.tell()
    syntax = stated or _encoding(file.read(8)) or EXPLICIT
    file.seek(place)
    # Deflated files are refused, so nothing is inflated: a small one can hold any number of bytes.
    dataset = Dataset() if syntax == DEFLATED else _parsed(file, syntax, stop_when=lambda tag, *_: tag >= 0x7FE00008)
    if not meta and not dataset:
        raise ValueError("no element")
    for name in ("PlanarConfiguration", "PixelRepresentation"):  # which some programs leave out where they are 0
        if name not in dataset:
            setattr(dataset, name, 0)
    storage = _text(dataset.get("SOPClassUID")) or _text(meta.get("MediaStorageSOPClassUID"))
    return storage, syntax, bool(stated), dataset


def _text(value: object) -> str:
    return "" if value is None else str(value).strip(" \0")


def _parsed(file: BinaryIO, syntax: str, stop_when: Callable[..., bool] | None = None) -> "Dataset":
    """What is parsed from here to where ``stop_when(tag, ...)`` holds, or to the end."""
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    tags = [Tag(name) for name in PARSED]
    return read_dataset(file, syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=stop_when, specific_tags=tags)


def _check_kind(storage: str, syntax: str) -> None:
    if storage not in CLASSES:
        raise UserError(
            "The DICOM file's class is {name}; only photographs, dermoscopic photographs and secondary captures are "
            "read.",
            name=_name(storage),
        )
    if syntax not in PHOTOMETRICS:
        if (name := _name(syntax)) == "unknown":
            raise UserError(NO_SYNTAX)
        raise UserError(
            "The DICOM picture's compression is {name}, which is not read. Export it uncompressed, or as JPEG "
            "Baseline.",
            name=name,
        )


def _name(uid: str) -> str:
    """What the standard calls it. Others are not repeated, since in a damaged file they could be anything."""
    from pydicom.uid import UID, UID_dictionary

    return UID(uid).name if uid in UID_dictionary else "unknown"


def _layout(dataset: "Dataset") -> Layout:
    stored = int(dataset.BitsStored)
    high = dataset.get("HighBit")
    return Layout(
        size=(int(dataset.Columns), int(dataset.Rows)),
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.SamplesPerPixel),
        photometric=_text(dataset.PhotometricInterpretation),
        allocated=int(dataset.BitsAllocated),
        stored=stored,
        high=stored - 1 if high is None else int(high),
        is_signed=bool(dataset.PixelRepresentation),
        is_planar=bool(dataset.PlanarConfiguration),
    )


def _check_layout(layout: Layout, syntax: str) -> None:
    if layout.frames > 1:
        raise UserError("The DICOM file holds {count} pictures; exactly 1 is read.", count=layout.frames)
    if layout.allocated not in (8, 16):
        raise UserError("The DICOM picture has {count} bits a value; 8 and 16 are read.", count=layout.allocated)
    if layout.is_signed:
        raise UserError("The DICOM picture holds signed values, of unknown range. Export it with 8 bits a channel.")
    is_grouped = layout.photometric == "YBR_FULL_422"  # of which there are no planes
    if SAMPLES.get(layout.photometric) != layout.samples or (is_grouped and layout.is_planar and syntax not in STREAMS):
        raise UserError("The DICOM picture's colours are coded in a way that is not read. Export it as RGB.")


def _check_pair(photometric: str, syntax: str) -> None:
    if photometric not in PHOTOMETRICS[syntax]:
        raise UserError(
            "The DICOM picture's colours are {photometric}, which is not read in the compression {name}. Export it as "
            "RGB.",
            photometric=photometric,
            name=_name(syntax),
        )
