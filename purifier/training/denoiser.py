"""Train the learned denoiser: on crops at every scale, then on whole pictures, attacked ones among them, so that a
classifier's reading stays (a stability loss: Salman, Sun, Yang, Kapoor & Kolter, 2020, "Denoised smoothing")."""

import copy
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from purifier.classifiers.classifier import Classifier, load_classifier
from purifier.denoise import rof
from purifier.denoiser import Denoiser
from purifier.evaluation.datasets import digest_of_samples, label_indices, read_isic2019, read_pixels
from purifier.evaluation.defended import psnr
from purifier.evaluation.evaluate import choose
from purifier.files import begin, write_atomically
from purifier.pictures.files import SIZE
from purifier.pipeline import aggregate
from purifier.pyramid import build_pyramid, merge_pyramid, resample
from purifier.training.augment import turned, uniform
from purifier.training.checkpoints import append_row, load_checkpoint, save_checkpoint
from purifier.training.classifier import half_cosine, imagenet_network, sampling_weights
from purifier.training.diffusion import faster

Distance = Callable[[Tensor], Tensor]  # of pictures (B, 3, H, W), the first ones or all, to (B,)
Reader = Callable[[Tensor], Distance]  # the distance from how given pictures are read

CARD = Path(__file__).with_suffix(".md")
CROP, CROPS = 64, 32  # pixels a side, and how many a batch
PICTURES = 8  # whole ones a batch
CROPS_EVERY = 4  # steps on whole pictures
MOST_NOISE = 0.15  # standard deviation
NOISE_ON_PICTURES = (0.01, 0.1)  # from and to
PYRAMIDS = ((1.0,), (1.0,), (1.0, 0.5), (1.0, 0.5, 0.25))  # scales of purifications, by turns
SCALES = (2.0, 1.0, 0.5, 2 / 7)  # of the crops; the last shows the whole picture
RATES = {"crops": (1e-3, 1e-4), "whole": (3e-4, 1e-5)}  # learning rates from and to, half a cosine
STABILITY = 0.2  # weight of the readings beside the pixels
MOST_ATTACK, MOST_STEPS = 10 / 255, 4
CHECKPOINT_EVERY, LOG_EVERY = 200, 20  # steps; the latter a multiple of CROPS_EVERY
MEASURED_ON = 48  # validation pictures
ROF_WEIGHTS = (0.5, 0.7, 0.9, 1.1, 1.4, 1.8, 2.3)  # times the noise's standard deviation
AVERAGED = 0.998  # decay of the weights' average


