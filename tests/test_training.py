"""Every recipe runs on a few made-up pictures; an interrupted run ends where an uninterrupted one does."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from skimage import data
from torch.testing import assert_close

from purifier.classifiers import load_classifier
from purifier.cli import main
from purifier.evaluation import metrics
from purifier.evaluation.datasets import LABELS, read_isic2019
from purifier.evaluation.evaluate import evaluate_clean
from purifier.evaluation.metrics import as_text
from purifier.images import centre_square, read_image, to_batch
from purifier.training import card, classifier, examples, generator
from purifier.training.augment import colour, erase, geometric, purification_like
from purifier.training.classifier import Phase, imagenet_network, learning_rate, sampling_weights
from purifier.training.examples import enlarge

PHASES = (
    Phase(name="first", size=64, steps=2, lr=(1e-3, 1e-4)),
    Phase(name="second", size=64, steps=2, lr=(1e-4, 1e-5), purified=1.0),
)


@pytest.fixture
def small_batches(monkeypatch):
    for module in (classifier, generator):
        monkeypatch.setattr(module, "BATCH", 4)
        monkeypatch.setattr(module, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(metrics, "RESAMPLES", 10)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def interrupted(monkeypatch, module, name, after):
    """Let ``module.name`` be called ``after`` times; the next call is Ctrl-C. Returns how to undo that."""
    real, calls = getattr(module, name), []

    def call(*arguments, **settings):
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    monkeypatch.setattr(module, name, call)
    return lambda: monkeypatch.setattr(module, name, real)


@pytest.mark.parametrize("after", [1, 3])  # in the middle of the first phase, and of the second
def test_an_interrupted_classifier_ends_where_an_uninterrupted_one_does(
    small_isic2019, tmp_path, small_batches, monkeypatch, after
):
    classifier.train(small_isic2019, tmp_path / "whole", phases=PHASES)
    undo = interrupted(monkeypatch, classifier, "step", after)
    with pytest.raises(KeyboardInterrupt):
        classifier.train(small_isic2019, tmp_path / "parts", phases=PHASES)
    undo()
    classifier.train(small_isic2019, tmp_path / "parts", phases=PHASES)
    for phase in ("first", "second"):
        whole, parts = (load_file(tmp_path / run / phase / "model.safetensors") for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        for name in whole:
            assert_close(whole[name], parts[name])
    first = load_file(tmp_path / "whole" / "first" / "model.safetensors")
    assert not torch.equal(first["classifier.weight"], whole["classifier.weight"])


def test_the_metrics_of_a_phase_are_those_of_its_weights(small_isic2019, tmp_path, small_batches, monkeypatch):
    monkeypatch.setattr(classifier, "ADJUSTMENTS", (0.7,))
    monkeypatch.setattr(classifier, "LEAST_ACCURACY", 0.0)
    classifier.train(small_isic2019, tmp_path, phases=PHASES[:1])
    loaded = load_classifier(f"local-dir:{tmp_path}/first")
    assert loaded.labels == LABELS and loaded.size == (224, 224)
    written = json.loads((tmp_path / "first" / "metrics.json").read_text())
    assert written["logit_adjustment"] == 0.7
    measured = evaluate_clean(loaded, read_isic2019(small_isic2019, "val"))
    assert written["accuracy"] == measured["accuracy"] and written["recall"] == measured["recall"]


def test_thumbnails_add_bcn20000_s_pictures_alone(small_isic2019, tmp_path, small_batches, monkeypatch):
    seen = []
    monkeypatch.setattr(classifier, "read_pixels", lambda samples, size: seen.append(samples) or torch.zeros(1))
    monkeypatch.setattr(classifier, "step", lambda *_, **__: 0.0)
    monkeypatch.setattr(classifier, "finish_phase", lambda *_: None)
    thumbnails = tmp_path / "thumbnails"
    shutil.copytree(small_isic2019, thumbnails)
    truth = thumbnails / "ISIC_2019_Training_GroundTruth.csv"
    truth.write_text(truth.read_text().replace("ISIC_0000003", "ISIC_0060003"))
    (thumbnails / "ISIC_2019_Training_Input/ISIC_0000003.jpg").rename(
        thumbnails / "ISIC_2019_Training_Input/ISIC_0060003.jpg"
    )
    phases = (Phase(name="one", size=64, steps=1, lr=(1e-3, 1e-4), thumbnails=True),)
    classifier.train(small_isic2019, tmp_path / "work", thumbnails=thumbnails, phases=phases)
    images = [s.image for s in seen[0]]
    assert images.count("ISIC_0060003") == 1 and len(images) == len(set(images))
    assert all(s.split == "train" for s in seen[0])


def test_imagenet_weights_are_in_their_places():
    """With its ImageNet head the network sees a cat in scikit-image's picture of one (classes 281 to 285)."""
    picture = Image.fromarray(data.chelsea())
    x = to_batch(centre_square(picture, 224))
    with torch.no_grad():
        assert 281 <= int(imagenet_network().eval()((x - 0.5) / 0.5).argmax()) <= 285


