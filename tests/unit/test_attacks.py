import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest
from torch.testing import assert_close

from purifier.attacks import (
    ATTACKS,
    Ascent,
    AttackSettings,
    fgsm,
    loss_gradient,
    mi_fgsm,
    pgd,
    pgd_step,
    straight_through,
)
from purifier.pipeline import SUITED, Purifier
from tests.helpers.strategies import few, pictures

EPS = 8 / 255
SMALL = st.floats(0, 1)


@pytest.fixture
def batch(small_network):
    x = torch.rand(6, 3, 19, 23, generator=torch.Generator().manual_seed(1))
    return x, small_network(x).argmax(1)


def brightness(x):
    """Is it brighter than grey? The best attack on "yes" darkens every pixel."""
    mean = x.mean(dim=(1, 2, 3))
    return torch.stack([0.5 - mean, mean - 0.5], dim=1) * 100


def stripes(x):
    """Is there light where a pattern is light? No pixel's gradient is near 0, where a last digit would be its sign."""
    places = torch.arange(x[0].numel(), device=x.device).reshape(x.shape[1:])
    mean = (x * torch.where(places % 3 == 0, 1.5, -0.5).to(x)).mean(dim=(1, 2, 3))
    return torch.stack([-mean, mean], dim=1)


def loss(model, x, y):
    return torch.nn.functional.cross_entropy(model(x), y, reduction="none")


@pytest.mark.parametrize(
    "attack",
    [
        lambda m, x, y: fgsm(m, x, y, eps=EPS),
        lambda m, x, y: pgd(m, x, y, eps=EPS, step=2 / 255, steps=10),
        lambda m, x, y: mi_fgsm(m, x, y, eps=EPS, step=2 / 255, steps=10),
    ],
)
def test_every_attack_finds_the_known_worst_case(attack):
    x = torch.full((1, 3, 8, 8), 0.51)
    assert_close(attack(brightness, x, brightness(x).argmax(1)), x - EPS)


@pytest.mark.parametrize(
    "attack",
    [
        lambda m, x, y: fgsm(m, x, y, eps=EPS, targeted=True),
        lambda m, x, y: pgd(m, x, y, eps=EPS, step=2 / 255, steps=10, targeted=True),
        lambda m, x, y: mi_fgsm(m, x, y, eps=EPS, step=2 / 255, steps=10, targeted=True),
    ],
)
def test_a_targeted_attack_goes_the_other_way(attack):
    x = torch.full((1, 3, 8, 8), 0.51)
    assert_close(attack(brightness, x, brightness(x).argmax(1)), x + EPS)


@pytest.mark.parametrize(
    ("attack", "passes"),
    [
        (lambda m, x, y: fgsm(m, x, y, eps=EPS), 1),
        (lambda m, x, y: pgd(m, x, y, eps=EPS, step=EPS, steps=2), 2),
        (lambda m, x, y: pgd(m, x, y, eps=EPS, step=EPS, steps=2, samples=3), 6),
        (lambda m, x, y: mi_fgsm(m, x, y, eps=EPS, step=EPS, steps=2), 2),
        (lambda m, x, y: mi_fgsm(m, x, y, eps=EPS, step=EPS, steps=2, samples=3), 6),
        (lambda m, x, y: AttackSettings(steps=2, samples=3)(m, x, y), 6),
        (lambda m, x, y: AttackSettings(method="fgsm", steps=2)(m, x, y), 1),
    ],
)
def test_an_attack_asks_the_model_once_for_each_step_and_sample(attack, passes):
    asked = []
    x = torch.full((2, 3, 8, 8), 0.51)
    attack(lambda z: asked.append(len(z)) or brightness(z), x, brightness(x).argmax(1))
    assert sum(asked) == passes * len(x)


def test_pgd_l2_finds_the_known_worst_case():
    x = torch.full((2, 3, 8, 8), 0.51)
    adv = pgd(brightness, x, brightness(x).argmax(1), eps=0.5, step=0.1, steps=10, norm="l2")
    assert_close(adv, x - 0.5 / x[0].numel() ** 0.5)


