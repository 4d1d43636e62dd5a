"""Fixtures that several tests share."""

import csv
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from purifier.classifiers import SURROGATE, load_classifier
from purifier.evaluation.datasets import LABELS

DATA = Path(os.environ.get("ISIC2019", Path(__file__).parent.parent.parent / "shared" / "data" / "isic2019"))
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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
        nn.Conv2d(3, 8, 3, stride=2), nn.Tanh(), nn.Conv2d(8, 8, 3), nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Linear(32, 4),
    ).eval()  # fmt: skip


def lesion_like(seed: int, size: int = 96) -> Image.Image:
    """A dark blot on skin colour: a picture to read and write, of nothing real."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size - generator.uniform(0.4, 0.6, 2)[:, None, None]
    blot = np.exp(-((rows**2 + columns**2) / generator.uniform(0.02, 0.08)))[..., None]
    skin, dark = generator.uniform((190, 140, 120), (230, 180, 160)), generator.uniform(30, 110, 3)
    noise = generator.normal(0, 4, (size, size, 3))
    return Image.fromarray((skin * (1 - blot) + dark * blot + noise).clip(0, 255).astype(np.uint8))


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
