import io
import struct
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from purifier.pictures.files import open_picture
from tests.helpers.pictures import lesion_like

PICTURE = lesion_like(0).crop((0, 0, 96, 70))
PIXELS = np.asarray(PICTURE)
LOSSLESS = ("PNG", "WEBP", "TIFF")
TURNS = {
    1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1), 8: np.rot90,
}  # fmt: skip


def written(picture: Image.Image = PICTURE, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **({"lossless": True} if kind == "WEBP" else {}) | options)
    return file.getvalue()


def read(data: bytes) -> np.ndarray:
    picture = open_picture(data)
    assert picture.mode == "RGB" and not picture.info and not picture.getexif()
    return np.asarray(picture).astype(int)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks: bytes, after: bool = False) -> bytes:
    """A PNG with further chunks before its pixels, or after them."""
    data = written()
    place = len(data) - 12 if after else 33
    return data[:place] + b"".join(chunks) + data[place:]


def raw_png(rows: np.ndarray, depth: int, colour_type: int, *chunks: bytes) -> bytes:
    """Of rows of bytes."""
    header = struct.pack(">IIBBBBB", 96, 70, depth, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def jpeg_with(*segments: tuple[int, bytes], stream: bytes | None = None) -> bytes:
    data = stream or written(kind="JPEG", quality=95)
    made = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return data[:2] + made + data[2:]


def webp_with(exif: bytes = b"", profile: bytes = b"", xmp: bytes = b"") -> bytes:
    return written(kind="WEBP", exif=exif, icc_profile=profile, xmp=xmp)


def oriented(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = number, "A Camera"
    return exif.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_camera_s_orientation_is_applied(kind, orientation):
    options = dict(quality=95, subsampling=0) if kind == "JPEG" else {}
    expected = TURNS[orientation](read(written(kind=kind, **options)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    for block in (exif, exif.tobytes()) if kind != "TIFF" else (exif,):
        assert np.array_equal(read(written(kind=kind, exif=block, **options)), expected)


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_xmp_tells_the_orientation_where_exif_does_not(kind):
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", XMP.decode(), zip=True)
    options = {
        "JPEG": dict(xmp=XMP, quality=95),
        "PNG": dict(pnginfo=info),
        "WEBP": dict(xmp=XMP),
        "TIFF": dict(tiffinfo={700: XMP}),
    }[kind]
    plain = read(written(kind=kind, **dict(quality=95) if kind == "JPEG" else {}))
    assert np.array_equal(read(written(kind=kind, **options)), TURNS[6](plain))
    if kind not in ("PNG", "TIFF"):
        assert np.array_equal(read(written(kind=kind, exif=oriented(3), **options)), TURNS[3](plain))


def test_exif_as_imagemagick_writes_it_is_applied():
    block = b"Exif\0\0" + oriented(6)[6:]
    text = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n%8d\n" % len(block) + block.hex().encode())
    assert np.array_equal(read(png_with(chunk(b"zTXt", text))), TURNS[6](PIXELS))


NONSENSE = {
    "no TIFF": b"this is no TIFF",
    "empty": b"",
    "header alone": b"II*\0",
    "outside": b"II*\0\xff\xff\xff\x7f",
    "many entries": b"II*\0\x08\0\0\0\xff\xff" + bytes(20),
    "cut off": oriented(6)[6:20],
    "value outside": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\xff\xff\0\xff\xff\xff\0\0\0\0",
    "loop": b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0",
    "orientation 77": oriented(77)[6:],
    "orientation 0": oriented(0)[6:],
    "orientation of letters": b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0six\0\0\0\0\0",
    "of no number": b"II*\0\x08\0\0\0\x01\0\x12\x01\x05\0\x01\0\0\0\x1a\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0",
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("nonsense", NONSENSE)
def test_broken_exif_is_passed_over(kind, nonsense):
    block = NONSENSE[nonsense]
    data = {
        "JPEG": jpeg_with((0xE1, b"Exif\0\0" + block)),
        "PNG": png_with(chunk(b"eXIf", block)),
        "WEBP": webp_with(exif=b"Exif\0\0" + block),
    }[kind]
    expected = read(written(kind="JPEG", quality=95)) if kind == "JPEG" else PIXELS
    assert np.array_equal(read(data), expected)
    if kind == "PNG":
        assert np.array_equal(read(png_with(chunk(b"eXIf", block), after=True)), PIXELS)


def test_a_sound_orientation_beside_broken_blocks_is_applied():
    """A camera's maker notes or position lie outside of the file."""
    entries = [(0x0112, 3, 1, 6), (0x8769, 4, 1, 10**9), (0x8825, 4, 1, 10**9)]
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 3) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    assert np.array_equal(read(png_with(chunk(b"eXIf", block + bytes(4)))), TURNS[6](PIXELS))


LARGE = bytes(np.random.default_rng(0).integers(32, 127, 3_000_000).astype(np.uint8))
METADATA = {
    "text": chunk(b"tEXt", b"Comment\0" + LARGE),
    "zTXt": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LARGE, 1)),
    "iTXt": chunk(b"iTXt", b"Comment\0\0\0\0\0" + LARGE),
    "packed iTXt": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LARGE, 1)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + LARGE),
    "iCCP": chunk(b"iCCP", b"large\0\0" + zlib.compress(LARGE, 1)),
    "EXIF": chunk(b"eXIf", LARGE),
    "private": chunk(b"prVt", LARGE),
    "much text": chunk(b"tEXt", b"Comment\0" + LARGE) * 22,
    "text without end of keyword": chunk(b"tEXt", b"x" * 100),
    "method": chunk(b"zTXt", b"Comment\0\7x"),
    "profile's method": chunk(b"iCCP", b"name\0\7x"),
    "profile without name": chunk(b"iCCP", b""),
    "broken profile": chunk(b"iCCP", b"name\0\0no zlib"),
    "sRGB": chunk(b"sRGB", b""),
    "pHYs": chunk(b"pHYs", b"abc"),
    "cHRM": chunk(b"cHRM", b"abc"),
    "gAMA": chunk(b"gAMA", b"a"),
    "tRNS": chunk(b"tRNS", b"a"),
    "animation": chunk(b"acTL", struct.pack(">II", 0, 0)),
    "short animation": chunk(b"acTL", b"abc"),
    "animation of one": chunk(b"acTL", struct.pack(">II", 1, 0)),
    "frame": chunk(b"fcTL", bytes(7)),
    "checksum": chunk(b"tEXt", b"Comment\0text")[:-4] + b"abcd",
    "EXIF's checksum": chunk(b"eXIf", oriented(6)[6:])[:-4] + b"abcd",
    "private checksum": chunk(b"prVt", b"text")[:-4] + b"abcd",
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("kind", METADATA)
def test_odd_metadata_of_png_is_passed_over(kind, after):
    assert np.array_equal(read(png_with(METADATA[kind], after=after)), PIXELS)


def test_animations_are_still_refused():
    file = io.BytesIO()
    PICTURE.save(file, "PNG", save_all=True, append_images=[lesion_like(1).crop((0, 0, 96, 70))])
    with pytest.raises(ValueError, match="holds 2 pictures"):
        open_picture(file.getvalue())


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"Raw profile type exif"])
def test_no_bomb_in_metadata_is_unpacked(kind):
    bomb = zlib.compress(bytes(100_000_000), 1)
    data = png_with(
        {
            b"zTXt": chunk(b"zTXt", b"Comment\0\0" + bomb),
            b"iTXt": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + bomb),
            b"iCCP": chunk(b"iCCP", b"name\0\0" + bomb),
        }.get(kind, chunk(b"zTXt", kind + b"\0\0" + bomb))
    )
    tracemalloc.start()
    assert np.array_equal(read(data), PIXELS)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 60_000_000


