"""Every recipe runs on a few made-up pictures; an interrupted run ends where an uninterrupted one does."""

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from skimage import data
from torch import nn
from torch.testing import assert_close

from purifier.attacks import loss_gradient
from purifier.classifiers.classifier import bundled_classifiers, folder_of, load_classifier
from purifier.cli.main import main
from purifier.evaluation import intervals
from purifier.evaluation.datasets import LABELS, Sample, lesions_of, read_isic2019
from purifier.evaluation.evaluate import predict
from purifier.evaluation.intervals import Score
from purifier.evaluation.metrics import clean_scores
from purifier.pictures.files import centre_square, to_batch
from purifier.pipeline import Purifier
from purifier.pyramid import resample
from purifier.training import augment, classifier, diffusion, generator
from purifier.training.augment import MOST_BLOCKS, MOST_EPSILON, colour, erase, geometric
from purifier.training.checkpoints import append_row, load_checkpoint
from purifier.training.classifier import (
    attacked,
    epsilon,
    guard,
    imagenet_network,
    learning_rate,
    new_network,
    overfitted,
    sampling_weights,
    train,
)
from purifier.training.drawing import GENERATOR, SUPER_RESOLUTION
from purifier.training.plots import plot_training
from purifier.training.recipes import Phase, Recipe, read_recipe, recipe_names
from purifier.training.super_resolution import SuperResolution, enlarge
from tests.helpers.paths import ROOT

TINY = Recipe(
    name="tiny",
    architecture="test_efficientnet",
    model_args={"drop_rate": 0.2, "drop_path_rate": 0.1},  # which draw numbers of their own
    start="random",
    size=64,
    batch=4,
    phases=(
        Phase(name="first", size=48, steps=2, lr=(1e-3, 1e-4)),
        Phase(name="second", size=48, steps=2, lr=(1e-4, 1e-5), purified=1.0),
    ),
)
ADVERSARIAL = replace(
    TINY,
    phases=(
        Phase(name="first", size=48, steps=2, lr=(1e-3, 1e-4), eps=(0.0, 4.0), attacked=0.75),
        Phase(name="second", size=48, steps=2, lr=(1e-4, 1e-5), eps=(4.0, 4.0), attacked=0.75, restart=True),
    ),
)


@pytest.fixture
def small_batches(monkeypatch):
    for module in (classifier, generator):
        monkeypatch.setattr(module, "CHECKPOINT_EVERY", 1)
    monkeypatch.setattr(classifier, "LOG_EVERY", 1)
    monkeypatch.setattr(classifier, "GUARD_EVERY", 1)
    monkeypatch.setattr(intervals, "RESAMPLES", 10)


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


def recorded(monkeypatch, module, name, position):
    """The argument at ``position``, or of that name, of each call of ``module.name``, from now on."""
    real, seen = getattr(module, name), []

    def call(*arguments, **settings):
        seen.append(settings[position] if isinstance(position, str) else arguments[position])
        return real(*arguments, **settings)

    monkeypatch.setattr(module, name, call)
    return seen


