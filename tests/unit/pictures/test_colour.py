import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from purifier.pictures.colour import ADOBE_GAMMA, ADOBE_RGB, DISPLAY_P3, SRGB, profile_of, to_srgb
from purifier.pictures.files import open_picture
from tests.helpers.colours import ADOBE, IN_ADOBE, IN_P3, P3, PICTURE, PIXELS, TO_P3, encoded, linear


def written(picture: Image.Image, kind: str, profile: bytes | None, **options: object) -> bytes:
    file = io.BytesIO()
    options |= {"JPEG": dict(quality=100, subsampling=0), "WEBP": dict(lossless=True)}.get(kind, {})
    picture.save(file, kind, icc_profile=profile, **options)
    return file.getvalue()


def read(data: bytes) -> np.ndarray:
    return np.asarray(open_picture(data)).astype(int)


def bmp(picture: Image.Image, profile: bytes) -> bytes:
    """With a header of the fifth version, which PIL does not write."""
    rows = np.asarray(picture)[::-1, :, ::-1].tobytes()  # 96 pixels fill a row to four bytes
    header = struct.pack("<IiiHHIIiiII", 124, *picture.size, 1, 24, 0, len(rows), 0, 0, 0, 0)
    header += bytes(16) + b"DEBM" + bytes(52) + struct.pack("<II", 124 + len(rows), len(profile)) + bytes(4)
    return b"BM" + struct.pack("<III", 138 + len(rows) + len(profile), 0, 138) + header + rows + profile


@pytest.mark.parametrize(("picture", "profile"), [(IN_P3, P3), (IN_ADOBE, ADOBE)], ids=["Display P3", "Adobe RGB"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "BMP"])
def test_a_profile_is_applied(kind, picture, profile):
    assert np.abs(np.asarray(picture).astype(int) - PIXELS).mean() > 5
    found = read(bmp(picture, profile) if kind == "BMP" else written(picture, kind, profile))
    assert np.abs(found - PIXELS).mean() < (1 if kind != "JPEG" else 2)
    oracle = ImageCms.profileToProfile(
        picture, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    )
    assert kind == "JPEG" or np.array_equal(found, np.asarray(oracle))


def test_what_is_srgb_keeps_its_pixels():
    for profile in (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), profile_of(SRGB)):
        assert np.array_equal(read(written(PICTURE, "PNG", profile)), PIXELS)


def test_16_bits_and_transparency_are_converted_too():
    alpha = np.linspace(0, 255, 96 * 96).reshape(96, 96, 1).round().astype(np.uint8)
    picture = Image.fromarray(np.concatenate([np.asarray(IN_P3), alpha], axis=-1))
    share = alpha / 255
    for kind in ("PNG", "WEBP", "TIFF"):
        options = dict(exact=True) if kind == "WEBP" else {}
        expected = PIXELS * share + 255 * (1 - share)
        assert np.abs(read(written(picture, kind, P3, **options)) - expected).mean() < 1


def test_a_palette_is_converted():
    picture = IN_P3.quantize(256)
    expected = encoded(linear(np.asarray(picture.convert("RGB")) / 255) @ np.linalg.inv(TO_P3).T).clip(0, 1) * 255
    for kind in ("PNG", "TIFF"):
        assert np.abs(read(written(picture, kind, P3)) - expected).mean() < 1


def profile(space: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(">I4xI4s4s4s", start + len(body), 0x02400000, kind, space, pcs) + bytes(12) + b"acsp"
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + body


WHITE = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("TIFF", "L"), ("JPEG", "L"), ("PNG", "LA"), ("TIFF", "LA")])
def test_grey_pictures_have_profiles(kind, mode):
    """Of their own, here an exponent of 1.8, or one of RGB."""
    grey = PICTURE.convert(mode)
    values = np.asarray(PICTURE.convert("L"))[..., None] / 255
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(1.8 * 256))
    of_grey = profile(b"GRAY", {b"wtpt": WHITE, b"kTRC": curve})
    for data, exponent in ((of_grey, 1.8), (ADOBE, ADOBE_GAMMA)):
        expected = encoded(values**exponent) * 255
        assert np.abs(read(written(grey, kind, data)) - expected).max() <= (2 if kind != "JPEG" else 4)
    assert np.array_equal(read(written(PICTURE, "PNG", of_grey)), PIXELS)  # made for other pictures


def of_inks() -> bytes:
    """A table of two points an ink (ICC.1, lut8Type): each takes away the lightness that it covers, and no hue."""
    straight = bytes(range(256))
    corners = [
        bytes([round(255 * np.prod([1 - 0.8 * on for on in ink])), 128, 128])
        for ink in itertools.product((0, 1), repeat=4)
    ]
    matrix = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + straight * 4 + b"".join(corners) + straight * 3
    return profile(b"CMYK", {b"wtpt": WHITE, b"A2B0": table}, kind=b"prtr", pcs=b"Lab ")


