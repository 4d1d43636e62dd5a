"""Small classifiers in timm's format."""

import json
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file, save_file

from purifier.classifiers.classifier import Classifier
from purifier.classifiers.weights import INDEX, WEIGHTS

HAM10000 = ["akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"]


def save(folder: Path, *, seed: int = 0, config: dict | None = None, **pretrained) -> torch.nn.Module:
    """A small random classifier in timm's format; ``config`` replaces entries of its config.json."""
    torch.manual_seed(seed)
    network = timm.create_model("resnet10t", num_classes=7).eval()
    network.pretrained_cfg.update(pretrained)
    labels = {"num_classes": 7, "label_names": HAM10000}
    timm.models.save_for_hf(network, str(folder), model_config=labels, safe_serialization=True)
    if config:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **config}), encoding="utf-8")
    return network


def save_small(folder, *, seed=0, labels=HAM10000, **pretrained):
    """A random classifier in timm's format, much smaller than any that people use."""
    torch.manual_seed(seed)
    network = timm.create_model("resnet10t", num_classes=len(labels), channels=(8, 8, 8, 16)).eval()
    network.pretrained_cfg.update({"input_size": (3, 64, 64), "crop_pct": 1.0, **pretrained})
    config = {"num_classes": len(labels), "label_names": list(labels)}
    timm.models.save_for_hf(network, str(folder), model_config=config, safe_serialization=True)
    return folder


def in_parts(folder, count=3):
    """Take a folder's weights apart, as transformers and huggingface_hub do for large ones."""
    tensors = load_file(folder / WEIGHTS)
    names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    of = {name: names[i % count] for i, name in enumerate(tensors)}
    for part in names:
        save_file({name: tensor for name, tensor in tensors.items() if of[name] == part}, folder / part)
    size = sum(tensor.nbytes for tensor in tensors.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": of}), encoding="utf-8")
    (folder / WEIGHTS).unlink()
    return names


class Brightness(torch.nn.Module):
    """Calls a picture bright (1) or dark (0) by its mean: the least change that fools it is known."""

    def forward(self, x):
        mean = x.mean(dim=(1, 2, 3))
        return 100 * torch.stack([0.5 - mean, mean - 0.5], dim=1)


def fake_classifier():
    network = Brightness()
    network.pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return Classifier(network, ["NV", "MEL"], "brightness")
