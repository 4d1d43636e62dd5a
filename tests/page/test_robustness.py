import re
from dataclasses import replace

import gradio as gr
from purifier.ui.tabs.robustness import drawn, robustness_section

from purifier.defences import get_defence
from purifier.evaluation.intervals import Score
from purifier.results.record import EVALUATION, pooled, read_evaluations
from purifier.results.tables import overview
from purifier.ui.tabs import robustness
from purifier.wording.language import catalogue, speaking
from tests.helpers.records import around, record


def test_the_table_shows_each_figure_with_its_interval_and_what_the_attacker_knew():
    html = robustness_section(
        [
            [
                record("none", "none", accuracy=0.7, n=64),
                record("mdda", "none", accuracy=0.65, n=64),
                record("none", "pgd20", 2.0, accuracy=0.1, n=64),
                record("mdda", "pgd20", 2.0, accuracy=0.6, n=64),
                record("mdda", "pgd20", 8.0, accuracy=0.4, n=64),
                record("mdda", "eot20x4", 2.0, accuracy=0.15, n=32),
            ]
        ]
    )
    text = re.sub(r"<[^>]+>", "|", html)
    for expected in ("clean pictures", "does not know the defence", "knows the defence", "32 to 64 held-out pictures"):
        assert expected in text
    assert "60 <small>50–70</small>" in html and "15 <small>5–25</small>" in html
    assert "at 2/255 10 % <small>(0–20)</small> without a defence, 60 % <small>(50–70)</small> with MDDA" in html
    assert "<svg" in html and "currentColor" in html
    assert html.count("<td>–</td>") == 2  # 8/255 without a defence, and someone who knows no defence


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


def test_what_is_kept_at_equal_cost_and_what_the_strongest_attack_leaves_stand_with_their_run():
    records = [record("mdda", "pgd20", 2.0, accuracy=0.5, n=200), record("mdda", "eot10x4", 2.0, accuracy=0.2, n=200)]
    at_equal_cost = [
        record("mdda", "pgd20", 2.0, accuracy=0.4, n=200, budget=5.0),
        replace(
            record("jpeg", "pgd20", 2.0, accuracy=0.3, n=200, budget=5.0),
            mdda_ahead_by=Score(value=0.1, low=0.05, high=0.15),
        ),
    ]
    text = re.sub(r"<[^>]+>", "", robustness_section([records], [at_equal_cost]))
    assert "at 2/255, giving up at most 5 points, 200 pictures: MDDA 40.0 %. It is ahead of jpeg (+10.0)" in text
    assert "What the strongest attacker who knows the defence leaves, at 2/255mdda: 20 % (10–30) (eot10x4)" in text
    assert "equal cost" not in robustness_section([records], [[replace(r, choice="others") for r in at_equal_cost]])


def test_without_an_evaluation_it_says_so():
    assert "No evaluation" in robustness_section([])


def test_what_is_committed_can_be_shown_and_has_both_threats():
    runs = read_evaluations()
    assert runs, f"{EVALUATION} holds no evaluation"
    assert {r.attacker.threat for records in runs.values() for r in records} == {"oblivious", "adaptive"}
    assert robustness_section(runs.values()).count("<table>") == 1 + len(pooled(runs.values()))


def test_runs_on_the_same_pictures_are_shown_as_one():
    one = [record("mdda", "none", accuracy=0.7), record("mdda", "pgd20", 2.0, accuracy=0.5)]
    two = [record("mdda", "none", accuracy=0.7), record("mdda", "eot20x4", 2.0, accuracy=0.2)]
    other = [record("mdda", "pgd20", 2.0, accuracy=0.5, n=9)]
    (first, second) = pooled([one, two, other])
    assert [r.attack for r in first] == ["none", "pgd20", "eot20x4"] and second == other


def test_a_run_without_mdda_does_not_hide_its_lead():
    with_mdda = [record("jpeg20", "none", accuracy=0.7, ahead=0.1)]
    without = [record("jpeg20", "none", accuracy=0.7), record("jpeg20", "stand-in10", 2.0, accuracy=0.1)]
    for runs in ([with_mdda, without], [without, with_mdda]):
        (group,) = pooled(runs)
        assert [r.mdda_ahead_by for r in group] == [around(0.1), None]


def test_the_section_is_sent_once_in_each_language(monkeypatch):
    monkeypatch.setattr(robustness, "section_in", lambda language: f"drawn in {language}")
    assert drawn("") == ("drawn in en", "en") and drawn("en") == (gr.skip(), "en")
    with speaking("de"):
        assert drawn("en") == ("drawn in de", "de")
        assert drawn("de") == (gr.skip(), "de")


def test_attacks_defences_and_words_of_the_plot_are_translated(monkeypatch):
    for text, said in {
        "nothing": "nichts",
        "JPEG of quality {number}": "JPEG der Güte {number}",
        "{attack}: oblivious attacker": "{attack}: ahnungslos",
        "clean pictures": "niemand greift an",
    }.items():
        monkeypatch.setitem(catalogue("de"), text, said)
    records = [
        record(name, attack, eps, defence_title=get_defence(name).title)
        for attack, eps in (("none", None), ("pgd20", 2.0))
        for name in ("none", "jpeg20", "mdda")
    ]
    with speaking("de"):
        html = robustness_section([records])
    assert html.count("JPEG der Güte 20") == 2 and html.count("nichts") >= 2  # in the table, and in the plot
    assert "pgd20: ahnungslos" in html and "niemand greift an" in html
