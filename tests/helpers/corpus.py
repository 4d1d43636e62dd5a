"""Files that strangers may upload, made at test time, each with what must come of it.

``python -m tests.helpers.corpus FOLDER`` writes them there, if need be, and says what ``read_image`` makes of each.
"""

import functools
import io
import json
import os
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, PngImagePlugin
from pydicom import uid
from pydicom.encaps import encapsulate

from purifier.pictures.files import read_image
from tests.helpers.dicom import PIXELS, dicom, encapsulated, jpeg
from tests.helpers.pictures import lesion_like

PICTURE = lesion_like(0).crop((0, 0, 96, 70))
MOST_DATA = 1_100_000_000  # bytes, beside what the process has before
READ = ""  # in place of a refusal
CUT = r"damaged or cut off and cannot be read \(.+\)\."
NOTHING = "This is not a picture that can be read"
DICOM_CUT = "The DICOM file is damaged or cut off"
LARGE, SMALL = "at most 50 megapixels", "each side must have at least 64"
MANY = r"holds (\d+) pictures"


@dataclass(frozen=True)
class Case:
    """A file, and a pattern of the words that refuse it; ``READ`` for one that is read."""

    name: str
    make: Callable[[], bytes]
    says: str = READ


def written(kind: str, picture: Image.Image = PICTURE, **options: object) -> bytes:
    """``picture`` as PIL writes it."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: int | None = None, more: bytes = b"") -> bytes:
    """A black PNG, of which only ``rows`` rows are there; ``more`` chunks before them."""
    row = 1 + -(-width * depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour] // 8)
    packer, left, data = zlib.compressobj(9), row * (height if rows is None else rows), b""
    while left > 0:
        data += packer.compress(bytes(min(left, 2**24)))
        left -= 2**24
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + more + chunk(b"IDAT", data + packer.flush()) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def with_chunks(*chunks: bytes) -> bytes:
    """The picture as PNG, with chunks before its pixels."""
    data = written("PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def with_segment(marker: int, body: bytes) -> bytes:
    """The picture as JPEG, with a segment at its beginning."""
    data = written("JPEG")
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body + data[2:]


def exif(**entries: object) -> bytes:
    """With orientation 6, a place, and ``entries`` besides."""
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010F] = entries.get("camera", "Camera of Erika Mustermann")
    tags.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return tags.tobytes()


def tiff(blocks: list[bytes], width: int = 96, height: int = 70, **changes: object) -> bytes:
    """One page of RGB in strips; ``changes`` are tags as ``t258=[8]``, a number or bytes."""
    body, starts = b"", []
    for block in blocks:
        starts.append(8 + len(body))
        body += block + bytes(len(block) % 2)
    tags = {
        256: [width], 257: [height], 258: [8, 8, 8], 259: [1], 262: [2], 273: starts, 277: [3], 278: [height],
        279: [len(block) for block in blocks],
    }  # fmt: skip
    tags |= {int(name[1:]): value for name, value in changes.items()}
    place, values = 8 + len(body), b""
    after = place + 2 + 12 * len(tags) + 4
    directory = struct.pack("<H", len(tags))
    for tag, value in sorted(tags.items()):
        kind = 7 if isinstance(value, bytes) else 4
        packed = value if kind == 7 else struct.pack(f"<{len(value)}I", *value)
        field = packed.ljust(4, b"\0")
        if len(packed) > 4:
            field, values = struct.pack("<I", after + len(values)), values + packed + bytes(len(packed) % 2)
        directory += struct.pack("<HHI", tag, kind, len(value)) + field
    return b"II" + struct.pack("<HI", 42, place) + body + directory + bytes(4) + values


def deep_tiff(side: int) -> bytes:
    """RGBA of 16 bits, in deflated strips."""
    strip, rows = zeros(64 * side * 8), -(-side // 64)
    return tiff([strip] * rows, side, side, t258=[16] * 4, t259=[8], t277=[4], t278=[64], t338=[2])


def floats(value: float) -> bytes:
    """A TIFF of 32-bit floats, all of them ``value``."""
    pixels = np.full((70, 96, 3), value, np.float32).tobytes()
    return tiff([pixels], t258=[32, 32, 32], t339=[3, 3, 3])


def zeros(count: int) -> bytes:
    """Deflated."""
    packer, data = zlib.compressobj(9), b""
    for start in range(0, count, 2**24):
        data += packer.compress(bytes(min(2**24, count - start)))
    return data + packer.flush()


def animation(kind: str) -> bytes:
    """Of three pictures."""
    frames = [lesion_like(seed) for seed in range(3)]
    return written(kind, frames[0], save_all=True, append_images=frames[1:], duration=100)


def pages(*sizes: int) -> bytes:
    """A TIFF of several pictures."""
    first, *others = (lesion_like(0, size) for size in sizes)
    return written("TIFF", first, save_all=True, append_images=others)


def archive() -> bytes:
    """A zip archive that holds the picture."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr("a.png", written("PNG"))
    return file.getvalue()


