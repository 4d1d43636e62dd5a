"""Where a classifier looks: class-activation maps of its last convolutional features. The home of Captum.

Images are (B, 3, H, W) in [0, 1].
"""

import torch
from torch import Tensor, nn

from purifier.classifiers.classifier import Classifier
from purifier.pixels import check_labels
from purifier.texts import UserError


def grad_cam(classifier: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Where the last features of each picture of ``x`` speak for its label in ``y`` (Grad-CAM, Selvaraju et al., 2017).

    ``x`` is (B, 3, H, W) in [0, 1], of any size, and ``y`` (B,), int64, counts ``classifier.labels``. The map is
    (B, 1, H, W): 1 where it is highest on that picture, 0 where nothing speaks for the label and where the network does
    not see the picture, so all 0 where nothing does anywhere. It has the network's few features a side (7 of 224
    pixels, mostly), interpolated. Raises ``ValueError`` for what are no pictures or labels, and for networks without a
    convolutional feature map, as transformers are.
    """
    from captum.attr import LayerGradCam  # its import takes a second, which the page's start is spared

    check_labels(y, len(x))
    with torch.no_grad():
        features = _last_features(classifier, classifier.prepare(x))
    head = _Head(classifier)
    cam = LayerGradCam(head, head.features).attribute(features.requires_grad_(), y, relu_attributions=True)
    cam = classifier.preparation.back(cam.detach(), x.shape[-2:])
    return cam / cam.amax(dim=(2, 3), keepdim=True).clamp(min=torch.finfo(cam.dtype).tiny)


def _last_features(classifier: Classifier, prepared: Tensor) -> Tensor:
    """What the network pools to classify, (B, channels, h, w)."""
    network = classifier.network
    if hasattr(network, "forward_features"):  # as timm's have
        features = network.forward_features(prepared)
        if isinstance(features, Tensor) and features.ndim == 4 and features.shape[1] == network.num_features:
            return features
    raise UserError(
        "Where {source} looks cannot be shown: its network has no convolutional feature map, "
        "as transformers have none.",
        source=classifier.source,
    )


class _Head(nn.Module):
    """From the last features to the logits. Captum's hooks hang here and not on the network, which threads share."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier, self.features = classifier, nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, len(labels))."""
        return self.classifier.merged(self.classifier.network.forward_head(self.features(features)))
