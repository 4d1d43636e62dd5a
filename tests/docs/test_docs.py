"""The documentation builds without a warning, and what its tutorial says is so."""

import argparse
import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from purifier.cli.main import _parser
from tests.helpers.paths import ROOT

DOCS = ROOT / "docs"
TUTORIAL = nbformat.read(DOCS / "tutorial.ipynb", as_version=4)
PACKAGES = (".", "classifiers", "evaluation", "pictures", "results", "wording")  # those that are a library


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built pages, with a tutorial that was not executed."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-D", "nb_execution_mode=off"]
    run = subprocess.run([*command, "-d", str(out / "doctrees"), str(DOCS), str(out / "html")], capture_output=True)
    assert run.returncode == 0, run.stderr.decode()
    return out / "html"


def test_the_plots_of_the_evaluation_are_on_their_page(site):
    linked = re.findall(r"!\[[^]]*]\((.*?)\)", (DOCS / "robustness.md").read_text(encoding="utf-8"))
    shown = re.findall(r'<img [^>]*src="([^"]+)"', (site / "robustness.html").read_text(encoding="utf-8"))
    assert len(linked) == len(shown) > 0
    assert all((site / name).is_file() for name in shown)


def test_every_command_and_its_options_are_described(site):
    page = unescape(re.sub("<[^>]+>", "", (site / "command-line.html").read_text(encoding="utf-8")))
    commands = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)][0].choices
    assert {"evaluate", "tune", "train"} <= set(commands)
    for name, command in commands.items():
        assert f"purifier {name}" in page
        options = [option for action in command._actions for option in action.option_strings]
        assert all(option in page for option in options if option != "--help")


def test_every_module_is_described(site):
    modules = [path for package in PACKAGES for path in (ROOT / "purifier" / package).glob("[!_]*.py")]
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules}
    pages = "".join(path.read_text(encoding="utf-8") for path in (site / "api").glob("*.html"))
    left_out = {name for name in names if f'id="module-{name}"' not in pages}
    assert not left_out, f"{left_out} belong on a page of docs/api."


def test_the_pages_need_no_network_and_know_nothing_of_this_machine(site):
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(https?:)?//", page), path.name
        assert str(ROOT) not in page and str(Path.home()) + "/" not in page, path.name


def test_the_tutorial_is_stored_without_outputs():
    cells = [cell for cell in TUTORIAL.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert "not a medical device" in TUTORIAL.cells[0].source


def test_the_tutorial_says_who_knew_what_wherever_it_prints_a_share():
    for cell in TUTORIAL.cells:
        if cell.cell_type == "code" and re.search(r"%}|percent\(|reading\(", cell.source):
            assert re.search("oblivious|adaptive|nobody attack", cell.source), cell.source


VARIABLES = """
import json
print(json.dumps({
    "first": reading(classifier, x), "attacked": reading(classifier, adv), "size": (adv - x).abs().max().item(),
    "stages": [(s.block, s.scale) for s in stages], "back": back, "kept": kept, "back_knowing": back_knowing,
    "knowing_size": (knowing - x).abs().max().item(), "unchanged": unchanged.tolist(), "found": found,
    "malignant": [before, after], "mine_back": mine_back,
}, default=vars))
"""


@pytest.fixture(scope="module")
def variables() -> dict:
    """What the tutorial computed, asked of its kernel after the last cell."""
    notebook = nbformat.from_dict(TUTORIAL)
    notebook.cells = [*TUTORIAL.cells, nbformat.v4.new_code_cell(VARIABLES)]
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(DOCS)}}).execute()
    return json.loads(notebook.cells[-1].outputs[0].text)


@pytest.mark.slow
def test_the_tutorial_shows_what_it_says(variables):
    v = variables
    assert v["first"][0].startswith("MEL") and not v["attacked"][0].startswith("MEL")
    assert max(v["size"], v["knowing_size"]) <= 2 / 255 + 1e-6
    assert v["stages"] == [[block, scale] for block in (1, 2, 3) for scale in (1.0, 0.5, 0.25)]
    # Purification gives the reading back in about as many draws as it leaves it on clean pictures.
    assert v["back"]["value"] > 0.25 and v["back"]["high"] >= v["kept"]["low"]
    assert v["back_knowing"]["high"] < v["back"]["low"]  # an attacker who knows leaves less
    assert 0.7 < sum(v["unchanged"]) / 8 <= 1  # it costs little on these clean pictures
    augmented, robust = v["found"]["augmented"], v["found"]["robust"]
    assert augmented["oblivious, no purifier"]["value"] < robust["oblivious, no purifier"]["value"]
    assert augmented["adaptive, MDDA"]["value"] < augmented["oblivious, MDDA"]["value"]
    before, after = v["malignant"]
    assert before > 0.5 > after  # the malignant one is made benign
    assert v["mine_back"]["value"] > 0
