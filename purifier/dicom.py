"""DICOM files of photographs, to pictures: the home of pydicom, which is optional.

Only the pixels, and the numbers that say how to read them, are ever parsed. So no name, number or date of a patient
can get into a picture, an error or a log.
"""

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

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
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RLE = "1.2.840.10008.1.2.5"
STREAMS = (  # what PIL reads by itself: JPEG Baseline, JPEG 2000 lossless, JPEG 2000
    "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91",
)  # fmt: skip
SAMPLES = {  # numbers a pixel, by photometric interpretation
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1,
    "RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "YBR_ICT": 3, "YBR_RCT": 3,
}  # fmt: skip
PARSED = (
    "SOPClassUID", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows",
    "Columns", "BitsAllocated", "BitsStored", "PixelRepresentation", "PixelData",
    *(f"{colour}PaletteColorLookupTableDescriptor" for colour in ("Red", "Green", "Blue")),
    *(f"{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
)  # fmt: skip
STRIP = 256  # rows whose colours are converted at once


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the pixels are laid out."""

    size: tuple[int, int]  # width and height
    frames: int
    samples: int
    photometric: str
    allocated: int  # bits a value takes, of which the lowest ``stored`` are used
    stored: int
    is_signed: bool


def is_dicom(source: str | PathLike | bytes) -> bool:
    """Whether a file (or its bytes) says that it is DICOM."""
    if isinstance(source, bytes):
        return source[128:132] == b"DICM"
    with open(source, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def open_dicom(source: str | PathLike | bytes, check_size: Callable[[int, int], None]) -> Image.Image:
    """The picture of a DICOM file as 8-bit RGB; ``check_size(width, height)`` may refuse it before it is decoded.

    Grey values are scaled from all that their bits can hold; display windows and colour profiles are not applied.
    Raises ``ValueError`` saying what is wrong.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise ValueError(
            "DICOM files need pydicom: pip install pydicom. Or save the picture as a JPEG or PNG file."
        ) from None
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)  # its log repeats what is wrong in a file
    with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
        with _reading():
            storage, syntax, dataset = _header(file)
        _check_kind(storage, syntax)
        with _reading():
            layout = _layout(dataset)
        _check_layout(layout)
        check_size(*layout.size)
        with _reading():
            dataset.update(_parsed(file, syntax))
            return _picture(dataset, layout, syntax)


@contextmanager
def _reading() -> Iterator[None]:
    """For nearly any exception, as each part of a damaged file fails in its own way, and never with its words."""
    try:
        yield
    except (PermissionError, MemoryError):
        raise
    except Exception:
        raise ValueError("The DICOM file is damaged or cut off and cannot be read.") from None


def _header(file: BinaryIO) -> tuple[str, str, "Dataset"]:
    """The SOP class, the transfer syntax, and what is parsed of all that comes before the pixels."""
    from pydicom import Dataset
    from pydicom.filereader import read_dataset

    file.seek(132)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2)
    syntax = str(meta.TransferSyntaxUID)
    # Deflated files are refused, so nothing is inflated: a small one can hold any number of bytes.
    dataset = Dataset() if syntax == DEFLATED else _parsed(file, syntax, stop_when=lambda tag, *_: tag >= 0x7FE00008)
    storage = dataset.SOPClassUID if "SOPClassUID" in dataset else meta.MediaStorageSOPClassUID
    return str(storage), syntax, dataset


def _parsed(file: BinaryIO, syntax: str, stop_when: Callable[..., bool] | None = None) -> "Dataset":
    """What is parsed from here to where ``stop_when(tag, ...)`` holds, or to the end."""
    from pydicom.filereader import read_dataset
    from pydicom.tag import Tag

    tags = [Tag(name) for name in PARSED]
    return read_dataset(file, syntax == IMPLICIT, syntax != BIG_ENDIAN, stop_when=stop_when, specific_tags=tags)


def _check_kind(storage: str, syntax: str) -> None:
    if storage not in CLASSES:
        raise ValueError(
            f"The DICOM file's class is {_name(storage)}; only photographs, dermoscopic photographs and secondary "
            "captures are read."
        )
    if syntax not in (IMPLICIT, EXPLICIT, BIG_ENDIAN, RLE, *STREAMS):
        raise ValueError(
            f"The DICOM picture's compression is {_name(syntax)}, which is not read. Export it uncompressed, or as "
            "JPEG Baseline."
        )


def _name(uid: str) -> str:
    """What the standard calls it. Others are not repeated, since in a damaged file they could be anything."""
    from pydicom.uid import UID, UID_dictionary

    return UID(uid).name if uid in UID_dictionary else "unknown"


