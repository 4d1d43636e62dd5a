"""The same on every device that exists, as on the CPU; skips where there is no other."""

import pytest
import torch
from torch.testing import assert_close

from purifier.attacks import pgd
from purifier.classifiers.classifier import load_classifier
from purifier.pictures.files import to_batch
from purifier.pipeline import Purifier
from tests.helpers.pictures import lesion_like

FOUND = torch.accelerator.current_accelerator(check_available=True)
pytestmark = pytest.mark.skipif(FOUND is None, reason="there is no device but the CPU here")
DEVICE = FOUND or torch.device("cpu")


@pytest.fixture(scope="module")
def x():
    return torch.cat([to_batch(lesion_like(i, 224)) for i in range(2)])


@pytest.mark.parametrize("purifier", [Purifier(), Purifier(denoiser="rof")], ids=lambda purifier: purifier.denoiser)
def test_a_purifier_gives_the_same_picture_from_the_same_noise(x, purifier):
    """A generator of the CPU draws the same for all; the learned denoiser is computed in less than float32."""
    here, there = (purifier(x.to(device), torch.Generator().manual_seed(0)) for device in ("cpu", DEVICE))
    assert there.device.type == DEVICE.type
    assert_close(there.cpu(), here, atol=1 / 255, rtol=0)


def test_noise_is_drawn_on_the_device_where_its_generator_is(x):
    def purified():
        return Purifier()(x.to(DEVICE), torch.Generator(DEVICE).manual_seed(0))

    assert torch.equal(purified(), purified())


def test_a_classifier_reads_the_same(x):
    here, there = (load_classifier("augmented", device=device) for device in ("cpu", DEVICE))
    assert_close(there(x.to(DEVICE)).cpu(), here(x), atol=1e-2, rtol=1e-2)


def test_an_attack_is_as_strong_and_stays_within_its_bound(x):
    classifier = load_classifier("augmented", device=DEVICE)
    there = x.to(DEVICE)
    y = classifier(there).argmax(1)
    adv = pgd(classifier, there, y, eps=2 / 255, step=0.5 / 255, steps=20)
    assert (adv - there).abs().max() <= 2 / 255 + 1e-6
    assert (classifier(adv).argmax(1) != y).all()
    through = pgd(lambda z: classifier(Purifier()(z)), there, y, eps=2 / 255, step=0.5 / 255, steps=2)
    assert through.isfinite().all()
