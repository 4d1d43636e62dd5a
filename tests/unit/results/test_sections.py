import json
import re
from dataclasses import asdict, replace

from purifier.pipeline import Purifier
from purifier.results.record import strongest
from purifier.results.sections import (
    ISIC_2019,
    alarm_table,
    attacks_table,
    by_source,
    equal_cost_tables,
    heat_table,
    masking,
    measured_on,
    settings_table,
    sources_text,
    tuning,
    whole_dataset,
)
from tests.helpers.records import around, detected, record


def test_a_figure_s_conditions_are_told():
    assert measured_on([record("none", draws=1)]) == "104 pictures, 1 draw, intervals over 80 lesions"
    records = [record("none", lesions=84), record("mdda", draws=3, lesions=80)]
    assert measured_on(records) == "104 pictures, 3 draws, intervals over 84 lesions"


def test_attackers_who_know_are_checked_for_weakness():
    weak, strong = record("mdda", "eot20x1", accuracy=0.4), record("mdda", "eot20x8", accuracy=0.2)
    square, transfer = record("mdda", "defended-square300", accuracy=0.3), record("mdda", "transfer20", accuracy=0.1)
    (line,) = masking([strong, weak, square])
    assert line["strongest"] == "20.0 % (10–30)"
    assert line["through it"] == "eot20x1 40.0 % (30–50), eot20x8 20.0 % (10–30)"
    assert line["without its gradient"].endswith("none does better")
    (line,) = masking([strong, weak, square, transfer])
    assert line["without its gradient"].endswith("**better**: transfer20")
    (line,) = masking([strong, weak, square, record("mdda", "grey-eot20x8", accuracy=0.15)])
    assert line["strongest"] == "15.0 % (5–25)" and line["through it"].endswith("grey-eot20x8 15.0 % (5–25)")
    assert masking([record("none"), record("mdda")]) == []
    (line,) = masking([strong, record("mdda")])
    assert line["without its gradient"].endswith("no other tried"), "the oblivious attack is no check"


def test_of_an_attack_in_many_lengths_the_ends_and_the_strongest_are_named():
    lengths = {"eot10x1": 0.4, "eot10x4": 0.2, "eot10x16": 0.1, "eot40x4": 0.2, "apgd10x4": 0.15}
    (line,) = masking([record("mdda", name, accuracy=accuracy) for name, accuracy in lengths.items()])
    assert re.findall(r"\w+x\d+", line["through it"]) == ["eot10x1", "eot10x16", "eot40x4", "apgd10x4"]
    assert line["strongest"] == "10.0 % (0–20)"


def test_a_stand_in_that_leaves_less_than_the_identitys_gradient_is_the_stronger_attacker():
    identity, by_stand_in = record("jpeg20", "eot10x4", accuracy=0.4), record("jpeg20", "stand-in10", accuracy=0.1)
    (line,) = masking([identity, by_stand_in, record("jpeg20", accuracy=0.3)])
    assert line["strongest"] == "10.0 % (0–20)" and line["without its gradient"].startswith("pgd20 30.0 % (20–40);")
    assert line["through it"] == "eot10x4 40.0 % (30–50)" and line["by a stand-in"] == "stand-in10 10.0 % (0–20)"


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
    assert "| mdda | – | 50.0 % (40–60) | 25.0 % (15–35), eot10x16 |" in table
    assert "| jpeg20 | – | 20.0 % (10–30) | 20.0 % (10–30), pgd20 |" in table
    assert table.startswith("`augmented`, 104 pictures, 2 draws, intervals over 80 lesions:")


def test_an_attack_that_knows_no_defence_is_paid_for_once():
    hours = whole_dataset([record("mdda"), record("a")])["hours"]
    assert hours == (1 + 2 * 2 * 0.25) * ISIC_2019 / 3600
    adaptive = [record(name, "eot1x1") for name in ("mdda", "a")]
    assert whole_dataset(adaptive)["hours"] == (2 + 2 * 2 * 0.25) * ISIC_2019 / 3600


def test_at_equal_cost_each_size_of_the_attack_has_its_table():
    def kept(family, eps, budget, accuracy, ahead=None):
        return record(family, eps=eps, budget=budget, accuracy=accuracy, ahead=ahead, settings=[family, f"{family}3"])

    records = [kept("mdda", 2.0, 5.0, 0.6), kept("jpeg", 2.0, 5.0, 0.4, 0.2)]
    records += [kept("mdda", 8.0, 5.0, 0.3), kept("jpeg", 8.0, 5.0, 0.3, 0.0)]
    tables = equal_cost_tables([records])
    assert list(tables) == [2.0, 8.0]
    assert "| `augmented`, 104, 5 points | 60.0 % | **+20.0** (+10 to +30) |" in tables[2.0]
    assert "| `augmented`, 104, 5 points | 30.0 % | +0.0 (-10 to +10) |" in tables[8.0]


def test_mdda_in_other_settings_is_shown_beside_the_default():
    records = [record("mdda", "none", accuracy=0.7), record("mdda", accuracy=0.6)]
    assert settings_table([[*records, record("noisy-rof0.06"), record("jpeg20")]]) == ""  # listed with the peers
    records += [
        record("mddax4", "none", accuracy=0.8, ahead=-0.2),
        record("mddax4", "eot10x4", accuracy=0.3),
        record("mdda:scales=1", accuracy=0.5, ahead=0.05),
        record("mdda-rof", "none", accuracy=0.6, ahead=0.2),
        record("jpeg20", "none", accuracy=0.7, ahead=0.0),
    ]
    assert settings_table([records]).splitlines() == [
        "| of | settings | clean | unaware, 2/255 | aware, 2/255 |",
        "| --- | --- | --- | --- | --- |",
        "| `augmented`, 104 | `mdda` | 70.0 % (60–80) | 60.0 % (50–70) | – |",
        "| `augmented`, 104 | `mddax4` | 80.0 % (70–90); **-20.0** (-30 to -10) | – | 30.0 % (20–40) |",
        "| `augmented`, 104 | `mdda:scales=1` | – | 50.0 % (40–60); +5.0 (-5 to +15) | – |",
        "| `augmented`, 104 | `mdda-rof` | 60.0 % (50–70); **+20.0** (+10 to +30) | – | – |",
    ]


