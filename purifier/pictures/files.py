"""Pictures to batches and back, with the modules of single kinds of files beside this one. What else needs 8-bit arrays
(OpenCV's defences, data sets kept as uint8) converts for itself.

A batch is a float32 tensor (B, 3, H, W) in [0, 1], sRGB as stored.
"""

import io
import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from zlib import Z_HUFFMAN_ONLY

import cv2
import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from torch import Tensor

from purifier.pictures.bmp import open_bmp
from purifier.pictures.colour import eight_bits, to_srgb
from purifier.pictures.dicom import is_dicom, open_dicom
from purifier.pictures.metadata import Parts, take_apart
from purifier.pictures.tiff import open_tiff
from purifier.pixels import check_finite
from purifier.texts import NotFound, UserError

SIZE = 224  # pixels a side of the square that everything works on
MIN_SIDE = 64  # pixels
MAX_PIXELS = 50_000_000
MAX_BYTES = 1_000_000_000  # of a file
FORMATS = ("JPEG", "PNG", "WEBP")  # whose pixels PIL reads; of a camera's MPO, the first picture
MARKS = (b"\xff\xd8\xff", b"\x89PNG")
TIFF_MARKS = tuple(b"".join(mark) for mark in itertools.product((b"II", b"MM"), (b"*\0", b"\0*", b"+\0", b"\0+")))
BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes, in bytes
TURNS = dict(
    zip(range(2, 9), (
        Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM,
        Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90,
    ), strict=True)
)  # fmt: skip
LUMINANCE_SUM = 3688  # of the quantisation table at quality 50
SUFFIXES = (
    ".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".dcm", ".dicom",
)  # fmt: skip


def open_picture(source: str | PathLike | bytes) -> Image.Image:
    """Read a picture file (or its bytes) as 8-bit sRGB, upright, with no metadata left.

    Grey, palette, CMYK, CIELab, 16-bit and transparent pictures (laid on white) are converted, and so are photographs
    in DICOM. Colours are converted to sRGB by the file's ICC profile, by PNG's cICP, or gAMA and cHRM where they do
    not mean sRGB, and by a camera's mark for Adobe RGB; a profile or EXIF block that is broken is passed over.
    Raises ``FileNotFoundError``, or ``ValueError`` saying what is wrong and which limit was passed.
    """
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise NotFound("There is no picture at {path}.", path=source)
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # which other libraries set as they are imported, such as WeasyPrint
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL and pydicom warn about odd metadata, which is dropped anyway
        if is_dicom(source):
            return open_dicom(source, _check_size)
        if not (data := _bytes_of(source)):
            raise UserError("The file is empty.")
        with _reading(data):
            if data.startswith(TIFF_MARKS):
                picture, profile, orientation = open_tiff(data, _check_size)
            elif data.startswith(b"BM"):
                picture, profile, orientation = open_bmp(data, _check_size)
            else:
                parts = take_apart(data)
                picture, profile, orientation = _decoded(parts), parts.profile, parts.orientation()
            return _turned(_rgb(picture, profile), orientation)


def _bytes_of(source: str | PathLike | bytes) -> bytes:
    if isinstance(source, bytes):
        return source
    if (size := Path(source).stat().st_size) > MAX_BYTES:
        raise UserError(
            "The file has {megabytes} MB; at most {most} MB are read.",
            megabytes=size // 1_000_000,
            most=MAX_BYTES // 1_000_000,
        )
    return Path(source).read_bytes()


@contextmanager
def _reading(data: bytes) -> Iterator[None]:
    """For nearly any exception: each of the decoders has its own ways to fail on damaged data."""
    try:
        yield
    except (PermissionError, MemoryError, UserError):
        raise
    except Image.DecompressionBombError:
        raise UserError("The picture is too large; at most 50 megapixels are read.") from None
    except UnidentifiedImageError:
        if data.startswith(MARKS) or data[8:12] == b"WEBP":
            raise UserError(
                "The picture is damaged or cut off and cannot be read ({reason}).", reason="broken header"
            ) from None
        raise UserError(
            "This is not a picture that can be read. Use a JPEG, PNG, WebP, TIFF or BMP file, or DICOM."
        ) from None
    except Exception as error:
        if isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        reason = "16 bits a channel" if isinstance(error, cv2.error) else str(error)  # whose words name its own files
        raise UserError("The picture is damaged or cut off and cannot be read ({reason}).", reason=reason) from error


def _decoded(parts: Parts) -> Image.Image:
    """The pixels of a JPEG, PNG or WebP file, in one of PIL's modes."""
    if parts.size is not None:
        _check_size(*parts.size)
    with Image.open(io.BytesIO(parts.pixels), formats=FORMATS) as picture:
        _check_size(*picture.size)
        if (frames := max(parts.frames, getattr(picture, "n_frames", 1))) > 1:
            raise UserError("The file holds {count} pictures (an animation or pages); exactly 1 is read.", count=frames)
        picture.load()
    return _of_deep_png(picture, parts) if picture.format == "PNG" and parts.depth == 16 else picture


