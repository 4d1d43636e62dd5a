"""Purify adversarial dermoscopic images by multiscale diffusive and denoising aggregation (MDDA)."""

from purifier.attacks import fgsm, mi_fgsm, pgd
from purifier.classifiers.classifier import Classifier, load_classifier
from purifier.denoise import rof
from purifier.pictures.files import read_image, to_picture
from purifier.pipeline import Purifier, Stage

__version__ = "0.2.0.dev0"

__all__ = [
    "Classifier",
    "Purifier",
    "Stage",
    "fgsm",
    "load_classifier",
    "mi_fgsm",
    "pgd",
    "read_image",
    "rof",
    "to_picture",
]