@pytest.mark.parametrize("recipe", [TINY, ADVERSARIAL], ids=["plain", "adversarial"])
@pytest.mark.parametrize("after", [1, 2, 3])  # in the middle of the first phase, between the two, in the second
def test_an_interrupted_classifier_ends_where_an_uninterrupted_one_does(
    small_isic2019, tmp_path, small_batches, monkeypatch, recipe, after
):
    train(recipe, small_isic2019, tmp_path / "whole")
    undo = interrupted(monkeypatch, classifier, "step", after)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, small_isic2019, tmp_path / "parts")
    undo()
    train(recipe, small_isic2019, tmp_path / "parts")
    for phase in ("first", "second"):
        whole, parts = (load_file(tmp_path / run / phase / "model.safetensors") for run in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        for name in whole:
            assert_close(whole[name], parts[name])
    first = load_file(tmp_path / "whole" / "first" / "model.safetensors")
    assert not torch.equal(first["classifier.weight"], whole["classifier.weight"])


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_ends_in_a_classifier_that_can_be_loaded(small_isic2019, tmp_path, small_batches, name):
    recipe = read_recipe(name)
    if recipe.start not in ("imagenet", "random", *bundled_classifiers()):
        recipe = replace(recipe, start="random")
    recipe = replace(recipe, phases=tuple(replace(phase, size=32, steps=1) for phase in recipe.phases))
    train(recipe, small_isic2019, tmp_path, thumbnails=small_isic2019)
    trained = load_classifier(f"local-dir:{tmp_path}/{recipe.phases[-1].name}")
    assert trained.labels == LABELS and trained.size == (recipe.size, recipe.size)
    with torch.no_grad():
        assert trained(torch.rand(1, 3, 40, 40, generator=seeded())).isfinite().all()
    with (tmp_path / "log.csv").open(encoding="utf-8") as file:
        assert [row["phase"] for row in csv.DictReader(file)] == [phase.name for phase in recipe.phases]
    assert (tmp_path / "guard.csv").exists() == any(phase.attacked for phase in recipe.phases)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_fits_together(name):
    recipe = read_recipe(name)
    assert recipe.name == name
    names = [phase.name for phase in recipe.phases]
    assert len(set(names)) == len(names), "a phase would write over another's folder"
    if recipe.start not in ("imagenet", "random"):
        assert read_recipe(recipe.start).architecture == recipe.architecture
    for phase in recipe.phases:
        assert (phase.attacked > 0) == (max(phase.eps) > 0)


OWN = """
architecture = "test_efficientnet"
start = "random"
size = 64
batch = 4

[[phases]]
name = "only"
size = 48
steps = 2
lr = [1e-3, 1e-4]
"""


def test_a_recipe_of_one_s_own_is_read_from_its_path(tmp_path):
    (tmp_path / "mine.toml").write_text(OWN, encoding="utf-8")
    expected = replace(TINY, name="mine", model_args={}, phases=(replace(TINY.phases[0], name="only"),))
    assert read_recipe(tmp_path / "mine.toml") == read_recipe(str(tmp_path / "mine.toml")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + "colour = 1\n", "'colour'.* knows the keys .*architecture.*thumbnails"),
        (OWN.replace("steps = 2", ""), "'steps'"),
        (OWN.replace("size = 64", ""), "'size'"),
        (OWN.partition("[[phases]]")[0], "'phases'"),
        (OWN.replace("[[phases]]", "[phases]"), "knows the keys"),
        ("not TOML", "is not a recipe"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_keys_there_are(tmp_path, text, message):
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_recipe(tmp_path / "bad.toml")


@pytest.mark.parametrize("name", ["nobody", "nowhere/nobody.toml"])
def test_an_unknown_recipe_is_answered_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"no recipe '{name}'.*augmented, .*robust, .*standard"):
        read_recipe(name)


def test_a_recipe_s_start_must_be_of_its_architecture():
    with pytest.raises(ValueError, match="names the architecture test_efficientnet.*is a tf_efficientnet_lite0"):
        new_network(replace(TINY, start="imagenet"))


def test_a_recipe_with_thumbnails_asks_for_them(small_isic2019, tmp_path):
    recipe = replace(TINY, phases=(TINY.phases[0], replace(TINY.phases[1], thumbnails=True)))
    with pytest.raises(ValueError, match="tiny uses .*--thumbnails"):
        train(recipe, small_isic2019, tmp_path)
    assert list(tmp_path.iterdir()) == [small_isic2019]  # nothing was begun


def test_training_from_a_bundled_classifier_leaves_that_one_as_it_is():
    bundled = load_classifier("augmented")
    network = new_network(replace(read_recipe("augmented"), start="augmented"))
    assert all(p.requires_grad for p in network.parameters()) and network.training
    assert not any(p.requires_grad for p in bundled.parameters()) and not bundled.network.training
    stored = load_classifier(f"local-dir:{folder_of('augmented')}")  # the bundled one is folded
    for ours, theirs in zip(network.parameters(), stored.network.parameters(), strict=True):
        assert torch.equal(ours, theirs) and ours.data_ptr() != theirs.data_ptr()


def test_the_metrics_of_a_phase_are_those_of_its_weights(small_isic2019, tmp_path, small_batches, monkeypatch):
    monkeypatch.setattr(classifier, "ADJUSTMENTS", (0.7,))
    train(replace(TINY, phases=TINY.phases[:1], least_accuracy=0.0), small_isic2019, tmp_path)
    loaded = load_classifier(f"local-dir:{tmp_path}/first")
    assert loaded.labels == LABELS and loaded.size == (64, 64)
    written = json.loads((tmp_path / "first" / "metrics.json").read_text(encoding="utf-8"))
    assert written["logit_adjustment"] == 0.7
    samples = read_isic2019(small_isic2019, "val")
    measured = clean_scores(*predict(loaded, samples), LABELS, lesions_of(samples))
    assert Score.read(written["accuracy"]) == measured["accuracy"] and written["recall"] == measured["recall"]


@pytest.mark.parametrize(
    ("least_accuracy", "least_purified_accuracy", "allowed"),
    [(0.0, 0.0, True), (0.6, 0.0, False), (0.0, 0.6, False), (0.0, 0.5, True), (0.9, 0.9, False)],
)
def test_the_adjustment_keeps_the_least_accuracy(
    small_isic2019, tmp_path, small_batches, monkeypatch, least_accuracy, least_purified_accuracy, allowed
):
    """All called nevus, three of four are right; adjusted, the melanoma is right and two nevi are wrong."""
    nevus, melanoma = LABELS.index("NV"), LABELS.index("MEL")
    truth = torch.tensor([nevus, nevus, nevus, melanoma])
    probabilities = torch.full((4, len(LABELS)), 1e-3)
    probabilities[:, nevus] = 0.55
    probabilities[:, melanoma] = torch.tensor([0.05, 0.44, 0.44, 0.44])
    monkeypatch.setattr(classifier, "predict", lambda *_: (probabilities, truth))
    monkeypatch.setattr(classifier, "predict_purified", lambda *_: probabilities)
    monkeypatch.setattr(classifier, "load_classifier", lambda *_: None)
    monkeypatch.setattr(classifier, "save_network", lambda *_: None)
    monkeypatch.setattr(classifier, "ADJUSTMENTS", (0.0, 1.0))
    y = torch.arange(len(LABELS)).repeat_interleave(torch.where(torch.arange(len(LABELS)) == nevus, 900, 100))
    recipe = replace(TINY, least_accuracy=least_accuracy, least_purified_accuracy=least_purified_accuracy)
    classifier.finish_phase(new_network(TINY), tmp_path, recipe, y, read_isic2019(small_isic2019)[:4])
    written = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert written["logit_adjustment"] == float(allowed)
    assert written["accuracy"]["value"] == (0.5 if allowed else 0.75)


def test_thumbnails_add_bcn20000_s_pictures_alone(small_isic2019, tmp_path, small_batches, monkeypatch):
    seen = []
    monkeypatch.setattr(classifier, "read_pixels", lambda samples, size: seen.append(samples) or torch.zeros(1))
    monkeypatch.setattr(classifier, "batch_for", lambda *_: (torch.zeros(1), torch.zeros(1)))
    monkeypatch.setattr(classifier, "step", lambda *_, **__: torch.zeros(()))
    for name in ("finish_phase", "calibrate"):
        monkeypatch.setattr(classifier, name, lambda *_: None)
    thumbnails = tmp_path / "thumbnails"
    shutil.copytree(small_isic2019, thumbnails)
    truth = thumbnails / "ISIC_2019_Training_GroundTruth.csv"
    truth.write_text(truth.read_text(encoding="utf-8").replace("ISIC_0000003", "ISIC_0060003"), encoding="utf-8")
    (thumbnails / "ISIC_2019_Training_Input/ISIC_0000003.jpg").rename(
        thumbnails / "ISIC_2019_Training_Input/ISIC_0060003.jpg"
    )
    phase = Phase(name="with", size=48, steps=1, lr=(1e-3, 1e-4), thumbnails=True)
    recipe = replace(TINY, phases=(phase, replace(phase, name="without", thumbnails=False)))
    train(recipe, small_isic2019, tmp_path / "work", thumbnails=thumbnails)
    with_them, without = ([s.image for s in samples] for samples in seen)
    assert with_them == [*without, "ISIC_0060003"]
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


def test_epsilon_follows_a_straight_line_in_pixel_values():
    phase = Phase(name="x", size=64, steps=100, lr=(1.0, 0.2), eps=(1.0, 3.0), attacked=1.0)
    assert [epsilon(phase, step) * 255 for step in (0, 25, 100)] == pytest.approx([1, 1.5, 3])


def test_training_attacks_with_the_epsilon_of_each_step(small_isic2019, tmp_path, small_batches, monkeypatch):
    seen = recorded(monkeypatch, classifier, "pgd", "eps")
    monkeypatch.setattr(classifier, "guard", lambda *_: {"single_step": 0.5, "pgd10": 0.5})  # it attacks too
    train(ADVERSARIAL, small_isic2019, tmp_path)
    assert [eps * 255 for eps in seen] == pytest.approx([0, 2, 4, 4])


@pytest.mark.parametrize(("balance", "share"), [(0.0, 4 / 104), (0.5, 2 / 12), (1.0, 1 / 2)])
def test_rare_diagnoses_are_drawn_more_often_the_more_balance(balance, share):
    y = torch.tensor([0] * 100 + [1] * 4)
    weights = sampling_weights(y, balance)
    assert (weights[y == 1].sum() / weights.sum()).item() == pytest.approx(share)


@pytest.mark.parametrize("steps", [1, 2])
def test_attacked_raises_the_loss_within_its_bounds_and_leaves_the_rest(small_network, steps):
    x, y = torch.rand(8, 3, 37, 53, generator=seeded()), torch.arange(8) % 4
    phase = Phase(name="x", size=37, steps=10, lr=(1e-3, 1e-4), eps=(0.0, 8.0), attacked=0.75)
    adv = attacked(small_network, x, y, phase, 5, steps, seeded())  # half way: 4/255
    assert torch.equal(adv[6:], x[6:])
    assert (adv - x).abs().max() <= 4 / 255 + 1e-6 and adv.min() >= 0 and adv.max() <= 1
    with torch.no_grad():
        before, after = (F.cross_entropy(small_network((z - 0.5) / 0.5), y, reduction="none") for z in (x, adv))
    assert (after > before)[:6].all()
    assert all(p.grad is None for p in small_network.parameters())


def test_a_step_from_further_noise_leaves_the_ball_by_no_more_than_the_noise(small_network):
    x, y = torch.full((8, 3, 37, 53), 0.5), torch.arange(8) % 4
    phase = Phase(name="x", size=37, steps=10, lr=(1e-3, 1e-4), eps=(4.0, 4.0), attacked=0.75, noise=2.0)
    adv = attacked(small_network, x, y, phase, 5, 1, seeded())
    assert torch.equal(adv[6:], x[6:])
    assert 8 / 255 < (adv - x).abs().max() <= 12 / 255 + 1e-6
    noise = 8 / 255 * (2 * torch.rand(6, 3, 37, 53, generator=seeded()) - 1)
    gradient = loss_gradient(lambda z: small_network((z - 0.5) / 0.5), x[:6] + noise, y[:6])
    assert_close(adv[:6] - x[:6] - noise, 4 / 255 * gradient.sign())


class Masked(nn.Module):
    """The right answer (0) everywhere but for pictures about ``danger`` brighter than grey: a long step leaps over."""

    def __init__(self, danger):
        super().__init__()
        self.danger = danger

    def forward(self, x):
        distance = (x.mean(dim=(1, 2, 3)) / 2 - self.danger) / self.danger
        return torch.stack([distance**2 - 0.5, torch.zeros_like(distance)], dim=1)


def test_the_guard_finds_what_a_single_step_misses():
    eps = 8 / 255
    x, y = torch.full((4, 3, 37, 53), 0.5), torch.zeros(4, dtype=torch.int64)
    network = Masked(danger=eps / 2).train()
    found = guard(network, x, y, eps)
    assert found == {"single_step": 1.0, "pgd10": 0.0} and overfitted(found)
    assert network.training
    robust = guard(Masked(danger=100.0), x, y, eps)
    assert robust == {"single_step": 1.0, "pgd10": 1.0} and not overfitted(robust)


def test_the_guard_leaves_the_network_as_it_was(small_isic2019):
    network = new_network(TINY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    guard(network, torch.rand(4, 3, 48, 48, generator=seeded()), torch.arange(4), 4 / 255)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize(("pgd10", "is_so"), [(0.5, False), (0.31, False), (0.29, True), (0.0, True)])
def test_overfitted_is_a_gap_and_no_low_accuracy(pgd10, is_so):
    assert overfitted({"single_step": 0.5, "pgd10": pgd10}) == is_so


def test_overfitting_turns_training_to_two_steps_for_good(small_isic2019, tmp_path, small_batches, monkeypatch):
    findings = iter([0.5, 0.1, 0.5, 0.5])
    monkeypatch.setattr(classifier, "guard", lambda *_: {"single_step": 0.5, "pgd10": next(findings)})
    seen = recorded(monkeypatch, classifier, "attacked", 5)
    undo = interrupted(monkeypatch, classifier, "step", 3)
    with pytest.raises(KeyboardInterrupt):
        train(ADVERSARIAL, small_isic2019, tmp_path)
    assert seen == [1, 1, 2, 2]  # the last one in vain
    undo()
    train(ADVERSARIAL, small_isic2019, tmp_path)
    assert seen == [1, 1, 2, 2, 2] and load_checkpoint(tmp_path / "checkpoint.pt")["attack_steps"] == 2
    with (tmp_path / "guard.csv").open(encoding="utf-8") as file:
        assert [row["attack_steps"] for row in csv.DictReader(file)] == ["1", "1", "2", "2"]


def test_a_restart_goes_on_from_the_averaged_weights(small_isic2019, tmp_path, small_batches, monkeypatch):
    real, found = classifier.step, []

    def step(network, optimizer, *arguments):
        state = load_checkpoint(tmp_path / "checkpoint.pt")
        if state and state["done"] == 2:
            ours = network.state_dict()
            found.append({k: all(torch.equal(ours[n], state[k][n]) for n in ours) for k in ("average", "network")})
            found.append(len(optimizer.state))
        return real(network, optimizer, *arguments)

    monkeypatch.setattr(classifier, "step", step)
    phases = tuple(replace(phase, restart=phase.name == "second") for phase in TINY.phases)
    train(replace(TINY, phases=phases), small_isic2019, tmp_path)
    assert found == [{"average": True, "network": False}, 0]


def colours(path):
    with Image.open(path) as picture:
        return len(picture.convert("RGB").getcolors(1 << 24))


@pytest.mark.parametrize(("recipe", "panels"), [(TINY, 2), (ADVERSARIAL, 3)], ids=["plain", "adversarial"])
def test_the_log_is_plotted(small_isic2019, tmp_path, small_batches, recipe, panels):
    train(recipe, small_isic2019, tmp_path)
    with Image.open(tmp_path / "log.png") as picture:
        assert picture.size == (960, 480 if panels == 2 else 720)
    assert colours(tmp_path / "log.png") > 10
    log = list(csv.DictReader((tmp_path / "log.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["step"] for row in log] == ["1", "2", "3", "4"]
    assert [row["phase"] for row in log] == ["first", "first", "second", "second"]


def test_steps_that_were_done_twice_are_plotted_once(tmp_path):
    rows = {step: {"step": step, "loss": 1 / step, "lr": 1e-3} for step in range(1, 7)}
    for name, steps in (("whole", [1, 2, 3, 4, 5, 6]), ("parts", [1, 2, 3, 4, 3, 4, 5, 6])):
        for step in steps:
            append_row(tmp_path / name / "log.csv", rows[step])
        plot_training(tmp_path / name)
    whole, parts = (Image.open(tmp_path / name / "log.png").tobytes() for name in ("whole", "parts"))
    assert whole == parts


PROCESS = """
import os, sys
from pathlib import Path
import torch
from purifier.cli.main import main
from purifier.training import classifier

classifier.LOG_EVERY, classifier.GUARD_EVERY = 1, 2
real, losses, networks = classifier.step, [], []

def step(network, *arguments):
    loss = real(network, *arguments)
    losses.append(loss.item())
    networks.append(network.module)
    return loss

classifier.step = step
code = main(sys.argv[2:])
state = {"losses": losses, "parameters": [p.detach() for p in networks[-1].parameters()]}
torch.save(state, Path(sys.argv[1]) / f"{os.environ['RANK']}.pt")
sys.exit(code)
"""


def test_two_processes_train_one_classifier(small_isic2019, tmp_path):
    """Under torchrun each process draws batches of its own, and their weights stay the same."""
    recipe, program, work = tmp_path / "tiny.toml", tmp_path / "process.py", tmp_path / "work"
    recipe.write_text(OWN + "eps = [4, 4]\nattacked = 0.5\n", encoding="utf-8")
    program.write_text(PROCESS, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(program)]
    command += [str(tmp_path), "train", "classifier", str(recipe), "--data", str(small_isic2019), "--work", str(work)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, "--device", "cpu"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    for ours, theirs in zip(first["parameters"], second["parameters"], strict=True):
        assert torch.equal(ours, theirs)
    assert all(a != b for a, b in zip(first["losses"], second["losses"], strict=True))
    assert sorted(path.name for path in work.iterdir()) == [
        "checkpoint.pt",
        "guard.csv",
        "log.csv",
        "log.png",
        "only",
        "settings.json",
    ]
    assert [len((work / name).read_text(encoding="utf-8").splitlines()) for name in ("log.csv", "guard.csv")] == [3, 2]
    assert load_checkpoint(work / "checkpoint.pt")["done"] == 2
    assert load_classifier(f"local-dir:{work}/only").labels == LABELS


@pytest.mark.parametrize("change", [colour, erase, augment.purified, lambda x, g: geometric(x, 48, g)])
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


def test_batches_are_purified_with_settings_that_vary(monkeypatch):
    drawn = []

    def purifier(**settings):
        drawn.append(Purifier(**settings))
        return lambda x, generator: x

    monkeypatch.setattr(augment, "Purifier", purifier)
    noise = seeded()
    for _ in range(60):
        augment.purified(torch.zeros(1, 3, 48, 48), noise)
    usual = Purifier()
    assert {p.denoiser for p in drawn} == {usual.denoiser} and {p.bands for p in drawn} == {usual.bands}
    assert {p.blocks for p in drawn} == set(range(1, MOST_BLOCKS + 1)) and usual.blocks <= MOST_BLOCKS
    assert {p.scales for p in drawn} == {usual.scales[:count] for count in (1, 2, 3)}
    assert {p.gain for p in drawn} == {usual.gain}
    for name, least, most in (("sigma", 6 / 255, 16 / 255), ("own", 0.85, 1), ("tilt", 2, 4)):
        assert least < getattr(usual, name) <= most
        values = [getattr(p, name) for p in drawn]
        assert least <= min(values) < max(values) <= most and max(values) - min(values) > (most - least) / 2


def test_an_attack_before_purification_keeps_its_bound_and_raises_the_loss():
    network = new_network(TINY).eval()
    model = partial(classifier.normalised, network)
    x, y = torch.rand(4, 3, 48, 48, generator=seeded()), torch.tensor([0, 1, 2, 3])
    adv = augment.attacked(model, x, y, seeded())
    sizes = (adv - x).abs().amax(dim=(1, 2, 3))
    assert sizes.max() <= MOST_EPSILON + 1e-6 and sizes.min() >= 0.9 / 255 and sizes.unique().numel() == 4
    assert adv.min() >= 0 and adv.max() <= 1
    assert F.cross_entropy(model(adv), y) > F.cross_entropy(model(x), y)


def test_every_other_attack_before_purification_changes_brightness_alone():
    model = partial(classifier.normalised, new_network(TINY).eval())
    x = 0.25 + 0.5 * torch.rand(4, 3, 48, 48, generator=seeded())
    change = augment.attacked(model, x, torch.tensor([0, 1, 2, 3]), seeded()) - x
    by_channel = (change - change[:, :1]).abs().amax(dim=(1, 2, 3))
    assert (by_channel[::2] < 1e-6).all() and (by_channel[1::2] > 1 / 255).all()


BEFORE = Phase(name="x", size=48, steps=1, lr=(1e-3, 1e-4), purified=0.5, attacked_first=0.25)


def of_eight():
    """A batch, and a network that learns."""
    return torch.rand(8, 3, 48, 48, generator=seeded()), torch.arange(8), new_network(TINY).train()


def test_the_first_of_a_batch_are_purified_and_the_first_of_these_attacked_before(monkeypatch):
    x, y, network = of_eight()
    changed = classifier.purified(network, x, y, BEFORE, seeded())
    assert torch.equal(changed[4:], x[4:])
    assert ((changed[:4] - x[:4]).abs().amax(dim=(1, 2, 3)) > 0).all()
    purified = []
    monkeypatch.setattr(augment, "purified", lambda batch, noise: purified.append(batch) or batch)
    changed = classifier.purified(network, x, y, BEFORE, seeded())
    assert torch.equal(purified[0], changed[:4]) and torch.equal(changed[2:], x[2:])
    sizes = (changed[:2] - x[:2]).abs().amax(dim=(1, 2, 3))
    assert sizes.min() >= 0.9 / 255 and sizes.max() <= MOST_EPSILON + 1e-6


def test_the_network_that_is_attacked_is_the_one_that_reads_and_learns_nothing_by_it(monkeypatch):
    """Neither dropout nor the batch's own statistics, and what it keeps of these is as before."""
    monkeypatch.setattr(augment, "purified", lambda batch, noise: batch)
    x, y, network = of_eight()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    changed = classifier.purified(network, x, y, BEFORE, seeded())
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    read = partial(classifier.normalised, network.eval())
    assert torch.equal(changed[:2], augment.attacked(read, x[:2], y[:2], seeded()))


def test_a_phase_without_purification_leaves_its_batches_alone():
    x, y, network = of_eight()
    assert classifier.purified(network, x, y, replace(BEFORE, purified=0.0, attacked_first=0.0), seeded()) is x
    changed = classifier.purified(network, x, y, replace(BEFORE, attacked_first=0.0), seeded())
    assert torch.equal(changed[4:], x[4:]) and not torch.equal(changed[:4], x[:4])


def test_an_interrupted_generator_ends_where_an_uninterrupted_one_does(
    small_isic2019, tmp_path, small_batches, monkeypatch
):
    generator.train(small_isic2019, tmp_path / "whole", steps=2, batch=4, rate=4e-4)
    undo = interrupted(monkeypatch, generator, "loss_of", 1)
    with pytest.raises(KeyboardInterrupt):
        generator.train(small_isic2019, tmp_path / "parts", steps=2, batch=4, rate=4e-4)
    undo()
    generator.train(small_isic2019, tmp_path / "parts", steps=2, batch=4, rate=4e-4)
    model, other = (generator.Generator.from_pretrained(tmp_path / run / "weights") for run in ("whole", "parts"))
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert_close(a, b)
    y = torch.tensor([0, 4])
    drawn = generator.draw(model, y, steps=3, generator=seeded())
    assert drawn.shape == (2, 3, 64, 64) and drawn.isfinite().all() and drawn.min() >= 0 and drawn.max() <= 1
    assert torch.equal(drawn, generator.draw(model, y, steps=3, generator=seeded()))


def test_the_bundled_models_draw():
    model = generator.Generator.from_pretrained(GENERATOR).requires_grad_(False)
    small = generator.draw(model, torch.tensor([1]), steps=6, generator=seeded())
    assert 0.2 < small.mean() < 0.9 and small.std() > 0.02
    larger = SuperResolution.from_pretrained(SUPER_RESOLUTION).requires_grad_(False)
    large = enlarge(larger, small, torch.tensor([1]), torch.tensor([0]), seeded(), steps=4)
    assert (resample(large, (64, 64)) - small).abs().mean() < 0.03
    for folder in (GENERATOR, SUPER_RESOLUTION):
        assert (folder / "model.safetensors").stat().st_size < 25e6
        assert "cc-by-nc-4.0" in (folder / "README.md").read_text(encoding="utf-8")


def test_training_is_a_command(small_isic2019, tmp_path, small_batches, monkeypatch):
    command = ["train", "generator", "--data", str(small_isic2019), "--work", str(tmp_path), "--steps", "1"]
    assert main([*command, "--limit", "4"]) == 0
    assert (tmp_path / "checkpoint.pt").is_file()


def test_training_a_classifier_is_a_command(monkeypatch):
    seen, threads = [], []
    monkeypatch.setattr(classifier, "train", lambda *arguments, **settings: seen.append((arguments, settings)))
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    command = "train classifier robust --data d --work w --thumbnails t --seed 3 --limit 5 --device cpu --threads 1"
    assert main(command.split()) == 0
    settings = {"thumbnails": Path("t"), "seed": 3, "limit": 5, "device": "cpu"}
    assert seen == [((read_recipe("robust"), Path("d"), Path("w")), settings)] and threads == [1]


@pytest.mark.parametrize(("recipe", "message"), [("nobody", "no recipe 'nobody'"), ("robust", "--thumbnails")])
def test_what_cannot_be_trained_ends_with_2_and_the_reason(small_isic2019, tmp_path, capsys, recipe, message):
    command = ["train", "classifier", recipe, "--data", str(small_isic2019), "--work", str(tmp_path / "work")]
    assert main([*command, "--device", "cpu"]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error


def test_the_denoiser_s_preconditioning():
    """EDM: with almost no noise the guess is the picture itself, whatever the network says."""
    torch.manual_seed(0)
    model, x = generator.Generator().eval(), torch.rand(2, 3, 64, 64) - 0.5
    with torch.no_grad():
        assert_close(model(x, torch.full((2,), 1e-5), torch.tensor([0, 1]), torch.tensor([0, 6])), x, rtol=0, atol=1e-3)


def test_microscope_frames_are_recognised():
    skin, frame = torch.full((2, 3, 64, 64), 150, dtype=torch.uint8)
    frame[:, :8, :8] = 5
    pictures = torch.stack([skin, frame, frame, skin])
    assert generator.without_black_corners(pictures).tolist() == [True, False, False, True]
    names = ("ISIC_0030000", "ISIC_0000001", "ISIC_0060000", "mine")
    samples = [Sample(name, Path(name), "NV", name) for name in names]
    assert generator.origins_of(samples, pictures).tolist() == [0, 4, 5, generator.NO_ORIGIN]


def test_the_averages_weigh_a_step_by_its_power(small_isic2019, tmp_path, small_batches, monkeypatch):
    """Karras et al. (2024), eq. 1, for weights that are known at each of three steps."""
    steps = iter([1.0, 2.0, 3.0])

    def step(optimizer):
        optimizer.param_groups[0]["params"][0].fill_(next(steps))

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    monkeypatch.setattr(generator, "loss_of", lambda model, *_: next(model.parameters()).sum())
    with torch.no_grad():
        monkeypatch.setattr(torch.Tensor, "backward", lambda self: None)
        generator.train(small_isic2019, tmp_path, steps=3, batch=4, rate=4e-4)
    averages = load_checkpoint(tmp_path / "checkpoint.pt")["averages"]
    for power, average in zip(diffusion.POWERS, averages, strict=True):
        edges = torch.arange(4.0).pow(power + 1) / 3 ** (power + 1)  # of the steps' shares
        expected = (edges.diff() * torch.tensor([1.0, 2.0, 3.0])).sum()
        assert_close(next(iter(average.values())).flatten()[0], expected)
