"""Classifiers by name: bundled, from a folder, or from the Hugging Face Hub. The home of timm.

A classifier takes pixels (B, 3, H, W) in [0, 1]; everything its network wants besides is inside it.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition

import timm
import torch
from cachetools import LRUCache, cached
from timm.models import PretrainedCfg, clean_state_dict
from torch import Tensor, nn

from purifier.classifiers.folding import fold
from purifier.classifiers.hub import CONFIG, METRICS, PREPROCESSOR, WEIGHTS, Progress, download, read_config
from purifier.classifiers.labels import KEYS, read_labels
from purifier.classifiers.mixed import MEMBERS, MIXED, Mixing, Mixture, refuse_other_labels
from purifier.classifiers.preparation import of_timm
from purifier.classifiers.taxonomy import code_of
from purifier.classifiers.transformers_format import (
    Network,
    in_transformers_format,
    load_model,
    transformers_labels,
    what_it_does,
)
from purifier.classifiers.weights import differences, few, read_weights, refuse_kinds, weight_files, write_weights
from purifier.files import ASSETS, check_bundled
from purifier.pipeline import Purifier
from purifier.pixels import check_pixels
from purifier.strict import built, strict
from purifier.texts import Forbidden, NotAFolder, NotFound, UserError

MODELS = ASSETS / "models"
DEFAULT = "augmented"
SURROGATE = "surrogate"  # where attacks that transfer are made
SHARED = 4  # classifiers that are kept in memory, those used last
FITTED = "lesion_purifier"  # the key in config.json of what was fitted after training


@strict
class OutOfDistribution:
    """Mean and standard deviation of each of ``Classifier.stage_means`` on training pictures, and the distance above
    which a picture does not look like dermoscopy."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    threshold: float


@strict
class AlarmCalibration:
    """The scores of ``purifier.alarm`` on clean validation pictures, and what they were made with."""

    purifier: Purifier
    draws: int
    weights: str  # SHA-256 of the classifier's
    scores: tuple[float, ...]  # ascending


@strict
class Calibration:
    """What is fitted to a trained classifier on validation lesions; under ``lesion_purifier`` in its config.json."""

    temperature: float = 1.0  # the logits are divided by it (Guo et al., 2017)
    abstain_below: float = 0.0  # a reading with less confidence than this should be "unsure"
    out_of_distribution: OutOfDistribution | None = None
    alarm: AlarmCalibration | None = None


