import io
import logging
import re
import struct
import sys
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from purifier.pictures.dicom import is_dicom
from purifier.pictures.files import open_picture
from tests.helpers import colours
from tests.helpers.colours import IN_ADOBE, IN_P3
from tests.helpers.pictures import lesion_like

pydicom = pytest.importorskip("pydicom")
from pydicom import uid  # noqa: E402
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.pixels import convert_color_space  # noqa: E402

from tests.helpers.dicom import PICTURE, PIXELS, dicom, encapsulated, jpeg  # noqa: E402

SECRETS = ("Doe^Jane", "PID-4711", "19610203", "20240506", "Clinic^Name", "1.2.3.4711", "Nevus^of^Doe")


def grey(pixels: bytes, **changes) -> bytes:
    layout = dict(SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", PlanarConfiguration=None)
    return dicom(pixels, **{**layout, **changes})


def read(data: bytes) -> np.ndarray:
    picture = open_picture(data)
    assert picture.mode == "RGB" and not picture.info and not picture.getexif()
    return np.asarray(picture)


def distance(a, b) -> float:
    return np.abs(np.asarray(a).astype(int) - np.asarray(b).astype(int)).mean()


SYNTAXES = [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.ExplicitVRBigEndian]


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("planar", [0, 1])
def test_uncompressed_rgb_is_read_exactly(syntax, planar):
    pixels = PIXELS if planar == 0 else np.moveaxis(PIXELS, -1, 0)
    assert np.array_equal(read(dicom(pixels.tobytes(), syntax, PlanarConfiguration=planar)), PIXELS)


def test_files_are_read_like_bytes(tmp_path):
    path = tmp_path / "without suffix"
    path.write_bytes(dicom(PIXELS.tobytes()))
    assert is_dicom(path) and np.array_equal(np.asarray(open_picture(path)), PIXELS)


@pytest.mark.parametrize(
    "storage",
    [
        uid.VLPhotographicImageStorage,
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    ],
)
def test_photographs_and_secondary_captures_are_read(storage):
    assert np.array_equal(read(dicom(PIXELS.tobytes(), SOPClassUID=storage, NumberOfFrames=1)), PIXELS)


@pytest.mark.parametrize("planar", [0, 1])
def test_uncompressed_ybr_full_becomes_rgb(planar):
    pixels = convert_color_space(PIXELS, "RGB", "YBR_FULL")
    pixels = pixels if planar == 0 else np.moveaxis(pixels, -1, 0)
    data = dicom(pixels.tobytes(), PhotometricInterpretation="YBR_FULL", PlanarConfiguration=planar)
    assert distance(read(data), PIXELS) < 1


def test_uncompressed_ybr_full_422_becomes_rgb():
    """Two pixels a group: both brightnesses, then the colour they share (PS3.3, C.7.6.3.1.2)."""
    smooth = np.repeat(PIXELS[:, ::2], 2, axis=1)
    ybr = convert_color_space(smooth, "RGB", "YBR_FULL").reshape(70, 48, 2, 3)
    groups = np.stack([ybr[:, :, 0, 0], ybr[:, :, 1, 0], ybr[:, :, 0, 1], ybr[:, :, 0, 2]], axis=-1)
    assert distance(read(dicom(groups.tobytes(), PhotometricInterpretation="YBR_FULL_422")), smooth) < 1


@pytest.mark.parametrize("stored", [8, 10, 12, 16])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_grey_is_scaled_from_all_that_its_bits_hold(stored, syntax):
    levels = np.linspace(0, 2**stored - 1, 96 * 70).round().astype(np.uint16).reshape(70, 96)
    expected = (levels / (2**stored - 1) * 255).round()
    depth = "u1" if stored == 8 else ">u2" if syntax == uid.ExplicitVRBigEndian else "<u2"
    bits = dict(BitsAllocated=8 if stored == 8 else 16, BitsStored=stored, HighBit=stored - 1)
    for photometric, wanted in (("MONOCHROME2", expected), ("MONOCHROME1", 255 - expected)):
        data = grey(levels.astype(depth).tobytes(), syntax=syntax, **bits, PhotometricInterpretation=photometric)
        assert np.array_equal(read(data), np.repeat(wanted[..., None], 3, axis=-1))


def test_what_lies_in_unused_bits_is_ignored():
    levels = np.full((70, 96), 0x0FFF, np.uint16)
    levels[:10] |= 0x1000  # an overlay, as old machines wrote them
    data = grey(levels.tobytes(), BitsAllocated=16, BitsStored=12, HighBit=11)
    assert (read(data) == 255).all()


def test_16_bit_colour_is_scaled():
    data = dicom((PIXELS.astype("<u2") * 257).tobytes(), BitsAllocated=16, BitsStored=16, HighBit=15)
    assert np.array_equal(read(data), PIXELS)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_applied(bits):
    palette = PICTURE.quantize(256)
    colours = np.array(palette.getpalette(), np.uint16).reshape(-1, 3)
    tables = colours.astype("u1") if bits == 8 else (colours * 257).astype("<u2")
    names = ("Red", "Green", "Blue")
    changes = {f"{name}PaletteColorLookupTableDescriptor": [len(colours), 0, bits] for name in names}
    changes |= {f"{name}PaletteColorLookupTableData": tables[:, i].tobytes() for i, name in enumerate(names)}
    data = grey(np.asarray(palette).tobytes(), PhotometricInterpretation="PALETTE COLOR", **changes)
    assert np.array_equal(read(data), np.asarray(palette.convert("RGB")))


def with_runs(data: bytes) -> bytes:
    """The file compressed by pydicom's own RLE encoder."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.compress(uid.RLELossless, generate_instance_uid=False)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def test_rle_is_read_exactly():
    assert np.array_equal(read(with_runs(dicom(PIXELS.tobytes()))), PIXELS)
    levels = np.linspace(0, 65535, 96 * 70).round().astype("<u2").reshape(70, 96)
    grey16 = grey(levels.tobytes(), BitsAllocated=16, BitsStored=16, HighBit=15)
    assert np.array_equal(read(with_runs(grey16))[..., 0], (levels / 65535 * 255).round())


def segment(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


def marked(stream: bytes, *marks: bytes) -> bytes:
    """A JPEG of PIL's with other marks in the place of JFIF's."""
    return stream[:2] + b"".join(marks) + stream[4 + struct.unpack(">H", stream[4:6])[0] :]


ADOBE = segment(0xEE, b"Adobe" + bytes([0, 100, 0, 0, 0, 0, 1]))  # its last byte says YCbCr


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "RGB"])
@pytest.mark.parametrize(
    "stream",
    [jpeg(), marked(jpeg(), ADOBE), jpeg(subsampling=0), jpeg(keep_rgb=True)],
    ids=["JFIF", "Adobe", "not subsampled", "RGB"],
)
def test_jpeg_baseline_is_read_whatever_its_marks(stream, photometric):
    """The stream's marks are right about its colours: programs often leave DICOM's word for them as it was."""
    expected = np.asarray(Image.open(io.BytesIO(stream)))
    assert np.array_equal(read(encapsulated(stream, PhotometricInterpretation=photometric)), expected)
    assert distance(expected, PIXELS) < 4


def test_a_jpeg_without_marks_is_what_dicom_says():
    ybr = marked(jpeg())
    assert distance(read(encapsulated(ybr)), PIXELS) < 4
    assert distance(read(encapsulated(ybr, PhotometricInterpretation="RGB")), PIXELS) < 4  # subsampled, so not RGB
    stored = Image.frombytes(
        "YCbCr", PICTURE.size, PICTURE.tobytes()
    )  # so that red, green and blue are written as such
    rgb = marked(jpeg(stored, subsampling=0))
    assert distance(read(encapsulated(rgb, PhotometricInterpretation="RGB")), PIXELS) < 4
    cut = marked(jpeg(stored, subsampling=0), segment(0xEE, b"Adobe" + bytes(5)))  # two bytes short, so it says nothing
    assert distance(read(encapsulated(cut, PhotometricInterpretation="RGB")), PIXELS) < 4


def test_a_jpeg_in_several_fragments_is_one_picture():
    fragments = encapsulate([jpeg()], fragments_per_frame=3)
    data = dicom(fragments, uid.JPEGBaseline8Bit, PhotometricInterpretation="YBR_FULL_422")
    assert distance(read(data), PIXELS) < 4


def test_a_grey_jpeg_is_read_and_inverted():
    stream, expected = jpeg(PICTURE.convert("L")), np.asarray(PICTURE.convert("L"))[..., None].repeat(3, axis=-1)
    changes = dict(SamplesPerPixel=1, PlanarConfiguration=None)
    assert distance(read(encapsulated(stream, PhotometricInterpretation="MONOCHROME2", **changes)), expected) < 2
    assert distance(read(encapsulated(stream, PhotometricInterpretation="MONOCHROME1", **changes)), 255 - expected) < 2


@pytest.mark.parametrize("photometric", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_jpeg_2000_is_read(photometric):
    is_lossy = photometric == "YBR_ICT"
    stream = jpeg(kind="JPEG2000", no_jp2=True, irreversible=is_lossy, mct=photometric != "RGB")
    syntax = uid.JPEG2000 if is_lossy else uid.JPEG2000Lossless
    data = encapsulated(stream, syntax, PhotometricInterpretation=photometric)
    assert distance(read(data), PIXELS) <= is_lossy


def test_16_bit_grey_jpeg_2000_is_read():
    levels = np.linspace(0, 65535, 96 * 70).round().astype(np.uint16).reshape(70, 96)
    stream = jpeg(Image.fromarray(levels), kind="JPEG2000", no_jp2=True)
    bits = dict(BitsAllocated=16, BitsStored=16, HighBit=15, SamplesPerPixel=1, PlanarConfiguration=None)
    data = encapsulated(stream, uid.JPEG2000Lossless, PhotometricInterpretation="MONOCHROME2", **bits)
    assert np.array_equal(read(data)[..., 0], (levels / 65535 * 255).round())


DEPTHS = [(8, 8, 7), (16, 16, 15), (16, 12, 11), (16, 12, 15), (16, 8, 7)]  # allocated, stored, high bit


def coded(photometric: str, stored: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture's values in so many bits, and what must be read."""
    if photometric.startswith("MONOCHROME"):
        values = np.asarray(PICTURE.convert("L"))
        expected = (255 - values if photometric == "MONOCHROME1" else values)[..., None].repeat(3, axis=-1)
    elif photometric == "YBR_FULL":
        values = convert_color_space(PIXELS, "RGB", "YBR_FULL")
        expected = convert_color_space(values, "YBR_FULL", "RGB")
    else:
        values = expected = PIXELS
    return np.round(values * ((2**stored - 1) / 255)).astype(np.uint16), expected


def laid_out(photometric: str, bits: tuple[int, int, int], planar: int | None = 0) -> dict:
    samples = 1 if photometric.startswith("MONOCHROME") else 3
    return dict(
        PhotometricInterpretation=photometric,
        SamplesPerPixel=samples,
        PlanarConfiguration=planar if samples == 3 else None,
        BitsAllocated=bits[0],
        BitsStored=bits[1],
        HighBit=bits[2],
    )


@pytest.mark.parametrize("bits", DEPTHS)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "RGB", "YBR_FULL"])
@pytest.mark.parametrize("planar", [0, 1])
def test_every_depth_of_every_coding_is_read_exactly(photometric, bits, planar):
    allocated, stored, high = bits
    values, expected = coded(photometric, stored)
    values = values << high + 1 - stored
    stacked = np.moveaxis(values, -1, 0) if planar and values.ndim == 3 else values
    layout = laid_out(photometric, bits, planar)
    for syntax in SYNTAXES:
        depth = f"{'>' if syntax == uid.ExplicitVRBigEndian else '<'}u{allocated // 8}"
        assert np.array_equal(read(dicom(stacked.astype(depth).tobytes(), syntax, **layout)), expected)
    data = dicom(encapsulate([run_lengths(values, allocated // 8)]), uid.RLELossless, **layout)
    assert np.array_equal(read(data), expected)


def run_lengths(values: np.ndarray, depth: int) -> bytes:
    """A segment for each byte of each sample, the most significant first, in pieces that are left as they are."""
    segments = []
    for sample in np.moveaxis(np.atleast_3d(values), -1, 0):
        for shift in range(8 * (depth - 1), -1, -8):
            body = (sample >> shift & 255).astype(np.uint8).tobytes()
            segments.append(b"".join(bytes([127]) + body[i : i + 128] for i in range(0, len(body) - 127, 128)))
            rest = body[len(body) // 128 * 128 :]
            segments[-1] += bytes([len(rest) - 1]) + rest if rest else b""
    starts = np.cumsum([64, *map(len, segments)]).tolist()[:-1]
    return struct.pack("<16I", len(segments), *starts, *[0] * (15 - len(segments))) + b"".join(segments)


@pytest.mark.parametrize("left_out", ["PlanarConfiguration", "PixelRepresentation", "HighBit"])
def test_what_is_left_out_where_it_is_usual_is_known(left_out):
    assert np.array_equal(read(dicom(PIXELS.tobytes(), **{left_out: None})), PIXELS)


def test_bytes_in_words_of_the_other_order_are_read():
    """8-bit values as OW in big endian lie in swapped pairs."""
    data = dicom(np.frombuffer(PIXELS.tobytes(), "<u2").byteswap().tobytes(), uid.ExplicitVRBigEndian)
    assert np.array_equal(read(data.replace(b"\x7f\xe0\0\x10OB", b"\x7f\xe0\0\x10OW")), PIXELS)


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEG2000])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "YBR_RCT", "YBR_ICT"])
@pytest.mark.parametrize("is_transformed", [False, True])
@pytest.mark.parametrize("no_jp2", [False, True])
def test_the_colours_of_jpeg_2000_are_what_its_stream_says(syntax, photometric, is_transformed, no_jp2):
    """Where the codec transformed them, it undoes that; else DICOM's word counts."""
    is_ybr = photometric == "YBR_FULL" and not is_transformed
    values, expected = coded("YBR_FULL" if is_ybr else "RGB", 8)
    is_lossy = syntax == uid.JPEG2000
    options = dict(no_jp2=no_jp2, mct=is_transformed, irreversible=is_lossy)
    stream = jpeg(Image.fromarray(values.astype(np.uint8)), kind="JPEG2000", **options)
    found = read(encapsulated(stream, syntax, PhotometricInterpretation=photometric))
    assert distance(found, expected) <= (1.5 if is_lossy else 0)


def codestream(data: bytes) -> bytes:
    return data[data.index(b"\xff\x4f\xff\x51") :]


@pytest.mark.parametrize("stored", [10, 12, 16])
@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL", "MONOCHROME1", "MONOCHROME2"])
def test_deep_jpeg_2000_is_read(photometric, stored):
    """With all bits of the stream used, or only the lowest."""
    values, expected = coded(photometric, stored)
    reversible = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]
    stream = cv2.imencode(".jp2", values[..., ::-1] if values.ndim == 3 else values, reversible)[1]
    layout = laid_out(photometric, (16, stored, stored - 1))
    data = encapsulated(codestream(stream.tobytes()), uid.JPEG2000Lossless, **layout)
    assert np.array_equal(read(data), expected)


