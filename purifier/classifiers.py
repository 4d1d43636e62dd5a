"""Classifiers by name: bundled, from a folder, or from the Hugging Face Hub. The home of timm and huggingface_hub.

A classifier takes pixels (B, 3, H, W) in [0, 1]; everything its network wants besides is inside it.
"""

import functools
import json
import math
from pathlib import Path

import timm
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize

from purifier.taxonomy import code_of

MODELS = Path(__file__).parent.parent / "assets" / "models"
DEFAULT = "augmented"
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Classifier(nn.Module):
    """A timm network that takes pixels: (B, 3, H, W) in [0, 1] to logits (B, len(labels)).

    ``labels`` are ISIC 2019 codes where the weights' own labels could be mapped, else those labels as they are.
    ``source`` says where the weights came from, with the revision of a Hub repository.
    """

    def __init__(self, network: nn.Module, labels: list[str], source: str) -> None:
        super().__init__()
        self.network = network
        self.labels = [code_of(label) for label in labels]
        self.source = source
        config = network.pretrained_cfg
        self.size = tuple(config["input_size"][-2:])
        self.crop = config.get("crop_pct") or 1.0
        self.interpolation = InterpolationMode(config.get("interpolation") or "bicubic")
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name]).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        size = [math.floor(side / self.crop) for side in self.size]
        if list(x.shape[-2:]) != size:
            x = resize(x, size, interpolation=self.interpolation, antialias=True)
        return self.network((center_crop(x, list(self.size)) - self.mean) / self.std)

    @torch.no_grad()
    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax of the logits, (B, len(labels)), without gradients."""
        return self(x).softmax(dim=1)


def bundled_classifiers() -> list[str]:
    """The names of the classifiers that come with this package, the default first."""
    names = sorted(folder.parent.name for folder in MODELS.glob(f"*/{WEIGHTS}"))
    return sorted(names, key=lambda name: name != DEFAULT)


def default_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@functools.lru_cache(maxsize=4)
def load_classifier(name: str = DEFAULT) -> Classifier:
    """Load a bundled name, ``local-dir:path`` or ``hf-hub:owner/name@revision``, ready to use on the CPU.

    The weights must be in timm's format (config.json, model.safetensors) and are never unpickled.
    Raises ``FileNotFoundError`` for what is not there, ``ConnectionError`` where the Hub cannot be reached,
    ``PermissionError`` for gated repositories, ``ValueError`` for names and contents that cannot be used.
    """
    kind, _, rest = name.strip().partition(":")
    if kind == "hf-hub" and rest:
        folder = _download(rest)
        return _load_folder(folder, f"hf-hub:{rest.partition('@')[0]}@{folder.name}")
    if kind == "local-dir" and rest:
        return _load_folder(Path(rest).expanduser(), f"local-dir:{rest}")
    if name in bundled_classifiers():
        return _load_folder(MODELS / name, name)
    raise ValueError(
        f"There is no bundled classifier {name!r} (there are: {', '.join(bundled_classifiers())}). "
        f"Write 'hf-hub:owner/name' for a repository of the Hugging Face Hub or 'local-dir:path' for a folder."
    )


def _download(repository: str) -> Path:
    """The snapshot folder of ``owner/name`` or ``owner/name@revision``; its name is the commit."""
    repo_id, _, revision = repository.partition("@")
    try:
        return Path(snapshot_download(repo_id, revision=revision or None, allow_patterns=[CONFIG, WEIGHTS]))
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not a repository name: write 'hf-hub:owner/name'.") from error
    except GatedRepoError as error:
        raise PermissionError(
            f"{repo_id} is gated: its owners must grant you access. Ask for it on its page, then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(f"There is no repository {repo_id} on the Hub, or it is private.") from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo_id} has no revision {revision!r}.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ConnectionError(
            f"The Hub could not be reached, and {repository} has not been downloaded before. "
            f"Check the network, or choose a bundled classifier: {', '.join(bundled_classifiers())}."
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise ConnectionError(f"The download of {repository} from the Hub failed: {error}") from error


def _load_folder(folder: Path, source: str) -> Classifier:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{source} has no {CONFIG}: it is not a classifier in timm's format.")
    try:
        config = json.loads((folder / CONFIG).read_text())
    except ValueError as error:
        raise ValueError(f"The {CONFIG} of {source} is not valid JSON ({error}).") from error
    if not isinstance(config, dict) or not timm.is_model(config.get("architecture", "")):
        what = "a transformers model" if "model_type" in config else "not a classifier in timm's format"
        raise ValueError(f"{source} is {what}; its {CONFIG} must name one of timm's architectures.")
    labels = _labels(config, source)
    if not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"{source} has no {WEIGHTS}. Weights in pickle files (.bin, .pth) are not loaded, "
            f"since opening one can run any code; ask the owner to publish safetensors."
        )
    try:
        network = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except Exception as error:  # timm, torch and safetensors each raise their own for weights that do not fit
        raise ValueError(f"The weights of {source} do not fit its {CONFIG}: {error}") from error
    return Classifier(network, labels, source).eval().requires_grad_(False)


def _labels(config: dict, source: str) -> list[str]:
    """One label for each output: from ``label_names`` (list, or dict by index or in order), else their numbers."""
    inner = config.get("pretrained_cfg", config)
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
    if len(names) != count:
        raise ValueError(f"{source} has {count} classes and {len(names)} label_names.")
    return [str(name) for name in names]
