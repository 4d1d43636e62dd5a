"""Seeds and generators that depend on what they are for and on nothing else."""

import hashlib

import torch


def seed_of(*what) -> int:
    """A seed for torch and numpy that depends on all of ``what``, and on nothing else."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:4]) // 2


def split_generator(generator: torch.Generator | None, count: int) -> list[torch.Generator]:
    """One generator for each image of a batch, seeded from ``generator`` (None: torch's global one).

    Image ``i`` gets the same generator in a batch of any size, so what is drawn for it depends on
    nothing else in the batch. They live on the device of ``generator``.
    """
    device = generator.device if generator is not None else torch.device("cpu")
    seeds = torch.stack([torch.randint(2**62, (), generator=generator, device=device) for _ in range(count)])
    return [torch.Generator(device).manual_seed(seed) for seed in seeds.tolist()]
