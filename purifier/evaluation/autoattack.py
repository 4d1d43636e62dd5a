"""AutoAttack (Croce & Hein, 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks") by its authors: the home of pyautoattack.

Images are (B, 3, H, W) in [0, 1]; a model is any callable from them to logits (B, classes).
"""

import sys

import torch
from pyautoattack import AutoAttack
from pyautoattack.autopgd_base import APGDAttack
from torch import Tensor

from purifier.attacks import Model

LEAST_CLASSES = 4  # of the targeted attacks, whose loss looks at four logits
MOST_TARGETS = 9


def auto_attack(model: Model, x: Tensor, y: Tensor, *, classes: int, eps: float, seed: int = 0) -> Tensor:
    """The standard version, for a model that draws no noise: APGD on the cross-entropy, targeted APGD on the difference
    of logits ratio, targeted FAB and Square, in the L-infinity ball; with fewer than four classes APGD on the
    cross-entropy, FAB and Square. It takes minutes for an image that it cannot fool."""
    few = classes < LEAST_CLASSES
    version = dict(version="custom", attacks=["apgd-ce", "fab", "square"]) if few else dict(version="standard")
    attack = AutoAttack(model, device=x.device, eps=eps, seed=seed, **version)
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(MOST_TARGETS, classes - 1)
    tracing = sys.gettrace()  # of a debugger or a measure of coverage: the attack's checks leave none
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            adv, _ = attack.run_standard_evaluation(x, y, batch_size=len(x))
    finally:
        sys.settrace(tracing)
    return adv


def apgd(model: Model, x: Tensor, y: Tensor, *, eps: float, steps: int, samples: int = 1, seed: int = 0) -> Tensor:
    """APGD on the cross-entropy, whose gradient is the mean over ``samples`` calls of a model that draws noise: of the
    pictures on its way those with the highest loss, whether one draw was fooled by another or not."""
    attack = APGDAttack(model, device=x.device, eps=eps, n_iter=steps, eot_iter=samples)
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        return attack.perturb(x, y, best_loss=True)