def test_a_palette_is_applied_to_every_lossless_compression():
    palette = PICTURE.quantize(64)
    table, indices = np.array(palette.getpalette(), np.uint8).reshape(-1, 3), np.asarray(palette)
    names = ("Red", "Green", "Blue")
    changes = {f"{name}PaletteColorLookupTableDescriptor": [len(table), 0, 8] for name in names}
    changes |= {f"{name}PaletteColorLookupTableData": table[:, i].tobytes() for i, name in enumerate(names)}
    changes |= dict(PhotometricInterpretation="PALETTE COLOR", SamplesPerPixel=1, PlanarConfiguration=None)
    stream = jpeg(Image.fromarray(indices), kind="JPEG2000", no_jp2=True)
    for data in (
        *(dicom(indices.tobytes(), syntax, **changes) for syntax in SYNTAXES),
        dicom(encapsulate([run_lengths(indices, 1)]), uid.RLELossless, **changes),
        encapsulated(stream, uid.JPEG2000Lossless, **changes),
    ):
        assert np.array_equal(read(data), table[indices])


PAIRS = [
    *((photometric, syntax) for syntax in SYNTAXES for photometric in ("YBR_ICT", "YBR_RCT")),
    *((photometric, uid.RLELossless) for photometric in ("YBR_FULL_422", "YBR_ICT", "YBR_RCT")),
    ("PALETTE COLOR", uid.JPEGBaseline8Bit), ("PALETTE COLOR", uid.JPEG2000),
]  # fmt: skip


