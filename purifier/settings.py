"""What the environment sets: every variable ``PURIFIER_*``, checked. The home of pydantic_settings.

docs/serving.md says what each means.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "PURIFIER_"
LOOPBACK = ("", "127.0.0.1", "::1", "localhost")
REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*(@[\w./-]+)?")
ANCESTOR = re.compile(r"'self'|'none'|https?://[\w.*:-]+")
HUGGING_FACE = "'self' https://huggingface.co https://*.hf.space"  # which shows a Space within its own page


def is_public() -> bool:
    """Whether strangers may reach the page: on a Space, or where it answers to more than this machine."""
    return _on_space() or os.environ.get("GRADIO_SERVER_NAME", "") not in LOOPBACK


def _on_space() -> bool:
    return bool(os.environ.get("SPACE_ID"))


def _repositories(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(REPOSITORY.fullmatch(name) for name in names):
        raise ValueError("must be owner/name or owner/name@revision, several with commas between them")
    return names


def _ancestors(sources: str) -> str:
    if not all(ANCESTOR.fullmatch(source) for source in sources.split()):
        raise ValueError("must be 'self', 'none' or addresses such as https://example.org, with spaces between them")
    return sources


class Environment(BaseSettings):
    """Each field is the variable of its name, in capitals, after ``PURIFIER_``. Made by ``environment()``."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, frozen=True, validate_default=False)

    examples: Path | None = None
    offline: bool = False
    isic_archive: str = "https://api.isic-archive.com"
    hub: Literal["off", "listed", "any"] = Field(default_factory=lambda: "listed" if is_public() else "any")
    hub_listed: Annotated[
        tuple[str, ...] | None, NoDecode, BeforeValidator(lambda text: re.split(r"[\s,]+", text.strip(" ,"))),
        AfterValidator(_repositories),
    ] = None  # fmt: skip
    hub_most_mb: float = Field(1000, gt=0, le=100_000)
    hub_most_seconds: float = Field(600, gt=0, le=86_400)
    log: Literal["off", "json"] = Field(default_factory=lambda: "json" if is_public() else "off")
    frame_ancestors: Annotated[str, AfterValidator(_ancestors)] = Field(
        default_factory=lambda: HUGGING_FACE if _on_space() else "'self'"
    )
    shutdown_seconds: float = Field(60, ge=0, le=3600)


def environment() -> Environment:
    """The settings as the environment has them now.

    Raises ``ValueError`` for a variable ``PURIFIER_*`` that is not known, and for a value that cannot be used.
    """
    known = {PREFIX + name.upper() for name in Environment.model_fields}
    if unknown := sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known):
        raise ValueError(f"{unknown[0]} is not known. There are {', '.join(sorted(known))}.")
    try:
        return Environment()
    except ValidationError as error:
        first = error.errors()[0]
        name, value = PREFIX + str(first["loc"][0]).upper(), first["input"]
        wanted = str(first.get("ctx", {}).get("error", first["msg"])).replace("Input should", "must")
        raise ValueError(f"{name} {wanted}, and is {value!r}.") from None
