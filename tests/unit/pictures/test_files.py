import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from purifier.pictures.files import (
    centre_square,
    jpeg_quality,
    open_picture,
    quantise,
    read_image,
    to_batch,
    to_picture,
    to_png,
)
from tests.helpers.pictures import lesion_like


def saved(tmp_path, picture, name, **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.webp", "x.jpg"])
def test_every_format_is_read(tmp_path, name):
    picture = lesion_like(0)
    lossless = dict(lossless=True) if name.endswith("webp") else {}
    x = read_image(saved(tmp_path, picture, name, **lossless), size=None)
    assert x.shape == (1, 3, 96, 96) and x.dtype == torch.float32
    expected = to_batch(picture)
    if name.endswith("jpg"):
        assert (x - expected).abs().mean() < 0.02
    else:
        assert torch.equal(x, expected)


def test_bytes_are_read_like_files(tmp_path):
    path = saved(tmp_path, lesion_like(0), "x.png")
    assert torch.equal(read_image(path.read_bytes()), read_image(path))


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "1", "LA"])
def test_other_modes_become_rgb(tmp_path, mode):
    picture = lesion_like(0).convert("L" if mode == "LA" else mode)
    picture = picture.convert("LA") if mode == "LA" else picture
    read = open_picture(saved(tmp_path, picture, "x.tif"))
    assert read.mode == "RGB"
    assert np.array_equal(np.asarray(read), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_16_bit_grey_keeps_its_range(tmp_path, name):
    levels = np.linspace(0, 65535, 96 * 96).reshape(96, 96).astype(np.uint16)
    read = np.asarray(open_picture(saved(tmp_path, Image.fromarray(levels), name)))
    assert np.array_equal(read[..., 0], (levels / 65535 * 255).round().astype(np.uint8))


def test_transparency_is_laid_on_white(tmp_path):
    pixels = np.zeros((96, 96, 4), np.uint8)
    pixels[:, 48:] = (10, 20, 30, 255)
    read = np.asarray(open_picture(saved(tmp_path, Image.fromarray(pixels), "x.png")))
    assert (read[:, :48] == 255).all() and (read[:, 48:] == (10, 20, 30)).all()


def test_a_transparent_palette_is_laid_on_white(tmp_path):
    picture = Image.new("P", (96, 96), 1)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    read = np.asarray(open_picture(saved(tmp_path, picture, "x.png", transparency=1)))
    assert (read == 255).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_camera_s_orientation_is_applied_and_metadata_dropped(tmp_path, orientation):
    picture = lesion_like(0).crop((0, 0, 96, 70))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "A Camera"
    turned = {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_270],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_90],
    }[orientation]
    expected = picture
    for turn in turned:
        expected = expected.transpose(turn)
    read = open_picture(saved(tmp_path, picture, "x.png", exif=exif))
    assert np.array_equal(np.asarray(read), np.asarray(expected))
    assert not read.getexif() and not read.info


def test_the_centre_square_is_kept_and_resized():
    picture = Image.new("RGB", (200, 100), "red")
    picture.paste("blue", (50, 0, 150, 100))
    square = centre_square(picture, 224)
    assert square.size == (224, 224)
    assert (np.asarray(square)[4:-4, 4:-4] == (0, 0, 255)).all()  # bicubic sees two pixels beyond the edge


def test_read_image_gives_the_working_size(tmp_path):
    x = read_image(saved(tmp_path, lesion_like(0), "x.png"))
    assert x.shape == (1, 3, 224, 224) and x.min() >= 0 and x.max() <= 1


def test_pictures_round_to_the_nearest_level():
    x = torch.tensor([0.999, -0.2, 1.2, 0.5 / 255, 100.4 / 255, 100.6 / 255]).reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert np.asarray(to_picture(x))[0, :, 0].tolist() == [255, 0, 255, 0, 100, 101]


def test_a_picture_survives_the_round_trip():
    x = quantise(torch.rand(1, 3, 65, 70))
    assert torch.equal(to_batch(to_picture(x)), x)


