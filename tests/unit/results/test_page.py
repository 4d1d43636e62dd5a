import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd

from purifier.defences import FAMILIES
from purifier.pipeline import Purifier
from purifier.results.page import ISIC_2019, heat_table, masking, results_csv, robustness_page, whole_dataset
from purifier.results.record import EVALUATION, pooled, read_evaluations, strongest
from purifier.results.tables import accuracy_table, every_record, overview, purifier_text, side
from tests.helpers.paths import ROOT
from tests.helpers.records import record


def test_attackers_who_know_are_checked_for_weakness():
    weak, strong = record("mdda", "eot20x1", accuracy=0.4), record("mdda", "eot20x8", accuracy=0.2)
    square, transfer = record("mdda", "defended-square300", accuracy=0.3), record("mdda", "transfer20", accuracy=0.1)
    (line,) = masking([strong, weak, square])
    assert line["strongest"] == "20.0 % (10–30)†"
    assert line["through it"] == "eot20x1 40.0 % (30–50)†, eot20x8 20.0 % (10–30)†"
    assert line["without its gradient"].endswith("none does better")
    (line,) = masking([strong, weak, square, transfer])
    assert line["without its gradient"].endswith("**better**: transfer20")
    assert masking([record("none"), record("mdda")]) == []
    assert masking([strong, record("mdda")]) == []  # the oblivious attack is no check


def test_a_stand_in_that_leaves_less_than_the_identitys_gradient_is_the_stronger_attacker():
    identity, by_stand_in = record("jpeg20", "eot10x4", accuracy=0.4), record("jpeg20", "stand-in10", accuracy=0.1)
    (line,) = masking([identity, by_stand_in, record("jpeg20", accuracy=0.3)])
    assert line["strongest"] == "10.0 % (0–20)†" and line["without its gradient"] == "pgd20 30.0 % (20–40)†"
    assert line["through it"] == "eot10x4 40.0 % (30–50)†" and line["by a stand-in"] == "stand-in10 10.0 % (0–20)†"


def test_a_defence_is_as_strong_as_the_strongest_attack_on_it():
    records = [
        record("none", "pgd20", accuracy=0.0),
        record("jpeg20", "pgd20", accuracy=0.2),
        record("mdda", "pgd20", accuracy=0.5),
        record("rof0.08", "pgd20", accuracy=0.1),
        record("jpeg20", "eot10x4", accuracy=0.3),
        record("mdda", "eot10x4", accuracy=0.3),
        record("mdda", "eot10x16", accuracy=0.25),
        record("mdda", "fixed20", accuracy=0.0),
        record("mdda", "eot10x4", accuracy=0.1, eps=4.0),
    ]
    assert [(r.defence, r.attack) for r in strongest(records, 2.0)] == [("mdda", "eot10x16"), ("jpeg20", "pgd20")]
    table = heat_table(records)
    assert "| mdda | – | 50.0 % (40–60)† | 25.0 % (15–35)†, eot10x16 |" in table
    assert "| jpeg20 | – | 20.0 % (10–30)† | 20.0 % (10–30)†, pgd20 |" in table
    assert "104 pictures, mean of 2 draws" in table
    known = heat_table([replace(r, lesions=80) for r in records])
    assert "†" not in known  # intervals over lesions


def test_an_attack_that_knows_no_defence_is_paid_for_once():
    hours = whole_dataset([record("mdda"), record("a")])["core_hours"]
    assert hours == (1 + 2 * 2 * 0.25) * ISIC_2019 / 3600
    adaptive = [record(name, "eot1x1") for name in ("mdda", "a")]
    assert whole_dataset(adaptive)["core_hours"] == (2 + 2 * 2 * 0.25) * ISIC_2019 / 3600


def test_the_page_is_what_the_command_writes_from_what_is_stored():
    page = robustness_page()
    assert (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8") == page, (
        "run: purifier results --docs docs/robustness.md"
    )
    assert (ROOT / "docs" / "robustness" / "results.csv").read_text(encoding="utf-8") == results_csv()
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert links and all((ROOT / "docs" / link).is_file() for link in links)


def test_every_stored_figure_is_in_the_csv_and_in_the_tables_of_its_run():
    found = pd.read_csv(ROOT / "docs" / "robustness" / "results.csv")
    kinds = {kind: read_evaluations(kind=kind) for kind in ("summary", "tradeoff", "sources")}
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


def test_what_the_page_says_in_its_own_words_was_measured():
    runs, tradeoffs = read_evaluations(), read_evaluations(kind="tradeoff")
    at_ten = {
        (r.classifier, r.defence): side(r.mdda_ahead_by)
        for records in tradeoffs.values()
        for r in records
        if r.budget == 10 and r.mdda_ahead_by is not None
    }
    assert at_ten["augmented", "jpeg"] == at_ten["standard", "jpeg"] == 0 and at_ten["surrogate", "resize"] == -1
    effort = {r.attack: r.accuracy.value for r in runs["augmented-convergence"] if r.defence == "mdda"}
    assert effort["eot10x16"] < effort["eot10x4"] < effort["eot10x1"] - 0.05 < effort["eot200x1"]
    aware = {r.attack: r.accuracy for r in runs["robust-adaptive"] if (r.defence, r.eps) == ("mdda", 2)}
    (bare,) = (r.accuracy for r in runs["robust-adaptive"] if (r.attack, r.defence) == ("pgd20", "none"))
    assert aware["eot10x4"].low < bare.value < aware["eot10x4"].high


def test_a_purifier_s_settings_in_words_leave_out_what_does_not_count():
    stored = dict(scales=[1.0, 0.5], blocks=2, sigma=14 / 255, weight=0.06, own=0.6)  # from before there was a choice
    assert purifier_text(stored) == "scales 1, 0.5; 2 blocks; sigma 14/255; weight 0.06; own 0.6"
    noise = "sigma 14/255 and 4 times the picture's own noise"
    learned = f"scales 1, 0.5; 2 blocks; {noise}; learned denoiser; own 0.6; coarser scales' low frequencies only"
    assert purifier_text(stored | dict(denoiser="learned", bands=True, gain=4.0)) == learned


def test_settings_that_ship_are_those_that_tuning_found():
    best = json.loads((EVALUATION / "tuning" / "best.json").read_text(encoding="utf-8"))
    assert Purifier.read(best["mdda"]["purifier"]) == Purifier(denoiser="rof")
    defaults = {name: f"{name}{family.default:g}" for name, family in FAMILIES.items()}
    assert {name: defaults[name] for name in best if name != "mdda"} == {
        family: choice["defence"] for family, choice in best.items() if family != "mdda"
    }
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
