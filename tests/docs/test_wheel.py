"""A wheel is all that is needed: it brings the weights, the examples and the measurements, and leaves the rest out."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from purifier import load_classifier, read_image
from purifier.classifiers.classifier import bundled_classifiers
from purifier.files import ASSETS
from purifier.results.record import read_evaluations
from purifier.wording.language import languages
from tests.helpers.paths import ROOT

NEEDED = ("LICENSE", "README.md", "pyproject.toml", "requirements.txt", "purifier", "assets", "app.py", "tests")
EXAMPLE = "examples/MEL-1.png"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy to build from: building leaves files behind."""
    copy = tmp_path_factory.mktemp("source")
    for name in NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-build-isolation", "--wheel-dir", str(out), str(source))
    (built,) = out.glob("lesion_purifier-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    _pip("install", "--no-compile", "--target", str(target), str(wheel))
    return target


def _pip(command: str, *arguments: str) -> None:
    quiet = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", command, *quiet, *arguments], check=True)


def _run(installed: Path, *arguments: str) -> str:
    """What Python prints where ``installed`` is found before the checkout, from a folder that is not the checkout."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(
        [sys.executable, *arguments], cwd=installed.parent, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_wheel_holds_the_package_and_what_comes_with_it(source, wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    left_out = ("screenshots/", "generator/", "super-resolution/")  # the latter draw examples, which the wheel holds
    assets = {f"purifier/assets/{name}" for name in _files(source / "assets") if not name.startswith(left_out)}
    assert names == assets | {f"purifier/{name}" for name in _files(source / "purifier")}
    kinds = (
        "models/augmented/model.safetensors",
        "denoiser/model.safetensors",
        EXAMPLE,
        "evaluation/augmented-adaptive/summary.json",
    )
    assert {f"purifier/assets/{name}" for name in kinds} <= names
    assert {
        "purifier/templates/reading.html",
        "purifier/templates/robustness.md",
        "purifier/reports/static/report.css",
        "purifier/ui/static/style.css",
        "purifier/wording/catalogues/de.json",
        "purifier/training/recipes/robust.toml",
    } <= names


def test_an_installed_wheel_needs_no_checkout(installed):
    code = f"""if True:
        import json, purifier
        from purifier.files import ASSETS
        from purifier.classifiers.classifier import bundled_classifiers
        from purifier.results.record import read_evaluations
        from purifier.wording.language import languages
        from purifier.ui.examples import example_files
        logits = purifier.load_classifier()(purifier.read_image(ASSETS / {EXAMPLE!r}))
        print(json.dumps([
            purifier.__file__, str(ASSETS), logits.tolist(), bundled_classifiers(), list(read_evaluations()),
            languages(), len(example_files()),
        ]))
    """
    file, assets, logits, classifiers, evaluations, spoken, examples = json.loads(_run(installed, "-c", code))
    assert Path(file) == installed / "purifier" / "__init__.py"
    assert Path(assets) == installed / "purifier" / "assets"
    assert logits[0] == pytest.approx(load_classifier()(read_image(ASSETS / EXAMPLE))[0].tolist(), abs=1e-4)
    assert classifiers == bundled_classifiers() and evaluations == list(read_evaluations())
    assert spoken == languages() and examples == len(list((ASSETS / "examples").glob("*.png")))


def test_the_command_works_from_an_installed_wheel(installed):
    assert "usage: purifier" in _run(installed, "-m", "purifier.cli", "--help")
    (entry_points,) = installed.glob("lesion_purifier-*.dist-info/entry_points.txt")
    assert "purifier = purifier.cli.main:main" in entry_points.read_text(encoding="utf-8")
    assert (installed / "bin" / "purifier").is_file() or os.name == "nt"


def test_in_a_checkout_the_assets_lie_beside_the_package():
    assert ASSETS == ROOT / "assets"