@pytest.mark.parametrize(("photometric", "syntax"), PAIRS)
def test_pairs_that_cannot_be_read_are_named(photometric, syntax):
    pixels = encapsulate([b"x" * 100]) if syntax.is_encapsulated else PIXELS.tobytes()
    samples = 1 if photometric == "PALETTE COLOR" else 3
    data = dicom(pixels, syntax, PhotometricInterpretation=photometric, SamplesPerPixel=samples)
    with pytest.raises(
        ValueError, match=f"colours are {photometric}, which is not read in the compression {syntax.name[:8]}"
    ):
        open_picture(data)


@pytest.mark.parametrize(
    ("picture", "profile"), [(IN_P3, colours.P3), (IN_ADOBE, colours.ADOBE)], ids=["Display P3", "Adobe RGB"]
)
@pytest.mark.parametrize("kind", ["native", "RLE", "JPEG 2000", "JPEG", "within the JPEG"])
def test_a_profile_is_applied(kind, picture, profile):
    layout = dict(Rows=picture.height, Columns=picture.width, ICCProfile=None if kind[0] == "w" else profile)
    if kind in ("native", "RLE"):
        data = dicom(np.asarray(picture).tobytes(), **layout)
        data = with_runs(data) if kind == "RLE" else data
    elif kind == "JPEG 2000":
        stream = jpeg(picture, kind="JPEG2000", no_jp2=True)
        data = encapsulated(stream, uid.JPEG2000Lossless, **layout | dict(PhotometricInterpretation="YBR_RCT"))
    else:
        stream = jpeg(picture, quality=100, subsampling=0, icc_profile=profile if kind[0] == "w" else None)
        data = encapsulated(stream, **layout)
    assert distance(picture, colours.PICTURE) > 5
    assert distance(read(data), colours.PICTURE) < (1 if kind[-4:] != "JPEG" else 2.5)


