import sys

import pytest
import torch
from torch.testing import assert_close

from purifier.attacks import AttackSettings, pgd, pgd_step
from purifier.classifiers.classifier import load_classifier
from purifier.defences import get_defence
from purifier.diffusion import noise_level
from purifier.evaluation import art
from purifier.evaluation.attackers import KINDS, Task, examples, get_attacker
from purifier.evaluation.settings import find_defence
from tests.helpers.classifiers import Brightness, fake_classifier

EPS = 0.02


def task(classifier, defence="none", **changed):
    settings = dict(
        classifier=classifier, surrogate=classifier, defence=get_defence(defence), eps=EPS, seed=3, noise_seed=7
    )
    return Task(**{**settings, **changed})


@pytest.fixture
def batch():
    """Two pictures near the border of the brightness classifier, one beyond an attacker's reach."""
    return torch.cat([torch.full((1, 3, 16, 16), v) for v in (0.505, 0.51, 0.8)]), torch.tensor([1, 1, 1])


@pytest.mark.parametrize("name", [name for name in examples() if name not in ("none", "targeted20", "autoattack")])
def test_every_attacker_fools_what_can_be_fooled(batch, name):
    attacker, (x, y) = get_attacker(name), batch
    adv = attacker.run(task(fake_classifier()), x, y)
    if attacker.bounded:
        assert (adv - x).abs().max() <= EPS + 1e-6
        assert Brightness()(adv).argmax(1).tolist() == [0, 0, 1]
    else:
        assert Brightness()(adv).argmax(1).tolist()[:2] == [0, 0]
        assert (adv - x)[:2].flatten(1).norm(dim=1).max() < 1.5  # a small one: 0.01 in each of 768 values is 0.28
    assert torch.equal(adv, attacker.run(task(fake_classifier()), x, y))


def test_an_oblivious_attacker_does_not_look_at_the_defence(batch, classifier):
    x, y = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    for name in ("fgsm", "pgd2", "grey2", "transfer2"):
        attacker = get_attacker(name)
        assert attacker.threat == "oblivious"
        one, two = (attacker.run(task(classifier, defence), x, y) for defence in ("none", "mdda"))
        assert torch.equal(one, two)


def test_an_adaptive_attacker_goes_through_the_defence(classifier):
    x, y = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    for name in ("eot2x2", "apgd2x2", "coarse2x2", "grey-eot2x2", "bpda2x2", "fixed2"):
        attacker = get_attacker(name)
        assert attacker.threat == "adaptive"
        one, two = (attacker.run(task(classifier, defence), x, y) for defence in ("none", "mdda"))
        assert not torch.equal(one, two)


def test_the_attacker_who_knows_the_noise_attacks_what_will_be_drawn(classifier):
    x, y = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1])
    given = task(classifier, "mdda")
    adv = get_attacker("fixed3").run(given, x, y)

    def known(z):
        return classifier(given.defence(z, torch.Generator().manual_seed(given.noise_seed)))

    expected = pgd(
        known,
        x,
        y,
        eps=EPS,
        step=pgd_step(EPS, 3),
        steps=3,
        random_start=True,
        generator=torch.Generator().manual_seed(given.seed),
    )
    assert torch.equal(adv, expected)


def test_with_a_defence_that_does_nothing_the_adaptive_attacker_is_the_plain_one(batch):
    x, y = batch
    for name in ("eot5x4", "bpda5x4", "fixed5"):
        plain = get_attacker("pgd5").run(task(fake_classifier()), x, y)
        assert_close(get_attacker(name).run(task(fake_classifier()), x, y), plain)


def test_the_targeted_attacker_makes_nevi_of_melanomas():
    attacker = get_attacker("targeted5")
    assert attacker.label == "MEL"
    x = torch.full((1, 3, 16, 16), 0.505)
    adv = attacker.run(task(fake_classifier()), x, torch.tensor([1]))  # its labels are NV and MEL
    assert Brightness()(adv).argmax(1).item() == 0


def test_the_transferred_attack_is_made_on_the_surrogate(classifier):
    surrogate = load_classifier("surrogate")
    x, y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0])
    adv = get_attacker("transfer3").run(task(classifier, surrogate=surrogate), x, y)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(adv, AttackSettings(eps=EPS, steps=3)(surrogate, x, y, generator=generator))


def test_the_transferred_attack_is_told_the_diagnosis_and_not_its_place(classifier):
    surrogate, reversed_ = fake_classifier(), fake_classifier()
    reversed_.labels = reversed_.labels[::-1]
    x, y = torch.full((1, 3, 16, 16), 0.505), torch.tensor([0])
    adv = get_attacker("transfer3").run(task(reversed_, surrogate=surrogate), x, y)
    generator = torch.Generator().manual_seed(3)
    assert torch.equal(adv, AttackSettings(eps=EPS, steps=3)(surrogate, x, 1 - y, generator=generator))
    with pytest.raises(ValueError, match="does not know .* diagnoses AK, BCC"):
        get_attacker("transfer3").run(task(classifier, surrogate=surrogate), x, y)


