"""TIFF files to pictures. PIL's libtiff undoes the compression; how the values lie is read here.

For PIL knows the layouts that are common with 8 bits, and takes some of the others for those: separate planes of 16
bits, WhiteIsZero of 16 bits, signed values, YCbCr without JPEG. What is not listed here is refused by name.
"""

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from purifier.pictures.colour import eight_bits
from purifier.pictures.metadata import orientation_of
from purifier.texts import Text, UserError

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
CHANNELS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, CIELAB: 3, ICCLAB: 3}
OTHER_COLOURS = {
    4: Text("a transparency mask"), 10: "ITULab", 32803: Text("a camera's raw values"), 32844: "LogL", 32845: "LogLuv",
    34892: Text("a camera's raw values"), 51177: Text("depths"),
}  # fmt: skip
NONE, OLD_JPEG, JPEG = 1, 6, 7
FAX = (2, 3, 4)
LOSSLESS = (5, 8, 32773, 32946, 34925, 50000)  # LZW, deflate, PackBits, old deflate, LZMA, Zstandard
OTHER_COMPRESSIONS = {
    9: "JBIG", 10: "JBIG", 22610: "JPEG XR", 32766: "NeXT", 32771: "CCITT of whole words", 32809: "ThunderScan",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv",
    34677: "SGI LogLuv", 34712: "JPEG 2000", 34887: "LERC", 34892: "lossy JPEG of DNG", 34933: "PNG",
    34934: "JPEG XR", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL",
}  # fmt: skip
REDUCED, MASK = 1, 4  # bits of NewSubfileType
MOST_DIRECTORIES = 1000  # that are looked at
MOST_CHANNELS = 64
INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}
RATIONALS = {5: "u4", 10: "i4"}
MOST_BYTES = 2**27  # that PIL, which takes more than 2**27.4 for a bomb, is given to unpack at once
STRIP = 256  # rows whose bits are unpacked at once
OF_STREAMS = {  # what libtiff needs for JPEG and fax: type 3 is 16 bits, 4 is 32 bits, 7 bytes
    256: 4, 257: 4, 258: 3, 259: 3, 262: 3, 266: 3, 273: 4, 277: 3, 278: 4, 279: 4, 284: 3, 292: 4, 293: 4, 322: 4,
    323: 4, 324: 4, 325: 4, 338: 3, 347: 7, 512: 3, 513: 4, 514: 4, 515: 3, 519: 4, 520: 4, 521: 4, 530: 3, 531: 3,
}  # fmt: skip