@pytest.mark.parametrize("method", ATTACKS)
@pytest.mark.parametrize("targeted", [False, True])
def test_attacks_stay_in_the_ball_and_in_range_and_raise_the_loss(small_network, batch, method, targeted):
    x, y = batch
    x[0], x[1] = 0, 1  # at the ends of the range
    y = (y + 1) % 4 if targeted else y
    settings = AttackSettings(method=method, eps=EPS, steps=7)
    adv = settings(small_network, x, y, targeted=targeted, generator=torch.Generator().manual_seed(0))
    assert (adv - x).abs().max() <= EPS + 1e-7
    assert adv.min() >= 0 and adv.max() <= 1
    change = loss(small_network, adv, y) - loss(small_network, x, y)
    assert ((change < 0) if targeted else (change > 0)).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_is_inside_the_ball_and_comes_from_the_generator(small_network, batch, norm):
    x, y = batch
    eps = EPS if norm == "linf" else 0.7

    def start(seed):
        g = torch.Generator().manual_seed(seed)
        return pgd(small_network, x, y, eps=eps, step=0.0, steps=1, norm=norm, random_start=True, generator=g)

    delta = start(0) - x
    size = delta.abs().amax(dim=(1, 2, 3)) if norm == "linf" else delta.flatten(1).norm(dim=1)
    assert (size <= eps + 1e-6).all() and (size > eps / 4).all()
    assert torch.equal(start(0), start(0))
    assert not torch.equal(start(0), start(1))


def uniform(values, low, high):
    """Whether they may be, by the test of Kolmogorov and Smirnov."""
    return kstest(values.flatten().numpy(), "uniform", args=(low, high - low)).pvalue > 0.01


def started(x, norm, eps):
    """How far a random start goes, without a step after it."""
    ascent = Ascent(eps=eps, step=0, steps=1, norm=norm, random_start=True)
    return last(ascent, x) - x


def test_a_random_start_is_uniform_in_the_cube():
    assert uniform(started(torch.full((2, 3, 32, 32), 0.5), "linf", 0.1), -0.1, 0.1)


def test_a_random_start_is_uniform_in_the_ball():
    delta = started(torch.full((3000, 3, 1, 1), 0.5), "l2", 0.3).flatten(1)  # a ball in three dimensions
    length = delta.norm(dim=1)
    assert uniform((length / 0.3) ** 3, 0, 1)
    for axis in delta.T:  # on a sphere every coordinate is uniform, which Archimedes knew
        assert uniform(axis / length, -1, 1)


@st.composite
def ascents(draw, **fixed) -> Ascent:
    """Any short attack."""
    drawn = dict(
        eps=draw(SMALL),
        step=draw(SMALL),
        steps=draw(st.integers(0, 4)),
        norm=draw(st.sampled_from(("linf", "l2"))),
        random_start=draw(st.booleans()),
        decay=draw(st.none() | SMALL),
        targeted=draw(st.booleans()),
    )
    return Ascent(**drawn | fixed)


def last(ascent, x, seed=0):
    """What an attack of ``stripes`` ends with."""
    y, generator = torch.zeros(len(x), dtype=torch.int64), torch.Generator().manual_seed(seed)
    return [x, *ascent.iterates(stripes, x, y, generator)][-1]


@few
@given(ascents(), pictures(), st.sampled_from([torch.float32, torch.float64]), st.integers(0, 2**31))
def test_every_step_stays_in_the_ball_and_in_range_and_the_same_seed_repeats_it(ascent, x, dtype, seed):
    x = x.to(dtype)
    y = torch.zeros(len(x), dtype=torch.int64)
    steps = list(ascent.iterates(stripes, x, y, torch.Generator().manual_seed(seed)))
    assert len(steps) == ascent.steps
    for adv in steps:
        delta = (adv - x).flatten(1)
        size = delta.abs().amax(dim=1) if ascent.norm == "linf" else delta.norm(dim=1)
        assert adv.dtype == dtype and adv.min() >= 0 and adv.max() <= 1
        assert (size <= ascent.eps * (1 + 1e-5) + 1e-7).all()
    assert torch.equal([x, *steps][-1], last(ascent, x, seed))


