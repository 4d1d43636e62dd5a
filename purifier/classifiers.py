"""Classifiers by name: bundled, from a folder, or from the Hugging Face Hub. The home of timm.

A classifier takes pixels (B, 3, H, W) in [0, 1]; everything its network wants besides is inside it.
"""

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import center_crop, resize

from purifier.bundled import ASSETS
from purifier.hub import CONFIG, METRICS, PREPROCESSOR, WEIGHTS, Progress, download, missing_file
from purifier.pixels import check_pixels
from purifier.taxonomy import code_of
from purifier.transformers_models import in_transformers_format, load_network, read_labels

MODELS = ASSETS / "models"
DEFAULT = "augmented"
SURROGATE = "surrogate"  # where attacks that transfer are made
SHARED = 4  # classifiers that are kept in memory
MEASURED = "lesion_purifier"  # the key in config.json of what was fitted after training


@dataclass(frozen=True, kw_only=True)
class NonLesionCheck:
    """Mean and standard deviation of each of ``Classifier.stage_means`` on training pictures, and the distance above
    which a picture does not look like dermoscopy."""

    mean: list[float]
    std: list[float]
    threshold: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What is fitted to a trained classifier on validation lesions; under ``lesion_purifier`` in its config.json."""

    temperature: float = 1.0  # the logits are divided by it (Guo et al., 2017)
    abstain_below: float = 0.0  # a reading with less confidence than this should be "unsure"
    non_lesion: NonLesionCheck | None = None


class Classifier(nn.Module):
    """A timm network that takes pixels: (B, 3, H, W) in [0, 1] to logits (B, len(labels)).

    ``labels`` are ISIC 2019 codes where the weights' own labels could be mapped, else those labels as they are.
    Outputs that mean the same diagnosis become one, with the sum of their probabilities.
    ``source`` says where the weights came from, with the revision of a Hub repository.
    ``measured`` is what was fitted to it after training.
    """

    def __init__(self, network: nn.Module, labels: list[str], source: str, measured: Measured | None = None) -> None:
        super().__init__()
        self.measured = measured or Measured()
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

    def prepare(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] of any size as the network wants them. Raises ``ValueError`` for anything else."""
        check_pixels(x, channels=3)
        size = [math.floor(side / self.crop) for side in self.size]
        if list(x.shape[-2:]) != size:
            x = resize(x, size, interpolation=self.interpolation, antialias=True)
        return (center_crop(x, list(self.size)) - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        """The logits of pixels in [0, 1] of any size."""
        logits = self.network(self.prepare(x))
        if len(self.outputs) < logits.shape[1]:
            logits = torch.stack([logits[:, same].logsumexp(dim=1) for same in self.outputs], dim=1)
        return logits

    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax of the logits over the temperature, (B, len(labels)). The temperature is 1 where none was fitted."""
        return (self(x) / self.measured.temperature).softmax(dim=1)

    def digest(self) -> str:
        """SHA-256 of all that its answers depend on: weights, labels, preprocessing and what was fitted after training.

        Wherever it was loaded from, and whatever has happened to the files since.
        """
        said = [self.labels, self.outputs, self.size, self.crop, self.interpolation.value, asdict(self.measured)]
        found = hashlib.sha256(json.dumps(said).encode())
        for name, value in [*self.named_buffers(), *self.named_parameters()]:
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return found.hexdigest()

    def stage_means(self, x: Tensor) -> Tensor:
        """Mean of every channel after each stage of the network, (B, channels of all stages)."""
        stages = self.network.forward_intermediates(self.prepare(x), intermediates_only=True)
        return torch.cat([stage.mean(dim=(2, 3)) for stage in stages], dim=1)

    def distance(self, x: Tensor) -> Tensor:
        """How far pictures are from the dermoscopic ones of the training, (B,): 1 is as far as those on average.

        The mean square of the standardised ``stage_means``, a Mahalanobis distance (Lee et al., 2018) with a diagonal
        covariance. Raises ``ValueError`` where the weights carry no statistics for it.
        """
        check = self.measured.non_lesion
        if check is None:
            raise ValueError(f"{self.source} carries no statistics for the non-lesion check.")
        mean, std = (torch.tensor(values).to(self.mean) for values in (check.mean, check.std))
        return ((self.stage_means(x) - mean) / std).square().mean(dim=1)


def bundled_classifiers() -> list[str]:
    """The names of the classifiers that come with this package, the default first."""
    names = sorted(folder.parent.name for folder in MODELS.glob(f"*/{WEIGHTS}"))
    return sorted(names, key=lambda name: name != DEFAULT)


def default_device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def measured_scores(name: str) -> dict | None:
    """What a bundled classifier reached on test pictures that nobody attacked, as ``purifier card`` wrote it; None for
    any other."""
    if name not in bundled_classifiers():
        return None
    return json.loads((MODELS / name / METRICS).read_text(encoding="utf-8"))["clean"]


def find_device(name: str) -> torch.device:
    """A device by torch's name, that is there. Raises ``ValueError``."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"{name!r} is no device. Write cpu, cuda or, for the second GPU of several, cuda:1.") from None
    there = {
        "cpu": device.index in (None, 0),
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise ValueError(f"There is no device {name!r} here. Leave it out to use {default_device().type}.")
    return device


_shared: dict[str, Classifier] = {}  # by name, the one used last at the end


def load_classifier(name: str = DEFAULT, progress: Progress | None = None) -> Classifier:
    """Load a bundled name, ``local-dir:path`` or ``hf-hub:owner/name@revision``, ready to use on the CPU.

    The weights must be safetensors, in timm's format or, with that library installed, in transformers' format; they
    are never unpickled. Bundled and Hub classifiers are loaded once and then shared. ``progress`` is told of the bytes
    that a download has brought, and of how many. Raises ``FileNotFoundError`` for what is not there,
    ``ConnectionError`` where the Hub cannot be reached, ``PermissionError`` for gated repositories, ``ValueError``
    for names and contents that cannot be used.
    """
    name = name.strip()
    kind, _, rest = name.partition(":")
    if kind == "local-dir" and rest:
        return _load_folder(folder_of(name), name)
    classifier = _shared.pop(name, None) or _load_shared(name, progress)
    _shared[name] = classifier
    if len(_shared) > SHARED:
        del _shared[next(iter(_shared))]
    return classifier


def folder_of(name: str) -> Path:
    """Where a bundled name or ``local-dir:path`` lies on this machine."""
    kind, _, rest = name.strip().partition(":")
    if kind == "local-dir" and rest:
        return Path(rest).expanduser()
    if name.strip() in bundled_classifiers():
        return MODELS / name.strip()
    raise ValueError(
        f"There is no bundled classifier {name!r} (there are: {', '.join(bundled_classifiers())}). "
        f"Write 'hf-hub:owner/name' for a repository of the Hugging Face Hub or 'local-dir:path' for a folder."
    )


def digest_of(folder: Path) -> str:
    """SHA-256 of a folder's weights."""
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def _load_shared(name: str, progress: Progress | None) -> Classifier:
    kind, _, rest = name.partition(":")
    if kind == "hf-hub" and rest:
        folder = download(rest, lambda folder: _further_files(folder, rest), progress)
        return _load_folder(folder, f"hf-hub:{rest.partition('@')[0]}@{folder.name}")
    return _load_folder(folder_of(name), name)


def _further_files(folder: Path, source: str) -> list[str]:
    """What a classifier needs besides its config, which is checked, and its weights."""
    _read_config(folder, source)
    return [PREPROCESSOR] if in_transformers_format(folder) else []


def _load_folder(folder: Path, source: str) -> Classifier:
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}.")
    labels = _read_config(folder, source)
    transformers = in_transformers_format(folder)
    for file in (PREPROCESSOR, WEIGHTS) if transformers else (WEIGHTS,):
        if not (folder / file).is_file():
            raise missing_file(file, source)
    try:
        network = load_network(folder) if transformers else timm.create_model(f"local-dir:{folder}", pretrained=True)
        classifier = Classifier(network, labels, source, read_measured(folder)).eval().requires_grad_(False)
        return classifier.to(memory_format=torch.channels_last)  # convolutions are twice as fast so
    except Exception as error:  # timm, torch and safetensors each raise their own for what does not fit together
        raise ValueError(f"The weights of {source} do not fit its {CONFIG}: {error}") from error


def _read_config(folder: Path, source: str) -> list[str]:
    """The labels, after a look at whether this is a classifier of timm's or transformers'."""
    if not (folder / CONFIG).is_file():
        raise missing_file(CONFIG, source)
    try:
        config = json.loads((folder / CONFIG).read_text())
    except ValueError as error:
        raise ValueError(f"The {CONFIG} of {source} is not valid JSON ({error}).") from error
    if in_transformers_format(folder):
        return read_labels(folder, source)
    architecture = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise ValueError(f"{source} is not in timm's format: its {CONFIG} must name one of timm's architectures.")
    return _labels(config, source)


def read_measured(folder: Path) -> Measured:
    """What a folder's config.json holds under ``lesion_purifier``; the defaults where it holds nothing.

    Raises ``ValueError`` where it holds something else.
    """
    values = json.loads((folder / CONFIG).read_text()).get(MEASURED) or {}
    try:
        check = values.get("non_lesion")
        return Measured(**{**values, "non_lesion": NonLesionCheck(**check) if check else None})
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{MEASURED!r} holds what is not known: {error}") from error


def write_measured(folder: Path, measured: Measured) -> None:
    """Put ``measured`` into a folder's config.json."""
    config = json.loads((folder / CONFIG).read_text())
    text = json.dumps({**config, MEASURED: asdict(measured)}, indent=2)
    text = re.sub(r"\[[^]\[{}\"]*]", lambda numbers: " ".join(numbers[0].split()), text)  # a list, a line
    (folder / CONFIG).write_text(text + "\n")


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
