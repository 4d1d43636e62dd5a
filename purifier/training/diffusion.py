"""What diffusion models are trained and drawn by, whatever they draw: a loop that keeps two averages of the weights,
and Heun's method (Karras et al., 2022, "Elucidating the design space of diffusion-based generative models", EDM)."""

import copy
import time
from collections.abc import Callable
from pathlib import Path

import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn
from tqdm import tqdm

from purifier.denoiser import multiplies_bfloat16
from purifier.training.checkpoints import append_row, load_checkpoint, save_checkpoint

# Exponents of the averages of the weights, which weigh step t by t**exponent (Karras et al., 2024, "Analyzing and
# improving the training dynamics of diffusion models", eq. 1): relative widths of 0.05 and 0.1.
POWERS = (16.97, 6.94)


def optimise(
    model: nn.Module,
    loss_at: Callable[[torch.Generator], Tensor],
    work: Path,
    *,
    steps: int,
    minutes: float | None,
    seed: int,
    rate: float,
    log_every: int,
    checkpoint_every: int,
    snapshot_every: int,
) -> None:
    """Lower ``loss_at``, which draws a batch by the generator of its step on the model's device, to step
    ``steps``; resumes from ``work/checkpoint.pt``, and logs the loss to ``work/log.csv``.

    The learning rate ``rate`` falls along a line from the middle on. With ``minutes`` the training ends after so many
    if it has not come to its last step before, and its middle is that of the time. Every ``snapshot_every`` steps the
    averages of the weights go to ``work/snapshots``, from which others can be put together after the training (post-hoc
    EMA).
    """
    device = next(model.parameters()).device
    averages = [copy.deepcopy(model).requires_grad_(False) for _ in POWERS]
    if device.type == "cuda":  # a minute that pays within thousands of steps; the weights keep their names
        model.compile()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    first = 1
    if state := load_checkpoint(work / "checkpoint.pt"):
        model.load_state_dict(state["model"])
        for average, kept in zip(averages, state["averages"], strict=True):
            average.load_state_dict(kept)
        optimizer.load_state_dict(state["optimizer"])
        first = state["done"] + 1

    start = time.monotonic()
    for done in tqdm(range(first, steps + 1), initial=first - 1, total=steps, unit="step"):
        with device:
            loss = loss_at(torch.Generator(device).manual_seed(seed * 1_000_003 + done))
        passed = 0 if minutes is None else (time.monotonic() - start) / (60 * minutes)
        at = min(1, max(done / steps, passed))
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, done / 200, 0.05 + 2 * (1 - at))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        for average, power in zip(averages, POWERS, strict=True):
            share = 1 - (1 - 1 / done) ** (power + 1)  # of the newest weights
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), share)
        if done % log_every == 0:
            append_row(work / "log.csv", {"step": done, "loss": loss.item()})
        if done % checkpoint_every == 0 or at == 1:
            kept = {"averages": [average.state_dict() for average in averages], "done": done}
            trained = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            save_checkpoint(work / "checkpoint.pt", {**trained, **kept})
            if done % snapshot_every == 0:
                save_checkpoint(work / "snapshots" / f"{done:07d}.pt", kept)
        if at == 1:
            break


def write_weights(model: PyTorchModelHubMixin, checkpoint: Path, out: Path, average: int = 0) -> None:
    """The averaged weights of a checkpoint or a snapshot, in half precision, as a folder of the Hub's format for
    ``from_pretrained``; which average is an index into ``POWERS``. ``model`` is one of that kind, whose weights are
    lost. Raises ``FileNotFoundError`` where there is no checkpoint."""
    state = load_checkpoint(checkpoint)
    if state is None:
        raise FileNotFoundError(f"There is no {checkpoint}: train a {type(model).__name__} first (purifier train).")
    model.load_state_dict(state["averages"][average])
    model.half().save_pretrained(out)


def faster(device: torch.device) -> torch.autocast:
    """A context in which networks compute in bfloat16 where the device multiplies these; elsewhere that takes eight
    times as long as float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16(device))


def heun(guess: Callable[[Tensor, Tensor], Tensor], x: Tensor, sigmas: Tensor) -> Tensor:
    """From noise ``x`` of ``sigmas[0]`` down to none, by the ``guess`` of the clean picture from a noisy one and its
    noise level (EDM, algorithm 1)."""
    for sigma, following in zip(sigmas, [*sigmas[1:], sigmas.new_zeros(())], strict=True):
        slope = (x - guess(x, sigma)) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            slope = (slope + (ahead - guess(ahead, following)) / following) / 2
            ahead = x + (following - sigma) * slope
        x = ahead
    return x