def test_the_name_of_a_colour_space_is_followed_where_there_is_no_profile():
    layout = dict(Rows=IN_ADOBE.height, Columns=IN_ADOBE.width)
    assert distance(read(dicom(np.asarray(IN_ADOBE).tobytes(), ColorSpace="ADOBERGB", **layout)), colours.PICTURE) < 1
    assert np.array_equal(read(dicom(PIXELS.tobytes(), ColorSpace="SRGB")), PIXELS)


@pytest.mark.parametrize("profile", [b"no profile", bytes(200), colours.P3[:200]])
def test_a_broken_profile_is_passed_over(profile):
    assert np.array_equal(read(dicom(PIXELS.tobytes(), ICCProfile=profile)), PIXELS)


def without_preamble(data: bytes) -> bytes:
    return data[132:]


def without_meta(data: bytes) -> bytes:
    """The data set alone."""
    length = struct.unpack_from("<I", data, 140)[0]
    return data[144 + length :]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_files_without_preamble_are_read(syntax, tmp_path):
    whole = dicom(PIXELS.tobytes(), syntax)
    for data in (without_preamble(whole), without_meta(whole), b"DICM" + without_preamble(whole)):
        path = tmp_path / "file"
        path.write_bytes(data)
        assert is_dicom(data) and is_dicom(path)
        assert np.array_equal(read(data), PIXELS) and np.array_equal(np.asarray(open_picture(path)), PIXELS)


