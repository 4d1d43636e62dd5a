"""Made-up pictures, and what may differ between two."""

import numpy as np
from PIL import Image
from torch import Tensor


def lesion_like(seed: int, size: int = 96) -> Image.Image:
    """A dark blot on skin colour: a picture to read and write, of nothing real."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size - generator.uniform(0.4, 0.6, 2)[:, None, None]
    blot = np.exp(-((rows**2 + columns**2) / generator.uniform(0.02, 0.08)))[..., None]
    skin, dark = generator.uniform((190, 140, 120), (230, 180, 160)), generator.uniform(30, 110, 3)
    noise = generator.normal(0, 4, (size, size, 3))
    return Image.fromarray((skin * (1 - blot) + dark * blot + noise).clip(0, 255).astype(np.uint8))


def is_but_for_rounding(x: Tensor, expected: Tensor) -> bool:
    """On some processors a picture among four is computed with another last digit than alone, which can turn the
    rounding to 8 bits of one value in thousands."""
    change = (x - expected).abs()
    return change.max() < 1.5 / 255 and (change > 0).float().mean() < 1e-3
