"""Classifiers by name: bundled, from a folder, or from the Hugging Face Hub. The home of timm.

A classifier takes pixels (B, 3, H, W) in [0, 1]; everything its network wants besides is inside it.
"""

import functools
import json
import math
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize

from purifier.hub import CONFIG, WEIGHTS, download, missing_file
from purifier.taxonomy import code_of

MODELS = Path(__file__).parent.parent / "assets" / "models"
DEFAULT = "augmented"


class Classifier(nn.Module):
    """A timm network that takes pixels: (B, 3, H, W) in [0, 1] to logits (B, len(labels)).

    ``labels`` are ISIC 2019 codes where the weights' own labels could be mapped, else those labels as they are.
    Outputs that mean the same diagnosis become one, with the sum of their probabilities.
    ``source`` says where the weights came from, with the revision of a Hub repository.
    """

    def __init__(self, network: nn.Module, labels: list[str], source: str) -> None:
        super().__init__()
        self.network = network
        codes = [code_of(label) for label in labels]
        self.labels = list(dict.fromkeys(codes))
        self.outputs = [[i for i, code in enumerate(codes) if code == label] for label in self.labels]
        self.source = source
        config = network.pretrained_cfg
        if config["input_size"][0] != 3:
            raise ValueError(f"it takes {config['input_size'][0]} channels, and pictures have 3")
        self.size = tuple(config["input_size"][-2:])
        self.crop = config.get("crop_pct") or 1.0
        self.interpolation = InterpolationMode(config.get("interpolation") or "bicubic")
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name]).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        size = [math.floor(side / self.crop) for side in self.size]
        if list(x.shape[-2:]) != size:
            x = resize(x, size, interpolation=self.interpolation, antialias=True)
        logits = self.network((center_crop(x, list(self.size)) - self.mean) / self.std)
        if len(self.outputs) < logits.shape[1]:
            logits = torch.stack([logits[:, same].logsumexp(dim=1) for same in self.outputs], dim=1)
        return logits

    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax of the logits, (B, len(labels))."""
        return self(x).softmax(dim=1)


def bundled_classifiers() -> list[str]:
    """The names of the classifiers that come with this package, the default first."""
    names = sorted(folder.parent.name for folder in MODELS.glob(f"*/{WEIGHTS}"))
    return sorted(names, key=lambda name: name != DEFAULT)


def default_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_classifier(name: str = DEFAULT) -> Classifier:
    """Load a bundled name, ``local-dir:path`` or ``hf-hub:owner/name@revision``, ready to use on the CPU.

    The weights must be in timm's format (config.json, model.safetensors) and are never unpickled. Bundled and Hub
    classifiers are loaded once and then shared. Raises ``FileNotFoundError`` for what is not there,
    ``ConnectionError`` where the Hub cannot be reached, ``PermissionError`` for gated repositories, ``ValueError``
    for names and contents that cannot be used.
    """
    kind, _, rest = name.strip().partition(":")
    if kind == "local-dir" and rest:
        return _load_folder(Path(rest).expanduser(), f"local-dir:{rest}")
    return _load_shared(name.strip())


@functools.lru_cache(maxsize=4)
def _load_shared(name: str) -> Classifier:
    kind, _, rest = name.partition(":")
    if kind == "hf-hub" and rest:
        folder = download(rest, lambda folder: _read_config(folder, rest))
        return _load_folder(folder, f"hf-hub:{rest.partition('@')[0]}@{folder.name}")
    if name in bundled_classifiers():
        return _load_folder(MODELS / name, name)
    raise ValueError(
        f"There is no bundled classifier {name!r} (there are: {', '.join(bundled_classifiers())}). "
        f"Write 'hf-hub:owner/name' for a repository of the Hugging Face Hub or 'local-dir:path' for a folder."
    )


def _load_folder(folder: Path, source: str) -> Classifier:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    labels = _read_config(folder, source)
    if not (folder / WEIGHTS).is_file():
        raise missing_file(WEIGHTS, source)
    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True)
        return Classifier(network, labels, source).eval().requires_grad_(False)
    except Exception as error:  # timm, torch and safetensors each raise their own for what does not fit together
        raise ValueError(f"The weights of {source} do not fit its {CONFIG}: {error}") from error


def _read_config(folder: Path, source: str) -> list[str]:
    """The labels, after a look at whether this is a classifier of timm's."""
    if not (folder / CONFIG).is_file():
        raise missing_file(CONFIG, source)
    try:
        config = json.loads((folder / CONFIG).read_text())
    except ValueError as error:
        raise ValueError(f"The {CONFIG} of {source} is not valid JSON ({error}).") from error
    architecture = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        transformers = isinstance(config, dict) and "model_type" in config
        what = "a transformers model" if transformers else "not a classifier in timm's format"
        raise ValueError(f"{source} is {what}; its {CONFIG} must name one of timm's architectures.")
    return _labels(config, source)


def _labels(config: dict, source: str) -> list[str]:
    """One label for each output: from ``label_names`` (list, or dict by index or in order), else their numbers."""
    inner = config.get("pretrained_cfg", config)
    if not isinstance(inner, dict):
        raise ValueError(f"The pretrained_cfg of {source} must be a dict.")
    count = config.get("num_classes", inner.get("num_classes"))
    if not isinstance(count, int) or count < 2:
        raise ValueError(f"{source} is not a classifier: it has {count} classes.")
    names = config.get("label_names") or inner.get("label_names") or config.get("labels") or inner.get("labels")
    if isinstance(names, dict):
        if all(str(key).isdigit() for key in names):
            names = [names[key] for key in sorted(names, key=int)]
        else:  # label: index, or label: description in the order of the outputs
            by_index = all(isinstance(value, int) for value in names.values())
            names = sorted(names, key=names.get) if by_index else list(names)
    if names is None:
        return [f"class {i}" for i in range(count)]
    if not isinstance(names, list) or len(names) != count:
        raise ValueError(f"{source} has {count} classes, and its label_names are {names!r}.")
    return [str(name) for name in names]
