"""JPEG, PNG and WebP files taken apart into what makes their pixels and what is said of these.

So that odd metadata, which PIL reads together with the pixels, never decides whether sound pixels can be read.
"""

import re
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from purifier.pictures.colour import ADOBE_GAMMA, ADOBE_RGB, BT2020, D65, DISPLAY_P3, MAX_PROFILE, SRGB, profile_of
from purifier.texts import Text, UserError

ORIENTATION = 0x0112
EXIF, INTEROPERABILITY = 0x8769, 0xA005
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)  # JPEG's frames, which PIL does not read, nor the hierarchical ones
HIERARCHICAL = (0xC5, 0xC6, 0xCD, 0xCE)
NEAR_SRGB = (0.43, 0.48)  # of PNG's gAMA: what programs write that mean sRGB
CICP_PRIMARIES = {1: SRGB, 12: DISPLAY_P3, 9: BT2020}  # ITU-T H.273
CICP_GAMMAS = {1: None, 6: None, 13: None, 14: None, 15: None, 4: 2.2, 8: 1.0}  # None: sRGB's curve, or much like it
CICP_HDR = {16: "PQ", 18: "HLG"}
MOST_SCANNED = 1_000_000_000  # pixels times scans of a JPEG: twenty of the largest picture, where programs write ten


@dataclass(kw_only=True)
class Parts:
    """A picture's file without its metadata, and of these what says how the pixels are to be shown."""

    pixels: bytes
    profile: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    key: tuple[int, ...] = ()  # the colour that is transparent, in the file's own levels
    depth: int = 8  # bits a value, of PNG
    frames: int = 1  # that a PNG says to hold
    size: tuple[int, int] | None = None  # width and height that a WebP says to have

    def orientation(self) -> int:
        """1 to 8, as EXIF or else XMP says it; 1 where neither can be read."""
        return orientation_of(self.exif, self.xmp)


def take_apart(data: bytes) -> Parts:
    """A JPEG, PNG or WebP file's parts; of another file, or where a file is damaged, all is ``pixels``.

    Raises ``UserError`` for a JPEG or PNG that is of a kind that is not read.
    """
    if data.startswith(b"\xff\xd8\xff"):
        parts = _of_jpeg(data)
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        parts = _of_png(data)
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        parts = _of_webp(data)
    else:
        parts = Parts(pixels=data)
    if not parts.profile and _is_adobe_rgb(parts.exif):
        parts.profile = profile_of(ADOBE_RGB, gamma=ADOBE_GAMMA)
    return parts


def orientation_of(exif: bytes, xmp: bytes) -> int:
    """1 to 8, as an EXIF block or else XMP says how the camera was held; 1 where neither can be read."""
    value = _exif(exif).get(ORIENTATION) if exif else None
    if value is None and (found := re.search(rb'tiff:Orientation(="|>)([1-8])', xmp)):
        value = int(found[2])
    return value if value in range(1, 9) else 1


def _exif(exif: bytes) -> dict[int, object]:
    """The camera's orientation, and the interoperability index as tag 1, as far as they can be read."""
    found, tags = {}, Image.Exif()
    try:
        tags.load(exif)
        found[ORIENTATION] = tags[ORIENTATION]
    except MemoryError:
        raise
    except Exception:  # broken blocks fail in many ways
        pass
    try:
        tags.get_ifd(EXIF)
        found[1] = tags.get_ifd(INTEROPERABILITY).get(1)
    except MemoryError:
        raise
    except Exception:
        pass
    return found


def _is_adobe_rgb(exif: bytes) -> bool:
    """Whether a camera marked its picture as Adobe RGB, which those do that attach no profile (Exif 2.3, 4.6.8)."""
    index = _exif(exif).get(1) if exif else None
    return str(index).strip("\0 ") == "R03"


