"""Pictures to batches and back: the only place, with dicom.py, that knows uint8, height-width-channel and PIL.

A batch is a float32 tensor (B, 3, H, W) in [0, 1], sRGB as stored.
"""

import io
import warnings
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from purifier.dicom import is_dicom, open_dicom

SIZE = 224  # pixels a side of the square that everything works on
MIN_SIDE = 64  # pixels
MAX_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")  # PIL opens a camera's MPO as a JPEG
LUMINANCE_SUM = 3688  # of the quantisation table at quality 50
_AT_MOST = f"at most {MAX_PIXELS // 1_000_000} megapixels are read."
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dcm")


def open_picture(source: str | PathLike | bytes) -> Image.Image:
    """Read a picture file (or its bytes) as 8-bit RGB, upright, with no metadata left.

    Grey, palette, CMYK, 16-bit and transparent pictures (laid on white) are converted, and so are photographs in DICOM.
    Raises ``FileNotFoundError``, or ``ValueError`` saying what is wrong and which limit was passed.
    """
    if not isinstance(source, bytes) and not Path(source).is_file():
        raise FileNotFoundError(f"There is no picture at {source}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PIL and pydicom warn about odd metadata, which is dropped anyway
        if is_dicom(source):
            return open_dicom(source, _check_size)
        try:
            picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
            frames = getattr(picture, "n_frames", 1)
        except UnidentifiedImageError:
            raise ValueError(
                "This is not a picture that can be read. Use a JPEG, PNG, WebP, TIFF or BMP file, or DICOM."
            ) from None
        except Image.DecompressionBombError:
            raise ValueError(f"The picture is too large; {_AT_MOST}") from None
        except Exception as error:
            raise _damaged(error) from error
        with picture:
            _check(picture, frames)
            try:
                picture.load()
                return _rgb(ImageOps.exif_transpose(picture))
            except Exception as error:
                raise _damaged(error) from error


def looks_like_a_picture(path: Path) -> bool:
    """Whether a file of any name begins as those do that ``open_picture`` reads."""
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except OSError as error:
        if not isinstance(error, UnidentifiedImageError):
            raise
        return is_dicom(path)
    except Exception:  # it begins as a picture, which is damaged
        return True


def jpeg_quality(data: bytes) -> float | None:
    """The quality (1 to 100) at which a JPEG file was written, as its luminance quantisation table tells; of the
    tables in the standard's annex K, scaled as libjpeg does; below 20 it comes out too high. None for other files."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            percent = 100 * sum(picture.quantization[0]) / LUMINANCE_SUM
    except Exception:  # DICOM, another format, a JPEG without tables: PIL has many ways to say so
        return None
    return 100 - percent / 2 if percent < 100 else 5000 / percent


def _damaged(error: Exception) -> Exception:
    """For nearly any exception: each of PIL's decoders has its own ways to fail on damaged data."""
    if isinstance(error, (PermissionError, MemoryError)):
        return error
    return ValueError(f"The picture is damaged or cut off and cannot be read ({error}).")


def _check(picture: Image.Image, frames: int) -> None:
    _check_size(*picture.size)
    if frames > 1 and picture.format != "MPO":  # an MPO's further frames are previews of the same picture
        raise ValueError(f"The file holds {frames} pictures (an animation or pages); exactly 1 is read.")
    if picture.mode in ("I", "F"):
        raise ValueError("The picture holds 32-bit values, of unknown range. Save it with 8 or 16 bits a channel.")


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"The picture has {width} x {height} pixels; {_AT_MOST}")
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"The picture has {width} x {height} pixels; each side must have at least {MIN_SIDE}.")


def _rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB pixels alone: a picture made from an array carries no metadata."""
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray((np.asarray(picture, dtype=np.float64) / 65535 * 255).round().astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return Image.fromarray(np.array(picture.convert("RGB")))


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
    """A batch of one as a picture, each value rounded to the nearest of 256 levels."""
    if x.ndim != 4 or x.shape[0] != 1:
        raise ValueError(f"Expected a batch of one picture, (1, 3, H, W), and got {tuple(x.shape)}.")
    pixels = quantise(x.detach())[0] * 255
    return Image.fromarray(pixels.round().byte().permute(1, 2, 0).cpu().numpy())


def to_png(x: Tensor) -> bytes:
    """A batch of one as a PNG file: exactly the pixels of ``quantise(x)``."""
    file = io.BytesIO()
    to_picture(x).save(file, format="PNG", compress_level=1)  # lossless at any level; 1 is fast
    return file.getvalue()


def quantise(x: Tensor) -> Tensor:
    """The batch as an 8-bit picture would show it: every value at the nearest of 256 levels."""
    return (x.clamp(0, 1) * 255).round() / 255
