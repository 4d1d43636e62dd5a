"""What holds for the project as a whole."""

import ast
import json
import re
import subprocess
import sys

import pytest
import torch

import purifier
from purifier.classifiers.classifier import MODELS, bundled_classifiers, load_classifier
from purifier.defences import get_defence
from purifier.evaluation.intervals import PERCENT, WHOLE_PERCENT, Score
from purifier.pipeline import Purifier
from purifier.results.record import pooled, read_evaluations
from purifier.results.tables import markdown, overview
from purifier.training.card import card_text, report
from purifier.training.recipes import read_recipe, recipe_names
from tests.helpers.paths import ROOT


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
    extras = ("sklearn", "pyarrow", "optuna", "art", "ray", "diffusers", "skimage", "playwright", "numba")
    extras += ("captum",)  # imported when the heat maps are first asked for
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({extras})); import app, purifier.ui.page"  # importing None fails
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_requirements_have_a_lower_bound_and_a_cap():
    lines = [
        line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines() if line and line[0] != "#"
    ]
    assert all(">=" in line and "<" in line.split(",")[1] for line in lines)
    sdk = [
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("sdk_version")
    ][0]
    assert f"gradio[mcp]>={sdk.split()[1].rsplit('.', 1)[0]}," in lines[0]


@pytest.mark.parametrize("name", bundled_classifiers())
def test_the_figures_of_a_card_are_those_that_the_command_measured(name):
    metrics, card = (
        json.loads((MODELS / name / "metrics.json").read_text(encoding="utf-8")),
        (MODELS / name / "README.md").read_text(encoding="utf-8"),
    )
    assert card == card_text(name, metrics)
    assert all(result["threat"] == "oblivious" for result in metrics["attacked"].values()) and "oblivious" in card
    assert metrics["clean"]["temperature"] == load_classifier(name).calibration.temperature
    recipe = read_recipe(name)
    config = json.loads((MODELS / name / "config.json").read_text(encoding="utf-8"))
    assert config["architecture"] == recipe.architecture and config["pretrained_cfg"]["input_size"][-1] == recipe.size


def test_the_documents_hold_what_was_measured():
    measured = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    assert report() in measured
    table = markdown(overview(pooled(read_evaluations().values())))
    assert table in measured
    text = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in text if line.startswith("| `")]
    assert len(rows) == len(bundled_classifiers()) and set(rows) <= set(table.splitlines())
    assert set(bundled_classifiers()) <= set(recipe_names())


def test_the_readme_s_sentences_were_measured():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    recall = json.loads((MODELS / "augmented" / "metrics.json").read_text(encoding="utf-8"))["clean"]["recall"]["MEL"]
    (mdda,) = [r for r in read_evaluations()["augmented-balanced"] if r.clean and r.defence == "mdda"]
    of_melanomas = Score.read(recall).written(WHOLE_PERCENT)
    assert f"Of {recall['images']} melanomas that nobody attacked, `augmented` recognises {of_melanomas}" in text
    cost = [score.written(PERCENT) for score in (mdda.broken, mdda.melanoma_made_benign)]
    assert f"On {mdda.n} other pictures, purification makes {cost[0]} of its right readings wrong" in text
    assert f"and {cost[1]} of the melanomas that it recognised benign" in text
    (standard,) = [r for r in read_evaluations()["standard-balanced"] if r.clean and r.defence == "mdda"]
    measured = " ".join((ROOT / "docs" / "measured.md").read_text(encoding="utf-8").split())
    assert f"({100 * standard.melanoma_made_benign.value:.0f} % of the melanomas" in measured


LEADS = {  # points of accuracy by which docs/measured.md has MDDA ahead, on the same pictures
    "augmented-as-they-come": {"median7": 12.1, "bilateral80": 24.8, "rof0.08": 7.5},
    "augmented-balanced": {"median": 5.4, "gaussian": 6.6, "rof": 4.0},
    "standard-balanced": {"median": 32.3, "gaussian": 21.6, "rof": 36.4},
    "surrogate-balanced": {"jpeg": 4.6, "median": 2.2, "gaussian": 2.6, "rof": 3.2},
}


