"""One picture in several colour spaces."""

import numpy as np
from PIL import Image, ImageEnhance

from purifier.pictures.colour import ADOBE_GAMMA, ADOBE_RGB, DISPLAY_P3, profile_of
from tests.helpers.pictures import lesion_like

PICTURE = ImageEnhance.Color(lesion_like(0)).enhance(3)
PIXELS = np.asarray(PICTURE)
# Linear sRGB to these spaces, as CSS Color 4 (section 18) gives them.
TO_P3 = np.array([[0.82246197, 0.17753803, 0], [0.03319420, 0.96680580, 0], [0.01708263, 0.07239744, 0.91051993]])
TO_ADOBE = np.array([[0.71512561, 0.28487439, 0], [0, 1, 0], [0, 0.04116195, 0.95883805]])
P3, ADOBE = profile_of(DISPLAY_P3), profile_of(ADOBE_RGB, gamma=ADOBE_GAMMA)


def linear(values: np.ndarray) -> np.ndarray:
    """Of sRGB in [0, 1] (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def levels(values: np.ndarray) -> np.ndarray:
    return (values.clip(0, 1) * 255).round().astype(np.uint8)


IN_P3 = Image.fromarray(levels(encoded(linear(PIXELS / 255) @ TO_P3.T)))
IN_ADOBE = Image.fromarray(levels((linear(PIXELS / 255) @ TO_ADOBE.T) ** (1 / ADOBE_GAMMA)))
