import json
import shutil
from dataclasses import replace

from purifier.results.record import ANY, at_their_best, pooled, read_evaluations, write_records
from tests.helpers.records import around, copy_runs, record


def test_of_several_settings_the_tuned_one_is_kept():
    names = ["none", "mdda", "mdda6", "jpeg20", "jpeg30", "median3", "median5", "art-median3"]
    kept = [r.defence for r in at_their_best(map(record, names))]
    assert kept == ["none", "mdda", "jpeg20", "median3", "median5", "art-median3"]


def test_what_is_stored_is_read_back(tmp_path):
    records = [record("mdda", "none"), record("jpeg20", "eot10x4", accuracy=0.3, ahead=0.2, broken=around(0.4))]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_bytes(write_records(records))
    settings = {"classifier": "augmented", "images": ["a"], "weights": {}, "purifier": {}}
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (found,) = read_evaluations(tmp_path).values()
    assert [r.row() | {"choice": ""} for r in found] == [
        r.row() | {"choice": "", "attack_title": read.attacker.title, "defence_title": read.defence_title}
        for r, read in zip(records, found, strict=True)
    ]
    attacker = found[1].attacker
    assert (attacker.kind, attacker.steps, attacker.samples, attacker.adaptive) == ("eot", 10, 4, True)
    assert (found[1].family, found[1].number) == ("jpeg", 20)


def test_the_same_choice_of_pictures_is_known_by_its_hash(tmp_path):
    copy_runs(tmp_path, "augmented-balanced", "augmented-adaptive")
    folder = tmp_path / "evaluation"
    shutil.copytree(folder / "augmented-adaptive", folder / "again")
    choices = {name: {r.choice for r in records} for name, records in read_evaluations(folder).items()}
    assert all(len(found) == 1 for found in choices.values())
    assert choices["augmented-adaptive"] == choices["again"] != choices["augmented-balanced"]


def test_runs_on_the_same_pictures_are_shown_as_one():
    one = [record("mdda", "none", accuracy=0.7), record("mdda", "pgd20", 2.0, accuracy=0.5)]
    two = [record("mdda", "none", accuracy=0.7), record("mdda", "eot20x4", 2.0, accuracy=0.2)]
    other = [record("mdda", "pgd20", 2.0, accuracy=0.5, n=9)]
    (first, second) = pooled([one, two, other])
    assert [r.attack for r in first] == ["none", "pgd20", "eot20x4"] and second == other


def test_of_what_the_best_of_each_run_s_attacks_leave_the_least_counts():
    some, others = ([replace(record("mdda", accuracy=accuracy), attacker=ANY)] for accuracy in (0.15, 0.2))
    for runs in ([some, others], [others, some]):
        (group,) = pooled(runs)
        assert [r.accuracy for r in group] == [around(0.15)]


def test_a_run_without_mdda_does_not_hide_its_lead():
    with_mdda = [record("jpeg20", "none", accuracy=0.7, ahead=0.1)]
    without = [record("jpeg20", "none", accuracy=0.7), record("jpeg20", "stand-in10", 2.0, accuracy=0.1)]
    for runs in ([with_mdda, without], [without, with_mdda]):
        (group,) = pooled(runs)
        assert [r.mdda_ahead_by for r in group] == [around(0.1), None]


def test_of_the_purifier_the_run_of_more_draws_counts():
    more = [record("mdda", draws=2, accuracy=0.6)]
    fewer = [record("mdda", draws=1, accuracy=0.7), record("jpeg20", ahead=0.1)]
    for runs in ([more, fewer], [fewer, more]):
        (group,) = pooled(runs)
        assert [(r.defence, r.accuracy) for r in group if r.defence == "mdda"] == [("mdda", around(0.6))]
        assert len(group) == 2