def test_a_batch_has_one_order_in_memory_whatever_was_done_to_it():
    """Convolutions differ in their last digits between orders, so equal pictures should be read equally."""
    x = to_batch(lesion_like(0))
    assert x.stride() == quantise(x).stride() == torch.cat([x]).stride() == torch.empty(x.shape).stride()
    assert torch.equal(read_image(to_png(x), size=None), x)


def test_only_a_batch_of_one_is_a_picture():
    with pytest.raises(ValueError, match="2, 3, 8, 8"):
        to_picture(torch.zeros(2, 3, 8, 8))


def encoded_header_only():
    """A PNG that claims 60000 x 60000 pixels and holds hardly any."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def animation():
    file = io.BytesIO()
    frames = [lesion_like(i) for i in range(3)]
    frames[0].save(file, format="WEBP", save_all=True, append_images=frames[1:])
    return file.getvalue()


def truncated():
    file = io.BytesIO()
    lesion_like(0).save(file, format="JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


def encoded(picture, kind="PNG"):
    file = io.BytesIO()
    picture.save(file, format=kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (lambda: b"not a picture", "JPEG, PNG, WebP, TIFF or BMP"),
        (lambda: b"", "The file is empty"),
        (lambda: encoded(lesion_like(0), "GIF"), "JPEG, PNG, WebP, TIFF or BMP"),
        (truncated, "damaged or cut off"),
        (lambda: encoded(lesion_like(0))[:200], "damaged or cut off"),
        (animation, "holds 3 pictures"),
        (lambda: encoded(Image.new("RGB", (63, 200))), "63 x 200 pixels; each side must have at least 64"),
        (lambda: encoded(Image.new("F", (96, 96)), "TIFF"), "32-bit"),
        (lambda: encoded(Image.new("I", (96, 96)), "TIFF"), "32-bit"),
        (encoded_header_only, "too large; at most 50 megapixels"),
        (lambda: encoded(Image.new("1", (10000, 5001))), "10000 x 5001 pixels; at most 50 megapixels"),
    ],
    ids=[
        "text",
        "empty",
        "gif",
        "truncated jpeg",
        "truncated png",
        "animation",
        "small",
        "float",
        "32 bit",
        "bomb",
        "large",
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(data, message):
    with pytest.raises(ValueError, match=message):
        open_picture(data())


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP"])
def test_damaged_files_are_read_or_refused_and_nothing_else(kind):
    whole, generator = encoded(lesion_like(0), kind), np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(len(damaged), size=8):
            damaged[place] = generator.integers(256)
        try:
            assert open_picture(bytes(damaged)).mode == "RGB"
        except ValueError:
            pass


def test_a_camera_s_multi_picture_file_is_its_first_picture():
    file = io.BytesIO()
    lesion_like(0).save(file, format="MPO", save_all=True, append_images=[lesion_like(1)])
    expected = open_picture(encoded(lesion_like(0), "JPEG"))
    assert np.abs(np.asarray(open_picture(file.getvalue())).astype(int) - np.asarray(expected)).mean() < 1


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.png"):
        open_picture(tmp_path / "nowhere.png")


def test_real_pictures_are_read(isic2019):
    for path in sorted((isic2019 / "ISIC_2019_Training_Input").glob("*.jpg"))[::2000]:
        x = read_image(path)
        assert x.shape == (1, 3, 224, 224) and x.std() > 0.01


@pytest.mark.parametrize("quality", [25, 50, 75, 90])
def test_the_quality_of_a_jpeg_file_is_read_from_its_tables(quality):
    file = io.BytesIO()
    lesion_like(0).save(file, "JPEG", quality=quality)
    assert jpeg_quality(file.getvalue()) == pytest.approx(quality, abs=0.5)
    file = io.BytesIO()
    lesion_like(0).save(file, "MPO", quality=quality, save_all=True, append_images=[lesion_like(1)])
    assert jpeg_quality(file.getvalue()) == pytest.approx(quality, abs=0.5)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP", "GIF"])
def test_other_files_have_no_quality(kind):
    file = io.BytesIO()
    lesion_like(0).save(file, kind)
    assert jpeg_quality(file.getvalue()) is None
    assert jpeg_quality(b"no picture") is jpeg_quality(bytes(128) + b"DICM" + bytes(99)) is jpeg_quality(b"") is None