def test_sources_are_told_with_their_files_and_shares():
    about = dict(HAM10000=dict(n=300, lesions=250, jpeg_quality=75.2), MSK=dict(n=100, lesions=100))
    records = [
        record(name, attack, source=source, accuracy=0.5, **more)
        for source, more in about.items()
        for name in ("none", "mdda", "mdda6", "jpeg20", "median7")
        for attack in ("none", "pgd20")
    ]
    assert sources_text(records) == (
        "300 pictures (250 lesions) of HAM10000, JPEG files of quality 75 on average; 100 pictures (100 lesions) of MSK"
    )
    header, _, *rows = by_source([records]).splitlines()
    assert header == "| of | defence | HAM10000, clean | HAM10000, 2/255 | MSK, clean | MSK, 2/255 |"
    assert [row.split(" | ")[1] for row in rows] == ["none", "mdda", "jpeg20"]
    assert rows[0].startswith("| `augmented` | none | 50.0 % (40–60)")


def test_an_attack_on_some_pictures_alone_says_on_how_many():
    records = [record(name, attack, n=24) for name in ("none", "mdda") for attack in ("none", "pgd20")]
    records += [record(name, "targeted20", 8.0, n=3) for name in ("none", "mdda")]
    records += [record("mdda", "eot10x4", n=24)]  # which knows it, and is shown elsewhere
    table = attacks_table(records).splitlines()
    assert table[0] == "| attack | 2/255 | 8/255 |"
    assert table[2:] == ["| pgd20 | 50 → 50 % (40–60) | – |", "| targeted20 (on 3) | – | 50 → 50 % (40–60) |"]


def test_the_alarm_s_table_says_who_evades_what_and_among_which():
    found = [
        detected(attack="none", eps=None, share=0.04),
        detected(area=0.9, share=0.6, called=around(0.5)),
        detected("squeezing", area=0.8, share=0.4),
        detected(area=0.95, share=0.7, successful=True, n=40),
        detected("squeezing", area=0.85, share=0.5, successful=True, n=40),
        detected(attack="evade20x4", area=0.5, share=0.1),
        detected("squeezing", "evade20x4", area=0.7, share=0.3),
        detected(area=0.1, source="MSK"),
    ]
    lines = alarm_table(found).splitlines()
    said = "`augmented`, 80 clean pictures of 70 lesions, mean of 4 draws"
    assert lines[0] == f"{said}; of these the alarm calls 4.0 % (-6–14) attacked:"
    shown = (
        "alarm: area | feature squeezing: area | alarm: detected | feature squeezing: detected | alarm: called attacked"
    )
    assert lines[2] == f"| attack | evades | pictures | {shown} | successful | alarm: of these detected |"
    rows = [re.sub(r" % \([^)]*\)", "", row).strip("| ").split(" | ") for row in lines[4:]]
    assert rows == [
        ["pgd20, 2/255", "neither", "80", "90", "80", "60", "40", "50", "40", "70"],
        ["evade20x4, 2/255", "alarm", "80", "50", "70", "10", "30", "–", "–", "–"],
    ]


def test_a_search_says_which_of_its_choices_ship(tmp_path):
    assert tuning(tmp_path) is None
    rof = Purifier(denoiser="rof")
    purifiers = {"mdda-learned": Purifier(), "mdda-rof": rof, "mdda": replace(rof, own=0.5)}
    accuracy = {"clean": 0.7, "PGD 2/255": 0.6}
    best = {
        name: {"defence": "mdda", "purifier": asdict(p), "accuracy": accuracy, "trials": 3}
        for name, p in purifiers.items()
    }
    best |= {
        name: {"defence": f"{name}20", "accuracy": {"clean": 0.5, "PGD 2/255": 0.6}, "trials": 5}
        for name in ("jpeg", "nlm")
    }
    (tmp_path / "best.json").write_text(json.dumps(best), encoding="utf-8")
    (tmp_path / "settings.json").write_text(
        json.dumps({"images": ["a", "b"], "classifier": "standard"}), encoding="utf-8"
    )
    (tmp_path / "tradeoff-pgd-2.png").touch()
    found = tuning(tmp_path)
    rows = [row.split(" | ") for row in found["table"].splitlines()[2:]]
    assert {row[0].strip("| "): row[2] for row in rows} == {
        "mdda-learned": "yes", "mdda-rof": "as `mdda-rof`", "mdda": "no", "jpeg20": "yes", "nlm20": "no",
    }  # fmt: skip
    assert (found["images"], found["classifier"], found["conditions"]) == (2, "standard", "clean, PGD 2/255")
    assert not found["is_of_now"] and found["varied"] == "`mdda-rof`"
    assert found["worst"] == "of 3 that of PGD 2/255, of 2 that of clean"
    assert "`median7`" in found["not_searched"] and "jpeg" not in found["not_searched"]
    assert found["plots"] == {"tradeoff-pgd-2.png": "2/255"} and not found["sensitivity"]