@pytest.mark.parametrize("run", LEADS)
def test_what_the_documents_say_of_mdda_s_lead_was_measured(run):
    """At 8/255 with the default settings, or at 2/255 and 10 points of clean accuracy given up."""
    text = (ROOT / "docs" / "measured.md").read_text(encoding="utf-8")
    records, tradeoffs = read_evaluations()[run], read_evaluations(kind="tradeoff").get(run)
    wanted = ("pgd20", 8, None) if tradeoffs is None else ("pgd20", 2, 10)
    found = {r.defence: r for r in tradeoffs or records if (r.attack, r.eps, r.budget) == wanted}
    for defence, lead in LEADS[run].items():
        assert round(100 * found[defence].mdda_ahead_by.value, 1) == lead and str(lead) in text
        assert found[defence].mdda_ahead_by.low > 0
    level = [found[name] for name in ("jpeg20", "gaussian2", "jpeg") if name in found and name not in LEADS[run]]
    assert all(r.mdda_ahead_by.low < 0 < r.mdda_ahead_by.high for r in level)


def test_one_scale_is_what_the_documents_say_of_it():
    x = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    recommended = Purifier(denoiser="rof", scales=(1,), sigma=8 / 255, weight=0.03)
    text = " ".join((ROOT / "docs" / "measured.md").read_text(encoding="utf-8").split())
    assert '`Purifier(denoiser="rof", scales=(1,), sigma=8 / 255, weight=0.03)`' in text
    one, two = (f(x, torch.Generator().manual_seed(0)) for f in (recommended, get_defence("noisy-rof0.03")))
    assert torch.equal(one, two)
    for run, points in (("augmented-balanced", 2), ("standard-balanced", 8)):
        clean = {r.defence: r.accuracy.value for r in read_evaluations()[run] if r.clean}
        assert round(100 * (clean["none"] - clean["noisy-rof0.03"])) == points
    standard = {(r.attack, r.defence): r.accuracy.value for r in read_evaluations()["standard-balanced"]}
    for attack in ("none", "pgd20"):
        assert standard[attack, "mdda"] < min(standard[attack, "jpeg20"], standard[attack, "noisy-rof0.03"])


def test_jpeg_costs_less_where_the_pictures_were_compressed_more():
    """And MDDA at one scale reads more of the others rightly, as docs/robustness.md says."""
    of = {(r.source, r.attack, r.defence): r for r in read_evaluations(kind="sources")["standard-balanced"]}
    assert of["HAM10000", "none", "none"].jpeg_quality < of["MSK", "none", "none"].jpeg_quality - 10
    for jpeg in ("jpeg20", "jpeg30", "jpeg50"):
        clean = {key: r.accuracy.value for key, r in of.items()}
        ham, msk = (clean[name, "none", "none"] - clean[name, "none", jpeg] for name in ("HAM10000", "MSK"))
        assert ham < msk
        for attack in ("none", "pgd20"):
            assert of["MSK", attack, "noisy-rof0.03"].accuracy.value > of["MSK", attack, jpeg].accuracy.value


def test_the_weights_are_small_enough():
    sizes = [(MODELS / name / "model.safetensors").stat().st_size for name in bundled_classifiers()]
    assert max(sizes) <= 20e6 and sum(sizes) <= 60e6


def unsaid_encodings(path):
    """The lines that open a file as text without saying how it is encoded: the platform would decide."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        owner = getattr(getattr(node.func, "value", None), "id", "")
        mode = [a.value for a in (*node.args[:2], *(k.value for k in node.keywords)) if isinstance(a, ast.Constant)]
        binary = any(isinstance(value, str) and re.fullmatch(r"[rwax]\+?b\+?|b[rwax]", value) for value in mode)
        if name == "open" and (binary or owner in ("Image", "os", "archive", "page")):
            continue
        if name in ("open", "read_text", "write_text") and "encoding" not in {k.arg for k in node.keywords}:
            yield node.lineno


def test_text_is_utf8_wherever_it_is_read_or_written():
    files = [path for folder in ("purifier", "tests", "docs") for path in (ROOT / folder).rglob("*.py")]
    found = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in unsaid_encodings(path)]
    assert len(files) > 50 and not found, "say encoding='utf-8' in " + ", ".join(found)
