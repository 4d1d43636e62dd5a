import json
from dataclasses import asdict, replace

import pytest

from purifier.classifiers.classifier import load_classifier
from purifier.cli.main import main
from purifier.defences import FAMILIES
from purifier.evaluation import tune as module
from purifier.evaluation.datasets import read_isic2019
from purifier.evaluation.tune import STARTS, VARIED, Trials, chosen, merit, try_mdda, tune

FIRST_GUESS = STARTS[VARIED][0]


def test_of_what_cannot_be_told_from_the_best_worst_case_the_cheapest_on_clean_pictures_is_taken():
    found = {
        "best": {"clean": 0.55, "PGD": 0.50},
        "nearly": {"clean": 0.60, "PGD": 0.46},
        "lopsided": {"clean": 0.90, "PGD": 0.40},
        "dominated": {"clean": 0.60, "PGD": 0.45},
    }
    assert chosen(found, images=100) == "nearly"  # one standard error is 0.05
    assert chosen(found, images=10_000) == "best"
    assert chosen(found, images=10) == "lopsided"


@pytest.mark.parametrize("kind", STARTS)
def test_mdda_starts_from_what_is_known_and_finds_a_better_setting(kind):
    tried = []

    def score(purifier):
        tried.append(purifier)
        value = purifier.weight * 10 if purifier.denoiser == "rof" else purifier.own
        return {"clean": 1 - abs(value - 0.4), "PGD": 1 - abs(purifier.sigma * 255 - 14) / 20}

    starts = STARTS[kind]
    found = try_mdda(starts, score, trials=40, seed=0)
    assert tried[:2] == list(starts) and len(tried) == 40
    assert {purifier.denoiser for purifier in tried} == {starts[0].denoiser}
    assert max(map(merit, found.values())) > merit(score(starts[0])) + 0.1


def test_the_best_trial_is_measured_again_beside_the_first_guess(small_isic2019, tmp_path, monkeypatch):
    """A trial that only looked good in its draw does not win."""
    lucky = replace(FIRST_GUESS, sigma=12 / 255)
    known = {FIRST_GUESS: 0.5, lucky: 0.9}

    def accuracies(defence, classifier, pictures, y, seed, draws):
        first_look = tuple(draws) == (0,)
        share = known[defence.function] if first_look else 0.6 if defence.function == FIRST_GUESS else 0.4
        return dict.fromkeys(pictures, share)

    monkeypatch.setattr(module, "accuracies", accuracies)
    monkeypatch.setattr(module, "try_mdda", lambda starts, score, trials, seed: {p: score(p) for p in known})
    samples = read_isic2019(small_isic2019)[:4]
    best = tune(load_classifier(), samples, tmp_path, defences=(VARIED,), eps=(8.0,), sensitivity=False)[VARIED]
    assert (
        best["purifier"] == asdict(FIRST_GUESS) and set(best["accuracy"].values()) == {0.6} and best["finalists"] == 2
    )


def test_tuning_is_kept_and_nothing_is_tried_twice(small_isic2019, tmp_path, monkeypatch):
    samples, classifier = read_isic2019(small_isic2019)[:4], load_classifier()
    monkeypatch.setattr(module, "SENSITIVITY", {"blocks": (1, 2), "smooth": (0.0, 1.0)})
    settings = dict(defences=("jpeg", VARIED), eps=(8.0,), trials=3)
    best = tune(classifier, samples, tmp_path, **settings)
    assert best["jpeg"]["trials"] == 3 and best["jpeg"]["defence"] in ("jpeg5", "jpeg10", "jpeg15")
    assert list(best[VARIED]["accuracy"]) == ["clean", "PGD 8/255"]
    lines = (tmp_path / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads((tmp_path / "best.json").read_text(encoding="utf-8")) == json.loads(json.dumps(best))
    assert (tmp_path / "sensitivity.svg").exists()
    monkeypatch.setattr(module, "accuracies", lambda *_: pytest.fail("computed twice"))
    assert tune(classifier, samples, tmp_path, **settings) == best
    assert (tmp_path / "trials.jsonl").read_text(encoding="utf-8").splitlines() == lines
    with pytest.raises(ValueError, match="other settings"):
        tune(classifier, samples[:3], tmp_path, **settings)


def test_a_line_cut_short_is_tried_again(tmp_path):
    path = tmp_path / "trials.jsonl"
    path.write_text('{"what": {"defence": "a"}, "accuracy": {"clean": 0.5}}\n{"what": {"def', encoding="utf-8")
    trials = Trials(path)
    assert trials.get({"defence": "a"}, lambda: pytest.fail("known")) == {"clean": 0.5}
    assert trials.get({"defence": "b"}, lambda: {"clean": 0.7}) == {"clean": 0.7}
    assert Trials(path).get({"defence": "b"}, lambda: pytest.fail("known")) == {"clean": 0.7}


def test_the_command_refuses_what_cannot_be_tuned(small_isic2019, tmp_path, capsys):
    command = ["tune", "--data", str(small_isic2019), "--split", "all", "--limit", "2", "--out", str(tmp_path / "out")]
    assert main([*command, "--defences", "magic"]) == 2
    assert "Tuned are mdda" in capsys.readouterr().err


def test_the_shipped_defaults_of_peers_are_among_what_is_tuned():
    assert all(family.default in family.values for family in FAMILIES.values())
