"""Calibration, abstention, the out-of-distribution check and the gradient-masking checks, on very small networks."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from torch.testing import assert_close

from purifier.alarm import FALSE_ALARMS, false_alarm_rate
from purifier.attacks import AttackSettings
from purifier.classifiers import classifier as module
from purifier.classifiers.classifier import (
    AlarmCalibration,
    Calibration,
    OutOfDistribution,
    bundled_classifiers,
    digest_of,
    load_classifier,
    write_calibration,
    write_mixture,
)
from purifier.classifiers.hub import ModelCard
from purifier.classifiers.mixed import Mixing
from purifier.cli.main import main
from purifier.evaluation import art, masking, ood
from purifier.evaluation.datasets import LABELS, read_isic2019
from purifier.evaluation.evaluate import choose_balanced, evaluate_robust, withstands
from purifier.evaluation.intervals import Score, wilson
from purifier.evaluation.ood import distances, evade, ood_pictures, ood_scores
from purifier.pictures.files import to_batch
from purifier.pipeline import Purifier
from purifier.runs import Settings
from purifier.training import card
from purifier.training.calibrate import abstention_threshold, calibrate, fit_temperature
from tests.helpers.classifiers import Brightness, fake_classifier, save_small
from tests.helpers.pictures import lesion_like


@pytest.fixture
def folder(tmp_path) -> Path:
    """A very small random network in timm's format."""
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=len(LABELS)).eval()
    network.pretrained_cfg.update(mean=(0.5,) * 3, std=(0.5,) * 3, input_size=(3, 96, 96), crop_pct=1.0)
    config = {"num_classes": len(LABELS), "label_names": LABELS}
    timm.models.save_for_hf(network, str(tmp_path / "network"), model_config=config, safe_serialization=True)
    return tmp_path / "network"


@pytest.fixture
def x():
    return torch.cat([to_batch(lesion_like(i, 96)) for i in range(6)])


def test_the_temperature_that_was_built_in_is_found():
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(20_000, 5, generator=generator)
    y = torch.multinomial(logits.softmax(1), 1, generator=generator).flatten()  # calibrated by construction
    assert fit_temperature(3 * logits, y) == pytest.approx(3, rel=0.03)


def test_the_abstention_threshold_is_the_least_that_keeps_the_accuracy():
    confidence = torch.linspace(0.99, 0.6, 20)
    probabilities = torch.stack([confidence, 1 - confidence], dim=1)
    y = torch.tensor([0] * 17 + [1] * 3)  # the three least confident readings are wrong
    least = abstention_threshold(probabilities, y)
    assert least == pytest.approx(confidence[17].item(), abs=1e-3)  # 17 of 18 are right, 17 of 19 too few
    assert abstention_threshold(probabilities, torch.ones(20, dtype=torch.int64)) == 1.0


def test_what_was_fitted_is_kept_in_the_config_and_read_back(folder, small_isic2019, x):
    plain = load_classifier(f"local-dir:{folder}")
    assert plain.calibration == Calibration()
    with pytest.raises(ValueError, match="no statistics"):
        plain.distance(x)
    train, val = (read_isic2019(small_isic2019, split) for split in ("train", "val"))
    written = calibrate(folder, train, val)
    loaded = load_classifier(f"local-dir:{folder}")
    assert loaded.calibration == written and written.temperature != 1
    assert_close(loaded.probabilities(x), (plain(x) / written.temperature).softmax(1))
    check = written.out_of_distribution
    assert len(check.mean) == len(check.std) == loaded.stage_means(x).shape[1]
    stage_means = loaded.stage_means(x)
    expected = ((stage_means - torch.tensor(check.mean)) / torch.tensor(check.std)).square().mean(1)
    assert_close(loaded.distance(x), expected)
    assert (folder / "config.json").read_text(encoding="utf-8").count("\n") < 100  # each list is one line


