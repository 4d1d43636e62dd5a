"""The same evaluation on many machines. The home of Ray.

Every part of a grid is a task. Those of a machine that is lost, Ray gives to others. What is finished is written by the
one who asked, so that a stopped run goes on as any other does, with the cluster or without.
"""

import os
import socket
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice

import torch

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing calls out
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray

from purifier.evaluation.grid import Engine, Part, Rows, Work, measure, provenance

AHEAD = 2  # tasks given out for each that can run, so that no machine waits for pictures

known_provenance = lru_cache(provenance)


def on_ray(address: str | None = None) -> Engine:
    """The engine that computes on the Ray cluster at ``address``, or on one that it starts on this machine.

    A task takes as many cores as torch takes threads here, because their number changes the last digits, and a GPU
    where the cluster has any. All machines must have the same package and weights: one that has others ends the run.
    Raises ``ConnectionError`` where there is no cluster at ``address``.
    """

    def engine(works: Iterable[Work]) -> Iterator[tuple[Part, Rows]]:
        if address is not None:
            knock(address)
        works, running = iter(works), {}
        with ray.init(address=address or "local", log_to_driver=False, include_dashboard=None if address else False):
            threads, resources = torch.get_num_threads(), ray.cluster_resources()
            task = ray.remote(measure_there).options(
                num_cpus=threads, num_gpus=1 if resources.get("GPU") else 0, max_retries=-1
            )
            most = AHEAD * max(1, int(resources["CPU"] // threads))
            while True:
                for work in islice(works, most - len(running)):
                    running[task.remote(work, threads, known_provenance(work.grid))] = work.part
                if not running:
                    return
                (done,), _ = ray.wait(list(running), num_returns=1)
                try:
                    yield running.pop(done), ray.get(done)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error

    return engine


def knock(address: str) -> None:
    """``ConnectionError`` where nobody listens at host:port. Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise ConnectionError(f"There is no Ray cluster at {address!r} (host:port is expected): {error}") from error


def measure_there(work: Work, threads: int, expected: dict) -> Rows:
    """``measure`` as one of the cluster's machines does it."""
    torch.set_num_threads(threads)
    found = known_provenance(work.grid)
    if differing := [key for key in expected if expected[key] != found[key]]:
        raise ValueError(
            f"The machine {os.uname().nodename} has another package or other weights ({', '.join(differing)} differ)."
        )
    return measure(work)