def renamed(data: bytes, syntax: bytes) -> bytes:
    """With another TransferSyntaxUID, of the same length."""
    place = data.index(b"\2\0\x10\0UI") + 8
    length = struct.unpack_from("<H", data, place - 2)[0]
    return data[:place] + syntax.ljust(length, b"\0") + data[place + length :]


def test_where_the_transfer_syntax_is_missing_uncompressed_pixels_are_read_and_others_refused():
    for syntax in SYNTAXES:
        assert np.array_equal(read(renamed(dicom(PIXELS.tobytes(), syntax), b"")), PIXELS)
    compressed = encapsulated(jpeg())
    for data in (renamed(compressed, b""), without_meta(compressed), renamed(compressed, b"1.2.3.4711")):
        with pytest.raises(ValueError, match="its TransferSyntaxUID is missing or unknown") as refused:
            open_picture(data)
        assert not any(secret in str(refused.value) for secret in SECRETS)
    assert distance(read(without_preamble(compressed)), PIXELS) < 4


def test_where_the_class_is_missing_that_is_said():
    data = dicom(PIXELS.tobytes())
    place = data.index(b"\x08\0\x16\0")
    element = data[place : place + 8 + struct.unpack_from("<H", data, place + 6)[0]]
    storage = data.index(b"\2\0\2\0UI")
    data = data.replace(element, b"")
    assert np.array_equal(read(data), PIXELS)  # the file's header says it too
    length = struct.unpack_from("<H", data, storage + 6)[0]
    with pytest.raises(ValueError, match="class is unknown"):
        open_picture(data[: storage + 8] + bytes(length) + data[storage + 8 + length :])


