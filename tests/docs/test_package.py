"""What holds for the project as a whole."""

import ast
import json
import re
import subprocess
import sys

import pytest

import purifier
from purifier.classifiers.classifier import MODELS, bundled_classifiers, load_classifier
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.intervals import PERCENT, WHOLE_PERCENT, Score
from purifier.results.claims import EPS, UNAWARE
from purifier.results.record import find
from purifier.results.short import cost, in_grey, in_short, verdict
from purifier.results.stored import ADAPTIVE, BALANCED, Stored
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


def text_of(name):
    """A document as one line."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").split())


def test_the_documents_hold_what_was_measured():
    assert report() in (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    table = overview(Stored.read().choices)
    assert markdown(table) in (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    rows = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    attacked = table[table.iloc[:, -1] != "–"]  # by someone who knows the purifier
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(dict.fromkeys(attacked.classifier))
    assert rows and set(rows) <= set(markdown(attacked).splitlines())
    assert set(bundled_classifiers()) <= set(recipe_names())


def test_the_readme_s_sentences_were_measured():
    text, stored = text_of("README.md"), Stored.read()
    balanced = stored.of_kind(BALANCED)
    assert f"- {verdict(stored.of_kind(ADAPTIVE))} - What follows is of " in text
    grey = in_grey(balanced)
    assert f"- {cost(balanced)} - A{grey[1:]} - Beside" in text
    assert f"- Beside simpler defences: {in_short(stored)['At equal cost']} - The alarm, " in text
    assert f"whether a picture was attacked: {in_short(stored)['The alarm']} - Of " in text
    records = [r for found in balanced.values() for r in found if r.defence == "mdda"]
    assert {r.n for r in records} == {503} and "What follows is of 503 pictures unless it says otherwise" in text
    records += [r for found in stored.of_kind(ADAPTIVE).values() for r in found if r.defence == "mdda"]
    assert {r.draws for r in records if not r.attacker.knows_noise} == {2}  # who does not know it, as in the table
    assert "Purified figures are means of two runs" in text
    conditions = [("none", None), ("pgd20", 2.0), ("pgd20", 8.0)]
    of_draws = [[find(balanced["augmented"], *c, d).accuracy.value for c in conditions] for d in ("mdda", "mddax4")]
    assert "the page's mean of four is, where attackers do not know the purifier, as accurate within a point" in text
    assert all(abs(one - four) < 0.01 for one, four in zip(*of_draws, strict=True))
    aware = [r.attacker for found in stored.of_kind(ADAPTIVE).values() for r in found if r.adaptive]
    (tried,) = {a for a in aware if a.kind == "eot"}
    assert f"who knows it takes {tried.steps} of {tried.samples} samples of its noise each" in text
    metrics = json.loads((MODELS / "augmented" / "metrics.json").read_text(encoding="utf-8"))
    recall, purified = (metrics[kind]["recall"]["MEL"] for kind in ("clean", "purified"))
    (mdda,) = [r for r in balanced["augmented"] if r.clean and r.defence == "mdda"]
    found, then = (Score.read(score).written(WHOLE_PERCENT) for score in (recall, purified))
    of_melanomas = (
        f"Of {recall['images']} melanomas that nobody attacked, `augmented` recognises {found}, purified {then}"
    )
    assert f"{of_melanomas} in one run." in text
    lost = [score.written(PERCENT) for score in (mdda.broken, mdda.melanoma_made_benign)]
    assert f"On {mdda.n} of the test pictures, purification makes {lost[0]} of its right readings wrong" in text
    assert f"and {lost[1]} of the melanomas that it recognised benign" in text


def test_the_readme_s_table_is_of_the_attacks_that_it_names():
    """Who does not know the purifier takes 20 steps at 2/255, and the purified figures are means of draws."""
    text = text_of("README.md")
    assert "at most 2 of 255 levels" in text and EPS == 2 and get_attacker(UNAWARE).steps == 20
    assert "takes 20 steps (PGD)" in text and get_attacker(UNAWARE).kind == "pgd"
    for records in Stored.read().of_kind(ADAPTIVE).values():
        assert all(r.draws > 1 for r in records if r.defence == "mdda" and r.attack in ("none", UNAWARE))


def test_no_document_names_one_that_is_not_there():
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", path.read_text(encoding="utf-8"))
        assert not [link for link in links if not (path.parent / link).exists()], path.name


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