def test_art_and_we_agree_where_both_have_an_attack(batch):
    from art.attacks.evasion import BasicIterativeMethod, FastGradientMethod
    from art.estimators.classification import PyTorchClassifier

    x, y = batch
    estimator = PyTorchClassifier(
        Brightness(),
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=(3, 16, 16),
        nb_classes=2,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    for name, attack in (
        ("fgsm", FastGradientMethod(estimator, eps=EPS)),
        ("bim5", BasicIterativeMethod(estimator, eps=EPS, eps_step=EPS / 5, max_iter=5, verbose=False)),
    ):
        theirs = attack.generate(x.numpy(), torch.eye(2)[y].numpy())
        assert_close(get_attacker(name).run(task(fake_classifier()), x, y), torch.from_numpy(theirs), rtol=0, atol=1e-6)


def test_autoattack_leaves_nothing_that_can_be_fooled(batch):
    x, y = batch[0][:2], batch[1][:2]
    adv = get_attacker("autoattack").run(task(fake_classifier()), x, y)
    assert Brightness()(adv).argmax(1).tolist() == [0, 0] and (adv - x).abs().max() <= EPS + 1e-6


def test_autoattack_leaves_what_traces_the_program(batch):
    before = sys.gettrace()

    def tracing(frame, event, argument):
        return None

    try:
        sys.settrace(tracing)
        x, y = batch
        get_attacker("autoattack").run(task(fake_classifier()), x[:1], y[:1])
        assert sys.gettrace() is tracing
    finally:
        sys.settrace(before)


def test_autoattack_takes_classifiers_of_many_classes(classifier):
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    y = classifier(x).argmax(1)
    before = torch.random.get_rng_state()
    adv = get_attacker("autoattack").run(task(classifier), x, y)
    assert (adv - x).abs().max() <= EPS + 1e-6 and classifier(adv).argmax(1) != y
    assert torch.equal(torch.random.get_rng_state(), before)


def test_coarse_shapes_survive_smoothing():
    x = torch.full((1, 3, 64, 64), 0.505)
    adv = get_attacker("coarse4x1").run(task(fake_classifier()), x, torch.tensor([1]))
    change = adv - x
    smooth = get_defence("gaussian2")(adv) - get_defence("gaussian2")(x)
    assert smooth.norm() > 0.9 * change.norm() > 0


@pytest.mark.parametrize("name", ["grey4", "grey-eot4x1"])
def test_a_grey_change_leaves_the_noise_of_the_colours_as_it_was(classifier, name):
    x = torch.linspace(0.2, 0.8, 64).expand(1, 3, 64, 64)
    changed, coloured = (get_attacker(kind).run(task(classifier), x, torch.tensor([1])) for kind in (name, "pgd4"))
    assert_close(changed - x, (changed - x)[:, :1].expand_as(x), atol=1e-6, rtol=0)
    assert (changed - x).abs().max() > EPS / 2
    assert noise_level(changed) < 1e-6 < EPS / 4 < noise_level(coloured)


@pytest.mark.parametrize("name", ["art-median3", "art-tvm0.3"])
def test_arts_defences_have_our_signature(name):
    x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    defence = find_defence(name)
    one, two = (defence(x, torch.Generator().manual_seed(0)) for _ in range(2))
    assert torch.equal(one, two) and one.shape == x.shape
    assert 0.01 < (one - x).abs().mean() < 0.4 and one.std() < x.std()


def test_names_carry_steps_and_samples():
    attacker = get_attacker("eot30x4")
    assert attacker.title == "PGD through the defence (30 steps of 4 samples)" and attacker.passes == 360
    assert {get_attacker(name).name for name in examples()} == set(examples())
    assert len(examples()) == len(KINDS)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("magic", "no attack 'magic'"),
        ("pgd0", "at least 1"),
        ("pgd20x4", "a number too many"),
        ("fgsm3", "a number too many"),
        ("eot5x0", "at least 1"),
    ],
)
def test_attacks_that_do_not_exist_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        get_attacker(name)


def test_deepfool_leaves_a_picture_that_is_read_wrongly_as_it_is():
    def model(z):
        means = z.mean(dim=(2, 3))
        return 20 * means

    x = torch.full((2, 3, 8, 8), 0.3)
    x[:, 1] = 0.4  # both are read as 1
    adv = art.deepfool(model, x, torch.tensor([1, 0]), classes=3, steps=20)
    assert model(adv).argmax(dim=1).tolist() != [1, 1] and torch.equal(adv[1], x[1])
    assert torch.equal(art.deepfool(model, x, torch.tensor([0, 2]), classes=3, steps=20), x)
