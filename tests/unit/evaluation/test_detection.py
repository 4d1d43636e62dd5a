import json
from dataclasses import replace

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from scipy.stats import mannwhitneyu
from torch.testing import assert_close

from purifier.alarm import FALSE_ALARMS, disagreement
from purifier.cli.main import main
from purifier.defences import get_defence
from purifier.evaluation.attackers import WEIGHTS, Task, apart, get_attacker
from purifier.evaluation.detection import mean_behind
from purifier.evaluation.settings import Detection
from purifier.evaluation.squeezing import SQUEEZERS, squeezing_score
from purifier.pictures.files import quantise, read_image, to_batch
from purifier.pipeline import Purifier
from purifier.results.detection import detection_rate, read_detections, summarise, threshold, write_detection
from purifier.runs import mean_reading
from tests.helpers.paths import ROOT
from tests.helpers.pictures import lesion_like
from tests.helpers.runs import TIMES

QUICK = "--split all --limit 5 --classifier surrogate --eps 4 --draws 2".split()
ATTACKS = "--attacks fgsm evade1x1 evade-squeezing1".split()
EPS = 4 / 255


@pytest.fixture(scope="module")
def x():
    files = [ROOT / "assets" / "examples" / f"{name}-1.png" for name in ("AK", "MEL")]
    return torch.cat([quantise(read_image(file, size=96)) for file in files])


def task(classifier, seed=3):
    return Task(
        classifier=classifier, surrogate=classifier, defence=get_defence("mdda"), eps=EPS, seed=seed, noise_seed=7
    )