def _of_deep_png(picture: Image.Image, parts: Parts) -> Image.Image:
    """A PNG of 16 bits a channel, rounded to 8 bits. PIL, which has found it whole, cuts colours to their upper byte.

    So OpenCV reads it, whose home is defences.py: no other decoder that is installed keeps the 16 bits.
    """
    values = cv2.imdecode(np.frombuffer(parts.pixels, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.shape[:2] != picture.size[::-1]:
        return picture
    levels, alpha = eight_bits(values, 16), None
    if parts.key:
        is_key = (values.reshape(*values.shape[:2], -1) == parts.key[::-1]).all(axis=-1)
        alpha = Image.fromarray(np.where(is_key, 0, 255).astype(np.uint8))
    del values  # the largest picture has 400 MB
    if levels.ndim == 3:  # OpenCV's are blue, green and red
        levels[..., [0, 2]] = levels[..., [2, 0]]
    deep = Image.fromarray(levels if picture.mode != "RGBA" or levels.ndim == 3 else np.dstack([levels] * 3))
    if alpha is not None:
        deep.putalpha(alpha)
    return deep


def looks_like_a_picture(path: Path) -> bool:
    """Whether a file of any name begins as those do that ``open_picture`` reads."""
    with path.open("rb") as file:
        head = file.read(140)
    is_bmp = head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in BMP_HEADERS
    return head.startswith((*MARKS, *TIFF_MARKS)) or head[8:12] == b"WEBP" or is_bmp or is_dicom(head)


def jpeg_quality(data: bytes) -> float | None:
    """The quality (1 to 100) at which a JPEG file was written, as its luminance quantisation table tells; of the
    tables in the standard's annex K, scaled as libjpeg does; below 20 it comes out too high. None for other files."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            percent = 100 * sum(picture.quantization[0]) / LUMINANCE_SUM
    except Exception:  # DICOM, another format, a JPEG without tables: PIL has many ways to say so
        return None
    return 100 - percent / 2 if percent < 100 else 5000 / percent


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UserError(
            "The picture has {width} x {height} pixels; at most 50 megapixels are read.", width=width, height=height
        )
    if min(width, height) < MIN_SIDE:
        raise UserError(
            "The picture has {width} x {height} pixels; each side must have at least {least}.",
            width=width,
            height=height,
            least=MIN_SIDE,
        )


def _rgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """8-bit sRGB pixels alone: what is pasted leaves its metadata behind."""
    is_transparent = "transparency" in picture.info
    if picture.mode in ("P", "PA", "La", "RGBa") or is_transparent:
        picture = picture.convert("LA" if picture.mode in ("L", "La") else "RGBA")
    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    if picture.mode in ("1", "LA"):
        picture = picture.convert("L")
    elif picture.mode not in ("L", "CMYK"):
        picture = _in_mode("RGB", picture)
    bare = Image.new("RGB", picture.size, "white")
    bare.paste(_in_mode("RGB", to_srgb(picture, profile)), mask=alpha)
    return bare


def _in_mode(mode: str, picture: Image.Image) -> Image.Image:
    """The picture itself where it has that mode, of which ``convert`` would make a copy: the largest has 200 MB."""
    return picture if picture.mode == mode else picture.convert(mode)


def _turned(picture: Image.Image, orientation: int) -> Image.Image:
    """Upright, by EXIF's number for how the camera was held."""
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def centre_square(picture: Image.Image, size: int) -> Image.Image:
    """The largest centred square of ``picture``, resampled to ``size`` pixels a side (antialiased)."""
    return ImageOps.fit(picture, (size, size), method=Image.Resampling.BICUBIC)


def to_batch(picture: Image.Image) -> Tensor:
    """An RGB picture as a batch of one."""
    # Contiguous, since the order in memory decides which convolution runs, and with it the last digits.
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float().contiguous() / 255


def read_image(source: str | PathLike | bytes, size: int | None = SIZE) -> Tensor:
    """A picture file as a batch of one, ``(1, 3, size, size)``: upright, centre square, resized.

    ``size=None`` keeps the picture's own height and width. Errors as in ``open_picture``.
    """
    picture = open_picture(source)
    return to_batch(picture if size is None else centre_square(picture, size))


def to_picture(x: Tensor) -> Image.Image:
    """A batch of one as a picture, each value rounded to the nearest of 256 levels. Raises ``ValueError`` for more
    pictures than one, and as ``quantise`` does."""
    if x.ndim != 4 or x.shape[0] != 1:
        raise ValueError(f"Expected a batch of one picture, (1, 3, H, W), and got {tuple(x.shape)}.")
    pixels = quantise(x.detach())[0] * 255
    return Image.fromarray(pixels.round().byte().permute(1, 2, 0).cpu().numpy())


def to_png(x: Tensor) -> bytes:
    """A batch of one as a PNG file: exactly the pixels of ``quantise(x)``."""
    file = io.BytesIO()
    # Lossless in any case. Codes for values alone are faster than looking for repetitions, and smaller: noise has none.
    to_picture(x).save(file, format="PNG", compress_type=Z_HUFFMAN_ONLY)
    return file.getvalue()


def quantise(x: Tensor) -> Tensor:
    """The batch as an 8-bit picture would show it: every value at the nearest of 256 levels. Raises ``ValueError`` for
    NaN and infinity, which are no level."""
    check_finite(x=x)
    return (x.clamp(0, 1) * 255).round() / 255
