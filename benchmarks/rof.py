"""ROF against its peers, in one process on the same pictures: seconds to the same functional and the same gap.

``python -m benchmarks.rof`` times and writes ``rof.json`` and ``rof.md`` beside this file; ``--quick`` does one size in
a minute and writes nothing. ``--find`` counts how many iterations each takes, into ``rof-steps.json``. Peers see each
channel alone, so what is compared is ``coupled=False``.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from deepinv.models import TVDenoiser
from skimage.restoration import denoise_tv_bregman, denoise_tv_chambolle
from torch import Tensor

from purifier.denoise import _Dual, rof, total_variation
from purifier.pictures.files import read_image
from purifier.pyramid import resample
from tests.helpers.paths import ROOT

HERE = Path(__file__).parent
SIZES, BATCHES, WEIGHTS, GAPS = (56, 112, 224, 512, 1024), (1, 16), (0.02, 0.06), (1e-3, 1e-4)
SIGMA = 14 / 255
OURS, EAGER, CHAMBOLLE, BREGMAN, DEEPINV = "rof", "rof, eager", "skimage chambolle", "skimage bregman", "deepinv"
LARGEST = {EAGER: 16 * 224**2, CHAMBOLLE: 1024**2, DEEPINV: 16 * 112**2}  # pixels: beyond, they take minutes
MOST = 1500  # iterations that are waited for
FIELDS = 7  # that an iteration reads and writes at least: y, two duals of two fields, and the new one
AT_LEAST = 0.03  # seconds of one measurement
ROUNDS, SECONDS = 7, 6  # of a solver in each comparison: no new round after so many seconds
PACKAGES = ("torch", "numpy", "numba", "scikit-image", "deepinv", "opencv-python", "adversarial-robustness-toolbox")


def chambolle(y: Tensor, weight: float, steps: int) -> Tensor:
    return _each(lambda x: denoise_tv_chambolle(x, weight, eps=0, max_num_iter=steps, channel_axis=0), y)


def bregman(y: Tensor, weight: float, steps: int) -> Tensor:
    return _each(lambda x: denoise_tv_bregman(x, 1 / (2 * weight), max_num_iter=steps, eps=1e-12, channel_axis=0), y)


def _each(solve: Callable[[np.ndarray], np.ndarray], y: Tensor) -> Tensor:
    return torch.stack([torch.from_numpy(solve(x.numpy())) for x in y])


SOLVERS = {
    OURS: lambda y, weight, steps: rof(y, weight, steps, coupled=False),
    EAGER: lambda y, weight, steps: torch.cat([_Dual.apply(x, weight, steps, False) for x in y.split(1)]),
    CHAMBOLLE: chambolle,
    BREGMAN: bregman,
    DEEPINV: lambda y, weight, steps: TVDenoiser(n_it_max=steps, crit=0)(y, weight),
}


def noisy(size: int, count: int) -> Tensor:
    """(count, 3, size, size): the first examples, with the purifier's noise."""
    paths = sorted((ROOT / "assets" / "examples").glob("*.png"))[:count]
    x = torch.cat([resample(read_image(path, None), (size, size)) for path in paths])
    return x + SIGMA * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))


def primal(u: Tensor, y: Tensor, weight: float) -> float:
    u, y = u.double(), y.double()
    return ((u - y).square().sum() / 2 + weight * total_variation(u, coupled=False).sum()).item()


def least(y: Tensor, weight: float) -> float:
    """A bound of the functional from below: its dual, after many iterations."""
    u = rof(y, weight, 3000, coupled=False)
    return (y.double().square().sum() - u.double().square().sum()).item() / 2


