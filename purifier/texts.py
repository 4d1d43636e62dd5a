"""English texts that keep what they were made of, so that ``wording.language.say`` can say them in another language."""


class Text(str):
    """``template`` with ``values`` in its places; a value may be a ``Text`` itself, and is then translated with it."""

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, **values: object) -> "Text":
        """The English text."""
        made = super().__new__(cls, template.format(**values) if values else template)
        made.template, made.values = template, values
        return made


class UserError(ValueError):
    """What is wrong, for those who can do something about it; ``str()`` of it is a ``Text``."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template)
        self.template, self.values = template, values

    def __str__(self) -> Text:
        return Text(self.template, **self.values)


class NotFound(UserError, FileNotFoundError):
    """There is no such file, folder or repository."""


class NotAFolder(UserError, NotADirectoryError):
    """There is something else where a folder should be."""


class Forbidden(UserError, PermissionError):
    """It may not be opened."""


class Unreachable(UserError, ConnectionError):
    """A server does not answer, or not as it should."""
