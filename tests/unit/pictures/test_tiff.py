import io
import itertools
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from purifier.pictures.files import open_picture
from tests.helpers.pictures import lesion_like

HEIGHT, WIDTH = 77, 101  # no multiples of strips, tiles or bytes
GENERATOR = np.random.default_rng(0)
PICTURE = lesion_like(0, 112).crop((0, 0, WIDTH, HEIGHT))
PIXELS = np.asarray(PICTURE)
LONGS = (256, 257, 273, 278, 279, 322, 323, 324, 325, 330)
RAW, LZW, JPEG, DEFLATE, PACKBITS, ZSTD = 1, 5, 7, 8, 32773, 50000


def tiff(*pages: dict, order: str = "<", wide: bool = False) -> bytes:
    """A file of pages: tags with their numbers (bytes for ``UNDEFINED``), and under "blocks" the strips or tiles."""
    place = 16 if wide else 8
    data = (b"II" if order == "<" else b"MM") + struct.pack(
        order + ("HHHQ" if wide else "HI"), *((43, 8, 0, 0) if wide else (42, 0))
    )
    link = place - (8 if wide else 4)  # where the next directory's place is written
    offset, count, entry = ("Q", "Q", "HHQ") if wide else ("I", "H", "HHI")
    for page in pages:
        tags = {tag: [value] if isinstance(value, int) else value for tag, value in page.items()}
        if "blocks" in tags:
            blocks = tags.pop("blocks")
            starts = np.cumsum([len(data), *map(len, blocks)]).tolist()
            data += b"".join(blocks) + bytes(sum(map(len, blocks)) % 2)
            tags |= dict(
                zip((324, 325) if 322 in tags else (273, 279), (starts[:-1], list(map(len, blocks))), strict=True)
            )
        directory = struct.pack(order + count, len(tags))
        for tag in sorted(tags):
            value = tags[tag]
            kind = 7 if isinstance(value, bytes) else 4 if tag in LONGS else 3
            packed = value if kind == 7 else struct.pack(f"{order}{len(value)}{'I' if kind == 4 else 'H'}", *value)
            field = packed.ljust(struct.calcsize(order + offset), b"\0")
            if len(packed) > struct.calcsize(order + offset):
                field, data = struct.pack(order + offset, len(data)), data + packed + bytes(len(packed) % 2)
            directory += struct.pack(order + entry, tag, kind, len(value)) + field
        data = data[:link] + struct.pack(order + offset, len(data)) + data[link + struct.calcsize(order + offset) :]
        link, data = len(data) + len(directory), data + directory + bytes(struct.calcsize(order + offset))
    return data