def test_the_alarm_is_calibrated_by_its_command(folder, small_isic2019, capsys):
    write_calibration(folder, Calibration(temperature=0.05))
    name = f"local-dir:{folder}"
    command = ["alarm", "--data", str(small_isic2019), "--split", "all", "--classifier", name]
    assert main(command) == 0 and "24 clean pictures" in capsys.readouterr().out
    classifier = load_classifier(name)
    made = classifier.calibration.alarm
    assert (made.purifier, made.draws, made.weights) == (Purifier(), Settings().draws, digest_of(folder))
    assert classifier.calibration == Calibration(temperature=0.05, alarm=made)  # the rest stays
    assert list(made.scores) == sorted(made.scores) and 0 <= made.scores[0] < made.scores[-1]
    rates = [false_alarm_rate(score, classifier, Purifier(), made.draws) for score in made.scores]
    assert sum(rate <= FALSE_ALARMS for rate in rates) <= FALSE_ALARMS * 24
    assert main(command) == 0 and load_classifier(name).calibration.alarm == made


def test_an_alarm_of_other_weights_is_left_alone(folder):
    made = AlarmCalibration(purifier=Purifier(), draws=4, weights=digest_of(folder), scores=[0.1, 0.2])
    for weights, kept in ((made.weights, made), ("0" * 64, None)):
        write_calibration(folder, Calibration(temperature=2.0, alarm=replace(made, weights=weights)))
        assert load_classifier(f"local-dir:{folder}").calibration == Calibration(temperature=2.0, alarm=kept)


def test_the_stage_means_are_those_of_the_network_s_stages(folder, x):
    loaded = load_classifier(f"local-dir:{folder}")
    seen = []
    for stage in (loaded.network.layer1, loaded.network.layer4):
        stage.register_forward_hook(lambda module, args, out: seen.append(out.mean((2, 3))))
    means = loaded.stage_means(x)
    first, last = seen
    assert_close(means[:, -last.shape[1] :], last)
    assert any(torch.allclose(means[:, i : i + first.shape[1]], first) for i in range(means.shape[1]))


@pytest.mark.parametrize("values", ["text", {"temperatures": 2}, {"out_of_distribution": {"mean": [1.0]}}])
def test_other_values_in_its_place_are_refused(folder, values):
    path = folder / "config.json"
    path.write_text(
        json.dumps({**json.loads(path.read_text(encoding="utf-8")), "lesion_purifier": values}), encoding="utf-8"
    )
    with pytest.raises(ValueError, match="lesion_purifier"):
        load_classifier(f"local-dir:{folder}")


def test_bundled_weights_carry_what_was_fitted():
    for name in bundled_classifiers():
        calibration = load_classifier(name).calibration
        assert (
            calibration.temperature != 1
            and 0 < calibration.abstain_below < 1
            and calibration.out_of_distribution is not None
        )


def test_ood_pictures_are_of_every_kind_and_the_same_for_the_same_seed(monkeypatch):
    monkeypatch.setattr(ood, "MADE", 2)
    monkeypatch.setattr(ood, "CROPS", 1)
    kinds, pictures = zip(*ood_pictures(), strict=True)
    assert set(kinds) == {"photograph", "texture", "document", "drawing"}
    assert all(isinstance(p, Image.Image) and p.mode == "RGB" and min(p.size) >= 64 for p in pictures)
    again = [picture for _, picture in ood_pictures()]
    assert all(np.array_equal(a, b) for a, b in zip(pictures, again, strict=True))
    other = [picture for _, picture in ood_pictures(seed=1)]
    assert not all(a.size == b.size and np.array_equal(a, b) for a, b in zip(pictures, other, strict=True))


def test_an_attacker_who_knows_the_check_comes_nearer(folder, small_isic2019, x):
    calibrate(folder, read_isic2019(small_isic2019, "train"), read_isic2019(small_isic2019, "val"))
    classifier = load_classifier(f"local-dir:{folder}")
    noise = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert (distances(classifier, noise) > 2 * distances(classifier, x).max()).all()
    attack = AttackSettings(eps=8 / 255, steps=5)
    moved = evade(classifier, noise, attack, torch.Generator().manual_seed(0))
    assert (distances(classifier, moved) < distances(classifier, noise)).all()
    assert (moved - noise).abs().max() <= 8 / 255 + 1e-6


