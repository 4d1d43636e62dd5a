"""Two classifiers as one: closed forms, the folder, and what is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from purifier.attacks import pgd
from purifier.classifiers.classifier import (
    Calibration,
    OutOfDistribution,
    load_classifier,
    read_calibration,
    write_calibration,
    write_mixture,
)
from purifier.classifiers.mixed import Mixing, mixed, sharpened
from tests.helpers.classifiers import HAM10000, save_small

MIXING = Mixing(share=0.6, scale=2.0, power=1.5, clamp=-0.5)
CHECK = OutOfDistribution(mean=(0.0,) * 104, std=(1.0,) * 104, threshold=2.0)


@pytest.fixture
def logits():
    return (torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3).unbind()


@pytest.fixture
def x():
    return torch.rand(3, 3, 51, 70, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def names(tmp_path):
    """Two members with inputs and preprocessing of their own, and a check of what is out of distribution in one."""
    accurate = save_small(tmp_path / "accurate")
    robust = save_small(tmp_path / "robust", seed=1, input_size=(3, 40, 40), mean=(0.1,) * 3, std=(0.3,) * 3)
    write_calibration(accurate, Calibration(temperature=2.0, out_of_distribution=CHECK))
    return f"local-dir:{accurate}", f"local-dir:{robust}"


@pytest.fixture
def folder(tmp_path, names):
    write_mixture(tmp_path / "both", *names, MIXING)
    return tmp_path / "both"


def numbers(**changes):
    return Mixing(**{"share": 0.6, "scale": 2.0, "power": 1.5, "clamp": -0.5, **changes})


def by_hand(accurate, robust, share, scale, power, clamp):
    """The same from its definition, in double precision."""
    centred = robust - robust.mean(1, keepdim=True)
    z = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt() + clamp
    z = z * (1 + torch.erf(z / 2**0.5)) / 2
    robust = scale * z.sign() * z.abs().pow(power)
    return ((1 - share) * accurate.exp() / accurate.exp().sum(1, keepdim=True) + share * robust.softmax(1)).log()


def test_a_share_of_nothing_or_all_gives_a_member(logits):
    accurate, robust = logits
    assert_close(mixed(accurate, robust, numbers(share=0.0)), accurate.log_softmax(1))
    alone = mixed(accurate, robust, numbers(share=1.0))
    assert_close(alone, sharpened(robust, MIXING).log_softmax(1))
    assert torch.equal(alone.argmax(1), robust.argmax(1))


@pytest.mark.parametrize(
    "changes", [{}, {"share": 0.01, "power": 1.0}, {"power": 3.0, "clamp": 0.5}, {"share": 0.0}, {"share": 1.0}]
)
def test_values_and_gradients_are_those_of_the_definition(logits, changes):
    mixing = numbers(**changes)
    accurate, robust = (part.clone().requires_grad_() for part in logits)
    weights = torch.linspace(-1, 2, 40, dtype=torch.float64).reshape(5, 8)
    found = mixed(accurate, robust, mixing)
    expected = by_hand(accurate, robust, mixing.share, mixing.scale, mixing.power, mixing.clamp)
    assert_close(found, expected)
    assert_close(found.exp().sum(1), torch.ones(5, dtype=torch.float64))
    gradients = (torch.autograd.grad((values * weights).sum(), (accurate, robust)) for values in (found, expected))
    for of_found, of_expected in zip(*gradients, strict=True):
        assert_close(of_found, of_expected)


def test_a_member_that_is_certain_leaves_the_gradient_of_the_other_in_single_precision():
    """The probabilities themselves would be 1 and 0 there."""
    accurate = torch.tensor([[3.0, 1.0, 0.0]], requires_grad=True)
    robust = torch.tensor([[9.0, 0.0, 0.0]])
    loss = -mixed(accurate, robust, numbers(share=0.5, scale=300.0, clamp=0.0))[0, 1]
    (gradient,) = torch.autograd.grad(loss, accurate)
    assert loss.isfinite() and gradient.isfinite().all() and (gradient != 0).all()


def test_a_picture_without_contrast_between_its_logits_has_a_finite_gradient():
    robust = torch.ones(1, 4, requires_grad=True)
    for power in (1.0, 2.0):
        (gradient,) = torch.autograd.grad(
            mixed(torch.zeros(1, 4), robust, numbers(power=power, clamp=0.0))[0, 0], robust
        )
        assert gradient.isfinite().all()


@pytest.mark.parametrize(
    "wrong", [{"share": 1.1}, {"share": -0.1}, {"scale": 0.0}, {"power": 0.5}, {"clamp": float("inf")}]
)
def test_numbers_that_no_mixture_can_have_are_refused(wrong):
    with pytest.raises(ValueError, match="A mixture needs a share from 0 to 1"):
        numbers(**wrong)


def test_a_folder_needs_its_members_no_longer_and_prepares_pictures_for_each(folder, names, x):
    accurate, robust = map(load_classifier, names)
    expected = mixed(accurate(x), robust(x), MIXING)
    for name in names:
        (folder.parent / name.rpartition("/")[2] / "model.safetensors").unlink()
    both = load_classifier(f"local-dir:{folder}")
    assert_close(both(x), expected)
    assert both.labels == accurate.labels and both.size == (64, 64)
    assert not both.training and not any(p.requires_grad for p in both.parameters())
    assert both.calibration == Calibration(out_of_distribution=CHECK)
    assert_close(both.distance(x), accurate.distance(x))
    assert_close(both.double()(x.double()).float(), expected)


def test_it_is_attacked_as_any_classifier_with_the_gradient_of_both_members(folder, names, x):
    both, accurate, robust = map(load_classifier, (f"local-dir:{folder}", *names))
    pixels, y = x.clone().requires_grad_(), both(x).argmax(1)
    (found,) = torch.autograd.grad(both(pixels).gather(1, y[:, None]).sum(), pixels)
    (expected,) = torch.autograd.grad(
        by_hand(accurate(pixels), robust(pixels), 0.6, 2.0, 1.5, -0.5).gather(1, y[:, None]).sum(), pixels
    )
    assert_close(found, expected, rtol=1e-3, atol=1e-6)
    adv = pgd(both, x, y, eps=8 / 255, step=2 / 255, steps=5)
    assert (both(adv).log_softmax(1).gather(1, y[:, None]) < both(x).gather(1, y[:, None])).all()


def test_the_digest_depends_on_the_numbers_and_on_how_members_prepare_pictures(folder):
    path, digests = folder / "config.json", [load_classifier(f"local-dir:{folder}").digest()]
    config = json.loads(path.read_text(encoding="utf-8"))
    assert load_classifier(f"local-dir:{folder}").digest() == digests[0]
    own = config["mixed"]
    for changed in (
        {**own, "share": 0.61},
        {**own, "robust": {**own["robust"], "pretrained_cfg": {**own["robust"]["pretrained_cfg"], "crop_pct": 0.9}}},
    ):
        path.write_text(json.dumps({**config, "mixed": changed}), encoding="utf-8")
        digests.append(load_classifier(f"local-dir:{folder}").digest())
    assert len(set(digests)) == 3


def test_members_of_other_labels_are_refused_in_words(folder, names, tmp_path):
    other = save_small(tmp_path / "other", labels=[*HAM10000[1:], HAM10000[0]])
    with pytest.raises(ValueError, match="same diagnoses in the same order: the accurate one knows AK, BCC.* VASC, AK"):
        write_mixture(tmp_path / "new", names[0], f"local-dir:{other}", MIXING)
    assert not (tmp_path / "new").exists()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["mixed"]["robust"]["label_names"] = [*HAM10000[1:], HAM10000[0]]
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match="same diagnoses in the same order"):
        load_classifier(f"local-dir:{folder}")


def test_a_mixture_is_no_member_of_another(folder, names, tmp_path):
    with pytest.raises(ValueError, match="nothing else can be mixed"):
        write_mixture(tmp_path / "new", names[0], f"local-dir:{folder}", MIXING)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda own: [], "must hold the config.json of an accurate and of a robust member"),
        (lambda own: {**own, "robust": "robust"}, "must hold the config.json of an accurate and of a robust member"),
        (lambda own: {**own, "share": 2.0}, "share from 0 to 1"),
        (lambda own: {**own, "bias": 1.0}, "'bias' is not known"),
        (lambda own: {key: value for key, value in own.items() if key != "clamp"}, "'clamp' is missing"),
        (
            lambda own: {**own, "robust": {**own["robust"], "architecture": "mine"}},
            r"\(robust\) is not in timm's format",
        ),
        (lambda own: {**own, "robust": {"mixed": own}}, r"\(robust\) is not in timm's format"),
    ],
)
def test_configs_that_cannot_be_used_are_refused_with_the_reason(folder, change, message):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["mixed"] = change(config["mixed"])
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_classifier(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("robust.network.fc.bias"), r"\(robust\) do not fit .* lack fc.bias"),
        (lambda weights: weights.update(other=torch.zeros(1)), "they have unknown other"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder, change, message):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_classifier(f"local-dir:{folder}")
    assert read_calibration(folder).out_of_distribution == CHECK