def packed(values: np.ndarray, bits: int, order: str = "<") -> bytes:
    """Rows of numbers, each of so many bits; every row begins a byte."""
    if bits % 8 == 0:
        return values.astype(f"{order}u{bits // 8}").tobytes()
    rows = values.reshape(len(values), -1, 1)
    return np.packbits((rows >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(len(rows), -1), axis=1).tobytes()


def page(values: np.ndarray, bits: int = 8, order: str = "<", **changes: object) -> dict:
    """One strip of (height, width, channels)."""
    channels = values.shape[2]
    tags = {
        256: values.shape[1],
        257: values.shape[0],
        258: [bits] * channels,
        259: RAW,
        262: 2 if channels > 2 else 1,
        277: channels,
        278: values.shape[0],
        "blocks": [packed(values, bits, order)],
    }
    return tags | {int(name[1:]) if name != "blocks" else name: value for name, value in changes.items()}


def read(data: bytes) -> np.ndarray:
    picture = open_picture(data)
    assert picture.mode == "RGB" and not picture.info
    return np.asarray(picture).astype(int)


def random(bits: int, channels: int) -> np.ndarray:
    return GENERATOR.integers(0, 2**bits, (HEIGHT, WIDTH, channels))


def eight_bits(values: np.ndarray, bits: int) -> np.ndarray:
    return np.round(values * (255 / (2**bits - 1))).astype(int)


def cut(values: np.ndarray, width: int, height: int) -> list[np.ndarray]:
    """Tiles, the last ones filled up."""
    filled = np.pad(values, ((0, -HEIGHT % height), (0, -WIDTH % width), (0, 0)))
    places = itertools.product(range(0, HEIGHT, height), range(0, WIDTH, width))
    return [filled[y : y + height, x : x + width] for y, x in places]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("order", "<>")
def test_every_layout_gives_what_was_written(bits, order):
    """Channels together and in planes, strips and tiles, compressed and not, classic and BigTIFF."""
    for channels, planar, tiled, compression in itertools.product((1, 3), (1, 2), (False, True), (RAW, DEFLATE)):
        values = random(bits, channels)
        planes = [values] if planar == 1 else [values[..., i : i + 1] for i in range(channels)]
        if tiled:
            shape = {322: 48, 323: 32}
            blocks = [packed(tile, bits, order) for plane in planes for tile in cut(plane, 48, 32)]
        else:
            shape = {278: 20}
            blocks = [packed(plane[y : y + 20], bits, order) for plane in planes for y in range(0, HEIGHT, 20)]
        if compression == DEFLATE:
            blocks = [zlib.compress(block, 1) for block in blocks]
        tags = page(values, bits) | {259: compression, 284: planar, "blocks": blocks}
        data = tiff({tag: value for tag, value in tags.items() if tag != 278} | shape, order=order, wide=tiled)
        expected = np.broadcast_to(eight_bits(values, bits), (HEIGHT, WIDTH, 3))
        assert np.array_equal(read(data), expected), (channels, planar, tiled, compression)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("compression", [LZW, DEFLATE, PACKBITS])
def test_what_opencv_writes_is_read_as_opencv_reads_it(bits, predictor, compression):
    values = random(bits, 3).astype(f"u{bits // 8}")
    settings = [cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    data = cv2.imencode(".tif", values, settings)[1]
    again = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    assert np.array_equal(again, values)
    assert np.array_equal(read(data.tobytes()), eight_bits(again[..., ::-1], bits))


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", "<>")
def test_what_tifffile_writes_is_read_as_tifffile_reads_it(planar, order):
    tifffile = pytest.importorskip("tifffile")
    for bits, tile in itertools.product((8, 16), (None, (16, 32))):
        values, file = random(bits, 3).astype(f"u{bits // 8}"), io.BytesIO()
        stored = values if planar == "contig" else np.moveaxis(values, -1, 0)
        tifffile.imwrite(
            file, stored, byteorder=order, photometric="rgb", planarconfig=planar, tile=tile, metadata=None
        )
        assert np.array_equal(tifffile.imread(io.BytesIO(file.getvalue())), stored)
        assert np.array_equal(read(file.getvalue()), eight_bits(values, bits))


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "LAB"])
def test_what_pil_writes_is_read_as_it_was(compression, mode):
    if mode == "LAB":
        spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(PICTURE, *spaces, outputMode="LAB")
    else:
        picture = PICTURE.convert(mode)
    file = io.BytesIO()
    picture.save(file, "TIFF", compression=compression)
    assert np.array_equal(read(file.getvalue()), np.asarray(picture.convert("RGB")))
    if mode == "LAB":
        assert np.abs(read(file.getvalue()) - PIXELS).mean() < 1.5


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
@pytest.mark.parametrize("photometric", [0, 1])
def test_fax_is_read(compression, photometric):
    file, picture = io.BytesIO(), PICTURE.convert("1")
    picture.save(file, "TIFF", compression=compression, tiffinfo={262: photometric})
    assert np.array_equal(read(file.getvalue()), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
def test_jpeg_in_tiff_is_read(mode):
    file = io.BytesIO()
    PICTURE.convert(mode).save(file, "TIFF", compression="jpeg", quality=95)
    expected = np.asarray(PICTURE.convert(mode).convert("RGB"))
    assert np.abs(read(file.getvalue()) - expected).mean() < 3
    if mode != "CMYK":
        oracle = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(read(file.getvalue()) - oracle).mean() < 1


@pytest.mark.parametrize("bits", [1, 4, 8, 12, 16])
@pytest.mark.parametrize("order", "<>")
def test_white_is_zero_is_inverted(bits, order):
    values = random(bits, 1)
    expected = np.broadcast_to(255 - eight_bits(values, bits), (HEIGHT, WIDTH, 3))
    assert np.array_equal(read(tiff(page(values, bits, order, _262=0), order=order)), expected)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("scale", [257, 256, 1])
def test_a_palette_is_applied(bits, scale):
    """Of 16 bits a colour; old programs wrote 8."""
    colours, values = GENERATOR.integers(0, 256, (2**bits, 3)), random(bits, 1)
    colours[0, 0] = 255
    data = tiff(page(values, bits, _262=3, _320=(colours.T * scale).ravel().tolist()))
    assert np.array_equal(read(data), colours[values[..., 0]])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", [0, 1, 2, None])
def test_further_channels_are_what_the_file_says(bits, channels, kind):
    """Nothing, opacity that the colours are multiplied with, opacity, and opacity too where nothing is said."""
    most = 2**bits - 1
    values, alpha = random(bits, channels), GENERATOR.integers(0, most + 1, (HEIGHT, WIDTH, 1))
    stored = np.round(values * (alpha / most)).astype(int) if kind == 1 else values
    photometric = 2 if channels == 3 else 1
    tags = page(np.concatenate([stored, alpha], axis=-1), bits, _262=photometric, _338=kind)
    share = 1 if kind == 0 else alpha / most
    expected = np.broadcast_to((values * share + most * (1 - share)) * (255 / most), (HEIGHT, WIDTH, 3))
    found = read(tiff({tag: value for tag, value in tags.items() if value is not None}))
    assert np.abs(found - expected).max() <= 2


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [8, 9])
def test_cielab_is_converted(bits, photometric):
    """L, and a and b with a sign (8) or an offset (9)."""
    spaces = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    lab = ImageCms.profileToProfile(PICTURE, *spaces, outputMode="LAB")
    oracle = np.asarray(ImageCms.profileToProfile(lab, *spaces[::-1], outputMode="RGB"))
    scale = np.int64(2 ** (bits - 8))
    lightness, *colours = np.moveaxis(np.asarray(lab), -1, 0)
    values = np.dstack([lightness * np.int64(257 if bits == 16 else 1), *(c.astype(np.int8) * scale for c in colours)])
    values[..., 1:] = values[..., 1:] % 2**bits if photometric == 8 else values[..., 1:] + 2 ** (bits - 1)
    assert np.abs(read(tiff(page(values, bits, _262=photometric))) - oracle).max() <= 1
    assert np.abs(oracle - PIXELS.astype(int)).mean() < 1.5


