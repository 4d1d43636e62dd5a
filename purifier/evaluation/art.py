"""What the Adversarial Robustness Toolbox carries: attacks and defences of others, behind our calls. The home of ART.

Images are (B, 3, H, W) in [0, 1]; a model is any callable from them to logits (B, classes).
"""

import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Model = Callable[[Tensor], Tensor]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ART's imports of optional frameworks
    from art.attacks.evasion import CarliniL2Method, DeepFool, SquareAttack
    from art.defences.preprocessor import SpatialSmoothing, TotalVarMin
    from art.estimators.classification import PyTorchClassifier


class Estimator(nn.Module):
    """A callable as the module that ART asks for."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of pictures (B, 3, H, W) in [0, 1]."""
        return self.model(x)


def square(model: Model, x: Tensor, y: Tensor, *, classes: int, eps: float, queries: int, seed: int = 0) -> Tensor:
    """Square Attack (Andriushchenko et al., 2020), in the L-infinity ball: random search, no gradient."""

    def make(estimator: PyTorchClassifier) -> SquareAttack:
        return SquareAttack(estimator, norm=np.inf, max_iter=queries, eps=eps, batch_size=len(x), verbose=False)

    return _generate(make, model, x, y, classes, seed)


def carlini_l2(model: Model, x: Tensor, y: Tensor, *, classes: int, steps: int, seed: int = 0) -> Tensor:
    """Carlini & Wagner (2017): the smallest L2 perturbation that fools, of no given size."""

    def make(estimator: PyTorchClassifier) -> CarliniL2Method:
        settings = dict(binary_search_steps=3, initial_const=1.0, learning_rate=0.01, batch_size=len(x), verbose=False)
        return CarliniL2Method(estimator, max_iter=steps, **settings)

    return _generate(make, model, x, y, classes, seed)


def deepfool(model: Model, x: Tensor, y: Tensor, *, classes: int, steps: int, seed: int = 0) -> Tensor:
    """DeepFool (Moosavi-Dezfooli, Fawzi & Frossard, 2016): over the nearest decision boundary, of no given size. It
    leaves what the model reads, whatever is true: a picture that is read wrongly stays as it is."""

    def make(estimator: PyTorchClassifier) -> DeepFool:
        return DeepFool(estimator, max_iter=steps, epsilon=0.02, nb_grads=classes, batch_size=len(x), verbose=False)

    with torch.no_grad():
        right = model(x).argmax(dim=1) == y
    adv = x.clone()
    if right.any():
        adv[right] = _generate(make, model, x[right], y[right], classes, seed)
    return adv


def _generate(make, model: Model, x: Tensor, y: Tensor, classes: int, seed: int) -> Tensor:
    estimator = PyTorchClassifier(
        Estimator(model),
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="gpu" if x.is_cuda else "cpu",
    )
    state = np.random.get_state()
    np.random.seed(seed)  # ART draws from numpy's global generator
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adv = make(estimator).generate(x.cpu().numpy(), np.eye(classes, dtype=np.float32)[y.cpu().numpy()])
    finally:
        np.random.set_state(state)
    return torch.from_numpy(adv).to(x).clamp(0, 1)


def spatial_smoothing(x: Tensor, side: int) -> Tensor:
    """The median of ``side`` pixels a side (Xu, Evans & Qi, 2018)."""
    return _preprocess(SpatialSmoothing(side, True, clip_values=(0.0, 1.0)), x)


def total_variation(x: Tensor, norm: float, generator: torch.Generator | None) -> Tensor:
    """TotalVarMin (Guo et al., 2018), whose weight is ``norm``; ``generator`` draws which pixels it keeps."""
    state = np.random.get_state()
    np.random.seed(torch.randint(2**31, (), generator=generator).item())
    try:
        return _preprocess(TotalVarMin(lamb=norm, max_iter=5, clip_values=(0.0, 1.0)), x)
    finally:
        np.random.set_state(state)


def _preprocess(preprocessor, x: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(preprocessor(x.detach().cpu().numpy())[0]).to(x)
