import pytest
import torch
from torch import nn
from torch.testing import assert_close

from purifier import load_classifier
from purifier.classifiers.classifier import bundled_classifiers, folder_of


@pytest.mark.parametrize("name", bundled_classifiers())
def test_a_bundled_classifier_is_folded_and_answers_as_before(name):
    whole, folded = load_classifier(f"local-dir:{folder_of(name)}"), load_classifier(name)
    norms = [sum(isinstance(part, nn.BatchNorm2d) for part in found.modules()) for found in (whole, folded)]
    assert norms[0] > 10 and norms[1] == 0
    x = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert_close(folded(x), whole(x), atol=1e-4, rtol=1e-4)
    ours, theirs = (torch.autograd.grad(found(x).square().sum(), x)[0] for found in (folded, whole))
    assert torch.cosine_similarity(ours.flatten(), theirs.flatten(), dim=0) > 0.9999
    assert_close(folded.stage_means(x), whole.stage_means(x), atol=1e-3, rtol=1e-3)
    assert folded.digest() == whole.digest()
    assert not any(parameter.requires_grad for parameter in folded.parameters())