@pytest.mark.parametrize("factors", [(1, 1), (2, 1), (2, 2), (4, 2), (1, 2)])
@pytest.mark.parametrize("compression", [RAW, DEFLATE])
def test_ycbcr_without_jpeg_is_converted(factors, compression):
    across, down = factors
    ybr = np.asarray(PICTURE.resize((112, 80)).convert("YCbCr"))
    bright = ybr[..., 0].reshape(80 // down, down, 112 // across, across).swapaxes(1, 2)
    colours = ybr[::down, ::across, 1:]
    groups = np.concatenate([bright.reshape(*colours.shape[:2], -1), colours], axis=-1)
    block = groups.tobytes() if compression == RAW else zlib.compress(groups.tobytes())
    data = tiff(page(ybr, _262=6, _259=compression, _530=list(factors), blocks=[block]))
    ybr = np.dstack([ybr[..., 0], colours.repeat(down, axis=0).repeat(across, axis=1)])
    assert np.array_equal(read(data), np.asarray(Image.fromarray(ybr, "YCbCr").convert("RGB")))
    oracle = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(read(data) - oracle).max() <= 1


@pytest.mark.parametrize("compression", [RAW, DEFLATE])
def test_bits_may_be_in_the_other_order(compression):
    data = PIXELS.tobytes() if compression == RAW else zlib.compress(PIXELS.tobytes())
    turned = np.packbits(np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")).tobytes()
    assert np.array_equal(read(tiff(page(PIXELS, _266=2, _259=compression, blocks=[turned]))), PIXELS)


@pytest.mark.parametrize("orientation", range(10))
def test_the_orientation_is_applied(orientation):
    found = read(tiff(page(PIXELS, _274=orientation)))
    turned = {
        2: PIXELS[:, ::-1],
        3: PIXELS[::-1, ::-1],
        4: PIXELS[::-1],
        5: PIXELS.swapaxes(0, 1),
        6: np.rot90(PIXELS, -1),
        7: np.rot90(PIXELS, 2).swapaxes(0, 1),
        8: np.rot90(PIXELS),
    }
    assert np.array_equal(found, turned.get(orientation, PIXELS))


BROKEN = {  # tags of metadata that lie outside of the file, or hold nonsense
    "EXIF": {34665: b"\xff\xff\xff\xff"},
    "GPS": {34853: b"\xff\xff\xff\x7f"},
    "profile": {34675: b"no profile at all"},
    "XMP": {700: b"<x:xmpmeta tiff:Orientation='nine"},
    "resolution": {282: [0, 0], 283: [0, 0], 296: 77},
    "Photoshop": {34377: b"8BIM\xff\xff\xff\xff\xff"},
    "dates": {306: [1, 2, 3]},
    "thumbnail": {330: [10**9]},
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_metadata_is_passed_over(kind):
    assert np.array_equal(read(tiff(page(PIXELS) | BROKEN[kind])), PIXELS)


@pytest.mark.parametrize("tag", [34675, 700, 274, 306, 34665])
def test_metadata_outside_of_the_file_is_passed_over(tag):
    data = tiff(page(PIXELS) | {tag: bytes(10)})
    entry = data.index(struct.pack("<HHI", tag, 7, 10))
    assert np.array_equal(read(data[: entry + 8] + b"\xff\xff\xff\x7f" + data[entry + 12 :]), PIXELS)


def test_a_thumbnail_or_mask_is_no_second_picture():
    small = page(PIXELS[:64, :64], _254=1)
    mask = page(random(1, 1), 1, _254=4, _262=4)
    for pages in ([page(PIXELS), small], [small, page(PIXELS)], [page(PIXELS), mask]):
        assert np.array_equal(read(tiff(*pages)), PIXELS)
    assert np.array_equal(read(tiff(page(PIXELS, _254=1))), PIXELS)  # where there is no other
    with pytest.raises(ValueError, match="holds 2 pictures"):
        read(tiff(page(PIXELS), page(PIXELS)))


def test_a_picture_below_its_thumbnail_is_found():
    inner = tiff(page(PIXELS))
    place = struct.unpack_from("<I", inner, 4)[0]
    data = tiff(page(PIXELS[:64, :64], _254=1) | {330: [0]})
    entry = data.index(struct.pack("<HHI", 330, 4, 1))
    shift = len(data)
    tags = bytearray(inner)
    for i in range(struct.unpack_from("<H", inner, place)[0]):
        tag, _, count, value = struct.unpack_from("<HHII", inner, place + 2 + 12 * i)
        if tag in (273, 258):
            struct.pack_into("<I", tags, place + 2 + 12 * i + 8, value + shift)
    data = data[: entry + 8] + struct.pack("<I", place + shift) + data[entry + 12 :] + bytes(tags)
    assert np.array_equal(read(data), PIXELS)


FLOATS = PIXELS.astype("<f4") / 255
REFUSED = {
    "float RGB": (lambda: page(FLOATS.view("<u4"), 32, _339=[3] * 3), "32-bit floating-point"),
    "float of 16 bits": (lambda: page(PIXELS, 16, _339=[3] * 3), "16-bit floating-point values, of unknown range"),
    "double": (lambda: page(FLOATS.astype("<f8"), 64, _339=[3] * 3), "64-bit floating-point"),
    "32 bits": (lambda: page(PIXELS, 32), "holds 32-bit values, of unknown range"),
    "signed": (lambda: page(PIXELS[..., :1], _339=2), "holds signed values"),
    "signed 16 bits": (lambda: page(PIXELS, 16, _339=[2] * 3), "holds signed values"),
    "complex": (lambda: page(FLOATS.astype("<c8").view("<u8"), 64, _339=[6] * 3), "complex numbers"),
    "565": (lambda: page(PIXELS, _258=[5, 6, 5]), "channels of different sizes .3 channels of 5, 6, 5 bits"),
    "two channels of RGB": (lambda: page(PIXELS[..., :2], _262=2), "too few channels .* .2 channels of 8, 8 bits"),
    "raw camera": (lambda: page(PIXELS[..., :1], _262=32803), "coded as a camera's raw values"),
    "LogLuv": (lambda: page(PIXELS, _262=32845), "coded as LogLuv"),
    "unknown colours": (lambda: page(PIXELS, _262=77), "coded as number 77"),
    "inks": (lambda: page(random(8, 4), _262=5, _332=2), "coded as other inks"),
    "JPEG 2000": (lambda: page(PIXELS, _259=34712), "compression is JPEG 2000"),
    "unknown compression": (lambda: page(PIXELS, _259=77), "compression is number 77"),
    "JPEG of 12 bits": (lambda: page(PIXELS, 12, _259=JPEG), "its compression with such colours, planes or bits"),
    "JPEG in planes": (lambda: page(PIXELS, _259=JPEG, _284=2), "its compression with such colours, planes or bits"),
    "YCbCr in planes": (lambda: page(PIXELS, _262=6, _284=2, _530=[2, 2]), "colours that several pixels share"),
    "CIELab of 4 bits": (lambda: page(random(4, 3), 4, _262=8), "CIELab of these bits"),
    "differences of 12 bits": (
        lambda: page(PIXELS, 12, _259=DEFLATE, _317=2, blocks=[zlib.compress(packed(PIXELS, 12))]), "differences bet",
    ),
    "no strips": (lambda: page(PIXELS, blocks=[]), "damaged or cut off"),
    "short strip": (lambda: page(PIXELS, blocks=[PIXELS.tobytes()[:-1000]]), "damaged or cut off"),
    "no palette": (lambda: page(PIXELS[..., :1], _262=3), "damaged or cut off"),
    "small": (lambda: page(PIXELS[:63]), "101 x 63 pixels; each side must have at least 64"),
    "large": (lambda: page(PIXELS) | {256: 10000, 257: 5001}, "10000 x 5001 pixels; at most 50 megapixels"),
}  # fmt: skip


@pytest.mark.parametrize(("tags", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_read_is_refused_by_name(tags, message):
    with pytest.raises(ValueError, match=message):
        open_picture(tiff(tags()))


@pytest.mark.parametrize("compression", [RAW, LZW, DEFLATE, PACKBITS, ZSTD])
@pytest.mark.parametrize(
    "changes",
    [{}, {322: 2**20, 323: 2**20}, {322: 2**27, 323: 1}, {278: 2**32 - 1}, {277: 60000}, {284: 2, 277: 60000}],
)
def test_claims_of_gigabytes_take_no_memory(compression, changes):
    tags = page(PIXELS[..., :1], _259=compression, blocks=[bytes(100)]) | {256: 7000, 257: 7000} | changes
    data = tiff(tags)
    tracemalloc.start()
    with pytest.raises(ValueError, match="TIFF|damaged"):
        open_picture(data)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 300_000_000


def test_no_more_is_inflated_than_there_are_pixels():
    bomb = zlib.compress(bytes(50_000_000), 1)
    data = tiff(page(np.zeros((HEIGHT, WIDTH, 3), int), _259=DEFLATE, blocks=[bomb]))
    tracemalloc.start()
    assert not read(data).any()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5_000_000


@pytest.mark.parametrize("kind", ["lzw", "tiles", "jpeg", "palette"])
def test_damaged_files_are_read_or_refused_and_nothing_else(kind):
    file = io.BytesIO()
    if kind in ("lzw", "jpeg"):
        PICTURE.save(file, "TIFF", compression={"lzw": "tiff_lzw"}.get(kind, kind))
    whole = file.getvalue() or tiff(
        page(PIXELS, _322=32, _323=32, blocks=[packed(tile, 8) for tile in cut(PIXELS, 32, 32)])
        if kind == "tiles"
        else page(PIXELS[..., :1], _262=3, _320=list(range(0, 65536, 86))[:768])
    )
    generator = np.random.default_rng(0)
    start = struct.unpack_from("<I", whole, 4)[0]
    for i in range(60):
        damaged = bytearray(whole)
        places = range(8) if i % 10 == 0 else range(start, min(start + 200, len(whole))) if i % 2 else range(len(whole))
        for place in generator.choice(places, size=4):
            damaged[place] = generator.integers(256)
        try:
            assert open_picture(bytes(damaged)).mode == "RGB"
        except ValueError:
            pass
