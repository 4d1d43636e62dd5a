import pytest
import torch
from PIL import Image
from skimage import data

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import load_classifier
from purifier.evaluation.datasets import read_isic2019, read_pixels
from purifier.evaluation.evaluate import choose, choose_balanced, evaluate_robust, predict
from purifier.evaluation.grid import run
from purifier.evaluation.settings import Grid
from purifier.pictures.files import centre_square, to_batch
from purifier.results.record import Record, find
from purifier.results.summary import summarise
from tests.helpers.classifiers import save


def measured(folder, samples, **what) -> list[Record]:
    return summarise(run(Grid(eps=(2.0,), draws=2, **what), samples, folder))


def test_a_defence_that_does_nothing_changes_nothing(small_isic2019, tmp_path):
    samples = read_isic2019(small_isic2019)[:8]
    records = measured(tmp_path, samples, attacks=("pgd3",), defences=("none", "noise0"))
    for attack, eps in (("none", None), ("pgd3", 2.0)):
        plain, defended = (find(records, attack, eps, defence) for defence in ("none", "noise0"))
        assert plain.accuracy == defended.accuracy == defended.worst_of_draws
        assert (defended.n, defended.draws, defended.adaptive) == (8, 2, False)


def test_pictures_are_chosen_by_the_seed(small_isic2019):
    samples = read_isic2019(small_isic2019)
    assert choose(samples, 5, 1) == choose(samples, 5, 1) != choose(samples, 5, 2)
    assert sorted(s.image for s in choose(samples, None, 1)) == [s.image for s in samples]


def test_a_classifier_without_the_diagnosis_is_refused(small_isic2019, tmp_path):
    save(tmp_path / "seven")
    with pytest.raises(ValueError, match="does not know the diagnoses SCC"):
        predict(load_classifier(f"local-dir:{tmp_path}/seven"), read_isic2019(small_isic2019))


@pytest.mark.slow
def test_the_purifier_brings_back_half_of_what_an_oblivious_pgd_took(isic2019, tmp_path, capsys):
    """200 held-out pictures, PGD-20 at 2/255 on the classifier, the default purifier, 2 draws."""
    records = measured(tmp_path, choose(read_isic2019(isic2019, "test"), 200, seed=0), attacks=("pgd20",))
    (clean, clean_purified), (attacked, attacked_purified) = (
        [find(records, attack, eps, defence).accuracy for defence in ("none", "mdda")]
        for attack, eps in (("none", None), ("pgd20", 2.0))
    )
    with capsys.disabled():
        print(f"\nclean: {clean.written()}, purified: {clean_purified.written()}")
        print(f"attacked: {attacked.written()}, purified: {attacked_purified.written()}", end="")
    assert clean.value >= 0.7
    assert attacked.value < 0.05
    assert attacked_purified.value - attacked.value >= (clean.value - attacked.value) / 2


@pytest.mark.slow
def test_adversarial_training_withstands_what_fools_the_others(isic2019):
    """32 held-out pictures, 4 of each diagnosis, white-box PGD-10 at 2/255, no purifier."""
    samples = choose_balanced(read_isic2019(isic2019, "test"), 4, seed=1)
    attack = AttackSettings(eps=2 / 255, steps=10)
    accuracy = {
        name: evaluate_robust(load_classifier(name), samples, attack=attack)["accuracy"].value
        for name in ("standard", "augmented", "robust")
    }
    assert accuracy["robust"] >= 0.1 and max(accuracy["standard"], accuracy["augmented"]) <= 0.05, accuracy


@pytest.mark.slow
@pytest.mark.parametrize("name", ["augmented", "standard"])  # the others miss more photographs; their cards say so
def test_lesions_look_like_dermoscopy_and_most_other_pictures_do_not(isic2019, name):
    classifier = load_classifier(name)
    lesions = read_pixels(choose(read_isic2019(isic2019, "test"), 40, seed=2), 224) / 255
    others = torch.cat(
        [
            to_batch(centre_square(Image.fromarray(picture).convert("RGB"), 224))
            for picture in (data.chelsea(), data.coffee(), data.astronaut(), data.page())
        ]
    )
    threshold = classifier.calibration.out_of_distribution.threshold
    with torch.no_grad():
        assert (classifier.distance(lesions) > threshold).float().mean() <= 0.1
        assert (classifier.distance(others) > threshold).float().mean() >= 0.7
