"""Feature squeezing as it was published, to compare the alarm with: Xu, Evans & Qi, "Feature squeezing: detecting
adversarial examples in deep neural networks", NDSS 2018. Images are (B, 3, H, W) in [0, 1]."""

import torch
from scipy.ndimage import median_filter
from torch import Tensor

from purifier.attacks import straight_through
from purifier.classifiers.classifier import Classifier
from purifier.defences import bit_depth, by_opencv, non_local_means

# Their joint detector for ImageNet: 5 bits a channel; a median of 2 x 2 pixels; and non-local means of colours with
# windows of 11 and patches of 3 pixels and a strength of 4/255.
SQUEEZERS = (
    lambda x: bit_depth(x, 5),
    lambda x: by_opencv(x, lambda image: median_filter(image, size=(2, 2, 1), mode="reflect")),
    lambda x: non_local_means(x, 4, patch=3, search=11),
)


def squeezed(x: Tensor) -> list[Tensor]:
    """The pictures after each of ``SQUEEZERS``, with the identity's gradient."""
    return [straight_through(squeezer)(x) for squeezer in SQUEEZERS]


def squeezing_score(classifier: Classifier, x: Tensor) -> Tensor:
    """The largest L1 distance, (B,) from 0 to 2, of the probabilities before and after each of ``SQUEEZERS``."""
    before = classifier.probabilities(x)
    return torch.stack([(before - classifier.probabilities(z)).abs().sum(dim=1) for z in squeezed(x)]).amax(dim=0)
