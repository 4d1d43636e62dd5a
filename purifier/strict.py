"""Settings that refuse values of other types than their fields say. The home of pydantic."""

import json
from dataclasses import field
from functools import wraps
from typing import TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from purifier.texts import Text, UserError

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def strict(kind: type[T]) -> type[T]:
    """A frozen dataclass whose ``ValueError`` names each unknown field, and each value that is not of its field's type.

    Welcome are a whole number in place of a float and a list in place of a tuple, but not 2.0, "2" or True in place of
    a whole number.
    """
    made = dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))(kind)
    validate = made.__init__

    @wraps(validate)
    def __init__(self, **values) -> None:
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        try:
            validate(self, **values)
        except ValidationError as error:
            raise _plain(error) from None

    made.__init__ = __init__
    return made


def built(kind: type[T], values: object) -> T:
    """A ``strict`` dataclass, with those inside it, from what JSON or TOML held. Raises ``ValueError``."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values))
    except ValidationError as error:
        raise _plain(error) from None


def _plain(error: ValidationError) -> ValueError:
    """The first of the errors in one sentence, or as a ``__post_init__`` raised it."""
    first = error.errors()[0]
    kind, value, path = first["type"], first["input"], [str(part) for part in first["loc"]]
    if kind == "value_error":
        return first["ctx"]["error"]
    if kind in ("missing", "unexpected_keyword_argument"):
        field = repr(path[-1])
        if path[1:]:
            field = Text("{field} in {place}", field=field, place=".".join(path[:-1]))
        if kind == "missing":
            return UserError("{field} is missing.", field=field)
        return UserError("{field} is not known, and is {value}.", field=field, value=repr(value))
    name = ".".join(path) or error.title
    return ValueError(f"{name} {first['msg'].replace('Input should', 'must')}, and is {value!r}.")