@pytest.mark.parametrize("kind", ["TIFF", "JPEG"])
def test_a_cmyk_profile_is_applied(kind):
    black = PICTURE.convert("L")
    inks = Image.merge("CMYK", [Image.new("L", PICTURE.size)] * 3 + [black])
    lightness = 100 * (1 - 0.8 * np.asarray(black) / 255)
    y = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)  # CIE 1976
    expected = encoded(y)[..., None] * 255
    found = read(written(inks, kind, of_inks()))
    assert np.abs(found - expected).mean() < (2 if kind == "TIFF" else 3)
    assert np.abs(read(written(inks, kind, None)) - expected).mean() > 10


BROKEN = {
    "nothing": b"", "text": b"no profile", "zeros": bytes(500), "half": P3[: len(P3) // 2], "header": P3[:128],
    "no colours": P3[:128] + bytes(4), "of other channels": of_inks(), "large": b"x" * 3_000_000,
    "too large": P3 + bytes(17 * 2**20),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_profile_is_passed_over(kind, broken):
    if kind == "JPEG" and broken == "too large":
        return  # it holds less
    picture = PICTURE if kind != "JPEG" else Image.open(io.BytesIO(written(PICTURE, "JPEG", None)))
    data = written(PICTURE, kind, BROKEN[broken])
    assert np.array_equal(read(data), np.asarray(picture))


def test_damaged_profiles_are_applied_or_passed_over_and_nothing_else():
    generator = np.random.default_rng(0)
    for whole, times in ((P3, 100), (of_inks(), 8)):
        for _ in range(times):
            damaged = bytearray(whole)
            for place in generator.integers(min(len(damaged), 600), size=4):
                damaged[place] = generator.integers(256)
            picture = IN_P3 if whole is P3 else PICTURE.convert("CMYK")
            assert to_srgb(picture, bytes(damaged)).size == picture.size


def png_with(*chunks: tuple[bytes, bytes], picture: Image.Image = PICTURE) -> bytes:
    data = written(picture, "PNG", None)
    made = b"".join(struct.pack(">I", len(b)) + n + b + struct.pack(">I", zlib.crc32(n + b)) for n, b in chunks)
    return data[:33] + made + data[33:]


def gamma(value: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def corners(white: tuple[float, float], primaries: tuple[tuple[float, float], ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(v * 100_000) for point in (white, *primaries) for v in point))


D65 = (0.3127, 0.3290)


def test_png_s_gamma_and_primaries_are_followed_where_they_are_not_srgb_s():
    as_is = [
        (gamma(0.45455),),
        (gamma(0.45455), corners(D65, SRGB)),
        (corners(D65, SRGB),),
        (gamma(0),),
        (gamma(1000),),
        (gamma(1), (b"sRGB", b"\0")),
        (corners((0, 0), SRGB),),
        ((b"cHRM", b"short"),),
        ((b"gAMA", b""),),
    ]
    for chunks in as_is:
        assert np.array_equal(read(png_with(*chunks)), PIXELS), chunks
    for value in (1.0, 0.5556):
        assert np.abs(read(png_with(gamma(value))) - encoded((PIXELS / 255) ** (1 / value)) * 255).max() <= 2
    found = read(png_with(gamma(0.45455), corners(D65, DISPLAY_P3), picture=IN_P3))
    assert np.abs(found - PIXELS).mean() < 1
    found = read(png_with(gamma(1 / ADOBE_GAMMA), corners(D65, ADOBE_RGB), picture=IN_ADOBE))
    assert np.abs(found - PIXELS).mean() < 4  # an exponent so near to sRGB's is taken for its curve


def test_png_s_code_points_go_before_its_profile():
    in_p3 = (b"cICP", bytes([12, 13, 0, 1]))
    assert np.abs(read(png_with(in_p3, picture=IN_P3)) - PIXELS).mean() < 1
    profiles = (b"iCCP", b"Adobe RGB\0\0" + zlib.compress(ADOBE))
    assert np.abs(read(png_with(in_p3, profiles, picture=IN_P3)) - PIXELS).mean() < 1
    assert np.array_equal(read(png_with((b"cICP", bytes([1, 13, 0, 1])), profiles)), PIXELS)
    assert np.array_equal(read(png_with((b"cICP", b"short"))), PIXELS)
    with pytest.raises(ValueError, match=r"coded for HDR screens \(PQ\)"):
        read(png_with((b"cICP", bytes([9, 16, 0, 1]))))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_camera_s_mark_for_adobe_rgb_is_followed(kind):
    """Cameras attach no profile, but say it in EXIF's interoperability index."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    found = read(written(IN_ADOBE, kind, None, exif=exif.tobytes()))
    assert np.abs(found - PIXELS).mean() < 2
    assert np.abs(read(written(IN_ADOBE, kind, None)) - PIXELS).mean() > 5


def test_what_are_no_primaries_is_refused():
    with pytest.raises(ValueError, match="no primaries"):
        profile_of(((0.3, 0.3), (0.3, 0.3), (0.3, 0.3)))