def test_the_squeezers_are_those_of_the_paper():
    x = to_batch(lesion_like(3, 37))
    bits, median, means = (squeezer(x) for squeezer in SQUEEZERS)
    pixels = (x[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    assert_close(bits, (x * 31).round() / 31)
    inner = np.stack([pixels[:-1, :-1], pixels[:-1, 1:], pixels[1:, :-1], pixels[1:, 1:]])  # of 2 x 2 pixels
    expected = torch.from_numpy(np.sort(inner, axis=0)[2]).permute(2, 0, 1) / 255  # of four values the third
    assert_close(median[0, :, 1:, 1:], expected)
    theirs = cv2.fastNlMeansDenoisingColored(pixels, None, h=4, hColor=4, templateWindowSize=3, searchWindowSize=11)
    assert_close(means[0], torch.from_numpy(theirs).permute(2, 0, 1) / 255)


def test_squeezing_scores_the_largest_change_of_the_reading(classifier, x):
    before = classifier.probabilities(x)
    each = [(classifier.probabilities(squeezer(x)) - before).abs().sum(dim=1) for squeezer in SQUEEZERS]
    assert_close(squeezing_score(classifier, x), torch.maximum(torch.maximum(each[0], each[1]), each[2]))


def test_one_draw_reads_as_the_page_does(classifier, x):
    mean = mean_behind(classifier, get_defence("mdda"), x[:1], [5])
    assert_close(mean[0], mean_reading(classifier, Purifier(), x[:1], draws=1, seed=5).probabilities)


def test_who_evades_the_alarm_is_misread_at_a_lower_score(classifier, x):
    y = classifier(x).argmax(dim=1)
    found = {}
    for name in ("pgd8", "evade8x1"):
        adv = get_attacker(name).run(task(classifier), x, y)
        assert (adv - x).abs().max() <= EPS + 1e-6 and (classifier(adv).argmax(dim=1) != y).all()
        with torch.no_grad():
            after = mean_behind(classifier, get_defence("mdda"), adv, [11, 12])  # noise that the attacker never saw
            found[name] = disagreement(classifier.probabilities(adv), after)
    assert (found["evade8x1"] < 0.8 * found["pgd8"]).all()


def test_two_readings_are_as_far_apart_for_the_attacker_as_for_the_alarm():
    logits = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    assert_close(apart(*logits), disagreement(*logits.softmax(dim=2)), rtol=0.05, atol=0)
    sure = torch.tensor([[[80.0, 0]], [[0, 80.0]]]).requires_grad_()
    (wrong, purified) = torch.autograd.grad(apart(*sure).sum(), sure)[0]
    assert (wrong == 0).all() and purified.abs().min() > 0.9


def test_the_attacker_keeps_the_best_weight_for_each_picture(classifier, x, monkeypatch):
    """With all weights the detector's score is at most as high, and no fewer are misread, as with each one alone."""
    y, deterministic = classifier(x).argmax(dim=1), replace(task(classifier), defence=get_defence("jpeg20"))

    def by_alarm(adv):
        return disagreement(classifier.probabilities(adv), mean_behind(classifier, deterministic.defence, adv, [0]))

    detectors = {"evade2": by_alarm, "evade-squeezing2": lambda adv: squeezing_score(classifier, adv)}
    for name, score in detectors.items():

        def cost(weights, name=name, score=score):
            monkeypatch.setattr("purifier.evaluation.attackers.WEIGHTS", weights)
            adv = quantise(get_attacker(name).run(deterministic, x, y))
            with torch.no_grad():
                return score(adv) + 1e6 * (classifier(adv).argmax(dim=1) == y)

        each = [cost((weight,)) for weight in WEIGHTS]
        assert_close(cost(WEIGHTS), torch.stack(each).amin(dim=0), rtol=0.02, atol=1e-3)


def test_attacks_are_of_whole_levels_since_pictures_have_8_bits():
    with pytest.raises(ValueError, match=r"eps must be whole numbers \(in 1/255\), and are \(1.5,\)"):
        Detection(eps=(1.5,))


def test_a_stopped_run_goes_on_and_ends_with_the_same_rows(small_isic2019, tmp_path, capsys):
    out = tmp_path / "out"
    command = ["detect", "--data", str(small_isic2019), *QUICK, *ATTACKS, "--out", str(out)]
    assert main(command) == 0
    assert capsys.readouterr().out.strip() == (out / "table.md").read_text(encoding="utf-8").strip()
    rows, parts = pd.read_parquet(out / "results.parquet"), sorted(out.glob("parts/*"))
    assert len(rows) == 5 * 4 and not rows.duplicated(["image", "attack", "eps"]).any()
    assert rows.alarm.between(0, 13.9).all() and rows.squeezing.between(0, 2).all()
    assert set(rows[rows.attack.str.startswith("evade")].threat) == {"adaptive"}
    assert (out / "command.txt").read_text(encoding="utf-8").startswith("purifier detect --data ISIC2019 --split all")
    for path in parts[1::2]:
        path.unlink()
    kept = {path: path.stat().st_mtime_ns for path in parts[::2]}
    assert main(command) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in kept.items())
    assert_frame_equal(pd.read_parquet(out / "results.parquet").drop(columns=TIMES[1]), rows.drop(columns=TIMES[1]))
    stored = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    whole = [one for one in stored if not one["successful"] and not one["source"]]
    assert len(whole) == 1 + 3 * 2 and {one["n"] for one in whole} == {5}
    assert main([*command, "--draws", "1"]) == 2  # that is another run


def test_an_alarm_has_one_purifier():
    with pytest.raises(ValueError, match="one purifier"):
        Detection(defences=("mdda", "jpeg20"))
    with pytest.raises(ValueError, match="one purifier"):
        Detection(defences=("none",))


def made_up(count=200) -> pd.DataFrame:
    """Of as many clean pictures, half of which an attack changes: the alarm tells these for sure, squeezing nothing."""
    generator = np.random.default_rng(0)
    about = dict(
        image=[f"{i}" for i in range(count)], lesion=[f"{i // 2}" for i in range(count)], label="NV",
        classifier="augmented", source="HAM10000",
    )  # fmt: skip
    clean = pd.DataFrame(
        {**about, "attack": "none", "eps": np.nan, "predicted": "NV", "alarm": generator.uniform(0, 0.5, count)}
    )
    attacked = clean.assign(attack="pgd20", eps=2.0, predicted=np.where(np.arange(count) % 2, "MEL", "NV"))
    attacked.alarm = np.where(attacked.predicted == "MEL", 1 + clean.alarm, generator.uniform(0, 0.5, count))
    rows = pd.concat([clean, attacked], ignore_index=True)
    return rows.assign(
        squeezing=generator.uniform(0, 1, len(rows)), false_alarm_rate=np.where(rows.alarm > 0.99, 0.01, 0.5)
    )


def test_scores_are_what_was_built_in():
    found = {(one.attack, one.detector, one.successful): one for one in summarise(made_up())}
    sure = found["pgd20", "alarm", True]
    assert (sure.auroc.value, sure.detected.value, sure.called.value, sure.n, sure.lesions) == (1, 1, 1, 100, 100)
    assert sure.detected.low < 1
    half = found["pgd20", "alarm", False]
    assert half.called.value == 0.5 and 0.5 <= half.detected.value <= 0.6 and (half.n, half.lesions) == (200, 100)
    blind = found["pgd20", "squeezing", False]
    assert blind.auroc.low < 0.5 < blind.auroc.high and blind.detected.low < 0.1 and blind.called is None
    assert found["none", "alarm", False].called.value == 0 and found["none", "alarm", False].auroc is None


def test_what_is_written_of_a_run_is_read_again(tmp_path):
    (tmp_path / "run").mkdir()
    found = write_detection(made_up(), tmp_path / "run")
    (tmp_path / "run" / "settings.json").write_text('{"draws": 4}', encoding="utf-8")
    assert read_detections(tmp_path) == {"run": [replace(one, draws=4) for one in found]}


def test_the_area_and_the_threshold_are_those_of_others(tmp_path):
    rows = made_up()
    clean, attacked = (rows[rows.attack == attack].squeezing.to_numpy() for attack in ("none", "pgd20"))
    area = mannwhitneyu(attacked, clean).statistic / len(clean) / len(attacked)
    (found,) = [one for one in summarise(rows) if one.detector == "squeezing" and not one.successful]
    assert found.auroc.value == pytest.approx(area)
    assert (clean > threshold(clean)).mean() <= FALSE_ALARMS < (clean >= threshold(clean)).mean() + 1e-9
    truth, both = np.repeat([False, True], len(clean)), np.concatenate([clean, attacked])
    assert detection_rate(truth, both, np.arange(len(both))).value == (attacked > threshold(clean)).mean()