def test_the_scores_of_the_check(folder, small_isic2019, monkeypatch):
    calibrate(folder, read_isic2019(small_isic2019, "train"), read_isic2019(small_isic2019, "val"))
    monkeypatch.setattr(ood, "MADE", 1)
    monkeypatch.setattr(ood, "CROPS", 1)
    classifier, samples = load_classifier(f"local-dir:{folder}"), read_isic2019(small_isic2019)
    found = ood_scores(classifier, samples, samples[:3], eps=8 / 255)
    assert found["auroc"].value > 0.9  # blots on skin against photographs and drawings
    of_files = wilson(found["found"]["photograph"].value, len(ood.FILES["photograph"]["skimage.data"]) + 8)
    assert found["found"]["photograph"] == of_files and sum(found["ood_pictures"].values()) > 60
    assert found["false_alarm"] == wilson(found["false_alarm"].value, 16)  # the 24 pictures' lesions
    assert found["lesions"] == 24 and found["attacked"] == 3 and set(found["found"]) == set(found["ood_pictures"])
    assert found["found_evading"].value <= sum(
        found["found"][kind].value * count for kind, count in found["ood_pictures"].items()
    ) / sum(found["ood_pictures"].values())


def test_a_balanced_choice_has_as_many_of_each(small_isic2019):
    samples = read_isic2019(small_isic2019)
    chosen = choose_balanced(samples, 2, seed=0)
    assert sorted(s.label for s in chosen) == sorted(LABELS * 2)
    assert chosen == choose_balanced(samples, 2, seed=0) != choose_balanced(samples, 2, seed=1)
    with pytest.raises(ValueError, match="There are 3 pictures of AK, and 4"):
        choose_balanced(samples, 4, seed=0)


def test_only_pictures_that_no_step_fools_withstand():
    levels = torch.tensor([0.2, 0.49, 0.505, 0.6])  # of which the second is called dark, though it is 1
    x, y = levels.reshape(4, 1, 1, 1).expand(4, 3, 8, 8), torch.tensor([0, 1, 1, 1])
    held = withstands(Brightness(), x, y, AttackSettings(eps=0.02, steps=10), restarts=2, seed=0)
    assert held.tolist() == [True, False, False, True]


def test_robust_accuracy_falls_with_epsilon_and_steps(folder, small_isic2019):
    classifier, samples = load_classifier(f"local-dir:{folder}"), read_isic2019(small_isic2019)
    accuracies = [
        evaluate_robust(classifier, samples, attack=AttackSettings(eps=eps / 255, steps=3))["accuracy"].value
        for eps in (0, 8)
    ]
    assert accuracies[0] > accuracies[1]


def test_square_fools_without_a_gradient_and_keeps_its_bound():
    x = torch.full((2, 3, 16, 16), 0.505)
    x[1] = 0.8
    adv = art.square(fake_classifier(), x, torch.tensor([1, 1]), classes=2, eps=0.02, queries=300)
    assert (adv - x).abs().max() <= 0.02 + 1e-6
    assert Brightness()(adv).argmax(1).tolist() == [0, 1]
    again = art.square(fake_classifier(), x, torch.tensor([1, 1]), classes=2, eps=0.02, queries=300)
    assert torch.equal(adv, again)


def test_the_masking_checks_compare_on_the_same_pictures(folder, small_isic2019):
    classifier = load_classifier(f"local-dir:{folder}")
    samples = read_isic2019(small_isic2019)[:4]
    found = masking.masking_checks(classifier, classifier, samples, eps=8 / 255, queries=3)
    assert found["images"] == 4 and found["transfer_from"] == classifier.source
    assert found["pgd100"].value <= found["pgd20"].value <= found["transfer"].value


def test_writing_what_was_measured_keeps_the_rest_of_the_config(folder):
    before = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    check = OutOfDistribution(mean=[1.0, 2.0], std=[1.0, 1.0], threshold=3.0)
    write_calibration(folder, Calibration(temperature=2.0, out_of_distribution=check))
    after = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert after.pop("lesion_purifier")["out_of_distribution"] == {
        "mean": [1.0, 2.0],
        "std": [1.0, 1.0],
        "threshold": 3.0,
    }
    assert after == before


def test_the_check_s_former_name_in_a_config_is_read(folder):
    check = OutOfDistribution(mean=[1.0, 2.0], std=[1.0, 1.0], threshold=3.0)
    write_calibration(folder, Calibration(out_of_distribution=check))
    text = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(text.replace("out_of_distribution", "non_lesion"), encoding="utf-8")
    assert load_classifier(f"local-dir:{folder}").calibration.out_of_distribution == check