def test_the_learning_rate_follows_half_a_cosine():
    phase = Phase(name="x", size=64, steps=100, lr=(1.0, 0.2))
    assert learning_rate(phase, 0) == 1.0
    assert learning_rate(phase, 50) == pytest.approx(0.6)
    assert learning_rate(phase, 100) == pytest.approx(0.2)


def test_rare_diagnoses_are_drawn_more_often_but_not_equally():
    y = torch.tensor([0] * 100 + [1] * 4)
    weights = sampling_weights(y)
    share = (weights[y == 1].sum() / weights.sum()).item()
    assert share == pytest.approx(2 / 12)  # sqrt(4) of sqrt(100) + sqrt(4)


@pytest.mark.parametrize("change", [colour, erase, purification_like, lambda x, g: geometric(x, 48, g)])
def test_augmentation_keeps_the_range_and_obeys_the_generator(change):
    x = torch.rand(4, 3, 48, 48, generator=seeded())
    once, again, other = change(x, seeded(1)), change(x, seeded(1)), change(x, seeded(2))
    assert once.shape == x.shape and once.min() >= 0 and once.max() <= 1
    assert torch.equal(once, again) and not torch.equal(once, other)


def test_geometric_without_strength_only_turns_and_mirrors():
    t = torch.linspace(-1, 1, 65)
    radius = (t[:, None] ** 2 + t[None, :] ** 2).expand(3, 3, 65, 65)
    turned = geometric(radius, 65, seeded(), strength=0.0)
    assert_close(turned[..., 12:-12, 12:-12], radius[..., 12:-12, 12:-12], rtol=0, atol=2e-3)


def test_purification_like_leaves_half_of_the_batch():
    x = torch.rand(6, 3, 48, 48, generator=seeded())
    changed = purification_like(x, seeded())
    assert torch.equal(changed[3:], x[3:])
    assert ((changed[:3] - x[:3]).abs().amax(dim=(1, 2, 3)) > 0).all()


def test_an_interrupted_generator_ends_where_an_uninterrupted_one_does(
    small_isic2019, tmp_path, small_batches, monkeypatch
):
    monkeypatch.setattr(generator, "without_black_corners", lambda pixels: torch.ones(len(pixels), dtype=bool))
    generator.train(small_isic2019, tmp_path / "whole", steps=2)
    undo = interrupted(monkeypatch, generator, "loss_of", 1)
    with pytest.raises(KeyboardInterrupt):
        generator.train(small_isic2019, tmp_path / "parts", steps=2)
    undo()
    generator.train(small_isic2019, tmp_path / "parts", steps=2)
    model, other = (generator.load_denoiser(tmp_path / run) for run in ("whole", "parts"))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(a, b)
    y = torch.tensor([0, 4])
    drawn = generator.draw(model, y, steps=3, generator=seeded())
    assert drawn.shape == (2, 3, 64, 64) and drawn.isfinite().all() and drawn.min() >= 0 and drawn.max() <= 1
    assert torch.equal(drawn, generator.draw(model, y, steps=3, generator=seeded()))


