from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import timm
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from purifier.attention import grad_cam
from purifier.classifiers.classifier import Classifier, load_classifier
from purifier.pictures.files import read_image
from tests.helpers.classifiers import fake_classifier, save_small
from tests.helpers.paths import ROOT


def example(name):
    return read_image(ROOT / "assets" / "examples" / name)


def by_hand(classifier, layer, x, y):
    """Selvaraju et al., equations 1 and 2, by a hook on the network's own layer, before it is interpolated."""
    kept = []
    hook = layer.register_forward_hook(lambda module, given, found: kept.append(found.requires_grad_()) or found)
    logits = classifier(x)
    hook.remove()
    gradient = torch.autograd.grad(logits.gather(1, y[:, None]).sum(), kept[0])[0]
    weights = gradient.mean(dim=(2, 3))
    return torch.einsum("bc,bchw->bhw", weights, kept[0]).relu()[:, None].detach()


def scaled(cam, *sizes):
    for size in sizes:
        cam = F.interpolate(cam, size, mode="bilinear")
    assert cam.amax() > 0, "there is nothing to compare"
    return cam / cam.amax(dim=(2, 3), keepdim=True)


@pytest.mark.parametrize(("name", "layer", "side"), [("augmented", "bn2", 224), ("surrogate", "layer4", 160)])
def test_it_is_what_hooks_on_the_network_s_last_layer_give(name, layer, side):
    classifier = load_classifier(name)
    x = torch.cat([example("MEL-2.png"), example("NV-1.png")])  # in which something speaks for each of these
    for label in ("MEL", "NV", "BCC"):
        y = torch.full((2,), classifier.labels.index(label))
        found = grad_cam(classifier, x, y)
        expected = scaled(by_hand(classifier, classifier.network.get_submodule(layer), x, y), side, 224)
        assert found.shape == (2, 1, 224, 224) and not found.requires_grad
        assert_close(found, expected, rtol=0, atol=1e-4)
        assert found.amin() >= 0 and (found.amax(dim=(1, 2, 3)) == 1).all()


def test_outputs_that_mean_the_same_diagnosis_speak_together():
    torch.manual_seed(0)
    network = timm.create_model("resnet10t", num_classes=3, channels=(8, 8, 8, 16)).eval()
    network.pretrained_cfg.update(input_size=(3, 64, 64), crop_pct=1.0)
    classifier = Classifier(network, ["mel", "nv", "Melanoma"], "two").eval().requires_grad_(False)
    x, y = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), torch.tensor([0])
    assert classifier.labels == ["MEL", "NV"]
    assert_close(grad_cam(classifier, x, y), scaled(by_hand(classifier, network.layer4, x, y), 64), rtol=0, atol=1e-4)


def correlation(one, other):
    return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]


def test_another_label_and_random_weights_give_another_map(classifier):
    """The sanity checks of Adebayo et al. (2018): a map that does not depend on them explains nothing."""
    x = torch.cat([example(f"{label}-1.png") for label in classifier.labels])
    y, nevus = torch.arange(len(x)), classifier.labels.index("NV")
    other = torch.where(y == nevus, classifier.labels.index("MEL"), nevus)
    another = zip(grad_cam(classifier, x, y), grad_cam(classifier, x, other), strict=True)
    assert torch.stack([correlation(*maps) for maps in another]).mean() < 0.5
    x, y = x[:1], y[:1]
    found = grad_cam(classifier, x, y)
    randomised, alike = deepcopy(classifier), []
    for seed in range(5):
        torch.manual_seed(seed)
        randomised.network.reset_classifier(len(classifier.labels))
        alike.append(correlation(found, grad_cam(randomised, x, y)))
    assert torch.stack(alike).mean() < 0.5
    assert torch.equal(found, grad_cam(classifier, x, y))


def test_where_nothing_speaks_for_the_label_the_map_is_zero(tmp_path):
    classifier = load_classifier(f"local-dir:{save_small(tmp_path)}")
    classifier.network.fc.weight[1] = -1  # on features that a ReLU leaves
    assert not grad_cam(classifier, torch.full((2, 3, 37, 53), 0.5), torch.tensor([1, 1])).any()


def test_pictures_keep_their_size_and_do_not_mix(classifier):
    x = torch.rand(2, 3, 97, 131, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([1, 4])
    found = grad_cam(classifier, x, y)
    assert found.shape == (2, 1, 97, 131)
    assert_close(found[1:], grad_cam(classifier, x[1:], y[1:]), rtol=0, atol=1e-4)


def test_threads_share_a_network_without_meeting(tmp_path):
    classifier = load_classifier(f"local-dir:{save_small(tmp_path)}")
    pictures = [torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(i)) for i in range(16)]
    y = torch.tensor([0])
    alone = [grad_cam(classifier, x, y) for x in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: (classifier(x), grad_cam(classifier, x, y))[1], pictures))
    assert_close(torch.cat(together), torch.cat(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ["test_vit", "test_mambaout", None])
def test_a_network_without_a_convolutional_feature_map_is_refused_in_words(architecture):
    classifier = fake_classifier()
    if architecture is not None:
        classifier = Classifier(timm.create_model(architecture, num_classes=2).eval(), ["NV", "MEL"], "brightness")
    with pytest.raises(ValueError, match="Where brightness looks cannot be shown: its network has no convolutional"):
        grad_cam(classifier, torch.full((1, 3, 64, 64), 0.5), torch.tensor([1]))


def test_what_are_no_pictures_or_labels_is_refused(classifier):
    x = torch.full((1, 3, 64, 64), 0.5)
    with pytest.raises(ValueError, match="Expected labels"):
        grad_cam(classifier, x, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="Expected a float tensor"):
        grad_cam(classifier, 255 * x, torch.tensor([1]))