def _of_jpeg(data: bytes) -> Parts:
    """All segments up to the first scan but comments and applications', of which the two that tell the colours stay."""
    parts, kept, chunks, place = Parts(pixels=b""), [data[:2]], {}, 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, end = data[place + 1], place + 2 + int.from_bytes(data[place + 2 : place + 4])
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in (0x00, 0x01, *range(0xD0, 0xDB)) or end > len(data):
            break
        body = data[place + 4 : end]
        if marker == 0xE1 and body.startswith(b"Exif\0") and not parts.exif:
            parts.exif = body
        elif marker == 0xE1 and body.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            parts.xmp = parts.xmp or body
        elif marker == 0xE2 and body.startswith(b"ICC_PROFILE\0") and len(body) > 14:
            chunks[body[12]] = body[14:]
        elif marker == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14:
            kept.append(b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0")  # its density could be anything
        elif (marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12) or marker not in (
            0xFE,
            *range(0xE0, 0xF0),
        ):
            kept.append(data[place:end])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            _check_frame(marker, body, data.count(b"\xff\xda", end))
        place = end
    if sorted(chunks) == list(range(1, len(chunks) + 1)):
        parts.profile = b"".join(chunks[number] for number in sorted(chunks))
    parts.pixels = b"".join([*kept, data[place:]])
    return parts


def _check_frame(marker: int, frame: bytes, scans: int) -> None:
    """PIL reads the frames of 8 bits that are sequential or progressive. Each scan goes over all pixels, and takes only
    some bytes of a file."""
    if len(frame) < 6:
        return  # damaged, as PIL will say
    bits, channels = frame[0], frame[5]
    if scans > 1 and scans * int.from_bytes(frame[1:3]) * int.from_bytes(frame[3:5]) > MOST_SCANNED:
        raise UserError("The JPEG picture is coded in {count} scans, too many for its size. Save it anew.", count=scans)
    kind = Text("unusual")
    if marker in (*LOSSLESS, *HIERARCHICAL):
        kind = Text("lossless") if marker in LOSSLESS else Text("hierarchical")
    if kind != "unusual" or bits != 8 or channels not in (1, 3, 4):
        raise UserError(
            "The JPEG picture is {kind} ({bits} bits, {channels} channels), which is not read. Save it as a usual "
            "JPEG or as a PNG file.",
            kind=kind,
            bits=bits,
            channels=channels,
        )


def _of_png(data: bytes) -> Parts:
    """All chunks that PIL needs for the pixels; the others' sizes, checksums and texts are passed over.

    Of what tells the colours, cICP goes before iCCP, before sRGB, before gAMA and cHRM (PNG 3, 4.3). gAMA and cHRM are
    followed where they say something else than sRGB.
    """
    parts, kept, found, place = Parts(pixels=b""), [data[:8]], {}, 8
    colour_type, is_cut = -1, False
    while place + 8 <= len(data) and not is_cut:
        length, name = struct.unpack_from(">I4s", data, place)
        if not name.isalpha():
            break
        chunk = data[place : place + 12 + length]
        body, is_cut = chunk[8 : 8 + length], len(chunk) < 12 + length
        place += len(chunk)
        if name == b"IHDR" and length >= 13:
            parts.depth, colour_type = body[8:10]
        if name[:1].isupper():  # critical
            kept.append(chunk)
        elif not is_cut and zlib.crc32(body, zlib.crc32(name)) == int.from_bytes(chunk[-4:]):
            if name == b"tRNS":
                kept.append(_transparency(body, parts, colour_type))
            elif name == b"acTL":
                parts.frames = int.from_bytes(body[:4]) if length == 8 else 1
            elif name in (b"tEXt", b"zTXt", b"iTXt"):
                keyword, text = _text(name, body)
                found.setdefault(keyword, text)
            else:
                found.setdefault(name, body)
        if name == b"IEND":
            break
    parts.pixels = b"".join([*kept, data[place:] if not is_cut else b""])
    parts.exif = found.get(b"eXIf", b"") or _raw_profile(found, b"exif", b"APP1")
    parts.xmp = found.get(b"XML:com.adobe.xmp", b"")
    parts.profile = _profile_of_png(found)
    return parts


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body), name) + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(name)))


def _transparency(body: bytes, parts: Parts, colour_type: int) -> bytes:
    """PNG's transparent colour as PIL compares it: with 8-bit values. Of 16 bits, it becomes ``key``."""
    if colour_type == 3:
        return _chunk(b"tRNS", body)
    if len(body) != {0: 2, 2: 6}.get(colour_type):
        return b""
    key = struct.unpack(f">{len(body) // 2}H", body)
    if parts.depth == 16:
        parts.key = key
        return b""
    if parts.depth in (2, 4):
        key = tuple(value * 255 // (2**parts.depth - 1) for value in key)
    return _chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)) if max(key) < 256 else b""