def test_examples_are_drawn_chosen_and_accounted_for(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "CANDIDATES", 2)
    monkeypatch.setattr(examples, "load_denoiser", lambda work: None)
    monkeypatch.setattr(examples, "draw", lambda model, y, **s: torch.rand(len(y), 3, 64, 64, generator=s["generator"]))
    monkeypatch.setattr(examples, "without_black_corners", lambda pixels: torch.tensor([False, True]))
    assert main(["examples", "--generator", "anywhere", "--out", str(tmp_path)]) == 0
    sources = (tmp_path / "SOURCES.md").read_text()
    for label in LABELS:
        assert read_image(tmp_path / f"{label}-1.png", size=None).shape == (1, 3, 224, 224)
        assert f"| {label}-1.png | {label} |" in sources


def test_a_card_tells_what_was_measured(small_isic2019, tmp_path, monkeypatch, small_batches):
    shutil.copytree(card.MODELS / "augmented", tmp_path / "augmented")
    monkeypatch.setattr(card, "MODELS", tmp_path)
    monkeypatch.setattr(card, "EPSILONS", (4,))
    monkeypatch.setattr(card, "DRAWS", 1)
    assert main(["card", "--data", str(small_isic2019), "--limit", "1"]) == 0
    figures, text = (tmp_path / "augmented" / name for name in ("metrics.json", "README.md"))
    clean = json.loads(figures.read_text())["clean"]
    assert clean["images"] == len(read_isic2019(small_isic2019, "test"))
    assert as_text(clean["accuracy"]) in text.read_text() and "| 4/255 |" in text.read_text()


def test_training_is_a_command(small_isic2019, tmp_path, small_batches, monkeypatch):
    monkeypatch.setattr(generator, "without_black_corners", lambda pixels: torch.ones(len(pixels), dtype=bool))
    command = ["train", "generator", "--data", str(small_isic2019), "--work", str(tmp_path), "--steps", "1"]
    assert main([*command, "--limit", "4"]) == 0
    assert (tmp_path / "checkpoint.pt").is_file()
    seen = {}
    monkeypatch.setattr(classifier, "train", lambda data, work, **settings: seen.update(settings, data=data))
    assert main(["train", "classifier", "--data", "d", "--work", "w", "--thumbnails", "t", "--seed", "3"]) == 0
    assert seen == {"data": Path("d"), "thumbnails": Path("t"), "seed": 3, "limit": None}


def test_the_denoiser_s_preconditioning():
    """EDM: with almost no noise the guess is the picture itself, whatever the network says."""
    torch.manual_seed(0)
    model, x = generator.Denoiser().eval(), torch.rand(2, 3, 64, 64) - 0.5
    with torch.no_grad():
        assert_close(model(x, torch.full((2,), 1e-5), torch.tensor([0, 1])), x, rtol=0, atol=1e-3)


def test_without_a_checkpoint_the_remedy_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="train generator"):
        generator.load_denoiser(tmp_path)


def test_microscope_frames_are_recognised():
    skin, frame = torch.full((2, 3, 64, 64), 150, dtype=torch.uint8)
    frame[:, :8, :8] = 5
    assert generator.without_black_corners(torch.stack([skin, frame])).tolist() == [True, False]


def test_enlarging_keeps_the_colours_and_adds_texture():
    small = torch.rand(1, 3, 8, 8, generator=seeded()).mul(0.3).add(0.4)
    small = torch.nn.functional.interpolate(small, (64, 64), mode="bicubic")
    large = enlarge(small, seeded())
    assert large.shape == (1, 3, 224, 224) and large.min() >= 0 and large.max() <= 1
    assert_close(torch.nn.functional.interpolate(large, (16, 16), mode="area"),
                 torch.nn.functional.interpolate(small, (16, 16), mode="area"), rtol=0, atol=0.05)  # fmt: skip
    plain = torch.nn.functional.interpolate(small, (224, 224), mode="bicubic")
    assert (large - plain).std() > 0.003
