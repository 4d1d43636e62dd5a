"""The colours of pictures to sRGB, by the profile that a file carries or by what it says of its primaries."""

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE = 16 * 2**20  # bytes; the largest profiles of printers have a few megabytes
NO_CHANGE = 2  # levels; what is nearer to sRGB is sRGB, and keeps its pixels
STRIP = 256  # rows that are scaled at once: numpy's indices take eight bytes each
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}  # PIL's, by a profile's colour space
D65 = (0.3127, 0.3290)
SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # x and y of red, green and blue
ADOBE_RGB = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
DISPLAY_P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))
ADOBE_GAMMA = 563 / 256
D50 = np.array([0.9642, 1.0, 0.8249])  # of profiles, as XYZ
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def to_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """A grey, RGB or CMYK picture without transparency as its profile means it, in sRGB.

    The picture itself where there is no profile, where it is broken or made for other channels, and where it is sRGB.
    """
    if not profile or len(profile) > MAX_PROFILE:
        return picture
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = MODES[opened.profile.xcolor_space.strip()]
        if picture.mode == "L" and mode == "RGB":  # greys of an RGB space, which may have another curve than sRGB
            converted = picture.convert("RGB")
        elif picture.mode == mode:
            converted = picture
        else:
            return picture
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "RGB" and _is_identity(transform):
            return picture
        converted = ImageCms.applyTransform(converted, transform)
        converted.info.clear()  # PIL attaches the new profile
        return converted
    except MemoryError:
        raise
    except Exception:  # lcms and PIL have many ways to say that a profile is broken
        return picture


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    levels = np.linspace(0, 255, 18, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(18, -1, 3)
    changed = np.asarray(ImageCms.applyTransform(Image.fromarray(colours), transform))
    return np.abs(changed.astype(int) - colours).max() <= NO_CHANGE


def profile_of(primaries: Sequence[Sequence[float]], white: Sequence[float] = D65, gamma: float | None = None) -> bytes:
    """An ICC profile of an RGB space: x and y of its primaries and white; its exponent, or sRGB's curve for None.

    Raises ``ValueError`` where these are no colours.
    """
    try:
        xyz = np.array([_xyz(point) for point in (*primaries, white)]).T
        columns = xyz[:, :3] * np.linalg.solve(xyz[:, :3], xyz[:, 3])
        adaptation = np.linalg.inv(BRADFORD) @ np.diag(BRADFORD @ D50 / (BRADFORD @ xyz[:, 3])) @ BRADFORD
        columns = adaptation @ columns
        values = (gamma, 1, 0, 0, 0) if gamma else (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        curve = b"para" + struct.pack(">I", 0) + struct.pack(">HH", 3, 0) + _fixed(values)
        tags = {b"wtpt": b"XYZ " + bytes(4) + _fixed(D50)}
        for name, column in zip((b"r", b"g", b"b"), columns.T, strict=True):
            tags[name + b"XYZ"], tags[name + b"TRC"] = b"XYZ " + bytes(4) + _fixed(column), curve
    except (ArithmeticError, struct.error, np.linalg.LinAlgError):
        raise ValueError(f"{primaries} and {white} are no primaries and white.") from None
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    header = struct.pack(">I4xI4s4s4s", start + len(body), 0x04000000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _fixed(D50)
    return header.ljust(128, b"\0") + table + body


def _xyz(point: Sequence[float]) -> tuple[float, float, float]:
    x, y = point
    return x / y, 1.0, (1 - x - y) / y


def _fixed(values: Sequence[float]) -> bytes:
    """ICC's numbers of 16 bits before and after the point."""
    return struct.pack(f">{len(values)}i", *(round(float(value) * 65536) for value in values))


def eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """The lowest ``bits`` (1 to 16) of unsigned values, scaled to 8 bits and rounded."""
    if bits == 8:
        return values.astype(np.uint8, copy=False)
    table = np.linspace(0, 255, 2**bits).round().astype(np.uint8)
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), STRIP):
        part = slice(start, start + STRIP)
        scaled[part] = table[values[part] & values.dtype.type(2**bits - 1)]
    return scaled
