"""What a defence makes of pictures, and what they are read as then. Images are (B, 3, H, W) in [0, 1]."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from purifier.defences import Defence


@dataclass(frozen=True, eq=False)
class Defended:
    """Pictures behind a defence, of a vote the first copy, and their reading, of a vote that of all copies."""

    pictures: Tensor
    probabilities: Tensor  # (B, K), on the CPU
    seconds: float  # that both took, for all pictures

    def psnr(self, originals: Tensor) -> Tensor:
        """In dB, (B,); infinity where nothing was changed."""
        return psnr(self.pictures, originals.to(self.pictures.device))

    def ssim(self, originals: Tensor) -> Tensor:
        """Structural similarity, (B,). It takes longer than all the rest."""
        originals = originals.to(self.pictures.device)
        return structural_similarity_index_measure(self.pictures, originals, data_range=1.0, reduction="none").reshape(
            -1
        )


def psnr(x: Tensor, originals: Tensor) -> Tensor:
    """Of each picture, in dB, (B,); infinity where nothing was changed."""
    return peak_signal_noise_ratio(x, originals, data_range=1.0, reduction="none", dim=(1, 2, 3))


def apply_defence(defence: Defence, classifier: Callable[[Tensor], Tensor], x: Tensor, seed: int) -> Defended:
    """``seed`` is that of the defence's noise."""
    start = time.perf_counter()
    with torch.no_grad():
        pictures, logits = defence.with_logits(classifier, x, torch.Generator().manual_seed(seed))
        probabilities = logits.softmax(dim=1).cpu()
    return Defended(pictures, probabilities, time.perf_counter() - start)
