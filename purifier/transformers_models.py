"""Image classifiers in the format of the transformers library, made to look like timm's. The home of transformers.

The library is an extra (``pip install "lesion-purifier[transformers]"``) and is imported only where a model is loaded.
"""

import importlib.util
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from purifier.hub import CONFIG

INTERPOLATION = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # by PIL's numbers


class Network(nn.Module):
    """A transformers model from normalised pictures to logits, with ``pretrained_cfg`` as timm's networks have it."""

    def __init__(self, model: nn.Module, pretrained_cfg: dict) -> None:
        super().__init__()
        self.model, self.pretrained_cfg = model, pretrained_cfg

    def forward(self, x: Tensor) -> Tensor:
        return self.model(pixel_values=x).logits


def in_transformers_format(folder: Path) -> bool:
    """Whether the config is one of transformers; False also where it cannot be read."""
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (ValueError, OSError):
        return False
    return isinstance(config, dict) and "model_type" in config and "architecture" not in config


def read_labels(folder: Path, source: str) -> list[str]:
    """The labels in the order of the outputs.

    Raises ``ValueError`` for a model that is no image classifier, and where the library is not installed.
    """
    config = json.loads((folder / CONFIG).read_text())
    if "ForImageClassification" not in str(config.get("architectures")):
        kind = config.get("architectures") or config["model_type"]
        raise ValueError(f"{source} is a transformers model and not an image classifier: it names {kind!r}.")
    if importlib.util.find_spec("transformers") is None:
        raise ValueError(
            f"{source} is in the format of the transformers library, which is not installed: "
            f'pip install "lesion-purifier[transformers]".'
        )
    names = config.get("id2label")
    if not isinstance(names, dict) or not all(key.isdigit() for key in names):
        raise ValueError(f"The id2label of {source} must name the outputs by number, and is {names!r}.")
    return [str(names[key]) for key in sorted(names, key=int)]


def load_network(folder: Path) -> Network:
    """Only safetensors are opened, and code that came with the model is never run."""
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    local = dict(local_files_only=True, trust_remote_code=False)
    model, report = AutoModelForImageClassification.from_pretrained(
        folder, use_safetensors=True, output_loading_info=True, dtype=torch.float32, **local
    )
    if report["missing_keys"]:  # transformers would go on with random ones
        raise ValueError(f"they lack {', '.join(sorted(report['missing_keys'])[:3])}")
    return Network(model, _pretrained_cfg(AutoImageProcessor.from_pretrained(folder, **local)))


def _pretrained_cfg(processor) -> dict:
    """What the image processor does, found by showing it black and white: processors differ in how they scale."""
    black, white = (
        processor(images=torch.full((3, 512, 512), value, dtype=torch.uint8), return_tensors="pt")["pixel_values"][0]
        for value in (0, 255)
    )
    std = 1 / (white - black).mean(dim=(1, 2))
    return {
        "input_size": tuple(black.shape),
        "crop_pct": _crop(processor, black.shape[-1]),
        "interpolation": INTERPOLATION.get(int(processor.resample), "bicubic"),
        "mean": (-black.mean(dim=(1, 2)) * std).tolist(),
        "std": std.tolist(),
    }


def _crop(processor, side: int) -> float:
    """The share of the resized picture that is left in the middle."""
    if getattr(processor, "do_center_crop", False):
        return side / (processor.size["shortest_edge"] or processor.size["height"])
    crop = getattr(processor, "crop_pct", None)  # ConvNeXt's, below 384 pixels
    return crop if crop and side < 384 else 1.0
