"""Who imports whom: a module imports nothing of a higher row, and packages do not import one another in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

ROWS = (  # the highest first; what stands in one row may import one another
    "cli",
    "ui",
    "training",
    "results",
    "reports",
    "lessons",
    "templates",
    "wording",
    "evaluation",
    "runs",
    "alarm",
    "readings",
    "defences smoothing attention",
    "classifiers",
    "pipeline",
    "pyramid diffusion denoise denoiser attacks",
    "pixels pictures kernels",
    "files figures seeds settings strict texts",
)
ROW = {name: number for number, row in enumerate(ROWS) for name in row.split()}
HOMES = {  # of libraries that one module or package has to itself
    "gradio": ("ui",), "timm": ("classifiers", "training"), "transformers": ("classifiers",),
    "huggingface_hub": ("classifiers", "denoiser", "training"), "matplotlib": ("figures", "evaluation"),
    "pydicom": ("pictures",), "captum": ("attention",),
    "optuna": ("evaluation",), "ray": ("evaluation",), "diffusers": ("training",), "weasyprint": ("reports",),
    "pydantic": ("strict", "settings"), "pydantic_settings": ("settings",),
    "httpx2": ("classifiers", "pictures"), "cachetools": ("classifiers",),
    "cv2": ("pictures", "defences"), "pyautoattack": ("evaluation",),
    "prometheus_client": ("ui",), "numba": ("kernels",), "llvmlite": ("kernels",),
    "jinja2": ("templates",), "markupsafe": ("templates",), "pylopdf_fonts_zh_cn": ("reports",),
}  # fmt: skip
MODULES = sorted((ROOT / "purifier").rglob("*.py"))


def place_of(path: Path) -> str:
    return path.relative_to(ROOT / "purifier").with_suffix("").parts[0]


def imported(path: Path) -> Iterator[str]:
    """The names of modules that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "purifier":
            yield from (f"purifier.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_module_has_a_row():
    assert {place_of(path) for path in MODULES} - {"__init__"} == set(ROW)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_module_imports_one_of_a_higher_row(path):
    if path.parent.name == "purifier" and path.stem == "__init__":
        return
    names = [name.split(".")[1] for name in imported(path) if name.startswith("purifier.")]
    higher = [name for name in names if name in ROW and ROW[name] < ROW[place_of(path)]]
    assert not higher


def test_each_library_has_its_home():
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in MODULES
        for name in imported(path)
        if place_of(path) not in HOMES.get(name.partition(".")[0], (place_of(path),))
    }
    assert not found


def test_no_module_imports_a_tab_but_the_page():
    users = {path.relative_to(ROOT).as_posix() for path in MODULES for name in imported(path) if ".tabs." in name}
    assert users == {"purifier/ui/page.py"}


def test_no_test_imports_another():
    tests = sorted((ROOT / "tests").rglob("*.py"))
    found = {(path.name, name) for path in tests for name in imported(path) if name.startswith("tests.")}
    assert found and all(name.startswith("tests.helpers") for _, name in found)
