"""What holds for the project as a whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import purifier
from purifier.classifiers import DEFAULT, MODELS
from purifier.evaluation.metrics import as_text

ROOT = Path(__file__).parent.parent


def test_the_public_names_are_there():
    assert all(hasattr(purifier, name) for name in purifier.__all__)
    needed = {"Purifier", "Stage", "fgsm", "load_classifier", "pgd", "read_image", "rof"}
    assert needed <= set(purifier.__all__)


def test_importing_the_package_does_not_import_the_page_or_the_training():
    code = (
        "import sys, purifier; print([m for m in ('gradio', 'matplotlib', 'diffusers', 'sklearn') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_requirements_have_a_lower_bound_and_a_cap():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(">=" in line and "<" in line.split(",")[1] for line in lines)
    sdk = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("sdk_version")][0]
    assert f"gradio>={sdk.split()[1].rsplit('.', 1)[0]}," in lines[0]


@pytest.mark.parametrize("document", [ROOT / "README.md", MODELS / DEFAULT / "README.md"], ids=["README", "model card"])
def test_the_figures_are_those_that_the_command_measured(document):
    metrics, text = json.loads((MODELS / DEFAULT / "metrics.json").read_text()), document.read_text()
    assert "purifier card --classifier augmented" in text
    for score in ("accuracy", "balanced_accuracy", "melanoma_auroc"):
        assert as_text(metrics["clean"][score]) in text
    for result in metrics["attacked"].values():
        assert result["threat"] == "oblivious" and "oblivious" in text
        assert str(result["images"]) in text
        for name in ("clean", "clean_purified", "attacked", "attacked_purified"):
            assert as_text(result[name]) in text
