"""What holds for the project as a whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import purifier
from purifier.classifiers import MODELS, bundled_classifiers, load_classifier
from purifier.evaluation.tables import markdown, overview, read_evaluations, together
from purifier.training.card import card_text, report
from purifier.training.recipes import read_recipe, recipe_names

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


def test_the_page_needs_nothing_that_only_evaluation_and_training_have():
    extras = ("sklearn", "pyarrow", "optuna", "art", "ray", "diffusers", "skimage", "playwright")
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import app"  # importing None fails
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_requirements_have_a_lower_bound_and_a_cap():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(">=" in line and "<" in line.split(",")[1] for line in lines)
    sdk = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("sdk_version")][0]
    assert f"gradio[mcp]>={sdk.split()[1].rsplit('.', 1)[0]}," in lines[0]


@pytest.mark.parametrize("name", bundled_classifiers())
def test_the_figures_of_a_card_are_those_that_the_command_measured(name):
    metrics, card = json.loads((MODELS / name / "metrics.json").read_text()), (MODELS / name / "README.md").read_text()
    assert card == card_text(name, metrics)
    assert all(result["threat"] == "oblivious" for result in metrics["attacked"].values()) and "oblivious" in card
    assert metrics["clean"]["temperature"] == load_classifier(name).measured.temperature
    recipe = read_recipe(name)
    config = json.loads((MODELS / name / "config.json").read_text())
    assert config["architecture"] == recipe.architecture and config["pretrained_cfg"]["input_size"][-1] == recipe.size


def test_the_readme_holds_the_report():
    readme = (ROOT / "README.md").read_text()
    assert report() in readme
    assert markdown(*overview(together(read_evaluations().values()))) in readme
    assert set(bundled_classifiers()) == set(recipe_names())


LEADS = {  # points of accuracy by which the README has MDDA ahead, on the same pictures
    ("standard", 2): {"jpeg20": 6.7, "median7": 9.5, "rof0.08": 7.3, "noisy-rof0.06": 3.7},
    ("augmented", 8): {"median7": 12.1, "rof0.08": 7.5},
    ("robust", 2): {"jpeg20": 10.8, "median7": 4.3},
}


@pytest.mark.parametrize(("classifier", "eps"), LEADS)
def test_what_the_readme_says_of_mdda_s_lead_was_measured(classifier, eps):
    readme, records = (ROOT / "README.md").read_text(), read_evaluations()[f"{classifier}-oblivious"]
    for r in records:
        if r["attack"] == "pgd20" and r["eps"] == eps and r["defence"] in LEADS[classifier, eps]:
            lead = LEADS[classifier, eps][r["defence"]]
            assert round(100 * r["mdda_ahead_by"], 1) == lead and r["mdda_ahead_by_low"] > 0 and str(lead) in readme


def test_the_weights_are_small_enough():
    sizes = [(MODELS / name / "model.safetensors").stat().st_size for name in bundled_classifiers()]
    assert max(sizes) <= 20e6 and sum(sizes) <= 60e6
