"""Attacks against defences on labelled pictures: a tidy row for each image, attack, defence and draw.

A run writes its parts as it goes, and takes up where it was stopped. ``summary.py`` makes tables of the rows.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from purifier import __version__
from purifier.classifiers.classifier import Classifier, default_device, digest_of, folder_of, load_classifier
from purifier.defences import Defence
from purifier.denoiser import digest_of_weights
from purifier.evaluation.attackers import Attacker, Task
from purifier.evaluation.datasets import Sample, lesions_of, read_readable, source_of
from purifier.evaluation.defended import apply_defence
from purifier.evaluation.evaluate import targets
from purifier.evaluation.settings import COARSE, Grid, find_defence
from purifier.files import begin, write_atomically
from purifier.pictures.files import SIZE, jpeg_quality
from purifier.pipeline import Purifier
from purifier.seeds import seed_of

TRIES = 5  # of what is timed


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is computed and kept in one go: a batch under one attack, behind all defences; where the attack depends on
    the defence, behind that one."""

    attacker: Attacker
    eps: float | None  # in 1/255; None for attacks of no given size
    defences: tuple[str, ...]
    batch: int

    @property
    def file(self) -> str:
        """The name of the file that keeps it."""
        eps = "" if self.eps is None else f"-{self.eps:g}"
        against = f"-{self.defences[0]}" if self.attacker.adaptive else ""
        return f"{self.attacker.name}{eps}{against}-{self.batch:05d}.parquet".replace(":", "_")  # for Windows


@dataclass(frozen=True, kw_only=True)
class Work:
    """A part with its pictures, as (B, 3, H, W) in uint8, and labels. Pictures that an attack is not for are left out
    when it is measured."""

    part: Part
    grid: Grid
    device: torch.device | None  # None: a GPU of the machine that computes, or its CPU
    pixels: Tensor
    samples: Sequence[Sample]


Rows = pd.DataFrame
Engine = Callable[[Iterable[Work]], Iterator[tuple[Part, Rows]]]


def in_turn(works: Iterable[Work]) -> Iterator[tuple[Part, Rows]]:
    """The engine that computes here, one part after the other."""
    for work in works:
        yield work.part, measure(work)


def parts(grid: Grid, batches: int) -> Iterator[Part]:
    """All parts of a run over so many batches of pictures."""
    for attacker in grid.attackers():
        if attacker.adaptive:  # against no defence it would be the plain attack
            groups = [(defence,) for defence in grid.defences if defence != "none"]
        else:  # what the pictures are read as without a defence is always needed
            groups = [tuple(dict.fromkeys(("none", *grid.defences)))]
        for eps in grid.eps if attacker.bounded else (None,):
            for defences in groups:
                for batch in range(batches):
                    yield Part(attacker=attacker, eps=eps, defences=defences, batch=batch)