@dataclass(frozen=True)
class Directory:
    """The tags of one picture in a file; ``order`` is struct's and numpy's "<" or ">"."""

    data: bytes
    order: str
    entries: dict[int, tuple[int, int, bytes]]  # type, count, and the value or where it lies
    wide: bool  # BigTIFF

    def raw(self, tag: int, types: dict[int, str], each: int = 1) -> np.ndarray:
        """The numbers of a tag, none where it is missing. Raises ``ValueError`` where they are not in the file."""
        kind, count, field = self.entries.get(tag, (0, 0, b""))
        if kind not in types:
            return np.array([], int)
        dtype = np.dtype(types[kind]).newbyteorder(self.order)
        size = dtype.itemsize * count * each
        if size > len(field):
            start = int.from_bytes(field, "little" if self.order == "<" else "big")
            field = self.data[start : start + size]
        if size > len(field):
            raise ValueError(f"tag {tag} is cut off")
        return np.frombuffer(field[:size], dtype)

    def numbers(self, tag: int) -> list[int]:
        """A tag's whole numbers; empty where it is missing."""
        return self.raw(tag, INTEGERS).tolist()

    def number(self, tag: int, default: int) -> int:
        """A tag's first whole number, or ``default`` where it is missing."""
        return (self.numbers(tag) or [default])[0]

    def fractions(self, tag: int) -> list[float]:
        """A tag's fractions; NaN where the denominator is 0."""
        pairs = self.raw(tag, RATIONALS, each=2).reshape(-1, 2)
        return [float(a) / float(b) if b else float("nan") for a, b in pairs]

    def metadata(self, tag: int) -> bytes:
        """The bytes of a tag that may be missing or broken."""
        try:
            return self.raw(tag, {1: "u1", 2: "u1", 7: "u1"}).tobytes()
        except ValueError:
            return b""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the values of one picture lie."""

    width: int
    height: int
    samples: int  # numbers a pixel
    bits: int  # of each
    photometric: int
    compression: int
    is_separate: bool  # each channel in a plane of its own
    block: tuple[int, int]  # width and height of a tile, or of a strip
    is_tiled: bool
    factors: tuple[int, int]  # pixels that share a colour, across and down; (1, 1) but for YCbCr


def open_tiff(data: bytes, check_size: Callable[[int, int], None]) -> tuple[Image.Image, bytes, int]:
    """The picture of a TIFF file, with its ICC profile and orientation (1 to 8).

    The picture has one of PIL's modes for 8-bit colours: L, LA, RGB, RGBA, CMYK or LAB. ``check_size(width, height)``
    may refuse it before it is decoded. Raises ``UserError`` for what is not read, and others where the file is damaged.
    """
    chain = _directories(data)
    pages = _whole(chain) or _whole(_sub_directories(data, chain)) or chain
    if len(pages) != 1:
        raise UserError("The file holds {count} pictures (an animation or pages); exactly 1 is read.", count=len(pages))
    page = pages[0]
    check_size(page.number(256, 0), page.number(257, 0))
    layout = _layout(page)
    if layout.compression in (JPEG, OLD_JPEG, *FAX):
        picture = _of_stream(page, layout)
    else:
        picture = _picture(_values(page, layout), page, layout)
    try:
        turn = page.number(274, 0)
    except ValueError:
        turn = 0
    turn = turn if turn in range(1, 9) else orientation_of(b"", page.metadata(700))
    return picture, page.metadata(34675), turn


def _header(data: bytes) -> tuple[str, bool, int]:
    """Byte order, whether it is BigTIFF, and where the first directory lies."""
    order, wide = "<" if data.startswith(b"II") else ">", 43 in data[2:4]
    return order, wide, struct.unpack_from(order + ("Q" if wide else "I"), data, 8 if wide else 4)[0]


def _directories(data: bytes) -> list[Directory]:
    """Those of the file's chain: pages, and often a thumbnail."""
    order, wide, place = _header(data)
    found, places = [], set()
    while place and place not in places and len(found) < MOST_DIRECTORIES:
        places.add(place)
        try:
            directory, place = _directory(data, order, wide, place)
        except (ValueError, struct.error):
            if found:  # what follows the first picture may be broken
                break
            raise
        found.append(directory)
    return found


def _sub_directories(data: bytes, chain: Sequence[Directory]) -> list[Directory]:
    """Those that lie below the chain's: the picture itself in files whose first one is the thumbnail."""
    order, wide, _ = _header(data)
    places = [place for page in chain for place in page.numbers(330)[:MOST_DIRECTORIES]]
    return [_directory(data, order, wide, place)[0] for place in places]


def _whole(pages: Sequence[Directory]) -> list[Directory]:
    """Those that are neither thumbnails nor masks of others."""
    return [page for page in pages if not page.number(254, 0) & (REDUCED | MASK)]


def _directory(data: bytes, order: str, wide: bool, place: int) -> tuple[Directory, int]:
    """A directory, and where the next one lies (0 for none)."""
    count_type, number, size = ("Q", "u8", 20) if wide else ("H", "u4", 12)
    count = struct.unpack_from(order + count_type, data, place)[0]
    start = place + struct.calcsize(count_type)
    end = start + size * count
    dtype = np.dtype([("tag", "u2"), ("type", "u2"), ("count", number), ("field", f"V{size - 4 - int(number[1])}")])
    if end > len(data):
        raise ValueError("a directory is cut off")
    rows = np.frombuffer(data[start:end], dtype.newbyteorder(order)).tolist()
    entries = {}
    for tag, kind, many, field in rows:
        entries.setdefault(tag, (kind, many, bytes(field)))
    try:
        following = struct.unpack_from(order + ("Q" if wide else "I"), data, end)[0]
    except struct.error:
        following = 0
    return Directory(data, order, entries, wide), following