SEGMENTS = {
    "short JFIF": [(0xE0, b"JFIF\0")],
    "JFXX": [(0xE0, b"JFXX\0\x10")],
    "no density": [(0xE0, b"JFIF\0\1\1\7\0\0\0\0\xff\xff")],
    "short profile": [(0xE2, b"ICC_PROFILE\0")],
    "half a profile": [(0xE2, b"ICC_PROFILE\0\1\2abc")],
    "part 0": [(0xE2, b"ICC_PROFILE\0\0\0abc")],
    "MPF": [(0xE2, b"MPF\0nonsense")],
    "Photoshop": [(0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff\xff\xff\xff")],
    "short Adobe": [(0xEE, b"Adobe")],
    "FlashPix": [(0xE2, b"FPXR\0")],
    "empty": [(marker, b"") for marker in (*range(0xE0, 0xF0), 0xFE)],
    "much": [(0xE5, bytes(65000))] * 50,
    "comment": [(0xFE, b"\xff\xd9\xff\xd8\xff\xda")],
}


@pytest.mark.parametrize("kind", SEGMENTS)
def test_odd_metadata_of_jpeg_is_passed_over(kind):
    assert np.array_equal(read(jpeg_with(*SEGMENTS[kind])), read(written(kind="JPEG", quality=95)))


def test_the_colours_of_jpeg_are_what_opencv_sees():
    """With JFIF's mark, with Adobe's, with neither; RGB, grey, CMYK and YCCK; progressive."""
    adobe = b"Adobe" + bytes([0, 100, 0, 0, 0, 0])
    plain = written(kind="JPEG", quality=95)
    unmarked = plain[:2] + plain[20:]
    cmyk = PICTURE.convert("CMYK")
    streams = [
        plain,
        unmarked,
        jpeg_with((0xEE, adobe + b"\1"), stream=unmarked),
        jpeg_with((0xEE, adobe + b"\0"), stream=unmarked),
        written(kind="JPEG", keep_rgb=True),
        written(PICTURE.convert("L"), "JPEG"),
        written(kind="JPEG", progressive=True),
        written(cmyk, "JPEG"),
    ]
    place = streams[-1].index(b"\xff\xee")
    streams.append(streams[-1][:place] + streams[-1][place + 16 :])
    streams.append(streams[-2][: place + 15] + b"\2" + streams[-2][place + 16 :])
    for stream in streams:
        oracle = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(read(stream) - oracle).mean() < 1.5, streams.index(stream)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (b"\xff\xc1\0\x11\x0c", r"JPEG picture is unusual \(12 bits, 3 channels\)"),
        (b"\xff\xc3\0\x11\x08", r"JPEG picture is lossless \(8 bits, 3 channels\)"),
        (b"\xff\xc5\0\x11\x08", r"JPEG picture is hierarchical \(8 bits, 3 channels\)"),
    ],
)
def test_jpegs_that_are_not_read_are_named(frame, message):
    with pytest.raises(ValueError, match=message):
        open_picture(written(kind="JPEG").replace(b"\xff\xc0\0\x11\x08", frame))


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour_type", [0, 2, 4, 6])
def test_png_of_every_depth_is_what_opencv_sees(depth, colour_type):
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    values = np.random.default_rng(0).integers(0, 2**depth, (70, 96, channels)).astype(f">u{depth // 8}")
    data = raw_png(values, depth, colour_type)
    oracle = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED).reshape(70, 96, -1) / (2**depth - 1)
    share = oracle[..., 3:] if channels in (2, 4) else 1
    expected = (oracle[..., [2, 1, 0]] if channels > 1 else oracle) * share + (1 - share)
    assert np.abs(read(data) - expected * 255).max() <= (0.51 if channels in (1, 3) else 1.5)


