"""Pictures of the ISIC Archive (https://www.isic-archive.com) by their ids.

The API's shape is that of isic-cli 12.4.0, the Archive's own client, and of its server (github.com/ImageMarkup/isic,
isic/core/api/image.py): GET /api/v2/images/{isic_id}/ gives isic_id, copyright_license, attribution, metadata and, in
files.full, a signed url.
"""

import ipaddress
import json
import re
import socket
import time
from dataclasses import dataclass

import httpx2

from purifier.settings import environment
from purifier.texts import NotFound, Unreachable, UserError

CONNECT, TOTAL = 5.0, 30.0  # seconds
LOOK = 2.0  # seconds that is_reachable waits
LOOK_AGAIN = 600.0  # seconds
MAX_BYTES = 100_000_000
MAX_JSON = 1_000_000  # bytes
HEADERS = {"User-Agent": "lesion-purifier", "Accept-Encoding": "identity"}
LOOPBACK = ("127.0.0.1", "::1", "localhost")

# Ids and their code in ISIC 2019's ground truth, none of a lesion that the bundled classifiers were trained on. The
# melanomas and nevi are CC-0 in ISIC 2019's metadata, the others CC BY-NC (HAM10000).
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("ISIC_0000142", "MEL"),
    ("ISIC_0000148", "MEL"),
    ("ISIC_0000008", "NV"),
    ("ISIC_0000019", "NV"),
    ("ISIC_0024897", "BCC"),
    ("ISIC_0025383", "BCC"),
    ("ISIC_0030491", "AK"),
    ("ISIC_0024971", "BKL"),
    ("ISIC_0025199", "BKL"),
    ("ISIC_0027488", "DF"),
    ("ISIC_0030722", "VASC"),
    ("ISIC_0025089", "SCC"),
)

_looks: dict[str, tuple[float, bool]] = {}  # when an endpoint was last looked at, and whether it answered


@dataclass(frozen=True, kw_only=True)
class ArchivePicture:
    """A picture file and what the Archive says of it."""

    isic_id: str
    file: bytes
    licence: str  # CC-0, CC-BY or CC-BY-NC
    attribution: str  # "" if none is given, and so for the diagnosis
    diagnosis: str  # the most specific one, in the Archive's words
    page: str  # for people


def fetch(isic_id: str) -> ArchivePicture:
    """Download a public picture: ``24306``, ``isic_24306`` and ``ISIC_0024306`` are the same one.

    Raises ``ValueError`` for what is no id and for an answer that cannot be used, ``FileNotFoundError`` where there is
    no such picture, and ``ConnectionError`` where the Archive cannot be reached or does not answer in time.
    """
    name, endpoint, deadline = normalised(isic_id), _endpoint(), time.monotonic() + TOTAL
    if _is_offline():
        raise Unreachable("Nothing is fetched from the ISIC Archive, since PURIFIER_OFFLINE is 1.")
    about = _parsed(_get(_address(endpoint, name), MAX_JSON, deadline, missing=name), name)
    url = about.pop("url")
    _check_address(url, endpoint, name)
    file = _get(url, MAX_BYTES, deadline)
    return ArchivePicture(isic_id=name, file=file, page=f"{endpoint}/images/{name}/", **about)


def is_reachable() -> bool:
    """Whether the Archive answers in two seconds, or did ten minutes ago at most; never if PURIFIER_OFFLINE is 1."""
    endpoint, now = _endpoint(), time.monotonic()
    if _is_offline():
        return False
    looked, answered = _looks.get(endpoint, (-LOOK_AGAIN, False))
    if now - looked >= LOOK_AGAIN:
        answered = _answers(endpoint)
        _looks[endpoint] = (now, answered)
    return answered


def _answers(endpoint: str) -> bool:
    try:
        with httpx2.stream("GET", _address(endpoint, EXAMPLES[0][0]), headers=HEADERS, timeout=LOOK) as response:
            return response.is_success
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False


def normalised(isic_id: str) -> str:
    """``ISIC_0024306`` of ``isic_24306``, ``24306`` and the like."""
    found = re.fullmatch(r"(?:isic_)?([0-9]{1,7})", isic_id.strip(), re.IGNORECASE)
    if found is None:
        raise UserError(
            "{id} is not an id of the ISIC Archive. Write one like ISIC_0024306, or its number.", id=repr(isic_id)
        )
    return f"ISIC_{int(found[1]):07d}"