def bmp_of(width: int, height: int, bits: int = 24, compression: int = 0, body: bytes = b"") -> bytes:
    """A BMP whose header claims this."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(body), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + header + body


def webp_of(width: int, height: int, name: bytes = b"VP8L") -> bytes:
    """A WebP's header, by default of a lossless one, and little behind it."""
    if name == b"VP8L":
        body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14)
    elif name == b"VP8 ":
        body = b"\x10\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height)
    else:
        body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def jpeg_of(width: int, height: int, marker: int = 0xC0, bits: int = 8) -> bytes:
    """The picture as JPEG, of which the frame says something else."""
    data = bytearray(written("JPEG"))
    place = data.index(b"\xff\xc0")
    data[place + 1], data[place + 4] = marker, bits
    data[place + 5 : place + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def many_scans() -> bytes:
    """A progressive JPEG of 3000 x 3000 pixels that refines one coefficient again and again."""
    data = written("JPEG", Image.new("RGB", (3000, 3000)), progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * 400 + b"\xff\xd9"


def rle_bomb(size: int) -> bytes:
    """DICOM whose run lengths give far more than ``size`` squared pixels."""
    segment = b"\x81\0" * 2_000_000  # 256 MB
    frame = struct.pack("<16I", 3, *(64 + i * len(segment) for i in range(3)), *[0] * 12) + segment * 3
    elements = dict(Rows=size, Columns=size)
    return dicom(encapsulate([frame]), uid.RLELossless, **elements)


def noisy(kind: str, size: int) -> bytes:
    """Large, and allowed."""
    pixels = np.random.default_rng(0).integers(0, 256, (size // 8, size // 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    return written(kind, Image.fromarray(pixels))


def icc(*, size: int = 0) -> bytes:
    """A profile of sRGB, filled up to ``size`` bytes."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes().ljust(size, b"\0")


def texts(count: int, length: int) -> PngImagePlugin.PngInfo:
    """Compressed texts in PNG."""
    info = PngImagePlugin.PngInfo()
    for i in range(count):
        info.add_text(f"key{i}", "a" * length, zip=True)
    return info


def cuts() -> list[Case]:
    """Every kind, cut off at several places."""
    kinds = {
        "jpg": lambda: written("JPEG"),
        "png": lambda: written("PNG"),
        "webp": lambda: written("WEBP", lossless=True),
        "tif": lambda: tiff([PICTURE.tobytes()]),
        "bmp": lambda: written("BMP"),
        "dcm": lambda: dicom(PIXELS.tobytes()),
    }
    found = []
    for suffix, make in kinds.items():
        for percent in (10, 50, 90):

            def cut(make: Callable[[], bytes] = make, percent: int = percent) -> bytes:
                data = make()
                return data[: len(data) * percent // 100]

            found.append(Case(f"cut-{percent}.{suffix}", cut, DICOM_CUT if suffix == "dcm" else CUT))
    return found


@functools.cache
def corpus() -> list[Case]:
    """All of them."""
    turned = dict(exif=exif())
    grey16 = Image.fromarray(np.linspace(0, 65535, 96 * 70).reshape(70, 96).astype(np.uint16))
    palette, cmyk = PICTURE.convert("P"), PICTURE.convert("CMYK")
    jpeg2000 = dict(PhotometricInterpretation="RGB")
    return [
        *cuts(),
        # What is no picture, whatever it is called.
        Case("empty.png", lambda: b"", "The file is empty"),
        Case("one-byte.jpg", lambda: b"\xff", NOTHING),
        Case("marks-only.jpg", lambda: b"\xff\xd8\xff", CUT),
        Case("text.png", lambda: b"no picture", NOTHING),
        Case("page.jpg", lambda: b"<html><script>alert(1)</script></html>", NOTHING),
        Case("script.php.jpg", lambda: b"<?php system($_GET['c']); ?>", NOTHING),
        Case("drawing.svg", lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>', NOTHING),
        Case("entities.svg", lambda: b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>', NOTHING),
        Case("paper.pdf", lambda: b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", NOTHING),
        Case("postscript.eps", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 96 70\n", NOTHING),
        Case("program.exe.png", lambda: b"MZ" + bytes(600), NOTHING),
        Case("archive.png", archive, NOTHING),
        Case("pickle.png", lambda: b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x02os\x94.", NOTHING),
        Case("zeros.tif", lambda: bytes(10_000), NOTHING),
        Case("picture.gif", lambda: written("GIF"), NOTHING),
        Case("animated.gif", lambda: animation("GIF"), NOTHING),
        Case("picture.ico", lambda: written("ICO"), NOTHING),
        Case("picture.ppm", lambda: written("PPM"), NOTHING),
        Case("bomb.ppm", lambda: b"P6 99999999 99999999 255\n", NOTHING),
        # One kind under another's name, and two kinds in one file.
        Case("jpeg.png", lambda: written("JPEG")),
        Case("png.dcm", lambda: written("PNG")),
        Case("dicom.jpg", lambda: dicom(PIXELS.tobytes())),
        Case("tiff.bmp", lambda: tiff([PICTURE.tobytes()])),
        Case("zip-behind.png", lambda: written("PNG") + archive()),
        Case("page-behind.jpg", lambda: written("JPEG") + b"<script>alert(1)</script>"),
        Case("png-behind.jpg", lambda: written("JPEG") + written("PNG")),
        Case("tiff-in-preamble.dcm", lambda: b"II*\0" + dicom(PIXELS.tobytes())[4:]),
        Case("page-in-comment.jpg", lambda: with_segment(0xFE, b"<script>alert(1)</script>")),
        # Bombs.
        Case("pixels.png", lambda: png(100_000, 100_000, rows=1), LARGE),
        Case("widest.png", lambda: png(2**31 - 1, 1, rows=0), LARGE),
        Case("no-width.png", lambda: png(0, 96, rows=0), CUT),
        Case("packed.png", lambda: png(25_000, 25_000, 1, 0), LARGE),
        Case("rows.png", lambda: png(96, 70, rows=700_000)),
        Case("pixels.jpg", lambda: jpeg_of(65_500, 65_500), LARGE),
        Case("scans.jpg", many_scans, r"in \d+ scans, too many"),
        Case("pixels.webp", lambda: webp_of(16_384, 16_384), LARGE),
        Case("pixels-lossy.webp", lambda: webp_of(16_383, 16_383, b"VP8 "), LARGE),
        Case("pixels-extended.webp", lambda: webp_of(2**24, 2**24, b"VP8X"), LARGE),
        Case("cut-at-once.webp", lambda: webp_of(96, 70), CUT),
        Case("pixels.bmp", lambda: bmp_of(2**31 - 1, 2**31 - 1), LARGE),
        Case("masks.bmp", lambda: bmp_of(7000, 7000, 32, 3), CUT),
        Case("runs.bmp", lambda: bmp_of(7000, 7000, 8, 1, b"\xff\0" * 100), CUT),
        Case("pixels.tif", lambda: tiff([zeros(10**8)], 2**31, 2**31, t259=[8]), LARGE),
        Case("deflated.tif", lambda: tiff([zeros(10**8)], t259=[8])),
        Case("tiles.tif", lambda: tiff([zeros(100)], t259=[8], t322=[60_000], t323=[60_000]), CUT),
        Case("channels.tif", lambda: tiff([zeros(100)], t259=[8], t258=[8] * 60_000, t277=[60_000]), CUT),
        Case("strips.tif", lambda: tiff([b"\0"], t273=[8] * 2_000_000, t279=[1] * 2_000_000)),
        Case("pages.tif", lambda: pages(*[96] * 40), MANY),
        Case("rle.dcm", lambda: rle_bomb(70)),
        Case("pixels.dcm", lambda: dicom(b"\0\0", Rows=65_535, Columns=65_535), LARGE),
        Case("deflated.dcm", lambda: dicom(bytes(10**8), uid.DeflatedExplicitVRLittleEndian), "is Deflated"),
        Case("texts.png", lambda: written("PNG", pnginfo=texts(20, 10**7))),
        Case("profile.png", lambda: with_chunks(chunk(b"iCCP", b"a\0\0" + zeros(10**8)))),
        Case("largest.png", lambda: png(7071, 7071)),
        Case("largest-deep.png", lambda: png(7071, 7071, 16, 6)),
        Case("largest.jpg", lambda: noisy("JPEG", 7040)),
        Case("largest-grey.png", lambda: png(7071, 7071, 16, 0)),
        Case("largest.webp", lambda: written("WEBP", Image.new("RGBA", (7071, 7071)), lossless=True, method=0)),
        Case("largest-cmyk.jpg", lambda: written("JPEG", Image.new("CMYK", (7071, 7071)))),
        Case("largest-turned.jpg", lambda: written("JPEG", Image.new("RGB", (7071, 7071)), exif=exif())),
        Case("largest.dcm", lambda: dicom(bytes(7071**2 * 3), Rows=7071, Columns=7071)),
        Case("largest-deep.tif", lambda: deep_tiff(7071)),
        # Small, animated, of unusual values.
        Case("one-pixel.png", lambda: png(1, 1), SMALL),
        Case("line.png", lambda: png(10_000, 1), SMALL),
        Case("animated.png", lambda: animation("PNG"), MANY),
        Case("animated.webp", lambda: animation("WEBP"), MANY),
        Case("two-pages.tif", lambda: pages(96, 96), MANY),
        Case("16-bit-grey.png", lambda: written("PNG", grey16)),
        Case("16-bit.tif", lambda: written("TIFF", grey16)),
        Case("palette.png", lambda: written("PNG", palette)),
        Case("palette-cut.png", lambda: png(96, 70, 8, 3, more=chunk(b"PLTE", bytes(3)))),
        Case("no-palette.png", lambda: png(96, 70, 8, 3)),
        Case("cmyk.jpg", lambda: written("JPEG", cmyk)),
        Case("cmyk.tif", lambda: written("TIFF", cmyk)),
        Case("transparent.webp", lambda: written("WEBP", PICTURE.convert("RGBA"))),
        Case("12-bit.jpg", lambda: jpeg_of(96, 70, bits=12), "not read"),
        Case("lossless.jpg", lambda: jpeg_of(96, 70, marker=0xC3), "lossless"),
        Case("floats.tif", lambda: floats(0.5), "floating-point"),
        Case("nan.tif", lambda: floats(float("nan")), "floating-point"),
        Case("infinite.tif", lambda: floats(float("inf")), "floating-point"),
        Case("32-bit.tif", lambda: tiff([bytes(96 * 70 * 12)], t258=[32] * 3), "32-bit"),
        Case("signed.tif", lambda: tiff([PICTURE.tobytes()], t339=[2] * 3), "signed"),
        Case("webp.tif", lambda: tiff([PICTURE.tobytes()], t259=[50001]), "WebP"),
        Case("loop.tif", lambda: _loop()),
        # What is said besides the pixels.
        Case("place.jpg", lambda: written("JPEG", **turned)),
        Case("place.png", lambda: written("PNG", **turned)),
        Case("place.webp", lambda: written("WEBP", **turned)),
        Case("place.tif", lambda: written("TIFF", exif=exif())),
        Case("comment.jpg", lambda: written("JPEG", comment=b"Erika Mustermann")),
        Case("exif-full.jpg", lambda: written("JPEG", exif=exif(camera="x" * 60_000))),
        Case("exif-huge.png", lambda: with_chunks(chunk(b"eXIf", exif() + bytes(50_000_000)))),
        Case("exif-nonsense.jpg", lambda: with_segment(0xE1, b"Exif\0\0" + b"\xff" * 5000)),
        Case("profile.jpg", lambda: written("JPEG", icc_profile=icc())),
        Case("profile-large.png", lambda: written("PNG", icc_profile=icc(size=15_000_000))),
        Case("profile-huge.tif", lambda: tiff([PICTURE.tobytes()], t34675=icc(size=50_000_000))),
        Case("profile-nonsense.png", lambda: written("PNG", icc_profile=b"nonsense" * 100)),
        Case("chunks.png", lambda: with_chunks(*[chunk(b"tEXt", b"a\0b")] * 300_000)),
        # DICOM.
        Case("no-preamble.dcm", lambda: dicom(PIXELS.tobytes())[132:]),
        Case("big-endian.dcm", lambda: dicom(PIXELS.tobytes(), uid.ExplicitVRBigEndian)),
        Case("jpeg.dcm", lambda: encapsulated(jpeg())),
        Case("jpeg-2000.dcm", lambda: encapsulated(jpeg(kind="JPEG2000"), uid.JPEG2000Lossless, **jpeg2000)),
        Case("ct.dcm", lambda: dicom(PIXELS.tobytes(), SOPClassUID=uid.CTImageStorage), "class is CT"),
        Case("frames.dcm", lambda: dicom(PIXELS.tobytes() * 2, NumberOfFrames=2), "holds 2 pictures"),
        Case("many-frames.dcm", lambda: dicom(PIXELS.tobytes(), NumberOfFrames=2**31 - 1), "holds 2147483647 pictures"),
        Case("signed.dcm", lambda: dicom(PIXELS.tobytes(), PixelRepresentation=1), "signed"),
        Case("no-pixels.dcm", lambda: dicom(PIXELS.tobytes(), PixelData=None), DICOM_CUT),
        Case("no-rows.dcm", lambda: dicom(PIXELS.tobytes(), Rows=None), DICOM_CUT),
        Case("small.dcm", lambda: dicom(bytes(3), Rows=1, Columns=1), SMALL),
        Case("video.dcm", lambda: dicom(encapsulate([b"\0\0"]), uid.MPEG2MPML), "compression is MPEG2"),
        Case("lossless.dcm", lambda: encapsulated(jpeg(), uid.JPEGLosslessSV1), "compression is JPEG Lossless"),
        Case("larger-inside.dcm", lambda: encapsulated(jpeg_of(65_500, 65_500)), DICOM_CUT),
        Case("nonsense.dcm", lambda: bytes(128) + b"DICM" + b"\xff" * 2000, DICOM_CUT),
        Case("bare.dcm", lambda: bytes(128) + b"DICM", DICOM_CUT),
        # Names.
        Case("..%2f..%2fetc%2fpasswd.png", lambda: written("PNG")),
        Case("name with 'quotes\" & <b>.png", lambda: written("PNG")),
        Case("rm -rf ~; $(id) `id`.png", lambda: written("PNG")),
        Case("\u202egnp.exe", lambda: written("PNG")),
        Case("Läsion 病变 🔬.png", lambda: written("PNG")),
        Case("n" * 200 + ".png", lambda: written("PNG")),
        Case("-o.png", lambda: written("PNG")),
        Case(".png", lambda: written("PNG")),
        Case("no suffix", lambda: written("PNG")),
        Case("CON.png", lambda: written("PNG")),
        Case("text <script>alert(1)<script>.svg", lambda: b"<svg/>", NOTHING),
    ]  # fmt: skip


def _loop() -> bytes:
    """A TIFF whose directory names itself as the next one."""
    data = bytearray(tiff([PICTURE.tobytes()]))
    place = struct.unpack_from("<I", data, 4)[0]
    end = place + 2 + 12 * struct.unpack_from("<H", data, place)[0]
    data[end : end + 4] = struct.pack("<I", place)
    return bytes(data)


def write(folder: Path) -> None:
    """All of them as files in ``folder``."""
    for case in corpus():
        (folder / case.name).write_bytes(case.make())


def outcome(path: Path) -> dict[str, object]:
    """What ``read_image`` makes of a file, in a process of its own whose data may grow by ``MOST_DATA``: its words or
    ``READ``, the kind of the error, CPU seconds and bytes."""
    there, here = os.pipe()
    if (child := os.fork()) == 0:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        most = MOST_DATA + 1024 * int(status.partition("VmData:")[2].split()[0])  # in kB; other tests' data is in it
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
        said, kind, start = READ, "", time.process_time()
        try:
            x = read_image(path)
            assert x.isfinite().all() and 0 <= x.min() and x.max() <= 1
        except BaseException as error:
            said, kind = str(error), type(error).__name__
        seconds = time.process_time() - start
        os.write(here, json.dumps(dict(said=said, kind=kind, seconds=seconds)).encode())
        os._exit(0)
    os.close(here)
    _, status, used = os.wait4(child, 0)
    with os.fdopen(there, "rb") as pipe:
        told = json.loads(pipe.read() or b'{"said": "", "kind": "a crash", "seconds": 0}')
    return told | dict(name=path.name, status=status, bytes=used.ru_maxrss * 1024)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if not folder.exists():
        folder.mkdir(parents=True)
        write(folder)
    for case in corpus():
        print(json.dumps(outcome(folder / case.name)), flush=True)