@pytest.fixture
def write(folder, small_isic2019, tmp_path, monkeypatch):
    """Writes the card of a name for weights in a folder, from few pictures; returns its metrics and its text."""
    monkeypatch.setattr(ood, "MADE", 1)
    monkeypatch.setattr(ood, "CROPS", 0)
    monkeypatch.setattr(module, "MODELS", tmp_path / "models")
    for name, value in {
        "MODELS": tmp_path / "models",
        "EPSILONS": (2, 4),
        "PURIFIED_EPSILONS": (2,),
        "DRAWS": 1,
        "MASKING_IMAGES": 2,
        "OOD_IMAGES": 2,
        "SURROGATE": f"local-dir:{folder}",
    }.items():
        monkeypatch.setattr(card, name, value)

    def written(name, weights):
        command = ["card", "--classifier", name, "--weights", str(weights), "--data", str(small_isic2019)]
        assert main([*command, "--per-class", "1"]) == 0
        made = tmp_path / "models" / name
        metrics = json.loads((made / "metrics.json").read_text(encoding="utf-8"))
        return metrics, (made / "README.md").read_text(encoding="utf-8")

    return written


def test_a_card_tells_what_was_measured_and_the_report_sets_cards_side_by_side(folder, small_isic2019, write, capsys):
    calibrate(folder, read_isic2019(small_isic2019, "train"), read_isic2019(small_isic2019, "val"))
    metrics, text = write("robust", folder)
    test = read_isic2019(small_isic2019, "test")
    diagnoses = len({sample.label for sample in test})
    assert metrics["clean"]["images"] == len(test) and metrics["robust"]["4"]["images"] == diagnoses
    scores = [
        metrics["clean"]["accuracy"],
        metrics["robust"]["4"]["accuracy"],
        metrics["attacked"]["2"]["attacked_purified"],
        metrics["masking"]["square"],
        metrics["out_of_distribution"]["found_evading"],
    ]
    assert all(Score.read(score).written() in text for score in scores)
    lesions = {sample.lesion for sample in test}
    assert metrics["clean"]["lesions"] == metrics["purified"]["lesions"] == len(lesions) < len(test)
    assert Score.read(metrics["clean"]["accuracy"]) == wilson(metrics["clean"]["accuracy"]["value"], len(lesions))
    assert Score.read(metrics["out_of_distribution"]["false_alarm"]) == wilson(
        metrics["out_of_distribution"]["false_alarm"]["value"], len(lesions)
    )
    assert "intervals over lesions" in text and "over images" not in text
    assert f"{metrics['clean']['calibration_error']['after']:.3f}" in text and "oblivious" in text
    front = ModelCard(text).data
    assert front.license == "cc-by-nc-4.0" and front.eval_results
    capsys.readouterr()
    assert main(["results"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        lines[2].startswith("| `robust` |") and Score.read(metrics["attacked"]["2"]["attacked"]).written() in lines[2]
    )


def test_the_card_of_a_mixture_names_its_members_and_its_numbers(folder, small_isic2019, write, tmp_path):
    calibrate(folder, read_isic2019(small_isic2019, "train"), read_isic2019(small_isic2019, "val"))
    mixing = Mixing(share=0.6, scale=2.5, power=2.0, clamp=-0.5)
    other = save_small(tmp_path / "other", labels=LABELS)
    write_mixture(tmp_path / "both", f"local-dir:{folder}", f"local-dir:{other}", mixing)
    metrics, text = write("mixed", tmp_path / "both")
    assert "# mixed: test_resnet and resnet10t on ISIC 2019" in text and "looks at 96 and 64 pixels a side" in text
    assert "purifier mix" in text and "0.6 of its" in text and "scale 2.5, power 2, clamp -0.5" in text
    assert "purifier train" not in text and Score.read(metrics["masking"]["square"]).written() in text
    assert ModelCard(text).data.library_name == "lesion-purifier"


def test_a_card_for_an_unknown_name_is_refused(small_isic2019, capsys):
    assert main(["card", "--classifier", "mine", "--data", str(small_isic2019)]) == 2
    assert "standard, augmented, robust, surrogate" in capsys.readouterr().err
