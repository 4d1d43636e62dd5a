"""What the page says, in the visitor's language. English stands in the code; ``catalogues/*.json`` translate it.

A text is looked up by its English words: ``say("Block {n} of {count}", n=1, count=2)``.
"""

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from purifier.texts import Text

FOLDER = Path(__file__).parent / "catalogues"
ENGLISH = "en"
_spoken: ContextVar[str] = ContextVar("language", default=ENGLISH)


def languages() -> list[str]:
    """The codes of the languages there are, English first."""
    return [ENGLISH, *sorted(path.stem for path in FOLDER.glob("*.json"))]


@functools.cache
def catalogue(language: str) -> dict[str, str]:
    """English to ``language``; empty for English itself."""
    return {} if language == ENGLISH else json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


def spoken() -> str:
    """The language that is spoken at present."""
    return _spoken.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Say everything in ``language`` within the block."""
    token = _spoken.set(language if language in languages() else ENGLISH)
    try:
        yield
    finally:
        _spoken.reset(token)


def say(text: str, **values: object) -> str:
    """``text`` in the language spoken, with ``values`` in its places; English where it is not translated.

    A ``Text``, such as a ``UserError`` has, brings values of its own, and values that are one are translated too.
    """
    if isinstance(text, Text):
        text, values = text.template, text.values | values
    values = {name: say(value) if isinstance(value, Text) else value for name, value in values.items()}
    text = catalogue(spoken()).get(text, text)
    return text.format(**as_written(values)) if values else text


class _WithComma(float):
    """A number that is written with a decimal comma."""

    def __format__(self, spec: str) -> str:
        return super().__format__(spec).replace(".", ",")


def as_written(values: dict[str, object]) -> dict[str, object]:
    """``values`` as the language spoken writes them: German has a decimal comma."""
    if spoken() != "de":
        return values
    return {name: _WithComma(value) if isinstance(value, float) else value for name, value in values.items()}


def wanted(accept_language: str | None) -> str:
    """The first language of an Accept-Language header that there is; English where there is none."""
    for part in (accept_language or "").split(","):
        code = part.split(";")[0].strip().lower().partition("-")[0]
        if code in languages():
            return code
    return ENGLISH