@few
@given(ascents(eps=0), pictures())
def test_in_a_ball_of_no_size_nothing_changes(ascent, x):
    assert torch.equal(last(ascent, x), x)


@few
@given(ascents(), pictures(count=3))
def test_the_images_of_a_batch_do_not_mix(ascent, x):
    assert_close(last(ascent, x)[:1], last(ascent, x[:1]), rtol=0, atol=1e-12)
    if not ascent.random_start:
        assert_close(last(ascent, x), torch.cat([last(ascent, one) for one in x.split(1)]), rtol=0, atol=1e-12)


@few
@given(ascents(), pictures())
def test_float32_agrees_with_float64(ascent, x):
    assert_close(last(ascent, x.float()).double(), last(ascent, x), rtol=0, atol=5e-6)


def art_classifier(network):
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        copy.deepcopy(network),  # ART leaves gradients behind
        torch.nn.CrossEntropyLoss(),
        input_shape=(3, 19, 23),
        nb_classes=4,
        clip_values=(0, 1),
        device_type="cpu",
    )


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_equals_art(small_network, batch, norm, targeted):
    from art.attacks.evasion import ProjectedGradientDescentPyTorch

    x, y = batch
    y = (y + 1) % 4 if targeted else y
    eps, step = (EPS, 2 / 255) if norm == "linf" else (0.7, 0.2)
    if norm == "l2":
        x = 0.2 + 0.6 * x  # away from 0 and 1, where ART also clips before it projects
    theirs = ProjectedGradientDescentPyTorch(
        art_classifier(small_network),
        norm="inf" if norm == "linf" else 2,
        eps=eps,
        eps_step=step,
        max_iter=10,
        targeted=targeted,
        num_random_init=0,
        verbose=False,
        batch_size=6,
    ).generate(x.numpy(), y.numpy())
    ours = pgd(small_network, x, y, eps=eps, step=step, steps=10, norm=norm, targeted=targeted)
    assert_close(ours, torch.from_numpy(theirs), rtol=0, atol=1e-5)


