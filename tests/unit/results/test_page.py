import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from purifier.defences import FAMILIES
from purifier.pipeline import Purifier
from purifier.results.page import KINDS, plots, results_csv, robustness_page, write_robustness_page
from purifier.results.record import EVALUATION, pooled, read_evaluations
from purifier.results.stored import ADAPTIVE, BALANCED, NEEDED, Stored
from purifier.results.tables import accuracy_table, every_record, overview, purifier_text
from tests.helpers.paths import ROOT
from tests.helpers.records import copy_runs, detected, record, store_detection


def pictures_on(page):
    """The plots that the page shows, by their names."""
    return re.findall(r"!\[[^]]*\]\(robustness/([^)]+)\.png\)", page)


def headings(page):
    return [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")]


@pytest.fixture
def assets(tmp_path):
    """Only the runs without which there is no page."""
    copy_runs(tmp_path, *NEEDED)
    return tmp_path


def test_the_page_is_what_the_command_writes_from_what_is_stored():
    page = robustness_page()
    assert (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8") == page, (
        "run: purifier results --docs docs/robustness.md"
    )
    assert (ROOT / "docs" / "robustness" / "results.csv").read_text(encoding="utf-8") == results_csv(EVALUATION)
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links and all((ROOT / "docs" / link).is_file() for link in links)
    drawn = {path.stem for path in (ROOT / "docs" / "robustness").glob("*.png")}
    assert drawn == set(pictures_on(page))


def test_every_stored_figure_is_in_the_csv_and_in_the_tables_of_its_run():
    found = pd.read_csv(ROOT / "docs" / "robustness" / "results.csv")
    kinds = {kind: read_evaluations(kind=kind) for kind in KINDS}
    stored = [(run, r) for runs in kinds.values() for run, records in runs.items() for r in records]
    assert list(found.run) == [run for run, _ in stored]
    for column in ("accuracy", "mdda_ahead_by", "broken", "melanoma_auroc"):
        scores = [getattr(r, column) for _, r in stored]
        expected = [np.nan if score is None else score.value for score in scores]
        np.testing.assert_allclose(found[column], expected, atol=5.1e-4)
    assert list(found.threat) == [r.attacker.threat for _, r in stored]
    for run, records in kinds["summary"].items():
        assert accuracy_table(records) in (EVALUATION / run / "table.md").read_text(encoding="utf-8")


def test_the_page_can_be_read_by_a_person():
    lines = robustness_page().splitlines()
    assert len(lines) < 400 and sum(len(line.encode()) for line in lines) < 40_000
    assert all(len(line) <= 200 for line in lines if not line.startswith("|"))


def test_the_template_s_own_words_hold_no_figure():
    """What is said of the figures is computed: no share stands there but the level of intervals and that of chance."""
    template = (ROOT / "purifier" / "templates" / "robustness.md").read_text(encoding="utf-8")
    words = re.sub(r"\{[{%#].*?[#%}]\}", "", template, flags=re.DOTALL)
    assert set(re.findall(r"[\d.]+\s*%", words)) == {"95 %", "50 %"}
    assert not re.search(r"\d+ (pictures|lesions|draws|points|runs)", words)


OPTIONAL = {  # sections that some runs bring
    "Do other attacks do better?": "augmented-attacks",
    "How were the settings chosen?": "tuning",
    "Can it tell that a picture was attacked?": "detection",
}


def test_two_runs_are_enough_for_a_page(assets):
    page, stored = robustness_page(assets), Stored.read(assets)
    assert (
        not set(headings(page)) & set(OPTIONAL) and headings(page)[0] == "In short" and headings(page)[-1] == "Sources"
    )
    assert set(pictures_on(page)) == set(plots(stored))
    for text in ("None", "nan", "&#", "&lt;", "{{", "{%", "robust-", "surrogate-", "standard-"):
        assert text not in page, text
    (row, *more) = [line for line in page.splitlines() if line.startswith("| [")]
    assert "augmented-adaptive" in row and len(more) == 1
    assert purifier_text(stored.purifier()) in " ".join(page.split())
    assert not re.search(r"\n\n\n", page) and page.endswith("\n") and not page.endswith("\n\n")


def test_a_section_appears_with_its_run(assets):
    runs, without = assets / "evaluation", robustness_page(assets)
    shutil.copytree(runs / "augmented-adaptive", runs / "augmented-attacks")
    store_detection(assets / "detection" / "mine", [detected(attack="none"), detected(), detected("squeezing")])
    (runs / "tuning").mkdir()
    best = {"jpeg": {"defence": "jpeg20", "accuracy": {"clean": 0.5}, "trials": 5}}
    for name, what in {"best": best, "settings": {"images": ["a"], "classifier": "augmented"}}.items():
        (runs / "tuning" / f"{name}.json").write_text(json.dumps(what), encoding="utf-8")
    page = robustness_page(assets)
    assert set(headings(page)) - set(headings(without)) == set(OPTIONAL)
    assert "attacks" in pictures_on(page) and "attacks" not in pictures_on(without)
    assert "[mine](../assets/detection/mine/table.md)" in page and "**The alarm:** on `augmented` it ranks" in page
    assert (
        "On 1 validation pictures and an earlier `augmented`" in " ".join(page.split())
        and "| jpeg20 | by its number | yes | 5 |" in page
    )


def test_a_classifier_appears_with_its_run(assets):
    """Under another name, and with other weights, so that it is another choice."""
    for kind in ("balanced", "adaptive"):
        folder = assets / "evaluation" / f"other-{kind}"
        shutil.copytree(assets / "evaluation" / f"augmented-{kind}", folder)
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
        settings |= {"classifier": "other", "weights": {}}
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    page = robustness_page(assets)
    rows = {row.replace("`other`", "`augmented`") for row in page.splitlines() if row.startswith("| `other`")}
    assert len(rows) > 8 and rows < set(page.splitlines())  # the same figures
    short = " ".join(page.partition("Largest choices")[0].split())
    assert "and `other` (" in short and "**Attacked by someone who knows it, the purifier " in short


def test_the_plot_against_epsilon_is_of_the_choice_with_more_sizes(assets):
    stored = Stored.read(assets)
    of_both = [stored.of_kind(kind)["augmented"] for kind in (ADAPTIVE, BALANCED)]
    more = max(of_both, key=lambda records: len({r.eps for r in records}))
    said = re.search(r"`augmented`, (\d+) pictures, [^.]*, each defence with its default", robustness_page(assets))
    assert int(said[1]) == more[0].n


def test_a_run_of_other_settings_is_named(assets):
    shutil.copytree(assets / "evaluation" / "augmented-adaptive", assets / "evaluation" / "mine")
    path = assets / "evaluation" / "mine" / "settings.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings["purifier"]["own"] = 0.123
    path.write_text(json.dumps(settings), encoding="utf-8")
    assert Stored.read(assets).made_otherwise == ["mine"]
    assert "Only in `mine` it had others." in " ".join(robustness_page(assets).split())


@pytest.mark.parametrize("file", [f"{run}/{kind}.json" for run, kinds in NEEDED.items() for kind in kinds])
def test_a_run_that_is_needed_is_missed_by_name(assets, file):
    (assets / "evaluation" / file).unlink()
    with pytest.raises(ValueError, match=f"cannot be written without {file}"):
        robustness_page(assets)


def test_plots_of_sections_that_went_away_are_removed(assets, tmp_path):
    page = tmp_path / "docs" / "page.md"
    (tmp_path / "docs" / "page").mkdir(parents=True)
    (tmp_path / "docs" / "page" / "gone.png").touch()
    write_robustness_page(page, assets)
    text = page.read_text(encoding="utf-8")
    assert text == robustness_page(assets)
    assert {path.stem for path in page.with_suffix("").glob("*.png")} == set(pictures_on(text))
    rows = pd.read_csv(tmp_path / "docs" / "page" / "results.csv")
    assert set(rows.run) == set(NEEDED)


def test_every_run_was_made_on_test_pictures():
    for run in read_evaluations():
        command = (EVALUATION / run / "command.txt").read_text(encoding="utf-8")
        assert re.findall(r"--split[ =](\S+)", command) in ([], ["test"]), run


def test_a_purifier_s_settings_in_words_leave_out_what_does_not_count():
    stored = dict(scales=[1.0, 0.5], blocks=2, sigma=14 / 255, weight=0.06, own=0.6)  # from before there was a choice
    assert purifier_text(stored) == "scales 1, 0.5; 2 blocks; sigma 14/255; weight 0.06; own 0.6"
    by_picture = dict(denoiser="learned", bands=True, sigma=4 / 255, gain=4.0)
    noise = "sigma 4/255 and 4 times what the picture has beyond 0.45/255, at most 12/255 in all"
    learned = f"scales 1, 0.5; 2 blocks; {noise}; learned denoiser; own 0.6; coarser scales' low frequencies only"
    assert purifier_text(stored | by_picture | dict(tilt=0.0)) == learned
    tilted = purifier_text(stored | by_picture | dict(tilt=4.0))
    assert tilted == learned.replace("own 0.6;", "own 0.6; tilt 4;")


@pytest.mark.skipif(not (EVALUATION / "tuning" / "best.json").is_file(), reason="no search for settings is stored")
def test_settings_that_ship_are_those_that_tuning_found():
    """Of ROF and of every peer; those with the learned denoiser were chosen as docs/strength.md tells."""
    best = json.loads((EVALUATION / "tuning" / "best.json").read_text(encoding="utf-8"))
    purifiers = [Purifier.read(choice["purifier"]) for choice in best.values() if "purifier" in choice]
    assert [p for p in purifiers if p.denoiser == "rof"] == [Purifier(denoiser="rof")]
    defaults = {name: f"{name}{family.default:g}" for name, family in FAMILIES.items()}
    peers = {family: choice["defence"] for family, choice in best.items() if "purifier" not in choice}
    assert peers and peers == {name: defaults[name] for name in peers}
    missing = [defaults[name] for name in defaults if name not in best]
    assert all(name in robustness_page().partition("Not searched in this run: ")[2] for name in missing)


def test_a_row_of_the_overview_has_one_choice_of_pictures_and_the_strongest_attacker():
    few = [record("mdda", "pgd20", 2.0, accuracy=0.9, n=100, constant_accuracy=0.25)]
    too_few = [record("mdda", "pgd20", 2.0, accuracy=0.8, n=99)]
    many = [
        record("mdda", "pgd20", 2.0, accuracy=0.5, n=500),
        *(record("mdda", name, 2.0, accuracy=p, n=500) for name, p in (("eot10x1", 0.4), ("eot20x8", 0.3))),
    ]
    rows = overview(pooled([few, too_few, many])).to_numpy().tolist()
    assert len(rows) == 2
    assert rows[0] == ["`augmented`", "500", "–", "–", "–", "–", "50.0 % (40–60)", "30.0 % (20–40)"]
    assert rows[1] == ["`augmented`", "100", "25.0 %", "–", "–", "–", "90.0 % (80–100)", "–"]


def test_every_record_is_a_row_that_says_what_the_attacker_knew():
    records = [
        record("none", "none", accuracy=0.7),
        record("mdda", "eot10x4", 2.0, accuracy=0.2, draws=3),
        record("jpeg", "pgd20", 2.0, accuracy=0.3, budget=5.0),
    ]
    found = every_record([records, records])
    assert [list(map(str, row)) for row in found.to_numpy()] == [
        ["augmented", "104", "none", "nobody", "–", "nan", "70.0", "60–80", "2"],
        ["augmented", "104", "mdda", "eot10x4", "yes", "2.0", "20.0", "10–30", "3"],
        ["augmented", "104", "jpeg, giving up at most 5 points", "pgd20", "no", "2.0", "30.0", "20–40", "2"],
    ]
