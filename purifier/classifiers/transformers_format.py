"""Image classifiers in the format of the transformers library, made to look like timm's. The home of transformers.

The library is an extra (``pip install "lesion-purifier[transformers]"``) and is imported only where a model is loaded.
"""

import importlib.util
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from purifier.classifiers.hub import CONFIG, PREPROCESSOR
from purifier.classifiers.labels import read_labels
from purifier.classifiers.preparation import Preparation
from purifier.classifiers.weights import few
from purifier.texts import UserError

INTERPOLATION = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # by PIL's numbers
UNUSED = (
    "pooler",
    "position_ids",
    "relative_position_index",
    "mask_token",
)  # in names of tensors that may be left over
LEVEL = 1 / 255


class Network(nn.Module):
    """A transformers model from normalised pictures to logits, with ``pretrained_cfg`` as timm's networks have it."""

    def __init__(self, model: nn.Module, pretrained_cfg: dict) -> None:
        super().__init__()
        self.model, self.pretrained_cfg = model, pretrained_cfg

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, K) of normalised pictures (B, 3, H, W) of the size that the model takes."""
        return self.model(pixel_values=x).logits


def in_transformers_format(config: dict) -> bool:
    """Whether a config is one of the transformers library's."""
    return "model_type" in config and "architecture" not in config


def transformers_labels(config: dict, source: str) -> list[str]:
    """The labels in the order of the outputs.

    Raises ``ValueError`` for a model that is no image classifier, and where the library is not installed.
    """
    if "ForImageClassification" not in str(config.get("architectures")):
        kind = config.get("architectures") or config["model_type"]
        raise UserError(
            "{source} is a transformers model and not an image classifier: it names {kind}.",
            source=source,
            kind=repr(kind),
        )
    if importlib.util.find_spec("transformers") is None:
        raise UserError(
            "{source} is in the format of the transformers library, which is not installed: pip install "
            '"lesion-purifier[transformers]".',
            source=source,
        )
    names = config.get("id2label") or config.get("label2id")
    if not isinstance(names, dict):
        raise UserError(
            "The {key} of {source} must name the outputs by number, and is {names}.",
            key="id2label",
            source=source,
            names=repr(names),
        )
    return read_labels({"id2label": config.get("id2label"), "label2id": config.get("label2id")}, len(names), source)


def load_model(config: dict, weights: dict[str, Tensor]) -> nn.Module:
    """The model that a config describes with these weights; code that came with it is never run."""
    from transformers import AutoConfig, AutoModelForImageClassification

    with TemporaryDirectory() as folder:  # with nothing else in it, and in the one encoding that the library reads
        (Path(folder) / CONFIG).write_text(json.dumps(config), encoding="utf-8")
        read = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        kind = type(AutoModelForImageClassification.from_config(read))
    model, report = kind.from_pretrained(
        None, config=read, state_dict=weights, output_loading_info=True, dtype=torch.float32
    )
    if report["missing_keys"]:  # transformers would go on with random ones
        raise ValueError(f"they lack {few(sorted(report['missing_keys']))}")
    unknown = [name for name in report["unexpected_keys"] if not any(part in name for part in UNUSED)]
    if unknown:  # and would leave these out: they belong to another network
        raise ValueError(f"they have unknown {few(sorted(unknown))}")
    return model


def what_it_does(config: dict, processor: dict, source: str) -> dict:
    """An image processor as timm's ``pretrained_cfg``, with its preparation, found by showing it pictures.

    Raises ``ValueError`` where its pictures cannot be made here.
    """
    with TemporaryDirectory() as folder:
        for name, content in ((CONFIG, config), (PREPROCESSOR, processor)):
            (Path(folder) / name).write_text(json.dumps(content), encoding="utf-8")
        try:
            return _found_out(Path(folder), source)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                "The preprocessor_config.json of {source} cannot be used: {reason}", source=source, reason=str(error)
            ) from error


def _found_out(folder: Path, source: str) -> dict:
    from transformers import AutoImageProcessor

    def load(**settings: str):
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **settings)

    def shown(picture: Tensor) -> Tensor:
        return processor(images=picture, return_tensors="pt")["pixel_values"][0]

    processor = load()
    interpolation = INTERPOLATION.get(getattr(processor, "resample", None))
    if interpolation in ("box", "hamming"):
        processor = load(backend="pil")  # torchvision does not have them for tensors
    black, white = (shown(torch.full((3, 512, 512), value, dtype=torch.uint8)) for value in (0, 255))
    size = tuple(black.shape[-2:])
    black, white = (shade[:, size[0] // 2, size[1] // 2] for shade in (black, white))  # where nothing was padded
    std = 1 / (white - black)
    mean = -black * std
    noise = torch.randint(0, 256, (3, 301, 237), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    wanted = shown(noise) * std[:, None, None] + mean[:, None, None]
    if interpolation == "nearest" and getattr(processor, "backend", None) == "torchvision":
        interpolation = "nearest-exact"
    for preparation in _possible(processor, size, interpolation):
        made = preparation(noise[None] / 255)[0]
        if made.shape == wanted.shape and (made - wanted).abs().mean() < LEVEL:
            break
    else:
        raise UserError(
            "The image processor of {source} ({kind}, {interpolation} resampling) prepares pictures in a way that is "
            "not known here, so its readings would not be the model's own.",
            source=source,
            kind=type(processor).__name__,
            interpolation=interpolation or "unknown",
        )
    crop = size[0] / preparation.target[0] if preparation.crop else 1.0
    return {
        "input_size": (3, *size),
        "crop_pct": crop,
        "interpolation": interpolation,
        "mean": mean.tolist(),
        "std": std.tolist(),
        "preparation": preparation,
    }


def _possible(processor, size: tuple[int, int], interpolation: str | None) -> Iterator[Preparation]:
    """What a processor with these settings may do with a picture, which ends with ``size`` where that was square."""
    if interpolation is None:
        return
    stated, share = processor.size or {}, getattr(processor, "crop_pct", None)
    edge = stated.get("shortest_edge")
    targets = [(edge, edge), (int(edge * 256 / 224),) * 2] if edge else []  # the latter is LeViT's
    targets += [(int(edge / share),) * 2] if edge and share else []  # ConvNeXt's, below 384 pixels
    targets += [(stated["height"], stated["width"])] if stated.get("height") else []
    flip = bool(getattr(processor, "do_flip_channel_order", False))  # MobileViT's
    for target, fit, crop in itertools.product(targets, ("squash", "shortest"), (size, None)):
        yield Preparation(target=target, fit=fit, crop=crop, interpolation=interpolation, floor=True, flip=flip)
