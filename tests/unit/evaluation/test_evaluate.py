import pytest
import torch
from PIL import Image
from skimage import data

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import load_classifier
from purifier.evaluation.datasets import read_isic2019, read_pixels
from purifier.evaluation.evaluate import choose, choose_balanced, evaluate_purifier, evaluate_robust, predict
from purifier.pictures.files import centre_square, to_batch
from purifier.pipeline import Purifier
from tests.helpers.classifiers import save

ATTACK = AttackSettings(eps=2 / 255, steps=3)
NOTHING = Purifier(scales=(1,), blocks=1, sigma=0, weight=0)


def test_a_purifier_that_does_nothing_changes_nothing(small_isic2019, classifier):
    samples = read_isic2019(small_isic2019)[:8]
    result = evaluate_purifier(classifier, NOTHING, samples, attack=ATTACK, draws=2)
    for name in ("clean", "attacked"):
        assert result[name].value == result[f"{name}_purified"].value
        assert result[name] == result[f"{name}_purified_worst_draw"]
    assert (result["images"], result["draws"], result["threat"]) == (8, 2, "oblivious")


def test_the_same_seed_gives_the_same_figures(small_isic2019, classifier):
    samples = read_isic2019(small_isic2019)[:4]
    runs = [evaluate_purifier(classifier, Purifier(), samples, attack=ATTACK, draws=1, seed=5) for _ in range(2)]
    assert runs[0] == runs[1]


def test_pictures_are_chosen_by_the_seed(small_isic2019):
    samples = read_isic2019(small_isic2019)
    assert choose(samples, 5, 1) == choose(samples, 5, 1) != choose(samples, 5, 2)
    assert sorted(s.image for s in choose(samples, None, 1)) == [s.image for s in samples]


def test_a_classifier_without_the_diagnosis_is_refused(small_isic2019, tmp_path):
    save(tmp_path / "seven")
    with pytest.raises(ValueError, match="does not know the diagnoses SCC"):
        predict(load_classifier(f"local-dir:{tmp_path}/seven"), read_isic2019(small_isic2019))


@pytest.mark.slow
def test_the_purifier_brings_back_half_of_what_an_oblivious_pgd_took(isic2019, classifier, capsys):
    """200 held-out pictures, PGD-20 at 2/255 on the classifier, the default purifier, 2 draws."""
    samples = choose(read_isic2019(isic2019, "test"), 200, seed=0)
    attack = AttackSettings(method="pgd", eps=2 / 255, steps=20)
    result = evaluate_purifier(classifier, Purifier(), samples, attack=attack, draws=2)
    with capsys.disabled():
        for name in ("clean", "clean_purified", "attacked", "attacked_purified"):
            print(f"\n{name}: {result[name].written()}", end="")
    assert result["clean"].value >= 0.7
    assert result["attacked"].value < 0.05
    lost = result["clean"].value - result["attacked"].value
    assert result["attacked_purified"].value - result["attacked"].value >= lost / 2


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
