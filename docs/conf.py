"""How Sphinx builds these pages: ``make docs``. Nothing is fetched while it does."""

import inspect
import re
from dataclasses import is_dataclass

from purifier import __version__

project = "Lesion Purifier"
author = "the authors of Lesion Purifier"
version = release = __version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.viewcode", "sphinxarg.ext"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Lesion Purifier"
html_show_copyright = False

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True, "special-members": "__call__"}
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
maximum_signature_line_length = 100
smartquotes = False  # options begin with two hyphens

myst_heading_anchors = 3
nb_execution_mode = "force"  # the notebook is stored without outputs
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell
nb_ipywidgets_js = {}  # there are no widgets, and these would come from elsewhere

# The comment behind a dataclass's field, in the source.
_FIELD = re.compile(r"^    (?P<name>[a-z]\w*): [^#\n]*?  # (?P<says>.+)$", re.MULTILINE)


def _add_fields(app, kind: str, name: str, thing: object, options, lines: list[str]) -> None:
    """Put what a dataclass's comments say of its fields under its docstring."""
    if kind == "class" and is_dataclass(thing):
        fields = [f"- ``{found['name']}``: {found['says']}" for found in _FIELD.finditer(inspect.getsource(thing))]
        lines += ["", *fields] if fields else []


def _assets_as_downloads(app, docname: str, source: list[str]) -> None:
    """Markdown among the assets is no page of these; the link to it stays, as one to a file."""
    source[0] = re.sub(r"\[([^]]+)\]\((\.\./assets/[^)]+\.md)\)", r"{download}`\1 <\2>`", source[0])


def setup(app) -> None:
    app.connect("source-read", _assets_as_downloads)
    app.connect("autodoc-process-docstring", _add_fields)