def test_the_gradient_is_of_each_picture_s_own_loss(small_network, batch):
    x, y = batch
    each = torch.cat([loss_gradient(small_network, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert_close(loss_gradient(small_network, x, y), each)


def test_mi_fgsm_is_pgd_without_momentum(small_network, batch):
    x, y = batch
    ours = mi_fgsm(small_network, x, y, eps=EPS, step=2 / 255, steps=6, decay=0.0)
    assert torch.equal(ours, pgd(small_network, x, y, eps=EPS, step=2 / 255, steps=6))


def test_mi_fgsm_accumulates_normalised_gradients(small_network, batch):
    x, y = batch
    first, second = (
        g / g.abs().mean(dim=(1, 2, 3), keepdim=True)
        for g in (
            loss_gradient(small_network, x, y),
            loss_gradient(small_network, (x + EPS / 2 * loss_gradient(small_network, x, y).sign()).clamp(0, 1), y),
        )
    )
    expected = (x + EPS / 2 * first.sign()).clamp(0, 1) + EPS / 2 * (0.9 * first + second).sign()
    ours = mi_fgsm(small_network, x, y, eps=EPS, step=EPS / 2, steps=2, decay=0.9)
    assert_close(ours, expected.clamp(0, 1), rtol=0, atol=1e-6)


def test_the_momentum_is_of_each_picture_by_itself_at_every_step(small_network, batch):
    """Of a model whose gradient grows and vanishes as it is attacked."""
    x, y = batch

    def steep(z):
        return 200 * small_network(z)

    adv, momentum = x, 0
    for _ in range(5):
        gradient = loss_gradient(steep, adv, y)
        momentum = 0.8 * momentum + gradient / gradient.abs().mean(dim=(1, 2, 3), keepdim=True).clamp(min=1e-12)
        adv = (adv + EPS / 4 * momentum.sign()).clamp((x - EPS).clamp(0, 1), (x + EPS).clamp(0, 1))
    ours = mi_fgsm(steep, x, y, eps=EPS, step=EPS / 4, steps=5, decay=0.8)
    assert ((ours - adv).abs() < 1e-6).float().mean() > 0.999  # of a momentum near 0 the last digit is the sign


@pytest.mark.parametrize(
    ("method", "same"),
    [
        ("pgd", lambda *at, **g: pgd(*at, eps=EPS, step=2.5 * EPS / 4, steps=4, random_start=True, **g)),
        ("bim", lambda *at, **g: pgd(*at, eps=EPS, step=EPS / 4, steps=4)),
        ("mi_fgsm", lambda *at, **g: mi_fgsm(*at, eps=EPS, step=EPS / 4, steps=4)),
        ("fgsm", lambda *at, **g: fgsm(*at, eps=EPS)),
    ],
)
def test_what_menus_offer_is_the_attack_of_that_name(small_network, batch, method, same):
    settings = AttackSettings(method=method, eps=EPS, steps=4)
    theirs, ours = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    assert_close(settings(small_network, *batch, generator=ours), same(small_network, *batch, generator=theirs))


def test_an_attack_of_no_steps_gives_the_picture_back(small_network, batch):
    assert torch.equal(pgd(small_network, *batch, eps=EPS, step=EPS, steps=0), batch[0])
    assert torch.equal(AttackSettings(method="bim", steps=0)(small_network, *batch), batch[0])


@pytest.mark.parametrize(
    ("eps", "norm", "words"),
    [
        (8, "linf", "from 0 to 1, in units of the pixel range, and is 8; write 8 / 255 for 8 levels of 255.$"),
        (float("inf"), "linf", "and is inf.$"),
        (float("inf"), "l2", "from 0 to inf, in units of the pixel range, and is inf.$"),
        (-1, "linf", "and is -1.$"),
    ],
)
def test_the_size_of_an_attack_is_refused_in_words(eps, norm, words):
    with pytest.raises(ValueError, match=words):
        Ascent(eps=eps, step=0, steps=1, norm=norm)


def test_a_whole_cube_is_allowed_and_a_ball_that_is_larger():
    assert Ascent(eps=1, step=0, steps=1).eps == AttackSettings(eps=1.0).eps == 1
    assert Ascent(eps=8, step=0, steps=1, norm="l2").eps == 8


def test_an_unknown_method_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match="^method must be one of pgd, bim, mi_fgsm, fgsm, and is 'cw'.$"):
        AttackSettings(method="cw")


def test_the_iterates_end_where_the_attack_ends(small_network, batch):
    x, y = batch
    settings = AttackSettings(eps=EPS, steps=5)
    for targeted in ({}, {"targeted": True}):
        (*_, last) = settings.iterates(small_network, x, y, generator=torch.Generator().manual_seed(0), **targeted)
        assert_close(last, settings(small_network, x, y, generator=torch.Generator().manual_seed(0), **targeted))
    steps = list(Ascent(eps=EPS, step=2 / 255, steps=5).iterates(small_network, x, y))
    assert len(steps) == 5
    assert torch.equal(steps[-1], pgd(small_network, x, y, eps=EPS, step=2 / 255, steps=5))


def test_weights_and_pictures_are_left_alone(small_network, batch):
    x, y = batch
    before = x.clone()
    adv = pgd(small_network, x, y, eps=EPS, step=2 / 255, steps=2)
    assert torch.equal(x, before) and not adv.requires_grad
    assert all(parameter.grad is None for parameter in small_network.parameters())


def test_attacks_work_where_the_page_has_turned_gradients_off(small_network, batch):
    x, y = batch
    with torch.no_grad():
        adv = fgsm(small_network, x, y, eps=EPS)
    assert torch.equal(adv, fgsm(small_network, x, y, eps=EPS))


@pytest.mark.parametrize("denoiser", SUITED)
def test_an_attacker_who_knows_the_purifier_does_better_through_it(small_network, batch, denoiser):
    x, y = batch
    purifier = Purifier(denoiser=denoiser, scales=(1, 0.5), blocks=1)

    def defended(z):
        return small_network(purifier(z, torch.Generator().manual_seed(0)))

    settings = dict(eps=EPS, step=EPS / 4, steps=10)
    knowing, oblivious = pgd(defended, x, y, **settings), pgd(small_network, x, y, **settings)
    assert loss(defended, knowing, y).mean() > loss(defended, oblivious, y).mean()


@pytest.mark.parametrize(("setting", "value"), [("method", "cw"), ("eps", -1), ("eps", float("nan")), ("steps", -1)])
def test_settings_out_of_range_are_refused_by_name(setting, value):
    with pytest.raises(ValueError, match=setting):
        AttackSettings(**{setting: value})


@pytest.mark.parametrize("setting", ["step", "decay"])
def test_a_step_that_would_help_the_classifier_is_refused(small_network, batch, setting):
    settings = dict(eps=EPS, step=EPS, steps=1, decay=1.0) | {setting: -0.1}
    with pytest.raises(ValueError, match=f"{setting} must be at least 0"):
        mi_fgsm(small_network, *batch, **settings)


def test_an_unknown_norm_is_refused(small_network, batch):
    with pytest.raises(ValueError, match="l7"):
        pgd(small_network, *batch, eps=1, step=1, steps=1, norm="l7")


def test_the_gradient_over_samples_is_the_mean_of_single_gradients(small_network, batch):
    x, y = batch
    purifier = Purifier(denoiser="rof", steps=2)

    def model(generator):
        return lambda z: small_network(purifier(z, generator))

    together = loss_gradient(model(torch.Generator().manual_seed(3)), x, y, samples=4)
    noise = torch.Generator().manual_seed(3)
    singles = [loss_gradient(model(noise), x, y) for _ in range(4)]
    assert_close(together, torch.stack(singles).mean(dim=0))
    assert not torch.allclose(singles[0], singles[1])


def test_pgd_takes_its_steps_along_the_mean_gradient(small_network, batch):
    x, y = batch
    noise = torch.Generator().manual_seed(3)
    adv = pgd(
        lambda z: small_network(z + 0.1 * torch.randn(z.shape, generator=noise)),
        x,
        y,
        eps=EPS,
        step=EPS,
        steps=1,
        samples=5,
    )
    noise = torch.Generator().manual_seed(3)
    gradient = sum(
        loss_gradient(lambda z: small_network(z + 0.1 * torch.randn(z.shape, generator=noise)), x, y) for _ in range(5)
    )
    assert_close(adv, (x + EPS * gradient.sign()).clamp(0, 1))


def test_samples_must_be_at_least_one(small_network, batch):
    with pytest.raises(ValueError, match="samples must be at least 1"):
        pgd(small_network, *batch, eps=EPS, step=EPS, steps=1, samples=0)


def test_straight_through_gives_the_value_of_the_function_and_the_gradient_of_the_identity():
    x = torch.tensor([0.2, 0.6, 0.9], requires_grad=True)
    y = straight_through(torch.round)(x)
    assert y.tolist() == [0.0, 1.0, 1.0]
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


def test_pgds_step_crosses_the_ball_and_comes_back():
    assert pgd_step(EPS, 10) == pytest.approx(EPS / 4) and pgd_step(EPS, 0) == pgd_step(EPS, 1) == 2.5 * EPS