class Classifier(nn.Module):
    """A timm network, or a mixture of two, that takes pixels: (B, 3, H, W) in [0, 1] to logits (B, len(labels)).

    ``labels`` are ISIC 2019 codes where the weights' own labels could be mapped, else those labels as they are.
    Outputs that mean the same diagnosis become one, with the sum of their probabilities.
    ``source`` says where the weights came from, with the revision of a Hub repository.
    ``calibration`` is what was fitted to it after training.
    """

    def __init__(
        self, network: nn.Module, labels: list[str], source: str, calibration: Calibration | None = None
    ) -> None:
        super().__init__()
        self.calibration = calibration or Calibration()
        self.network = network
        codes = [code_of(label) for label in labels]
        self.labels = list(dict.fromkeys(codes))
        self.outputs = [[i for i, code in enumerate(codes) if code == label] for label in self.labels]
        self.source = source
        config = network.pretrained_cfg
        self.preparation = config.get("preparation") or of_timm(config, source)
        self.size = tuple(config["input_size"][-2:])
        self.crop, self.interpolation = config.get("crop_pct", 1.0), self.preparation.interpolation
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(config[name]).reshape(1, -1, 1, 1), persistent=False)
        self._unfolded: bytes | None = None  # the digest of the weights before they were folded

    def prepare(self, x: Tensor) -> Tensor:
        """Pixels in [0, 1] of any size as the network wants them. Raises ``ValueError`` for anything else."""
        check_pixels(x, channels=3)
        return (self.preparation(x) - self.mean) / self.std

    def forward(self, x: Tensor) -> Tensor:
        """The logits of pixels in [0, 1] of any size."""
        return self.merged(self.network(self.prepare(x)))

    def merged(self, logits: Tensor) -> Tensor:
        """The network's logits (B, K) as those of ``labels``, (B, len(labels))."""
        if len(self.outputs) < logits.shape[1]:
            logits = torch.stack([logits[:, same].logsumexp(dim=1) for same in self.outputs], dim=1)
        return logits

    def probabilities(self, x: Tensor) -> Tensor:
        """Softmax of the logits over the temperature, (B, len(labels)). The temperature is 1 where none was fitted."""
        return (self(x) / self.calibration.temperature).softmax(dim=1)

    def as_counted_by(self, other: "Classifier", y: Tensor) -> Tensor:
        """Its labels ``y`` as another classifier counts them; ``ValueError`` where that lacks one."""
        missing = sorted(set(self.labels) - set(other.labels))
        if missing:
            raise ValueError(f"{other.source} does not know {self.source}'s diagnoses {', '.join(missing)}.")
        return torch.tensor([other.labels.index(label) for label in self.labels], device=y.device)[y]

    def digest(self) -> str:
        """SHA-256 of all that its answers depend on: weights, labels, preprocessing and what was fitted after training.

        Wherever it was loaded from, and whatever has happened to the files since.
        """
        read_by = replace(self.calibration, alarm=None)  # no reading depends on it
        said = [self.labels, self.outputs, asdict(self.preparation), asdict(read_by)]
        if isinstance(network := self.network, Mixture):
            said += [asdict(network.mixing), network.accurate.digest(), network.robust.digest()]
        return hashlib.sha256(json.dumps(said).encode() + (self._unfolded or self._of_weights())).hexdigest()

    def _of_weights(self) -> bytes:
        found = hashlib.sha256()
        for name, value in [*self.named_buffers(), *self.named_parameters()]:
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return found.digest()

    def fold(self) -> "Classifier":
        """Itself, a quarter faster, and with the same digest: see ``folding.py``."""
        self._unfolded = self._of_weights()
        fold(self.network)
        return self.to(memory_format=torch.channels_last)

    def stage_means(self, x: Tensor) -> Tensor:
        """Mean of every channel after each stage of the network, (B, channels of all stages)."""
        stages = self.network.forward_intermediates(self.prepare(x), intermediates_only=True)
        return torch.cat([stage.mean(dim=(2, 3)) for stage in stages], dim=1)

    def distance(self, x: Tensor) -> Tensor:
        """How far pictures are from the dermoscopic ones of the training, (B,): 1 is as far as those on average.

        The mean square of the standardised ``stage_means``, a Mahalanobis distance (Lee et al., 2018) with a diagonal
        covariance. Raises ``ValueError`` where the weights carry no statistics for it.
        """
        check = self.calibration.out_of_distribution
        if check is None:
            raise ValueError(f"{self.source} carries no statistics to tell what is out of distribution.")
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


def load_classifier(
    name: str = DEFAULT, progress: Progress | None = None, *, device: torch.device | str = "cpu"
) -> Classifier:
    """Load a bundled name, ``local-dir:path`` or ``hf-hub:owner/name@revision``, ready to use on ``device``.

    The weights must be safetensors, in one file or in parts, in timm's format, in that of ``write_mixture`` or, with
    that library installed, in transformers' format; they are never unpickled. What is not bundled is shown a grey
    picture, which it must classify. Bundled and Hub classifiers are loaded once for each device and then shared,
    between threads too: do not move them.
    ``progress`` is told of the bytes that a download has brought, and of how many. Raises ``FileNotFoundError`` for
    what is not there, ``NotADirectoryError`` for a file in a folder's place, ``ConnectionError`` where the Hub cannot
    be reached, ``PermissionError`` for gated repositories and what may not be opened, ``ValueError`` for names and
    contents that cannot be used.
    """
    name, device = name.strip(), torch.device(device)
    kind, _, rest = name.partition(":")
    if kind == "local-dir" and rest.strip():
        return _load_folder(folder_of(name), name).to(device)
    return _load_shared(name, device, progress)