def _layout(page: Directory) -> Layout:
    """Raises ``UserError`` for one that is not read, and ``ValueError`` where the tags contradict each other."""
    width, height = page.number(256, 0), page.number(257, 0)
    compression, samples = page.number(259, NONE), page.number(277, 0)
    bits = page.numbers(258) or [1]
    samples = samples or (3 if compression == OLD_JPEG else len(bits))
    photometric = YCBCR if compression == OLD_JPEG and samples == 3 else page.number(262, RGB if samples > 2 else 0)
    photometric = BLACK_IS_ZERO if (photometric, samples) == (YCBCR, 1) else photometric
    formats = set(page.numbers(339)) or {1}
    _check_compression(compression)
    _check_values(page, set(bits[:samples]), formats)
    _check_colours(page, photometric, samples, bits[0])
    is_tiled = 324 in page.entries or 322 in page.entries
    if is_tiled:
        block = page.number(322, 0), page.number(323, 0)
    else:
        block = width, min(page.number(278, height) or height, height)
    if min(block) < 1 or samples > MOST_CHANNELS:
        raise ValueError(f"blocks of {block} pixels, {samples} channels")
    whole_blocks = -(-width // block[0]) * block[0] * -(-height // block[1]) * block[1]
    if is_tiled and whole_blocks > 4 * width * height + 2**22:  # far beyond the picture's own pixels
        raise ValueError(f"tiles of {block} pixels")
    is_separate = page.number(284, 1) == 2 and samples > 1
    factors = tuple(page.numbers(530)[:2]) or (2, 2)
    factors = factors if photometric == YCBCR and compression not in (JPEG, OLD_JPEG) else (1, 1)
    if factors != (1, 1) and (len(factors) != 2 or not {*factors} <= {1, 2, 4} or samples != 3 or is_separate):
        raise _unread(page, Text("colours that several pixels share in this way"))
    return Layout(
        width=width,
        height=height,
        samples=samples,
        bits=bits[0],
        photometric=photometric,
        compression=compression,
        is_separate=is_separate,
        block=block,
        is_tiled=is_tiled,
        factors=factors,
    )


def _unread(page: Directory, what: Text) -> UserError:
    bits = ", ".join(str(number) for number in page.numbers(258)[:8] or [1])
    return UserError(
        "The TIFF picture's layout is not read: {what} ({channels} channels of {bits} bits). Save it as RGB with 8 or "
        "16 bits a channel, or as a PNG file.",
        what=what,
        channels=page.number(277, 1),
        bits=bits,
    )


def _check_compression(compression: int) -> None:
    if compression not in (NONE, OLD_JPEG, JPEG, *FAX, *LOSSLESS):
        name = OTHER_COMPRESSIONS.get(compression, f"number {compression}")
        raise UserError(
            "The TIFF picture's compression is {name}, which is not read. Save it uncompressed or as a PNG file.",
            name=name,
        )


def _check_values(page: Directory, bits: set[int], formats: set[int]) -> None:
    most = max(bits)
    if formats & {5, 6}:
        raise _unread(page, Text("complex numbers"))
    if 3 in formats:
        raise UserError(
            "The picture holds {bits}-bit floating-point values, of unknown range. Save it with 8 or 16 bits a "
            "channel.",
            bits=most,
        )
    if most > 16:
        raise UserError(
            "The picture holds {bits}-bit values, of unknown range. Save it with 8 or 16 bits a channel.", bits=most
        )
    if 2 in formats:
        raise UserError("The picture holds signed values, of unknown range. Save it with 8 or 16 bits a channel.")
    if len(bits) != 1 or most < 1:
        raise _unread(page, Text("channels of different sizes"))


def _check_colours(page: Directory, photometric: int, samples: int, bits: int) -> None:
    if photometric not in CHANNELS:
        name = OTHER_COLOURS.get(photometric, f"number {photometric}")
        raise UserError("The TIFF picture's colours are coded as {name}, which is not read. Save it as RGB.", name=name)
    if samples < CHANNELS[photometric]:
        raise _unread(page, Text("too few channels for its colours"))
    if photometric == CMYK and page.number(332, 1) != 1:
        raise UserError(
            "The TIFF picture's colours are coded as {name}, which is not read. Save it as RGB.",
            name=Text("other inks"),
        )
    if photometric in (YCBCR, CIELAB, ICCLAB) and bits != 8 and not (bits == 16 and photometric != YCBCR):
        raise _unread(page, Text("YCbCr or CIELab of these bits"))
    usual = {529: (0.299, 0.587, 0.114), 532: (0, 255, 128, 255, 128, 255)}
    if photometric == YCBCR and page.number(259, NONE) not in (JPEG, OLD_JPEG):
        for tag, values in usual.items():
            stated = page.fractions(tag)
            if stated and not np.allclose(stated, values, atol=0.01 if tag == 529 else 0.5):
                raise _unread(page, Text("YCbCr with unusual coefficients"))


def _values(page: Directory, layout: Layout) -> np.ndarray:
    """Numbers of (height, width, samples), as the file holds them."""
    order, bits = page.order, layout.bits
    planes = layout.samples if layout.is_separate else 1
    interleaved = 1 if layout.is_separate else layout.samples
    (across, down), (width, height) = layout.factors, layout.block
    if layout.factors == (1, 1):
        row_bytes, rows_each = -(-width * interleaved * bits // 8), height
    else:  # each row is of groups: some brightnesses, and the two colours that they share
        row_bytes, rows_each = -(-width // across) * (across * down + 2), -(-height // down)
    per_plane = -(-layout.width // width) * -(-layout.height // height)
    rows = rows_each * per_plane if layout.is_tiled else -(-layout.height // down)
    offsets = page.numbers(324) or page.numbers(273)
    counts = page.numbers(325) or page.numbers(279)
    if len(offsets) < per_plane * planes:
        raise ValueError(f"{len(offsets)} of {per_plane * planes} strips or tiles")
    if len(counts) < len(offsets):  # some old programs do not say how long a single strip is
        counts = [len(page.data)] * len(offsets)
    has_predictor = page.number(317, 1) == 2 and layout.compression != 32773 and layout.compression in LOSSLESS
    found = []
    for plane in range(min(planes, CHANNELS[layout.photometric] + 1)):  # those of further channels are not needed
        part = slice(plane * per_plane, (plane + 1) * per_plane)
        unpacked = _unpacked(page, layout, offsets[part], counts[part], (row_bytes, rows, rows_each))
        if layout.factors != (1, 1):
            values = _ungrouped(unpacked, layout)
        else:
            values = _numbers(unpacked, bits, order, width * interleaved).reshape(rows, width, interleaved)
        if has_predictor:
            if bits not in (8, 16) or layout.factors != (1, 1):
                raise _unread(page, Text("differences between such values"))
            values = np.cumsum(values, axis=1, dtype=values.dtype)
        if layout.is_tiled:
            values = values.reshape(-(-layout.height // height), -1, height, width, values.shape[-1])
            values = values.swapaxes(1, 2).reshape(values.shape[0] * height, -1, values.shape[-1])
        found.append(values[: layout.height, : layout.width])
    return found[0] if planes == 1 else np.concatenate(found, axis=-1)


def _unpacked(
    page: Directory, layout: Layout, offsets: Sequence[int], counts: Sequence[int], shape: tuple[int, int, int]
) -> np.ndarray:
    """The bytes (rows, bytes a row) of strips or tiles below each other.

    To libtiff, which undoes the compression of each, they are a grey picture of 8 bits; so it makes no more of a small
    file than there are pixels.
    """
    row_bytes, rows, rows_each = shape
    if len(offsets) > 1 and rows * row_bytes > MOST_BYTES:
        unpacked, each = np.empty((rows, row_bytes), np.uint8), max(1, MOST_BYTES // (rows_each * row_bytes))
        for i in range(0, len(offsets), each):
            part, above = slice(i, i + each), i * rows_each
            some = unpacked[above : above + each * rows_each]
            some[:] = _unpacked(page, layout, offsets[part], counts[part], (row_bytes, len(some), rows_each))
        return unpacked
    fill = page.number(266, 1)
    if layout.compression == NONE:
        sizes = [min(rows_each, rows - i * rows_each) * row_bytes for i in range(len(offsets))]
        data = b"".join(page.data[start : start + size] for start, size in zip(offsets, sizes, strict=True))
        if len(data) != rows * row_bytes:
            raise ValueError(f"{len(data)} of {rows * row_bytes} bytes")
        unpacked = np.frombuffer(data, np.uint8)
        if fill == 2:
            unpacked = np.packbits(np.unpackbits(unpacked, bitorder="little"))
        return unpacked.reshape(rows, row_bytes)
    tags = {
        256: [row_bytes],
        257: [rows],
        258: [8],
        259: [layout.compression],
        262: [BLACK_IS_ZERO],
        266: [fill],
        273: offsets,
        277: [1],
        278: [rows_each],
        279: _within(page, offsets, counts),
    }
    return np.asarray(_by_pil(_with_tags(page, tags)))


def _within(page: Directory, offsets: Sequence[int], counts: Sequence[int]) -> list[int]:
    """How long strips or tiles are, of which the last may be stated as longer than the file."""
    return [max(0, min(count, len(page.data) - start)) for start, count in zip(offsets, counts, strict=True)]


def _with_tags(page: Directory, tags: dict[int, Sequence[int] | bytes]) -> bytes:
    """The file with one directory, of these tags and no other."""
    order = page.order
    body = page.data[8:] + bytes(len(page.data) % 2)
    place = 8 + len(body)
    after = place + 2 + 12 * len(tags) + 4
    directory, values = struct.pack(order + "H", len(tags)), b""
    for tag in sorted(tags):
        kind, value = OF_STREAMS[tag], tags[tag]
        packed = value if kind == 7 else struct.pack(f"{order}{len(value)}{'H' if kind == 3 else 'I'}", *value)
        field = packed.ljust(4, b"\0")
        if len(packed) > 4:
            field = struct.pack(order + "I", after + len(values))
            values += packed + bytes(len(packed) % 2)
        directory += struct.pack(order + "HHI", tag, kind, len(value)) + field
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, place)
    return header + body + directory + bytes(4) + values


def _by_pil(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=("TIFF",)) as picture:
        picture.load()
        return picture


def _numbers(rows: np.ndarray, bits: int, order: str, many: int) -> np.ndarray:
    """The first ``many`` numbers in each row of bytes."""
    if bits in (8, 16):
        return (
            np.ascontiguousarray(rows)
            .view(np.dtype(f"u{bits // 8}").newbyteorder(order))
            .astype(f"u{bits // 8}", copy=False)
        )
    values = np.empty((len(rows), many), np.uint8 if bits < 8 else np.uint16)
    weights = (1 << np.arange(bits)[::-1]).astype(values.dtype)
    for start in range(0, len(rows), STRIP):
        part = np.unpackbits(rows[start : start + STRIP], axis=1)[:, : many * bits]
        values[start : start + STRIP] = part.reshape(len(part), many, bits) @ weights
    return values


def _ungrouped(rows: np.ndarray, layout: Layout) -> np.ndarray:
    """YCbCr (rows, width, 3) of groups: the brightnesses of a few pixels, then the two colours that they share."""
    across, down = layout.factors
    groups = rows.reshape(len(rows), -1, across * down + 2)
    values = np.empty((len(rows) * down, groups.shape[1] * across, 3), np.uint8)
    bright = groups[..., :-2].reshape(len(rows), -1, down, across)
    values[..., 0] = bright.swapaxes(1, 2).reshape(values.shape[:2])
    values[..., 1:] = groups[..., -2:].repeat(down, axis=0).repeat(across, axis=1)
    if layout.is_tiled:
        return values[:, : layout.block[0]]
    return values


def _picture(values: np.ndarray, page: Directory, layout: Layout) -> Image.Image:
    photometric, channels = layout.photometric, CHANNELS[layout.photometric]
    alpha = values[..., channels] if _has_alpha(page, layout) else None
    values = values[..., :channels]
    if photometric == PALETTE:
        values = _palette(page, layout.bits)[values[..., 0]]
    elif photometric in (CIELAB, ICCLAB):
        return Image.frombytes("LAB", (layout.width, layout.height), _lab(values, layout).tobytes())
    else:
        values = eight_bits(values, layout.bits)
    if photometric == WHITE_IS_ZERO:
        values = 255 - values
    size, mode = (layout.width, layout.height), {1: "L", 3: "RGB", 4: "CMYK"}[values.shape[-1]]
    picture = Image.frombytes("YCbCr" if photometric == YCBCR else mode, size, values.tobytes())
    if photometric == YCBCR:
        picture = picture.convert("RGB")
    if alpha is None or mode == "CMYK":
        return picture
    alpha = eight_bits(alpha, layout.bits)
    if page.number(338, 2) == 1:  # the colours are multiplied with it
        values = np.asarray(picture).reshape(*alpha.shape, -1) * (255 / np.maximum(alpha, 1))[..., None]
        picture = Image.fromarray(values.round().clip(0, 255).astype(np.uint8).squeeze())
    picture.putalpha(Image.fromarray(alpha))
    return picture


def _has_alpha(page: Directory, layout: Layout) -> bool:
    """Whether the first channel beyond the colours is opacity: so it is taken where a file does not say what it is."""
    return layout.samples > CHANNELS[layout.photometric] and page.number(338, 2) != 0


def _palette(page: Directory, bits: int) -> np.ndarray:
    """(2 ** bits, 3) of 8-bit colours."""
    colours = np.array(page.numbers(320)).reshape(3, -1).T
    if len(colours) < 2**bits:
        raise ValueError(f"a palette of {len(colours)} colours")
    if colours.max() < 256:  # by old programs, with 8 bits
        return colours.astype(np.uint8)
    return (colours >> 8).astype(np.uint8)


def _lab(values: np.ndarray, layout: Layout) -> np.ndarray:
    """8-bit L, and a and b as bytes with a sign, as PIL takes them."""
    if layout.bits == 16:
        lightness = (values[..., :1] / 257).round()
        colours = values[..., 1:].view(np.int16) if layout.photometric == CIELAB else values[..., 1:] - 32768.0
        values = np.concatenate([lightness, (colours / 256).round().clip(-128, 127) % 256], axis=-1)
    elif layout.photometric == ICCLAB:
        values = np.concatenate([values[..., :1], values[..., 1:] ^ 128], axis=-1)
    return values.astype(np.uint8)


def _of_stream(page: Directory, layout: Layout) -> Image.Image:
    """JPEG and fax, by PIL, of the layouts that it reads rightly, and without the file's other tags."""
    if layout.compression in FAX:
        is_read = (layout.bits, layout.samples) == (1, 1) and layout.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    else:
        channels = {BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4, YCBCR: 3}.get(layout.photometric, 0)
        is_read = (layout.bits, layout.samples) == (8, channels) and not layout.is_separate
    if not is_read:
        raise _unread(page, Text("its compression with such colours, planes or bits"))
    tags = {tag: page.metadata(tag) if kind == 7 else page.numbers(tag) for tag, kind in OF_STREAMS.items()}
    tags |= {262: [layout.photometric], 277: [layout.samples]}
    for offsets, counts in ((273, 279), (324, 325)):
        if tags[offsets] and len(tags[offsets]) == len(tags[counts]):
            tags[counts] = _within(page, tags[offsets], tags[counts])
    picture = _by_pil(_with_tags(page, {tag: value for tag, value in tags.items() if len(value)}))
    return picture.convert({1: "L", 3: "RGB", 4: "CMYK"}[layout.samples])