def deflated() -> bytes:
    """64 KB that would be 64 MB."""
    short, long = (
        b"UI" + struct.pack("<H", len(name)) + name
        for name in (uid.ExplicitVRLittleEndian.encode() + b"\0", b"1.2.840.10008.1.2.1.99")
    )
    data = dicom(b"")
    head = data[: data.index(b"\x08\0\x16\0")].replace(short, long)
    deflate = zlib.compressobj(wbits=-15)
    return head + b"".join(deflate.compress(bytes(2**20)) for _ in range(64)) + deflate.flush()


REFUSED = {
    "CT": (lambda: dicom(b"", SOPClassUID=uid.CTImageStorage), "class is CT Image Storage; only photographs"),
    "private": (lambda: dicom(b"", SOPClassUID="1.2.3.4711"), "class is unknown; only photographs"),
    "frames": (lambda: dicom(PIXELS.tobytes() * 3, NumberOfFrames=3), "holds 3 pictures; exactly 1"),
    "small": (lambda: dicom(b"", Rows=63, Columns=200), "200 x 63 pixels; each side must have at least 64"),
    "large": (lambda: dicom(b"", Rows=5001, Columns=10000), "10000 x 5001 pixels; at most 50 megapixels"),
    "32 bits": (lambda: dicom(b"", BitsAllocated=32, BitsStored=32), "has 32 bits a value; 8 and 16"),
    "1 bit": (lambda: grey(b"", BitsAllocated=1, BitsStored=1), "has 1 bits a value; 8 and 16"),
    "signed": (lambda: dicom(b"", PixelRepresentation=1), "signed values"),
    "colours": (lambda: dicom(b"", PhotometricInterpretation="YBR_PARTIAL_420"), "colours are coded in a way"),
    "groups in planes": (
        lambda: dicom(PIXELS[..., :2].tobytes(), PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=1),
        "colours are coded in a way",
    ),
    "samples": (lambda: dicom(b"", SamplesPerPixel=1), "colours are coded in a way"),
    "lossless": (lambda: encapsulated(jpeg(), uid.JPEGLosslessSV1), "compression is JPEG Lossless, Non-Hier"),
    "deflated": (deflated, "compression is Deflated Explicit VR Little Endian, which is not read"),
    "no pixels": (lambda: dicom(b"", PixelData=None), "damaged or cut off"),
    "no rows": (lambda: dicom(b"", Rows=None), "damaged or cut off"),
    "too few pixels": (lambda: dicom(PIXELS.tobytes()[:-2]), "damaged or cut off"),
    "more bits than there are": (lambda: dicom(b"", BitsAllocated=8, BitsStored=9), "damaged or cut off"),
    "another size": (lambda: encapsulated(jpeg(lesion_like(1))), "damaged or cut off"),
    "half a JPEG": (lambda: encapsulated(jpeg()[:1000]), "damaged or cut off"),
    "no JPEG": (lambda: encapsulated(b"Doe^Jane" * 20), "damaged or cut off"),
    "PNG": (lambda: encapsulated(jpeg(kind="PNG")), "damaged or cut off"),
    "half of RLE": (lambda: with_runs(dicom(PIXELS.tobytes()))[:-5000], "damaged or cut off"),
    "preamble alone": (lambda: bytes(128) + b"DICM", "damaged or cut off"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_and_nobody_named(data, message, caplog):
    with pytest.raises(ValueError, match=message) as refused:
        open_picture(data())
    assert not any(secret in str(refused.value) for secret in SECRETS)
    assert refused.value.__cause__ is None and not caplog.records


@pytest.mark.parametrize("data", [dicom(PIXELS.tobytes()), encapsulated(jpeg())], ids=["native", "JPEG"])
def test_cut_off_files_are_refused(data):
    for length in range(132, len(data) - 20, 97):
        with pytest.raises(ValueError, match="The DICOM"):
            open_picture(data[:length])


@pytest.mark.parametrize("kind", ["native", "implicit", "JPEG", "RLE"])
def test_damaged_files_are_read_or_refused_and_nobody_named(kind, caplog):
    whole = {
        "native": lambda: dicom(PIXELS.tobytes()),
        "implicit": lambda: dicom(PIXELS.tobytes(), uid.ImplicitVRLittleEndian),
        "JPEG": lambda: encapsulated(jpeg()),
        "RLE": lambda: with_runs(dicom(PIXELS.tobytes())),
    }[kind]()
    generator = np.random.default_rng(0)
    for i in range(150):
        damaged = bytearray(whole)
        most = len(damaged) if i % 3 == 0 else 1100  # mostly in what comes before the pixels
        for place in generator.integers(128, most, size=8):
            damaged[place] = generator.integers(256)
        damaged[128:132] = b"DICM"
        try:
            assert open_picture(bytes(damaged)).mode == "RGB"
        except ValueError as error:
            assert not any(secret in str(error) for secret in SECRETS)
    assert not caplog.records


@pytest.mark.parametrize(
    "element",
    [uid.DermoscopicPhotographyImageStorage, uid.JPEGBaseline8Bit, "YBR_FULL_422", "IS\x02\x0012"],
    ids=["class", "compression", "colours", "frames"],
)
def test_a_name_where_it_does_not_belong_is_not_repeated(element, caplog):
    """Where lengths are wrong, one element reads what belongs to another."""
    data, old = encapsulated(jpeg(), NumberOfFrames=12), element.encode()
    name = old[:4] + b"DJ" if old.startswith(b"IS") else b"Doe^Jane".ljust(len(old))
    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError) as refused:
        open_picture(data.replace(old, name))
    assert not {"Doe", "DJ"} & set(re.findall("[A-Za-z]+", str(refused.value))) and not caplog.records


def test_no_more_runs_are_unpacked_than_there_are_pixels():
    """These would fill 128 MB, 64 times what the file takes."""
    header = struct.pack("<16I", 1, 64, *[0] * 14)
    data = grey(encapsulate([header + b"\x81\x07" * 1_000_000]), syntax=uid.RLELossless)
    tracemalloc.start()
    assert (read(data) == 7).all()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 * len(data)


def test_without_pydicom_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ValueError, match="DICOM files need pydicom: pip install pydicom"):
        open_picture(dicom(PIXELS.tobytes()))
    assert np.array_equal(read(jpeg(kind="PNG")), PIXELS)


def test_pictures_are_not_taken_for_dicom():
    kinds = [jpeg(kind=kind) for kind in ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "JPEG2000", "ICO", "TGA", "PPM")]
    others = [b"", b"DICM", bytes(132), bytes(200), b"\x08\0", b"\x08\0text and more text", b"MM\0*\0\0\0\x08"]
    assert not any(is_dicom(data) for data in (*kinds, *others))