def folder_of(name: str) -> Path:
    """Where a bundled name or ``local-dir:path`` lies on this machine."""
    kind, _, rest = name.strip().partition(":")
    if kind == "local-dir" and rest.strip():
        try:
            return Path(rest.strip()).expanduser()
        except RuntimeError as error:  # a user whom this machine does not know
            raise NotFound("There is no folder {folder}.", folder=rest.strip()) from error
    if name.strip() in bundled_classifiers():
        return MODELS / name.strip()
    raise UserError(
        "There is no bundled classifier {name} (there are: {names}). Write 'hf-hub:owner/name' for a repository of "
        "the Hugging Face Hub or 'local-dir:path' for a folder.",
        name=repr(name),
        names=", ".join(bundled_classifiers()),
    )


def digest_of(folder: Path) -> str:
    """SHA-256 of a folder's weights, in all their files."""
    digest = hashlib.sha256()
    for file in weight_files(folder, str(folder)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@cached(LRUCache(SHARED), key=lambda name, device, progress: (name, device), condition=Condition())
def _load_shared(name: str, device: torch.device, progress: Progress | None) -> Classifier:
    folder = _fetch(name, progress)
    source = f"{name.partition('@')[0]}@{folder.name}" if name.startswith("hf-hub:") else name
    classifier = _load_folder(folder, source)
    return (classifier.fold() if folder.parent == MODELS else classifier).to(device)  # of others the order is not known


def _fetch(name: str, progress: Progress | None = None) -> Path:
    """Where any name's files lie on this machine, downloaded where it is one of the Hub."""
    kind, _, rest = name.partition(":")
    if kind == "hf-hub" and rest:
        return download(rest, lambda folder: _further_files(folder, rest), progress)
    return folder_of(name)


def _further_files(folder: Path, source: str) -> list[str]:
    """What a classifier needs besides its config, which is checked, and its weights."""
    config = read_config(folder, source)
    _labels(config, source)
    return [PREPROCESSOR] if in_transformers_format(config) else []


def _load_folder(folder: Path, source: str) -> Classifier:
    try:
        if not folder.exists():
            raise NotFound("There is no folder {folder}.", folder=folder)
        if not folder.is_dir():
            raise NotAFolder("{file} is a file: name the folder that holds config.json and the weights.", file=folder)
        return _load(folder, source)
    except OSError as error:
        if error.errno is None:
            raise
        raise Forbidden(
            "{file} cannot be opened: {reason}.", file=error.filename or folder, reason=error.strerror
        ) from error


def _load(folder: Path, source: str) -> Classifier:
    config = read_config(folder, source)
    check_bundled(folder)
    labels, calibration = _labels(config, source), _calibration(config, source)
    if calibration.alarm is not None and calibration.alarm.weights != digest_of(folder):
        calibration = replace(calibration, alarm=None)  # it was made with other weights
    processor = read_config(folder, source, PREPROCESSOR) if in_transformers_format(config) else None
    weights, whole = read_weights(weight_files(folder, source), source)
    if MIXED in config:
        network = _mixture(config[MIXED], weights, source)
    else:
        network = _network(folder, config, weights, source)
    state = network.state_dict()
    refuse_kinds({n: kind for n, kind in whole.items() if n in state and state[n].is_floating_point()}, source)
    if processor is not None:
        network = Network(network, what_it_does(config, processor, source))
    classifier = Classifier(network, labels, source, calibration).eval().requires_grad_(False)
    classifier = classifier.to(memory_format=torch.channels_last)  # convolutions are twice as fast so
    if folder.parent != MODELS:  # those are known
        _try_out(classifier, len(labels))
    return classifier


def _network(folder: Path, config: dict, weights: dict[str, Tensor], source: str) -> nn.Module:
    """The network that a folder's config describes, with these weights."""
    try:
        return load_model(config, weights) if in_transformers_format(config) else _timm_network(folder, config, weights)
    except Exception as error:  # timm, torch and transformers each raise their own for what does not fit together
        raise UserError(
            "The weights of {source} do not fit its config.json: {reason}", source=source, reason=str(error)
        ) from error


def _mixture(config: dict, weights: dict[str, Tensor], source: str) -> Mixture:
    """The mixture whose members' configs and numbers these are, with the weights of both."""
    members = []
    for kind in MEMBERS:
        prefix, of = f"{kind}.network.", f"{source} ({kind})"
        own = {name.removeprefix(prefix): weights.pop(name) for name in list(weights) if name.startswith(prefix)}
        with TemporaryDirectory() as folder:
            (Path(folder) / CONFIG).write_text(json.dumps(config[kind]), encoding="utf-8")
            network = _network(Path(folder), config[kind], own, of)
        members.append(Classifier(network, _timm_labels(config[kind], of), of))
    if weights:
        reason = f"they have unknown {few(weights)}"
        raise UserError("The weights of {source} do not fit its config.json: {reason}", source=source, reason=reason)
    return Mixture(*members, _mixing(config, source))


@contextmanager
def _readable_by_timm(folder: Path, config: dict) -> Iterator[Path]:
    """The folder itself, or where its config is not in plain UTF-8 or holds what timm stumbles over, another."""
    cleaned = _for_timm(config)
    if cleaned == config and json.detect_encoding((folder / CONFIG).read_bytes()) == "utf-8":
        yield folder
        return
    with TemporaryDirectory() as other:
        (Path(other) / CONFIG).write_text(json.dumps(cleaned), encoding="utf-8")
        yield Path(other)


def _timm_network(folder: Path, config: dict, weights: dict[str, Tensor]) -> nn.Module:
    """The network of a config in timm's format with these weights."""
    with _readable_by_timm(folder, config) as folder:
        network = timm.create_model(f"local-dir:{folder}", pretrained=False)
        weights = clean_state_dict(weights)
        wrong = differences(network.state_dict(), weights)
        count = getattr(network, "num_classes", None)
        if not wrong:
            network.load_state_dict(weights)
        elif count != network.pretrained_cfg["num_classes"]:  # timm would leave its random ones
            raise ValueError(f"its model_args make {count} outputs")
        else:  # perhaps under the names of an earlier version, which timm knows
            try:
                overlay = {"state_dict": weights, "source": "", "file": None}
                network = timm.create_model(f"local-dir:{folder}", pretrained=True, pretrained_cfg_overlay=overlay)
            except Exception as error:
                raise ValueError(wrong) from error
    defaults = PretrainedCfg().to_dict()
    given = {key: value for key, value in network.pretrained_cfg.items() if key not in ("state_dict", "file")}
    network.pretrained_cfg = network.default_cfg = {**defaults, **given}
    return network


def _for_timm(config: dict) -> dict:
    """A config without what timm would stumble over: labels that it does not know, and what was measured here."""
    known = {field.name for field in fields(PretrainedCfg)}
    ours = {*KEYS, FITTED} - known
    if "pretrained_cfg" in config:
        inner = {key: value for key, value in config["pretrained_cfg"].items() if key not in ours}
        if unknown := sorted(set(inner) - known):
            raise ValueError(f"its pretrained_cfg has {few(unknown)}, which timm does not know")
        return {**config, "pretrained_cfg": inner}
    inner = {key: value for key, value in config.items() if key in known - {"architecture"}}
    return {**{key: value for key, value in config.items() if key not in inner}, "pretrained_cfg": inner}


def _try_out(classifier: Classifier, count: int) -> None:
    """Raise ``ValueError`` where a picture does not get one finite number for each of ``count`` labels."""
    source, picture = classifier.source, torch.full((1, 3, *classifier.size), 0.5)
    try:
        with torch.no_grad():
            logits = classifier.network(classifier.prepare(picture))
    except Exception as error:  # whatever a network of unknown settings raises
        raise UserError(
            "{source} cannot read a picture ({reason}). Check global_pool, num_classes and model_args in its "
            "config.json.",
            source=source,
            reason=str(error),
        ) from error
    shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if shape != (1, count):
        raise UserError(
            "{source} gives {shape} for one picture, and must give {wanted}. Check global_pool, num_classes and "
            "model_args in its config.json.",
            source=source,
            shape=shape,
            wanted=(1, count),
        )
    if not logits.isfinite().all():
        raise UserError(
            "{source} gives NaN or infinite values for a grey picture, so its weights are broken.", source=source
        )


def _labels(config: dict, source: str) -> list[str]:
    """The labels, after a look at whether this is a classifier of timm's, transformers' or a mixture."""
    if MIXED in config:
        return _mixed_labels(config[MIXED], source)
    return transformers_labels(config, source) if in_transformers_format(config) else _timm_labels(config, source)


def _mixed_labels(config: dict, source: str) -> list[str]:
    """The labels that both members of a mixture have, after a look at everything in its config."""
    _mixing(config, source)
    of_both = []
    for kind in MEMBERS:
        labels = _timm_labels(config[kind], f"{source} ({kind})")
        of_both.append(list(dict.fromkeys(map(code_of, labels))))
    refuse_other_labels(*of_both, source)
    return of_both[0]


def _mixing(config: dict, source: str) -> Mixing:
    """The numbers of a mixture, after a look at whether it names its members."""
    try:
        if not isinstance(config, dict) or not all(isinstance(config.get(kind), dict) for kind in MEMBERS):
            raise ValueError("it must hold the config.json of an accurate and of a robust member.")
        return built(Mixing, {name: value for name, value in config.items() if name not in MEMBERS})
    except ValueError as error:
        raise UserError(
            "mixed in the config.json of {source} holds what is not known: {reason}", source=source, reason=str(error)
        ) from error


def _timm_labels(config: dict, source: str) -> list[str]:
    architecture, inner = config.get("architecture"), config.get("pretrained_cfg", config)
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise UserError(
            "{source} is not in timm's format: its config.json must name one of timm's architectures.", source=source
        )
    for name, value in (("pretrained_cfg", inner), ("model_args", config.get("model_args") or {})):
        if not isinstance(value, dict):
            raise UserError("The {name} of {source} must be a dict.", name=name, source=source)
    count = config.get("num_classes", inner.get("num_classes"))
    if not isinstance(count, int) or isinstance(count, bool) or count < 2:
        raise UserError("{source} is not a classifier: it has {count} classes.", source=source, count=count)
    return read_labels(config, count, source)


def read_calibration(folder: Path) -> Calibration:
    """What a folder's config.json holds under ``lesion_purifier``; the defaults where it holds nothing.

    Raises ``ValueError`` where it holds something else.
    """
    return _calibration(read_config(folder, str(folder)), str(folder))


def _calibration(config: dict, source: str) -> Calibration:
    values = config.get(FITTED) or {}
    if isinstance(values, dict) and "non_lesion" in values:  # its name until 2026
        values = {**values, "out_of_distribution": values["non_lesion"]}
        del values["non_lesion"]
    try:
        return built(Calibration, values)
    except ValueError as error:
        raise UserError(
            "lesion_purifier in the config.json of {source} holds what is not known: {reason}",
            source=source,
            reason=str(error),
        ) from error


def write_mixture(folder: Path, accurate: str, robust: str, mixing: Mixing) -> None:
    """Write a classifier that mixes two others, which may have any names, into a folder that needs neither afterwards.

    Raises ``ValueError`` for members that are not in timm's format, or do not know the same diagnoses in one order.
    """
    names = dict(zip(MEMBERS, (accurate, robust), strict=True))
    folders = {kind: _fetch(name) for kind, name in names.items()}
    configs = {kind: read_config(folders[kind], name) for kind, name in names.items()}
    for kind, name in names.items():
        if "architecture" not in configs[kind]:
            raise ValueError(f"{name} is not in timm's format, and nothing else can be mixed.")
        configs[kind].pop(FITTED, None)  # to one member alone
    members = [_load_folder(folders[kind], name) for kind, name in names.items()]  # as they are stored, not folded
    refuse_other_labels(*(member.labels for member in members), str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder, Mixture(*members, mixing).state_dict())
    text = json.dumps({MIXED: {**configs, **asdict(mixing)}})
    (folder / CONFIG).write_text(text, encoding="utf-8")
    write_calibration(folder, Calibration(out_of_distribution=members[0].calibration.out_of_distribution))


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Put ``calibration`` into a folder's config.json."""
    config = read_config(folder, str(folder))
    text = json.dumps({**config, FITTED: asdict(calibration)}, indent=2)
    text = re.sub(r"\[[^]\[{}\"]*]", lambda numbers: " ".join(numbers[0].split()), text)  # a list, a line
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