@pytest.mark.parametrize(("depth", "colour_type"), [(1, 0), (2, 0), (4, 0), (8, 0), (16, 0), (8, 2), (16, 2)])
def test_one_colour_may_be_transparent(depth, colour_type):
    generator, channels = np.random.default_rng(0), 3 if colour_type else 1
    values = generator.integers(0, 2**depth, (70, 96, channels)).astype(np.uint16)
    values[:20] = values[0, 0]
    if depth < 8:
        bits = (values >> np.arange(depth)[::-1] & 1).astype(np.uint8)
        rows = np.packbits(bits.reshape(70, -1), axis=1)
    else:
        rows = values.astype(f">u{depth // 8}")
    found = read(raw_png(rows, depth, colour_type, chunk(b"tRNS", values[0, 0].astype(">u2").tobytes())))
    is_key = (values == values[0, 0]).all(axis=-1, keepdims=True)
    expected = np.where(is_key, 255, np.round(values * (255 / (2**depth - 1))))
    assert np.array_equal(found, np.broadcast_to(expected, (70, 96, 3)))


def test_a_file_of_gigabytes_is_not_read(tmp_path):
    path = tmp_path / "large.tif"
    path.write_bytes(b"II*\0")
    with path.open("r+b") as file:
        file.truncate(1_500_000_000)  # a hole, which takes no room
    with pytest.raises(ValueError, match="has 1500 MB; at most 1000 MB"):
        open_picture(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damage_in_metadata_does_not_touch_the_pixels(kind):
    """But for where a part's length is: then what follows is not to be found."""
    exif, profile = oriented(1) + bytes(100), bytes(200)
    whole = written(kind=kind, exif=exif, icc_profile=profile, **dict(quality=95) if kind == "JPEG" else {})
    plain, generator = read(whole), np.random.default_rng(0)
    start = whole.index(b"A Camera") - 20
    for _ in range(100):
        damaged = bytearray(whole)
        for place in generator.integers(start, start + 100, size=8):
            damaged[place] = generator.integers(256)
        found = read(bytes(damaged))
        assert found.shape != plain.shape or any(np.array_equal(found, turn(plain)) for turn in TURNS.values())