def _layout(dataset: "Dataset") -> Layout:
    return Layout(
        size=(int(dataset.Columns), int(dataset.Rows)), frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.SamplesPerPixel), photometric=str(dataset.PhotometricInterpretation),
        allocated=int(dataset.BitsAllocated), stored=int(dataset.BitsStored),
        is_signed=bool(dataset.PixelRepresentation),
    )  # fmt: skip


def _check_layout(layout: Layout) -> None:
    if layout.frames > 1:
        raise ValueError(f"The DICOM file holds {layout.frames} pictures; exactly 1 is read.")
    if layout.allocated not in (8, 16):
        raise ValueError(f"The DICOM picture has {layout.allocated} bits a value; 8 and 16 are read.")
    if layout.is_signed:
        raise ValueError("The DICOM picture holds signed values, of unknown range. Export it with 8 bits a channel.")
    if SAMPLES.get(layout.photometric) != layout.samples:
        raise ValueError("The DICOM picture's colours are coded in a way that is not read. Export it as RGB.")


def _picture(dataset: "Dataset", layout: Layout, syntax: str) -> Image.Image:
    from pydicom.encaps import get_frame
    from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder

    photometric, bits = layout.photometric, layout.stored
    if syntax in STREAMS:
        picture = _of_stream(get_frame(dataset.PixelData, 0, number_of_frames=1), layout)
        values, bits = np.asarray(picture), 16 if picture.mode == "I;16" else 8  # PIL scales to all of its bits
        photometric = "RGB" if picture.mode == "RGB" else photometric
    elif syntax == RLE:
        values = _of_rle(get_frame(dataset.PixelData, 0, number_of_frames=1), layout)
    else:
        values, _ = get_decoder(syntax).as_array(dataset, raw=True)
    if photometric == "PALETTE COLOR":
        values, bits = apply_color_lut(values, dataset), dataset.RedPaletteColorLookupTableDescriptor[2]
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits} bits")
    values = _eight_bits(values, bits)
    if photometric.startswith("YBR"):
        strips = np.array_split(values, -(-layout.size[1] // STRIP))  # pydicom computes in floats, many times as large
        values = np.concatenate([convert_color_space(strip, "YBR_FULL", "RGB") for strip in strips])
    return Image.fromarray(255 - values if photometric == "MONOCHROME1" else values).convert("RGB")


def _eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """The lowest ``bits`` of unsigned values, scaled to 8 bits."""
    if bits == 8:
        return values.astype(np.uint8)
    table = np.linspace(0, 255, 2**bits).round().astype(np.uint8)
    return table[values & values.dtype.type(2**bits - 1)]


def _of_rle(frame: bytes, layout: Layout) -> np.ndarray:
    """PackBits, a plane for each byte of each sample, the most significant first (DICOM PS3.5, annex G).

    PIL unpacks no more than there are pixels; pydicom unpacks all that a file holds, which can be gigabytes.
    """
    (width, height), depth = layout.size, layout.allocated // 8
    count, *starts = np.frombuffer(frame[:64], "<u4")[: 1 + layout.samples * depth].tolist()
    if count != len(starts):
        raise ValueError(f"{count} segments")
    planes = [
        Image.frombytes("L", (width * height, 1), frame[start:end], "packbits", "L")
        for start, end in zip(starts, [*starts[1:], len(frame)], strict=True)
    ]
    planes = np.array([np.asarray(plane).reshape(height, width) for plane in planes]).astype(f"u{depth}")
    values = sum(planes[i::depth] << 8 * (depth - 1 - i) for i in range(depth))
    return values[0] if layout.samples == 1 else np.moveaxis(values, 0, -1)


def _of_stream(stream: bytes, layout: Layout) -> Image.Image:
    """A JPEG or JPEG 2000 stream. Its own marks say how colours are coded, and where it has none, DICOM does.

    pydicom converts the colours of a JPEG with Adobe's mark twice.
    """
    picture = Image.open(io.BytesIO(stream), formats=("JPEG", "JPEG2000"))
    if picture.size != layout.size:
        raise ValueError(f"a stream of {picture.size} pixels")
    if layout.photometric == "RGB" and picture.format == "JPEG" and _has_no_marks(picture):
        picture.draft("YCbCr", picture.size)  # what PIL takes for these are the red, green and blue themselves
        return Image.frombytes("RGB", picture.size, picture.tobytes())
    picture.load()
    return picture if picture.mode in ("L", "I;16") else picture.convert("RGB")


def _has_no_marks(picture: Image.Image) -> bool:
    """Whether nothing in a JPEG says that it holds YCbCr, as PIL then assumes, or RGB."""
    numbers, factors = [layer[0] for layer in picture.layer], {layer[1:3] for layer in picture.layer}
    return not {"jfif", "adobe_transform"} & picture.info.keys() and bytes(numbers) != b"RGB" and len(factors) == 1
