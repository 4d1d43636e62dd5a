"""Fixtures that several tests share."""

import csv
from pathlib import Path

import pytest
import torch
from torch import nn

from purifier import denoiser
from purifier.classifiers.classifier import SURROGATE, load_classifier
from purifier.evaluation.datasets import LABELS
from purifier.reports import can_print
from tests.helpers.paths import CHROMIUM, DATA
from tests.helpers.pictures import lesion_like

pytest_plugins = ["tests.helpers.archive", "tests.helpers.browser"]  # whose fixtures are shared
FIELDS = """[...document.querySelectorAll("input:not([type=file])")]
    .map(field => `${field.ariaLabel || field.labels[0]?.innerText}: ${field.value}`).join("\\n")"""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Under a failed browser test stands what its page showed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.failed and hasattr(page, "inner_text") and not page.is_closed():  # a browser's, not an address
        try:
            text = page.inner_text("body", timeout=5000) + "\n\nIts fields:\n" + page.evaluate(FIELDS)
        except Exception as error:  # a browser that died must not hide why the test failed
            text = f"It cannot be read: {error}"
        report.sections.append(("What the page showed", text))
    return report


@pytest.fixture(scope="session")
def isic2019() -> Path:
    """Real dermoscopic pictures in ISIC 2019's layout; they are not part of the repository."""
    if not DATA.is_dir():
        pytest.skip("needs ISIC 2019's pictures: set ISIC2019 to their folder")
    return DATA


@pytest.fixture(scope="session")
def chromium() -> str:
    if CHROMIUM is None:
        pytest.skip("needs a browser: install chromium")
    return CHROMIUM


@pytest.fixture(scope="session")
def pango() -> None:
    if not can_print():
        pytest.skip("needs Pango to print: install what packages.txt names")


@pytest.fixture
def exact_denoiser(monkeypatch):
    """The learned denoiser in float32, for what is compared to more digits than bfloat16 has."""
    monkeypatch.setattr(denoiser, "multiplies_bfloat16", lambda device: False)
    denoiser.bundled_denoiser.cache_clear()
    yield
    denoiser.bundled_denoiser.cache_clear()


@pytest.fixture(scope="session")
def classifier():
    return load_classifier()


@pytest.fixture(scope="session")
def surrogate():
    return load_classifier(SURROGATE)


@pytest.fixture(scope="session")
def small_network() -> nn.Module:
    """A smooth random network on (B, 3, H, W) with four classes."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Tanh(),
        nn.Conv2d(8, 8, 3),
        nn.Tanh(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 4),
    ).eval()


@pytest.fixture
def small_isic2019(tmp_path: Path) -> Path:
    """ISIC 2019's layout with 24 made-up pictures, three of each diagnosis."""
    folder = tmp_path / "small"
    pictures = folder / "ISIC_2019_Training_Input"
    pictures.mkdir(parents=True)
    truth, metadata = [], []
    for i in range(24):
        name, label = f"ISIC_{i:07d}", LABELS[i % 8]
        lesion_like(i).save(pictures / f"{name}.jpg", quality=92)
        truth.append({"image": name, **{code: float(code == label) for code in LABELS}, "UNK": 0.0})
        metadata.append({"image": name, "lesion_id": f"HAM_{i // 2:07d}" if i >= 8 else ""})
    for kind, rows in (("GroundTruth", truth), ("Metadata", metadata)):
        with (folder / f"ISIC_2019_Training_{kind}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return folder
