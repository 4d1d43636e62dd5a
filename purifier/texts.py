"""English texts that keep what they were made of, so that ``wording.language.say`` can say them in another language."""

import errno


class Text(str):
    """``template`` with ``values`` in its places; a value may be a ``Text`` itself, and is then translated with it."""

    template: str
    values: dict[str, object]

    def __new__(cls, template: str, **values: object) -> "Text":
        """The English text."""
        made = super().__new__(cls, template.format(**values) if values else template)
        made.template, made.values = template, values
        return made


FULL, UNWRITABLE = Text("The disk is full."), Text("The disk cannot be written to.")
OF_DISK = {errno.ENOSPC: FULL, errno.EDQUOT: FULL, errno.EROFS: UNWRITABLE}  # what the system's errors mean


class Worded(Exception):
    """An error that keeps its words; ``str()`` of it is a ``Text``."""

    def __init__(self, template: str, **values: object) -> None:
        super().__init__(template)
        self.template, self.values = template, values

    def __str__(self) -> Text:
        return Text(self.template, **self.values)


class UserError(Worded, ValueError):
    """What was given cannot be used, in words for those who gave it."""


class NotFound(Worded, FileNotFoundError):
    """There is no such file, folder or repository."""


class NotAFolder(Worded, NotADirectoryError):
    """There is something else where a folder should be."""


class Forbidden(Worded, PermissionError):
    """It may not be opened."""


class Unreachable(Worded, ConnectionError):
    """A server does not answer, or not as it should."""