def _inflated(data: bytes) -> bytes:
    """Nothing where it is broken or larger than a profile may be: a small chunk can hold any number of bytes."""
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, MAX_PROFILE)
    except zlib.error:
        return b""
    return b"" if inflater.unconsumed_tail else text


def _text(name: bytes, body: bytes) -> tuple[bytes, bytes]:
    """A text chunk's keyword and, of those that are read, its text."""
    keyword, _, text = body.partition(b"\0")
    if not keyword.startswith((b"Raw profile type ", b"XML:com.adobe.xmp")):
        return keyword, b""
    if name == b"zTXt":
        return keyword, _inflated(text[1:])
    if name == b"iTXt":
        is_compressed, (_, _, text) = text[:1] == b"\1", text[2:].partition(b"\0")
        text = text.partition(b"\0")[2]
        return keyword, _inflated(text) if is_compressed else text
    return keyword, text


def _raw_profile(found: dict[bytes, bytes], *names: bytes) -> bytes:
    """What ImageMagick writes as hexadecimal text, under a name and a length."""
    for name in names:
        try:
            return bytes.fromhex(b"".join(found[b"Raw profile type " + name].split(b"\n")[3:]).decode())
        except (KeyError, ValueError):
            pass
    return b""


def _profile_of_png(found: dict[bytes, bytes]) -> bytes:
    try:
        if profile := _of_code_points(found.get(b"cICP", b"")):
            return profile
        if b"iCCP" in found:
            profile = _inflated(found[b"iCCP"].partition(b"\0")[2][1:])
        profile = profile or _raw_profile(found, b"icc", b"icm")
        if profile or b"sRGB" in found or b"cICP" in found:
            return profile
        gamma = struct.unpack(">I", found[b"gAMA"])[0] / 100_000 if b"gAMA" in found else 1 / 2.2
        corners = [value / 100_000 for value in struct.unpack(">8I", found.get(b"cHRM", bytes(32)))]
        points = list(zip(corners[::2], corners[1::2], strict=True)) if any(corners) else [D65, *SRGB]
        if not 0.1 <= gamma <= 5:
            return b""
        exponent = None if NEAR_SRGB[0] <= gamma <= NEAR_SRGB[1] else 1 / gamma
        is_srgb = exponent is None and np.allclose(points, [D65, *SRGB], rtol=0, atol=0.01)
        return b"" if is_srgb else profile_of(points[1:], points[0], exponent)
    except UserError:
        raise
    except (struct.error, ValueError):
        return b""


def _of_code_points(body: bytes) -> bytes:
    """A profile of what a cICP chunk says; none where it says nothing that is known."""
    primaries, transfer, matrix, is_full = body if len(body) == 4 else (0, 0, 0, 0)
    if transfer in CICP_HDR:
        raise UserError(
            "The PNG picture's colours are coded for HDR screens ({name}), which is not read. Save it as sRGB.",
            name=CICP_HDR[transfer],
        )
    if matrix or not is_full or primaries not in CICP_PRIMARIES or transfer not in CICP_GAMMAS:
        return b""
    return profile_of(CICP_PRIMARIES[primaries], gamma=CICP_GAMMAS[transfer])


def _of_webp(data: bytes) -> Parts:
    """All of WebP's chunks but the three of metadata, of which its header then says that there are none."""
    parts, kept, place = Parts(pixels=b""), [], 12
    while place + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, place)
        end = place + 8 + length + length % 2
        body = data[place + 8 : place + 8 + length]
        if name == b"ICCP":
            parts.profile = parts.profile or body
        elif name == b"EXIF":
            parts.exif = parts.exif or body
        elif name == b"XMP ":
            parts.xmp = parts.xmp or body
        elif name == b"VP8X" and body:
            kept.append(data[place : place + 8] + bytes([body[0] & ~0x2C]) + data[place + 9 : end])
        else:
            kept.append(data[place:end])
        parts.size = parts.size or _size_of_webp(name, body)
        place = end
    body = b"".join([b"WEBP", *kept])
    parts.pixels = b"RIFF" + struct.pack("<I", len(body)) + body
    return parts


def _size_of_webp(name: bytes, body: bytes) -> tuple[int, int] | None:
    """Which PIL's decoder takes memory for before it tells it (RFC 9649, 2.7 and 3.4; RFC 6386, 9.1)."""
    if name == b"VP8X" and len(body) >= 10:
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if name == b"VP8L" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if name == b"VP8 " and len(body) >= 10:
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return None
