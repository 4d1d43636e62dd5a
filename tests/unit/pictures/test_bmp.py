import struct

import cv2
import numpy as np
import pytest

from purifier.pictures.files import open_picture

HEIGHT, WIDTH = 65, 67
GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
INDICES = GENERATOR.integers(0, 16, (HEIGHT, WIDTH)).astype(np.uint8)
INDICES[:, 20:40] = 3  # a run
PALETTE = GENERATOR.integers(0, 256, (16, 3)).astype(np.uint8)
RAW, RLE8, RLE4, MASKS = 0, 1, 2, 3


def bmp(
    rows: bytes,
    bits: int,
    compression: int = RAW,
    *,
    colours: np.ndarray | None = None,
    masks: tuple[int, ...] = (),
    height: int = HEIGHT,
    size: int = 40,
) -> bytes:
    """A file of rows from the lowest up; four masks or more belong to a header of the fourth version."""
    palette = b"" if colours is None else np.pad(colours[:, ::-1], ((0, 0), (0, 1))).tobytes()
    header = struct.pack(
        "<IiiHHIIiiII", size, WIDTH, height, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0
    )
    header = (header + struct.pack(f"<{len(masks)}I", *masks)).ljust(size, b"\0")
    start = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<III", start + len(rows), 0, start) + header + palette + rows


def filled(rows: np.ndarray) -> bytes:
    """Each row to a multiple of four bytes."""
    return b"".join(row.tobytes() + bytes(-row.nbytes % 4) for row in rows)


def read(data: bytes) -> np.ndarray:
    return np.asarray(open_picture(data)).astype(int)


def by_opencv(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


@pytest.mark.parametrize("is_from_the_top", [False, True])
def test_colours_are_read_from_either_end(is_from_the_top):
    rows = PIXELS[..., ::-1] if is_from_the_top else PIXELS[::-1, :, ::-1]
    data = bmp(filled(rows), 24, height=-HEIGHT if is_from_the_top else HEIGHT)
    assert np.array_equal(read(data), PIXELS) and np.array_equal(by_opencv(data), PIXELS)


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_palettes_are_read(bits):
    indices = INDICES & (2**bits - 1)
    packed = np.packbits((indices[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(HEIGHT, -1), axis=1)
    data = bmp(filled(packed[::-1]), bits, colours=PALETTE[: 2**bits])
    assert np.array_equal(read(data), PALETTE[indices]) and np.array_equal(by_opencv(data), PALETTE[indices])


def runs(indices: np.ndarray, bits: int) -> bytes:
    """Runs of four or more, single pixels, and up to 7 pixels as they are: odd numbers too."""
    out = b""
    for row in indices[::-1].tolist():
        x = 0
        while x < WIDTH:
            n = next((n for n in range(1, WIDTH - x) if row[x + n] != row[x]), WIDTH - x)
            n = n if n >= 4 else 1 if WIDTH - x < 3 else 0
            if n:
                out += bytes([n, row[x] * (17 if bits == 4 else 1)])
            else:
                n = min(7, WIDTH - x)
                part = row[x : x + n] + [0] * (n % 2 if bits == 4 else 0)
                part = (
                    bytes(part) if bits == 8 else bytes(a << 4 | b for a, b in zip(part[::2], part[1::2], strict=True))
                )
                out += bytes([0, n]) + part + bytes(len(part) % 2)
            x += n
        out += b"\0\0"
    return out + b"\0\1"


@pytest.mark.parametrize(("bits", "compression"), [(4, RLE4), (8, RLE8)])
def test_runs_are_unpacked(bits, compression):
    data = bmp(runs(INDICES, bits), bits, compression, colours=PALETTE)
    assert np.array_equal(read(data), PALETTE[INDICES]) and np.array_equal(by_opencv(data), PALETTE[INDICES])


MASKED = {
    "555": (16, RAW, (), (0x7C00, 0x3E0, 0x1F)),
    "555 stated": (16, MASKS, (0x7C00, 0x3E0, 0x1F), None),
    "565": (16, MASKS, (0xF800, 0x7E0, 0x1F), None),
    "444": (16, MASKS, (0xF00, 0xF0, 0xF), None),
    "BGRX": (32, MASKS, (0xFF0000, 0xFF00, 0xFF), None),
    "RGBX": (32, MASKS, (0xFF, 0xFF00, 0xFF0000), None),
    "10 bits": (32, MASKS, (0x3FF00000, 0xFFC00, 0x3FF), None),
}


@pytest.mark.parametrize("kind", MASKED)
def test_colours_are_where_masks_say(kind):
    bits, compression, masks, implied = MASKED[kind]
    values = GENERATOR.integers(0, 2**bits, (HEIGHT, WIDTH)).astype(f"<u{bits // 8}")
    channels = [(values & mask) / mask for mask in implied or masks]
    expected = np.round(255 * np.stack(channels, axis=-1))
    assert np.abs(read(bmp(filled(values[::-1]), bits, compression, masks=masks)) - expected).max() <= 1


def test_the_fourth_byte_is_opacity_only_where_a_file_says_so():
    masks, alpha = (0xFF0000, 0xFF00, 0xFF, 0xFF000000), GENERATOR.integers(0, 256, (HEIGHT, WIDTH, 1))
    laid = PIXELS * (alpha / 255) + 255 * (1 - alpha / 255)
    rows = np.concatenate([PIXELS[..., ::-1], alpha.astype(np.uint8)], axis=-1)[::-1]
    assert np.array_equal(read(bmp(rows.tobytes(), 32)), PIXELS)
    assert np.abs(read(bmp(rows.tobytes(), 32, MASKS, masks=masks, size=108)) - laid).max() <= 1
    rows[..., 3] = 0  # by programs that do not know of opacity
    assert np.array_equal(read(bmp(rows.tobytes(), 32, MASKS, masks=masks, size=108)), PIXELS)


@pytest.mark.parametrize(("bits", "compression"), [(64, RAW), (24, 4), (24, 5), (24, 77)])
def test_what_is_not_read_is_named(bits, compression):
    with pytest.raises(ValueError, match=f"{bits} bits a pixel and compression {compression}, which is not read"):
        open_picture(bmp(bytes(1000), bits, compression))


@pytest.mark.parametrize("kind", ["masks", "runs", "colours"])
def test_damaged_files_are_read_or_refused_and_nothing_else(kind):
    whole = {
        "masks": bmp(filled(PIXELS[..., :2].copy().view("<u2")[..., 0]), 16, MASKS, masks=(0xF800, 0x7E0, 0x1F)),
        "runs": bmp(runs(INDICES, 4), 4, RLE4, colours=PALETTE),
        "colours": bmp(filled(PIXELS), 24),
    }[kind]
    generator = np.random.default_rng(0)
    for i in range(40):
        damaged = bytearray(whole)
        for place in generator.integers(60 if i % 2 else len(whole), size=4):
            damaged[place] = generator.integers(256)
        try:
            assert open_picture(bytes(damaged)).mode == "RGB"
        except ValueError:
            pass
    for length in range(20, len(whole), 900):
        try:
            assert kind == "runs" and open_picture(whole[:length])
        except ValueError:
            pass
        except AssertionError:
            with pytest.raises(ValueError, match="damaged or cut off"):
                open_picture(whole[:length])