def _endpoint() -> str:
    return environment().isic_archive.rstrip("/")


def _is_offline() -> bool:
    return environment().offline


def _address(endpoint: str, name: str) -> str:
    return f"{endpoint}/api/v2/images/{name}/"


def _get(url: str, most: int, deadline: float, missing: str = "") -> bytes:
    """What stands at ``url``, at most ``most`` bytes; ``missing`` is what a 404 means. No redirect is followed.

    Each request is a client's first, so no cookie of one goes with the next.
    """
    timeout = httpx2.Timeout(max(deadline - time.monotonic(), 0.001), connect=CONNECT)
    body = bytearray()
    try:
        with httpx2.stream("GET", url, headers=HEADERS, timeout=timeout) as response:
            _check_status(response.status_code, missing)
            for part in response.iter_bytes():
                body += part
                if len(body) > most:
                    raise UserError(
                        "The ISIC Archive's file is too large; at most {megabytes} MB are read.",
                        megabytes=f"{most / 1000000.0:.0f}",
                    )
                if time.monotonic() > deadline:  # httpx2 limits each wait for a part, but not all of them together
                    raise httpx2.ReadTimeout("deadline")
    except httpx2.TimeoutException as error:
        raise Unreachable("The ISIC Archive did not answer in time. Try again later.") from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise Unreachable("The ISIC Archive could not be reached. Check the network and try again.") from error
    return bytes(body)


def _check_status(status: int, missing: str) -> None:
    if status == 404 and missing:
        raise NotFound("The ISIC Archive has no public picture {id}. Check the number.", id=missing)
    if status == 429:
        raise Unreachable("The ISIC Archive was asked too often. Wait a minute and try again.")
    if status != 200:
        raise Unreachable("The ISIC Archive answered with an error ({status}). Try again later.", status=status)


def _parsed(answer: bytes, name: str) -> dict[str, str]:
    """What is needed of the API's answer."""
    try:
        about = json.loads(answer)
        url, licence = about["files"]["full"]["url"], about.get("copyright_license")
        clinical = about["metadata"].get("clinical") or {}
        diagnoses = [clinical.get(key) for key in ("diagnosis", *(f"diagnosis_{level}" for level in range(1, 6)))]
        attribution, diagnosis = about.get("attribution") or "", next(filter(None, reversed(diagnoses)), "")
        is_known = about["isic_id"] == name and all(isinstance(text, str) for text in (url, attribution, diagnosis))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        is_known = False
    if not is_known:
        raise UserError("The ISIC Archive's answer about {id} is not what this program knows. Update it.", id=name)
    if not isinstance(licence, str) or not licence:
        raise UserError(
            "The ISIC Archive names no licence for {id}, so it is not used. Choose another picture.", id=name
        )
    return dict(url=url, licence=licence, attribution=attribution, diagnosis=diagnosis)


def _check_address(url: str, endpoint: str, name: str) -> None:
    """Https to a public address, or an endpoint on this machine: no answer may make this one ask others of its network.

    What the name means may change until httpx2 asks for it, yet a private machine would not have its certificate.
    """
    if not _is_public(url) and not _is_own(url, endpoint):
        raise UserError("The ISIC Archive keeps {id} at an address that is not public, so it is not fetched.", id=name)


def _is_own(url: str, endpoint: str) -> bool:
    """Whether it is on the endpoint's own server, which is on this machine."""
    try:
        there, here = httpx2.URL(url), httpx2.URL(endpoint)
    except httpx2.InvalidURL:
        return False
    same = (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)
    return same and here.scheme == "http" and here.host in LOOPBACK


def _is_public(url: str) -> bool:
    try:
        address = httpx2.URL(url)
        if address.scheme != "https" or not address.host or address.userinfo:
            return False
        found = socket.getaddrinfo(address.host, address.port or 443, type=socket.SOCK_STREAM)
    except (httpx2.InvalidURL, UnicodeError):
        return False
    except OSError:  # not known here: httpx2 says so, unless it asks through a proxy
        return True
    return all(ipaddress.ip_address(place[0].partition("%")[0]).is_global for *_, place in found)