def find_steps(y: Tensor, weight: float, gap: float, solve: Callable, bound: float, guess: int) -> int | None:
    """The fewest iterations, within 3 in a hundred, after which the relative gap is at most ``gap``; None: not in
    ``MOST``."""

    def reached(steps: int) -> bool:
        return primal(solve(y, weight, steps), y, weight) <= bound * (1 + gap)

    low, high = 0, guess
    while not reached(high):
        low, high = high, high + max(1, high // 8)
        if high > MOST:
            return None
    while high - low > max(1, high * 0.03):
        middle = max(low + 1, (low + high) // 2 if low else high * 7 // 8)
        low, high = (low, middle) if reached(middle) else (middle, high)
    return high


def find(sizes: list[int]) -> None:
    path = HERE / "rof-steps.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for size in sizes:
        y = noisy(size, 1)
        for weight in WEIGHTS:
            bound = least(y, weight)
            for name in (OURS, CHAMBOLLE, BREGMAN, DEEPINV):
                if not _fits(name, size**2):
                    continue
                guess = 8
                for gap in GAPS:
                    before = found.get(key(SIZES[max(0, SIZES.index(size) - 1)], weight, gap), {}).get(name, guess)
                    steps = find_steps(y, weight, gap, SOLVERS[name], bound, before) if before else None
                    guess = steps
                    found.setdefault(key(size, weight, gap), {})[name] = steps
                    print(size, weight, gap, name, steps, flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def key(size: int, weight: float, gap: float) -> str:
    return f"{size} px, weight {weight:g}, gap {gap:g}"


def seconds(calls: dict[str, Callable], rounds: int) -> dict[str, list[float]]:
    """Of each, in turns; of what is short the mean of as many as fill ``AT_LEAST``, of what is long fewer turns."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    times: dict[str, int] = {}
    for _ in range(rounds):
        for name, call in calls.items():
            if name not in times:
                first = _seconds(call, 1)
                times[name] = max(1, round(AT_LEAST / first))
                if times[name] == 1:
                    taken[name].append(first)
                    continue
            if sum(taken[name]) * times[name] < SECONDS:
                taken[name].append(_seconds(call, times[name]))
    return taken


def _seconds(call: Callable, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def spread(values: list[float], digits: int = 3) -> list[float]:
    """The least, the median and the greatest."""
    return [float(f"{value:.{digits}g}") for value in (min(values), statistics.median(values), max(values))]


@contextmanager
def neighbour() -> Iterator[None]:
    """Somebody else computes, on the last core."""
    code = f"import os; os.sched_setaffinity(0, [{os.cpu_count() - 1}])\nwhile True: pass"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()


def compare(size: int, batch: int, weight: float, gap: float, rounds: int) -> dict:
    """One cell: seconds of each solver that gets there, and what they are of those of ``rof``."""
    found = json.loads((HERE / "rof-steps.json").read_text(encoding="utf-8"))[key(size, weight, gap)]
    y = noisy(size, batch)
    steps = {name: count for name, count in found.items() if count} | {EAGER: found[OURS]}
    steps = {name: count for name, count in steps.items() if _fits(name, batch * size**2)}
    calls = {name: lambda n=name, c=count: SOLVERS[n](y, weight, c) for name, count in steps.items()}
    for name in steps:
        SOLVERS[name](y[:1], weight, 1)  # what is done at the first call
    out, whole = torch.empty_like(y), torch.empty(FIELDS * y.numel() // 2)
    half = torch.zeros_like(whole)
    calls |= {  # in one thread, as a picture is denoised
        "copy": lambda: np.copyto(out.numpy(), y.numpy()),
        "copy of an iteration": lambda: np.copyto(whole.numpy(), half.numpy()),
    }
    if batch > 1:
        calls["one by one"] = lambda: [rof(x, weight, steps[OURS], coupled=False) for x in y.split(1)]
    taken = seconds(calls, rounds)
    ours = taken[OURS]
    cell = dict(size=size, batch=batch, weight=weight, gap=gap, steps=steps, missed=[n for n in found if not found[n]])
    cell["seconds"] = {name: spread(values) for name, values in taken.items()}
    cell["times_ours"] = {
        name: spread([a / b for a, b in zip(taken[name], ours, strict=False)]) for name in calls if name != OURS
    }
    copied, passed = statistics.median(taken["copy"]), statistics.median(taken["copy of an iteration"])
    cell["of_bound"] = dict(
        picture=float(f"{statistics.median(ours) / copied:.3g}"),
        iterations=float(f"{statistics.median(ours) / (passed * steps[OURS]):.3g}"),
    )
    if (weight, gap) == (WEIGHTS[0], GAPS[0]) and CHAMBOLLE in calls:
        call = {OURS: calls[OURS], CHAMBOLLE: calls[CHAMBOLLE]}
        quiet = seconds(call, 5 * rounds)
        with neighbour():
            beside = seconds(call, 5 * rounds)
        cell["beside_a_neighbour"] = {
            name: float(f"{statistics.median(beside[name]) / statistics.median(quiet[name]):.3g}") for name in call
        }
    return cell


def _fits(name: str, pixels: int) -> bool:
    return pixels <= LARGEST.get(name, pixels)


def context() -> dict[str, float]:
    """Seconds of what minimises something else, at its defaults, on one picture of 56 pixels."""
    from art.defences.preprocessor import TotalVarMin

    x = noisy(56, 1).clamp(0, 1)
    bytes_ = (x[0].permute(1, 2, 0) * 255).round().byte().numpy()
    art = TotalVarMin(clip_values=(0, 1))
    pixels = x.permute(0, 2, 3, 1).numpy()
    calls = {
        "ART TotalVarMin": lambda: art(pixels),
        "OpenCV fastNlMeans": lambda: cv2.fastNlMeansDenoisingColored(bytes_),
        "rof, 8 steps": lambda: rof(x, 0.06, 8),
    }
    return {name: spread(values)[1] for name, values in seconds(calls, 3).items()}


def provenance() -> dict:
    command = ["git", "log", "-1", "--format=%h", "--", "purifier", "benchmarks/*.py"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return dict(
        commit=git.stdout.strip(),
        processor=names[0] if names else platform.processor(),
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
        versions={name: version(name) for name in PACKAGES},
    )


def table(results: dict) -> str:
    """What is committed as ``rof.md``."""
    others = [EAGER, CHAMBOLLE, DEEPINV]
    lines = [
        f"Commit {results['commit']}, {results['processor']}, {results['cores']} cores, "
        f"{results['threads']} threads; " + ", ".join(f"{k} {v}" for k, v in results["versions"].items()) + ".",
        "",
        "| pixels | batch | weight | gap | iterations: ours, skimage, deepinv | ours, ms an image | "
        + " | ".join(f"{name}, times ours" for name in others)
        + " | one by one | of an iteration's copy | of a copy |",
        "| " + " | ".join(["---"] * (9 + len(others))) + " |",
    ]
    for cell in results["cells"]:
        steps = ", ".join(str(cell["steps"].get(name, "–")) for name in (OURS, CHAMBOLLE, DEEPINV))
        ratios = [_ratio(cell["times_ours"].get(name)) for name in (*others, "one by one")]
        case = [cell["size"], cell["batch"], f"{cell['weight']:g}", f"{cell['gap']:g}", steps]
        took = f"{cell['seconds'][OURS][1] / cell['batch'] * 1000:.3g}"
        row = [*case, took, *ratios, cell["of_bound"]["iterations"], cell["of_bound"]["picture"]]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    lines += ["", "Beside a busy neighbour on the last core, times what it takes alone:", ""]
    lines += ["| pixels | batch | ours | skimage chambolle |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {cell['size']} | {cell['batch']} | {beside[OURS]} | {beside[CHAMBOLLE]} |"
        for cell in results["cells"]
        if (beside := cell.get("beside_a_neighbour"))
    ]
    lines += ["", "Other functionals, at their defaults, ms of one picture of 56 pixels: "]
    lines[-1] += ", ".join(f"{name} {value * 1000:.3g}" for name, value in results["context"].items()) + "."
    return "\n".join(lines) + "\n"


def _ratio(values: list[float] | None) -> str:
    return "–" if values is None else f"**{values[1]:.3g}** ({values[0]:.3g} to {values[2]:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--find", action="store_true", help="count the iterations, for half an hour, and time nothing")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="of these; others stay as this commit left them"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--quick", action="store_true", help="56 pixels, two rounds, to see that it works")
    options = parser.parse_args()
    if options.find:
        find(options.sizes)
        return
    sizes, rounds = ((56,), 2) if options.quick else (options.sizes, ROUNDS)
    results = provenance() | dict(cells=[], context=context())
    path = HERE / "rof.json"
    if path.exists() and not options.quick:
        before = json.loads(path.read_text(encoding="utf-8"))
        results["cells"] = before["cells"] if before["commit"] == results["commit"] else []
    for cell in itertools.product(sizes, options.batches, WEIGHTS, GAPS):
        others = [other for other in results["cells"] if _place(other) != cell]
        results["cells"] = sorted(
            [*others, compare(*cell, rounds)], key=lambda other: (*_place(other)[:3], -other["gap"])
        )
        if not options.quick:
            lines = json.dumps(results).replace('{"size"', '\n{"size"')  # a cell a line
            path.write_text(lines + "\n", encoding="utf-8")
            (HERE / "rof.md").write_text(table(results), encoding="utf-8")
    print(table(results))


def _place(cell: dict) -> tuple[int, int, float, float]:
    return cell["size"], cell["batch"], cell["weight"], cell["gap"]


if __name__ == "__main__":
    main()
