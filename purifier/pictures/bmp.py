"""BMP files to pictures: by PIL, but for the layouts that it refuses or garbles."""

import io
import struct
from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image

from purifier.texts import UserError

RAW, RLE8, RLE4, MASKS, MASKS_WITH_ALPHA = 0, 1, 2, 3, 6  # compressions
DEPTHS = (1, 2, 4, 8, 16, 24, 32)  # bits a pixel
MASKS_OF_16 = (0x7C00, 0x03E0, 0x001F, 0)  # where a file states none
OLD_HEADER = 12  # bytes, and without compression


def open_bmp(data: bytes, check_size: Callable[[int, int], None]) -> tuple[Image.Image, bytes, int]:
    """The picture of a BMP file in one of PIL's modes, its ICC profile, and 1 for upright, as ``open_tiff`` gives them.

    ``check_size(width, height)`` may refuse it before it is decoded. Raises ``UserError`` for what is not read, and
    others where the file is damaged.
    """
    header = struct.unpack_from("<I", data, 14)[0]
    width, height, bits, compression = 0, 0, 24, RAW
    if header != OLD_HEADER:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if bits not in DEPTHS or compression not in (RAW, RLE8, RLE4, MASKS, MASKS_WITH_ALPHA):
        raise UserError(
            "The BMP picture has {bits} bits a pixel and compression {number}, which is not read. Save it as a PNG "
            "file.",
            bits=bits,
            number=compression,
        )
    if compression == RLE4 or compression in (MASKS, MASKS_WITH_ALPHA) or (bits, compression) == (16, RAW):
        check_size(width, abs(height))
        picture = _by_opencv(data) if compression == RLE4 else _masked(data, width, height, bits)
    else:
        with Image.open(io.BytesIO(data), formats=("BMP",)) as picture:
            check_size(*picture.size)
            picture.load()
    return picture, _profile(data), 1


def _by_opencv(data: bytes) -> Image.Image:
    """Of run lengths of 4 bits, since PIL loses the last pixel of those that are odd."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("run lengths")
    return Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))


def _masked(data: bytes, width: int, height: int, bits: int) -> Image.Image:
    """Pixels of 16 or 32 bits, in which masks say where each colour lies. Opacity that is 0 everywhere is none."""
    if bits not in (16, 32):
        raise ValueError(f"masks of {bits} bits")
    start, header, compression = (struct.unpack_from("<I", data, place)[0] for place in (10, 14, 30))
    masks = MASKS_OF_16
    if compression != RAW:
        has_alpha = header >= 56 or compression == MASKS_WITH_ALPHA
        masks = (*struct.unpack_from("<4I" if has_alpha else "<3I", data, 54), 0)[:4]
    row = -(-width * bits // 32) * 4
    rows = np.frombuffer(data, np.uint8, row * abs(height), start).reshape(-1, row)[:, : width * bits // 8]
    values = np.ascontiguousarray(rows if height < 0 else rows[::-1]).view(f"<u{bits // 8}")
    channels = [_scaled(values, mask) for mask in masks]
    if not masks[3] or not channels[3].any():
        channels.pop()
    return Image.fromarray(np.stack(channels, axis=-1))


def _scaled(values: np.ndarray, mask: int) -> np.ndarray:
    """What lies under the mask, to 8 bits."""
    if not mask:
        return np.zeros(values.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    return np.round(((values & mask) >> shift) * (255 / (mask >> shift))).astype(np.uint8)


def _profile(data: bytes) -> bytes:
    """That which a header of the fifth version says to be embedded."""
    if len(data) < 138 or struct.unpack_from("<I", data, 14)[0] != 124 or data[70:74] != b"DEBM":
        return b""
    start, size = struct.unpack_from("<II", data, 126)
    return data[14 + start : 14 + start + size]