def run(
    grid: Grid, samples: Sequence[Sample], out: Path, *, device: torch.device | None = None, engine: Engine = in_turn
) -> Rows:
    """Measure what is not measured yet in ``out``, and return all rows. ``engine`` computes, by default on this
    machine; ``cluster.py`` has one of many machines.

    They are kept in ``out/parts``, and at the end in ``out/results.parquet``; ``out/settings.json`` says what was run
    on which pictures, and ``out/skipped.json`` which could not be read and why. Raises ``ValueError`` where ``out``
    holds another run.
    """
    pixels, kept, skipped = read_readable(samples, SIZE)
    known = about(kept)  # here, so that no file is read after hours of computing
    targets(load_classifier(grid.classifier), kept)  # that it knows every diagnosis is seen at once
    (out / "parts").mkdir(parents=True, exist_ok=True)
    pictures = {"images": [sample.image for sample in kept], "pixels": digest_of_pixels(pixels)}
    begin(out, {**asdict(grid), **provenance(grid), **pictures})
    write_atomically(out / "skipped.json", json.dumps(skipped, indent=2).encode())
    everything = list(parts(grid, -(-len(kept) // grid.batch)))
    todo = [part for part in everything if not (out / "parts" / part.file).exists()]

    def work_on(part: Part) -> Work:
        chosen = slice(part.batch * grid.batch, (part.batch + 1) * grid.batch)
        return Work(part=part, grid=grid, device=device, pixels=pixels[chosen], samples=kept[chosen])

    with tqdm(total=sum(cost(part, grid) for part in todo), unit="pass", desc="evaluate", unit_scale=True) as bar:
        for part, rows in engine(map(work_on, todo)):
            write_atomically(out / "parts" / part.file, rows.to_parquet())
            bar.set_postfix_str(Path(part.file).stem)
            bar.update(cost(part, grid))
    frames = [pd.read_parquet(out / "parts" / part.file) for part in everything]
    results = pd.concat([frame for frame in frames if len(frame)], ignore_index=True)
    for name, values in known.items():
        results[name] = results.image.map(values)
    results["jpeg_quality"] = results.jpeg_quality.astype(float)  # also where no picture is a JPEG file
    results["seconds"] = results.defence.map(lambda name: seconds(name, grid.classifier))
    results["peak_memory_mb"] = results.defence.map(peak_memory)
    write_atomically(out / "results.parquet", results.to_parquet())
    return results


def about(samples: Sequence[Sample]) -> dict[str, dict]:
    """What is known of each image beside its label: its lesion, its source, and the quality of its JPEG file."""
    return {
        "lesion": dict(zip((sample.image for sample in samples), lesions_of(samples), strict=True)),
        "source": {sample.image: source_of(sample.image) for sample in samples},
        "jpeg_quality": {sample.image: jpeg_quality(sample.path.read_bytes()) for sample in samples},
    }


def cost(part: Part, grid: Grid) -> int:
    """Roughly, for the time left: passes through the classifier."""
    return 3 * part.attacker.passes + 2 * grid.draws * len(part.defences)


def provenance(grid: Grid) -> dict:
    """What else the numbers depend on: digests of the weights' files and of all that a classifier's reading depends on;
    the purifier's settings, and its learned denoiser's digest where that takes part; and the version."""

    def digest(name: str) -> str:
        if name.startswith("hf-hub:"):
            return load_classifier(name).source
        return digest_of(folder_of(name))

    names = (grid.classifier, grid.surrogate)
    learned = [name for name in grid.defences if getattr(find_defence(name).function, "denoiser", "") == "learned"]
    return {
        "weights": {name: digest(name) for name in names},
        "classifiers": {name: load_classifier(name).digest() for name in names},
        "purifier": asdict(Purifier()),
        **({"denoiser": digest_of_weights()} if learned else {}),
        "version": __version__,
    }


def digest_of_pixels(pixels: Tensor) -> str:
    """SHA-256 of pictures in uint8, in their order."""
    return hashlib.sha256(pixels.numpy()).hexdigest()


@dataclass(frozen=True, eq=False, kw_only=True)
class Attacked:
    """The pictures of a part that the attack is for, (B, 3, H, W) in [0, 1], before and after it, the defences, the
    seeds of their noise in each draw, and the columns that all of the part's rows share."""

    classifier: Classifier
    x: Tensor
    adv: Tensor
    defences: list[Defence]
    noise_seeds: list[int]
    columns: dict[str, object]


def attacked(work: Work) -> Attacked | None:
    """Make a part's attack; None where it is for none of the pictures."""
    part, grid, attacker = work.part, work.grid, work.part.attacker
    chosen = [i for i, sample in enumerate(work.samples) if attacker.label in (None, sample.label)]
    if not chosen:
        return None
    device = work.device or default_device()
    classifier, surrogate = (load_classifier(name, device=device) for name in (grid.classifier, grid.surrogate))
    samples = [work.samples[i] for i in chosen]
    x, y = work.pixels[chosen].to(device) / 255, targets(classifier, samples).to(device)
    noise_seeds = [seed_of(grid.seed, "noise", part.batch, draw) for draw in range(grid.draws)]
    defences = [find_defence(name) for name in part.defences]
    task = Task(
        classifier=classifier,
        surrogate=surrogate,
        defence=defences[0],
        eps=(part.eps or 0) / 255,
        seed=seed_of(grid.seed, attacker.name, part.eps, part.batch),
        noise_seed=noise_seeds[0],
    )
    start = time.perf_counter()
    adv = attacker.run(task, x, y).detach()
    attack_seconds = (time.perf_counter() - start) / len(x)
    columns = {
        "image": [sample.image for sample in samples],
        "label": [sample.label for sample in samples],
        "classifier": grid.classifier,
        "attack": attacker.name,
        "eps": part.eps,
        "threat": attacker.threat,
        "linf": (adv - x).abs().amax(dim=(1, 2, 3)).tolist(),
        "l2": (adv - x).flatten(1).norm(dim=1).tolist(),
        "l2_coarse": coarse_part(adv - x).tolist(),
        "attack_seconds": attack_seconds,
    }
    return Attacked(classifier=classifier, x=x, adv=adv, defences=defences, noise_seeds=noise_seeds, columns=columns)


def measure(work: Work) -> Rows:
    """The rows of one part."""
    found, attacker = attacked(work), work.part.attacker
    if found is None:
        return pd.DataFrame()
    frames = []
    for defence in found.defences:
        draws = work.grid.draws if defence.random and not attacker.knows_noise else 1
        for draw in range(draws):
            with_ssim = attacker.name == "none" and draw == 0  # it takes longer than all the rest
            read = read_defended(defence, found.classifier, found.adv, found.x, found.noise_seeds[draw], with_ssim)
            columns = {**found.columns, "defence": defence.name, "draw": draw, "draws": draws, **read}
            frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


def coarse_part(change: Tensor) -> Tensor:
    """L2 norm of what a change (B, 3, H, W) has below ``COARSE`` cycles a picture, (B,)."""
    frequencies = [torch.fft.fftfreq(side, 1 / side, device=change.device) for side in change.shape[-2:]]
    is_coarse = torch.hypot(*torch.meshgrid(*frequencies, indexing="ij")) < COARSE
    return (torch.fft.fft2(change, norm="ortho") * is_coarse).abs().flatten(1).norm(dim=1)


def read_defended(
    defence: Defence, classifier: Classifier, adv: Tensor, x: Tensor, seed: int, with_ssim: bool
) -> dict[str, list]:
    """What the classifier reads behind the defence, and how far the defended picture is from the clean one."""
    found = apply_defence(defence, classifier, adv, seed)
    ssim = found.ssim(x).tolist() if with_ssim else torch.nan
    probabilities = found.probabilities
    columns = {f"p_{label}": probabilities[:, i].tolist() for i, label in enumerate(classifier.labels)}
    predicted = [classifier.labels[i] for i in probabilities.argmax(dim=1).tolist()]
    return {"predicted": predicted, "psnr": found.psnr(x).tolist(), "ssim": ssim, **columns}


@cache
def seconds(name: str, classifier: str) -> float:
    """That a picture takes to be defended and classified on a CPU, the least of some tries: where attacks were made on
    a GPU, or beside each other, what passed meanwhile says nothing of the defence."""
    defence, x = find_defence(name), torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    return min(apply_defence(defence, load_classifier(classifier), x, seed=0).seconds for _ in range(TRIES))


@cache
def peak_memory(name: str) -> float:
    """``peak_memory_of`` a defence that works on one picture. What OpenCV and ART take besides is not seen."""
    defence, x = find_defence(name), torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return peak_memory_of(lambda: defence(x, torch.Generator().manual_seed(0)))


def peak_memory_of(work: Callable[[], object]) -> float:
    """Megabytes that torch takes on a CPU at most while ``work`` is done, which are not given back before the end."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # the profiler writes of its coming and going
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    with TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(trace))
        events = json.loads(trace.read_bytes())["traceEvents"]
    taken = sorted((event for event in events if event["name"] == "[memory]"), key=lambda event: event["ts"])
    return max(accumulate((event["args"]["Bytes"] for event in taken), initial=0)) / 1e6