def crops(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Crops (CROPS, 3, CROP, CROP) in [0, 1] of pictures (N, 3, SIZE, SIZE), uint8, all at one random scale, turned and
    mirrored."""
    scale = SCALES[int(torch.randint(len(SCALES), (), generator=generator))]
    side, size = round(CROP / scale), pixels.shape[-1]
    found = []
    for i in torch.randint(len(pixels), (CROPS,), generator=generator).tolist():
        top, left = torch.randint(size - side + 1, (2,), generator=generator).tolist()
        found.append(pixels[i, :, top : top + side, left : left + side])
    x = torch.stack(found).float() / 255
    return turned(resample(x, (CROP, CROP)).clamp(0, 1), generator)


def noised(x: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """``x`` with noise of a strength of its own for each picture, and the strengths (B,)."""
    sigma = uniform(len(x), 0, MOST_NOISE, generator).to(x)
    return x + sigma * torch.randn(x.shape, generator=generator).to(x), sigma.flatten()


def denoised(model: nn.Module, y: Tensor, sigma: Tensor) -> Tensor:
    """What the model makes of ``y``."""
    with faster(y.device):
        return model(y, sigma).float()


def loss_on_crops(model: nn.Module, pixels: Tensor, generator: torch.Generator, device: str) -> Tensor:
    """The mean absolute error; of strong noise no more than of weak."""
    x = crops(pixels, generator).to(device)
    y, sigma = noised(x, generator)
    error = (denoised(model, y, sigma) - x).abs().mean(dim=(1, 2, 3))
    return (error / (sigma + 0.02)).mean() * 0.05


def reader(name: str, device: str) -> Reader:
    """What reads pictures during training: the bundled classifier ``name`` by its probabilities (Kullback-Leibler
    divergence), or an ImageNet network (``imagenet0`` to ``imagenet2``) by its features (Johnson, Alahi & Fei-Fei,
    2016), which no picture of skin has shaped and from which most classifiers start."""
    if not name.startswith("imagenet"):
        classifier = load_classifier(name, device=device)
        return lambda x: by_probabilities(classifier, x)
    network = imagenet_network(int(name.removeprefix("imagenet"))).eval().requires_grad_(False)
    network.to(device, memory_format=torch.channels_last)
    return lambda x: by_features(network, x)


def by_probabilities(classifier: Classifier, x: Tensor) -> Distance:
    """The divergence (B,) of the classifier's reading of pictures from its reading of ``x``."""
    with torch.no_grad():
        clean = classifier(x).log_softmax(1)

    def apart(z: Tensor) -> Tensor:
        read = classifier(z.clamp(0, 1)).log_softmax(1)
        return F.kl_div(read, clean[: len(z)], log_target=True, reduction="none").sum(1)

    return apart


def by_features(network: nn.Module, x: Tensor) -> Distance:
    """The squared distance (B,) of pictures' features from those of ``x``, in units of the latter's square; the mean
    over the network's levels."""

    def features(z: Tensor) -> list[Tensor]:
        pixels = ((z.clamp(0, 1) - 0.5) / 0.5).contiguous(memory_format=torch.channels_last)
        return [level.flatten(1) for level in network.forward_intermediates(pixels, intermediates_only=True)]

    with torch.no_grad():
        clean = features(x)

    def apart(z: Tensor) -> Tensor:
        pairs = [(level, before[: len(z)]) for level, before in zip(features(z), clean, strict=True)]
        gaps = [(level - before).square().sum(1) / before.square().sum(1) for level, before in pairs]
        return torch.stack(gaps).mean(0)

    return apart


def loss_on_pictures(model: nn.Module, x: Tensor, reader: Reader, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pixels' error, and how far the reading is from that of the clean picture, of pictures that are, half of them
    attacked, purified at one scale or at several."""
    apart = reader(x)
    z = purified(model, attacked(apart, x, generator), generator)
    return (z - x).abs().mean(), apart(z).mean()


def purified(model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """MDDA with the model in place of ROF, with blocks, scales, share of neighbours and, for each picture, noise drawn
    at random; coarser scales give their low frequencies. It is not clamped."""
    turn = int(torch.randint(len(PYRAMIDS), (), generator=generator))
    own = 0.4 + 0.5 * torch.rand((), generator=generator).item()
    sigma = uniform(len(x), *NOISE_ON_PICTURES, generator).to(x)
    levels = build_pyramid(x, PYRAMIDS[turn])
    for _ in range(1 + int(torch.randint(2, (), generator=generator))):
        diffused = [level + sigma * torch.randn(level.shape, generator=generator).to(x) for level in levels]
        levels = aggregate([denoised(model, y, sigma.flatten()) for y in diffused], own, bands=True)
    return merge_pyramid(levels, x.shape[-2:], reference=levels[0])


def attacked(apart: Distance, x: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the batch after some signed steps from a random start, of up to ``MOST_ATTACK``, away from how the
    picture is read."""
    shown, steps = x[: len(x) // 2], 1 + int(torch.randint(MOST_STEPS, (), generator=generator))
    eps = uniform(len(shown), 0.5 / 255, MOST_ATTACK, generator).to(x)
    length = eps if steps == 1 else 2 * eps / steps
    adv = (shown + eps * (2 * torch.rand(shown.shape, generator=generator).to(x) - 1)).clamp(0, 1)
    for _ in range(steps):
        adv.requires_grad_()
        step = length * torch.autograd.grad(apart(adv).sum(), adv)[0].sign()
        adv = (shown + (adv.detach() + step - shown).clamp(-eps, eps)).clamp(0, 1)
    return torch.cat([adv, x[len(shown) :]])


def gains(model: nn.Module, x: Tensor, levels: Sequence[int] = (4, 8, 16)) -> dict[str, dict[str, float]]:
    """By the noise's level in 1/255, the mean PSNR in dB of pictures ``x`` (B, 3, H, W) with noise, of what the
    denoiser makes of them, and of ROF with the weight of ``ROF_WEIGHTS`` that is best for them."""

    def gain(z: Tensor) -> float:
        return psnr(z.clamp(0, 1), x).mean().item()

    found = {}
    for level in levels:
        sigma, generator = level / 255, torch.Generator().manual_seed(level)
        y = x + sigma * torch.randn(x.shape, generator=generator).to(x)
        with torch.no_grad():
            learned = model(y, y.new_full((len(y),), sigma))
        by_rof = max(gain(rof(y, weight * sigma, steps=100)) for weight in ROF_WEIGHTS)
        found[str(level)] = {"noisy": gain(y), "learned": gain(learned), "rof": by_rof}
    return found


def train(
    data: Path,
    work: Path,
    *,
    readers: Sequence[str],
    crop_steps: int,
    steps: int,
    seed: int = 0,
    limit: int | None = None,
    device: str = "cpu",
) -> None:
    """Train on the training split of ``data``: ``crop_steps`` on crops, then ``steps`` on whole pictures read by
    ``readers`` by turns drawn at random (see ``reader``; one named twice has two); resumes from ``work/checkpoint.pt``.

    The averaged weights go to ``work/weights`` (a folder of the Hub's format), with their ``gains`` on validation
    lesions in metrics.json and in the model card."""
    samples, validation = (read_isic2019(data, split)[:limit] for split in ("train", "val"))
    begin(work, {"seed": seed, "train": digest_of_samples(samples), "readers": list(readers)})
    pixels, y = read_pixels(samples, SIZE), label_indices(samples)
    odds, read_by = sampling_weights(y, balance=0.5), [reader(name, device) for name in readers]
    torch.manual_seed(seed)
    model = Denoiser().train().to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
    first = 1
    if state := load_checkpoint(work / "checkpoint.pt"):
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["done"] + 1
    total = crop_steps + steps
    for done in tqdm(range(first, total + 1), initial=first - 1, total=total, unit="step"):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + done)
        row, whole = {"step": done}, done > crop_steps
        loss = torch.zeros((), device=device)
        if not whole or done % CROPS_EVERY == 0:
            loss = loss_on_crops(model, pixels, generator, device)
            row["crops"] = loss.item()
        if whole:
            chosen = torch.multinomial(odds, PICTURES, replacement=True, generator=generator)
            x = turned(pixels[chosen].float() / 255, generator).to(device)
            turn = int(torch.randint(len(readers), (), generator=generator))
            error, apart = loss_on_pictures(model, x, read_by[turn], generator)
            loss = loss + error + STABILITY * apart
            row |= {"pixels": error.item(), "reading": apart.item(), "reader": readers[turn]}
        at = (done - crop_steps) / steps if whole else done / crop_steps
        start, end = RATES["whole" if whole else "crops"]
        for group in optimizer.param_groups:
            group["lr"] = min(1, done / 200) * half_cosine(start, end, at)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), max(1 - AVERAGED, 1 / done))
        if done % LOG_EVERY == 0:
            append_row(work / ("whole.csv" if whole else "crops.csv"), row)
        if done % CHECKPOINT_EVERY == 0 or done == total:
            trained = {"model": model.state_dict(), "average": average.state_dict()}
            save_checkpoint(work / "checkpoint.pt", trained | {"optimizer": optimizer.state_dict(), "done": done})
            if done == crop_steps:
                save_checkpoint(work / "crops.pt", {"average": average.state_dict(), "done": done})
    shown = read_pixels(choose(validation, MEASURED_ON, seed=0), SIZE).float() / 255
    metrics = {
        "psnr": gains(average.eval(), shown.to(device)),
        "measured": len(shown),
        "images": len(samples),
        "crop_steps": crop_steps,
        "steps": steps,
        "readers": [Path(name.removeprefix("local-dir:")).parent.name or name for name in readers],
    }
    average.save_pretrained(work / "weights")
    write_atomically(work / "weights" / "metrics.json", f"{json.dumps(metrics, indent=2)}\n".encode())
    write_atomically(work / "weights" / "README.md", card(average, metrics).encode())


def card(model: nn.Module, metrics: dict) -> str:
    """The model card of weights whose ``metrics`` were written beside them."""
    turns = Counter(metrics["readers"])
    rows = [
        f"| {level} | {found['noisy']:.1f} | {found['learned']:.1f} | {found['rof']:.1f} |"
        for level, found in metrics["psnr"].items()
    ]
    return CARD.read_text(encoding="utf-8").format(
        **{**metrics, "readers": ", ".join(f"`{name}` ({count})" for name, count in turns.items())},
        parameters=sum(weights.numel() for weights in model.parameters()) / 1e6,
        most_noise=MOST_NOISE,
        most_attack=255 * MOST_ATTACK,
        weights=len(ROF_WEIGHTS),
        rows="\n".join(rows),
    )
