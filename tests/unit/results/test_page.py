import json
import re
from dataclasses import asdict, replace

from purifier.defences import FAMILIES
from purifier.pipeline import Purifier
from purifier.results.page import ISIC_2019, cost, masking, robustness_page, strongest_table
from purifier.results.record import EVALUATION, read_evaluations, strongest
from purifier.results.tables import accuracy_table, verdicts
from tests.helpers.paths import ROOT
from tests.helpers.records import record


def test_a_peer_is_behind_ahead_or_level_by_the_interval_of_the_difference():
    (line,) = verdicts(
        [record(name, ahead=lead) for name, lead in {"none": 0.4, "mdda": None, "a": 0.2, "b": -0.2, "c": 0.05}.items()]
    )
    assert "MDDA 50.0 %" in line and "pgd20, oblivious attacker at 2/255, 104 pictures" in line
    assert "**ahead of** a (+20.0); **behind** b (-20.0); **no significant difference from** c (+5.0)" in line
    assert verdicts([record("none"), record("mdda")]) == []


def test_attackers_who_know_are_checked_for_weakness():
    weak, strong = record("mdda", "eot20x1", accuracy=0.4), record("mdda", "eot20x8", accuracy=0.2)
    square, transfer = record("mdda", "defended-square300", accuracy=0.3), record("mdda", "transfer20", accuracy=0.1)
    (line,) = masking([strong, weak, square])
    assert "PGD through it leaves 20.0 %" in line and "20x1 40.0 % (30 to 50), 20x8 20.0 % (10 to 30)" in line
    assert "none does better" in line
    (line,) = masking([strong, weak, square, transfer])
    assert "**better**: transfer20" in line
    assert masking([record("none"), record("mdda")]) == []
    assert masking([strong, record("mdda")]) == []  # the oblivious attack is no check


def test_a_stand_in_that_leaves_less_than_the_identitys_gradient_is_the_stronger_attacker():
    identity, by_stand_in = (record("jpeg20", "eot10x4", accuracy=0.4), record("jpeg20", "stand-in10", accuracy=0.1))
    (line,) = masking([identity, by_stand_in, record("jpeg20", "pgd20", accuracy=0.3)])
    assert "PGD through it leaves 10.0 %" in line and "pgd20 30.0 % (20 to 40)." in line
    assert "By the identity's gradient: 40.0 % (30 to 50); by a stand-in's: stand-in10 10.0 %" in line


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
    table = strongest_table([records, [record("mdda")]])
    assert table.splitlines()[0] == "| defence | `augmented`, 104 pictures |"
    assert "| mdda | 25.0 % (15–35), eot10x16 |" in table and "| jpeg20 | 20.0 % (10–30), pgd20 |" in table
    assert strongest_table([[replace(r, n=99) for r in records]]) == "" == strongest_table([])


def test_an_attack_that_knows_no_defence_is_paid_for_once():
    hours = re.search(r"([\d.]+) core-hours", cost([record("mdda"), record("a")]))[1]
    assert float(hours) == round((1 + 2 * 2 * 0.25) * ISIC_2019 / 3600)
    adaptive = [record(name, "eot1x1") for name in ("mdda", "a")]
    assert f"{(2 + 2 * 2 * 0.25) * ISIC_2019 / 3600:,.0f} core-hours" in cost(adaptive)


def test_the_page_is_what_the_command_writes_from_what_is_stored():
    assert (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8") == robustness_page()
    assert all(accuracy_table(records) in robustness_page() for records in read_evaluations().values())
    links = re.findall(r"\]\((\.\./[^)]+)\)", robustness_page())
    assert links and all((ROOT / "docs" / link).is_file() for link in links)


def test_settings_that_ship_are_those_that_tuning_found():
    best = json.loads((EVALUATION / "tuning" / "best.json").read_text(encoding="utf-8"))
    assert best["mdda"]["purifier"] == json.loads(json.dumps(asdict(Purifier())))
    defaults = {name: f"{name}{family.default:g}" for name, family in FAMILIES.items()}
    assert {name: defaults[name] for name in best if name != "mdda"} == {
        family: choice["defence"] for family, choice in best.items() if family != "mdda"
    }
    missing = [defaults[name] for name in defaults if name not in best]
    assert len(missing) <= 1 and all(f"Not searched in this run: {name}" in robustness_page() for name in missing)
