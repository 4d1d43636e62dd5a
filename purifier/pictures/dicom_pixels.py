"""The pixels of DICOM files to pictures, and in which compressions each coding of colours is read."""

import io
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image

from purifier.pictures.colour import ADOBE_GAMMA, ADOBE_RGB, eight_bits, profile_of, to_srgb
from purifier.pictures.metadata import take_apart

if TYPE_CHECKING:
    from pydicom import Dataset

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"  # Baseline
JPEG_2000_LOSSLESS, JPEG_2000 = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"
STREAMS = (JPEG, JPEG_2000_LOSSLESS, JPEG_2000)
GREY, YBR = ("MONOCHROME1", "MONOCHROME2"), ("YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PHOTOMETRICS = {  # by transfer syntax; of streams any YBR, since programs leave its name when they compress anew
    **dict.fromkeys((IMPLICIT, EXPLICIT, BIG_ENDIAN), (*GREY, "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422")),
    RLE: (*GREY, "PALETTE COLOR", "RGB", "YBR_FULL"),
    JPEG: (*GREY, "RGB", *YBR),
    JPEG_2000_LOSSLESS: (*GREY, "PALETTE COLOR", "RGB", *YBR),
    JPEG_2000: (*GREY, "RGB", *YBR),
}
STRIP = 256  # rows whose colours are converted at once


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the pixels are laid out."""

    size: tuple[int, int]  # width and height
    frames: int
    samples: int
    photometric: str
    allocated: int  # bits a value takes, of which the ``stored`` up to bit ``high`` are used
    stored: int
    high: int
    is_signed: bool
    is_planar: bool


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """What a JPEG 2000 codestream says of itself."""

    data: bytes
    bits: int  # of a value
    is_transformed: bool  # the codec makes red, green and blue of the three components


def picture_of(dataset: "Dataset", layout: Layout, syntax: str) -> Image.Image:
    """The picture as 8-bit sRGB. Fails in many ways where a file is damaged."""
    from pydicom.encaps import get_frame
    from pydicom.pixels import apply_color_lut, convert_color_space, get_decoder

    photometric, bits, profile = layout.photometric, layout.stored, _profile(dataset)
    if syntax == JPEG:
        picture, of_stream = _of_jpeg(get_frame(dataset.PixelData, 0, number_of_frames=1), layout)
        values, bits, profile = np.asarray(picture), 8, profile or of_stream
        photometric = "RGB" if picture.mode == "RGB" else photometric
    elif syntax in (JPEG_2000_LOSSLESS, JPEG_2000):
        stream = _codestream(get_frame(dataset.PixelData, 0, number_of_frames=1))
        values, bits = _of_jpeg_2000(stream, layout)
        # Without the transform, YBR_ICT and YBR_RCT, which are its names, can only be left over.
        photometric = "RGB" if stream.is_transformed or photometric in ("YBR_ICT", "YBR_RCT") else photometric
    else:
        if syntax == RLE:
            values = _of_rle(get_frame(dataset.PixelData, 0, number_of_frames=1), layout)
        else:
            values, _ = get_decoder(syntax).as_array(dataset, raw=True, correct_unused_bits=False)
        if not bits - 1 <= layout.high < layout.allocated:
            raise ValueError(f"{bits} bits up to bit {layout.high}")
        values = values >> (layout.high + 1 - bits)
    if photometric == "PALETTE COLOR":
        values = values & values.dtype.type(2**bits - 1)
        values, bits = apply_color_lut(values, dataset), dataset.RedPaletteColorLookupTableDescriptor[2]
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits} bits")
    values = eight_bits(values, bits)
    if photometric.startswith("YBR"):
        strips = np.array_split(values, -(-layout.size[1] // STRIP))  # pydicom computes in floats, many times as large
        values = np.concatenate([convert_color_space(strip, "YBR_FULL", "RGB") for strip in strips])
    return to_srgb(Image.fromarray(255 - values if photometric == "MONOCHROME1" else values), profile).convert("RGB")


def _profile(dataset: "Dataset") -> bytes:
    """ICCProfile, or else one of the space that is named."""
    profile = dataset.get("ICCProfile")
    if isinstance(profile, bytes) and profile:
        return profile
    return profile_of(ADOBE_RGB, gamma=ADOBE_GAMMA) if str(dataset.get("ColorSpace", "")).strip() == "ADOBERGB" else b""


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


def _of_jpeg(stream: bytes, layout: Layout) -> tuple[Image.Image, bytes]:
    """A JPEG, and the profile within it. Its own marks say how colours are coded, and where it has none, DICOM does.

    pydicom converts the colours of a JPEG with Adobe's mark twice.
    """
    parts = take_apart(stream)
    picture = Image.open(io.BytesIO(parts.pixels), formats=("JPEG",))
    if picture.size != layout.size:
        raise ValueError(f"a stream of {picture.size} pixels")
    if layout.photometric == "RGB" and _has_no_marks(picture):
        picture.draft("YCbCr", picture.size)  # what PIL takes for these are the red, green and blue themselves
        return Image.frombytes("RGB", picture.size, picture.tobytes()), parts.profile
    picture.load()
    return picture if picture.mode == "L" else picture.convert("RGB"), parts.profile


def _has_no_marks(picture: Image.Image) -> bool:
    """Whether nothing in a JPEG says that it holds YCbCr, as PIL then assumes, or RGB."""
    numbers, factors = [layer[0] for layer in picture.layer], {layer[1:3] for layer in picture.layer}
    return not {"jfif", "adobe_transform"} & picture.info.keys() and bytes(numbers) != b"RGB" and len(factors) == 1


def _codestream(data: bytes) -> Codestream:
    """Out of a JP2 file, if it lies in one, by whose marks PIL would convert colours (ISO/IEC 15444-1, annex A)."""
    data = data[data.index(b"\xff\x4f\xff\x51") :]
    components, depth = struct.unpack_from(">HB", data, 40)
    place, is_transformed = 2, False
    while data[place] == 0xFF and data[place + 1] not in (0x90, 0x93):  # tile-part or data
        if data[place + 1] == 0x52:  # how it is coded
            is_transformed = bool(data[place + 8]) and components >= 3
        place += 2 + struct.unpack_from(">H", data, place + 2)[0]
    return Codestream(data=data, bits=(depth & 0x7F) + 1, is_transformed=is_transformed)


def _of_jpeg_2000(stream: Codestream, layout: Layout) -> tuple[np.ndarray, int]:
    """Values, and how many of their bits are used: programs often code 12 bits as the lowest of 16."""
    picture = Image.open(io.BytesIO(stream.data), formats=("JPEG2000",))
    if picture.size != layout.size:
        raise ValueError(f"a stream of {picture.size} pixels")
    picture.load()
    bits = min(stream.bits, layout.stored)
    if picture.mode == "I;16":  # PIL scales to all of its bits
        return np.asarray(picture) >> max(0, 16 - stream.bits), bits
    if picture.mode == "RGB" and stream.bits > 8:  # of which PIL keeps the upper 8, and OpenCV all
        values = cv2.imdecode(np.frombuffer(stream.data, np.uint8), cv2.IMREAD_UNCHANGED)
        return values[..., ::-1], bits
    return np.asarray(picture if picture.mode == "L" else picture.convert("RGB")), 8
