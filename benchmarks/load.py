"""Many visitors and programs at once: what they wait, what fails, and what the server takes.

``python -m benchmarks.load`` starts ``app.py`` and sends it 50 of them for ten minutes, or ``--clients`` for
``--minutes``. Each has a picture of its own, whose mark must be on every picture that comes back: nobody sees
another's. It prints a report in JSON, and ends with 1 where anything failed but by the stated limits of the queue.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import httpx2
import numpy as np

from tests.helpers.server import start_app
from tests.helpers.visitor import GIVES_UP, Failure, Visitor

LOOK = 10  # seconds between two looks at the server
SLOW = 0.5  # seconds that a slow reader takes for each message


class Client(Visitor):
    """One who comes again and again."""

    def __init__(self, number: int, http: httpx2.AsyncClient, config: dict, seen: dict[str, list[float]]) -> None:
        super().__init__(number, http, config)
        self.seen, self.random = seen, random.Random(number)
        self.pause = SLOW if number % 7 == 3 else 0

    async def work(self, until: float, failures: Counter) -> None:
        """Until then."""
        while time.monotonic() < until:
            self.session = uuid.uuid4().hex
            here = asyncio.create_task(self.be_here())
            try:
                await (self.as_page() if self.random.random() < 0.5 else self.as_program())
            except Failure as failure:
                failures[str(failure)] += 1
            except httpx2.HTTPError as error:
                failures[type(error).__name__] += 1
            finally:
                here.cancel()
            await asyncio.sleep(self.random.uniform(0, 3))

    async def as_page(self) -> None:
        """Choose a picture, attack it, purify it, watch; now and then close the tab on the way."""
        await self.ask("choose", [await self.upload()])
        for step in ("attack_1", "purify_1", "watch"):
            leaves = self.random.random() < 0.15
            await self.ask(step, leaves=leaves)
            if leaves:
                return

    async def as_program(self) -> None:
        """One request."""
        name = self.random.choices(("classify", "attack", "purify", "compare"), (4, 3, 3, 1))[0]
        given = [await self.upload(), *self.inputs(name)[1:]]
        if name == "compare":
            given[2:] = [2, None]  # draws, and no original
        await self.ask(name, given)

    async def ask(self, name: str, given: Sequence = (), leaves: bool = False) -> dict:
        """As a visitor; note how long it took."""
        start = time.monotonic()
        answer = await super().ask(name, given, leaves)
        if not leaves:
            self.seen[name].append(time.monotonic() - start)
        return answer


async def watch(http: httpx2.AsyncClient, files: Path, until: float) -> list[dict[str, float]]:
    """The server's memory and files, every ``LOOK`` seconds."""
    found, start = [], time.monotonic()
    while time.monotonic() < until:
        text = (await http.get("/metrics", timeout=GIVES_UP)).text
        memory = float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[1])
        kept = [path.stat().st_size for path in files.rglob("*") if path.is_file()]
        seconds = round(time.monotonic() - start)
        found.append(dict(seconds=seconds, memory_mb=round(memory / 1e6), files=len(kept), files_mb=sum(kept) / 1e6))
        await asyncio.sleep(LOOK)
    return found


async def load(url: str, files: Path, clients: int, minutes: float) -> dict:
    """The report."""
    until, seen, failures = time.monotonic() + 60 * minutes, defaultdict(list), Counter()
    limits = httpx2.Limits(max_connections=4 * clients)
    async with httpx2.AsyncClient(base_url=url, timeout=GIVES_UP, limits=limits) as http:
        config = (await http.get("/config")).json()
        visitors = [Client(number, http, config, seen) for number in range(clients)]
        looks, *_ = await asyncio.gather(watch(http, files, until), *(v.work(until, failures) for v in visitors))
    waits = {
        name: dict(count=len(of), p50=round(statistics.median(of), 1), p95=round(float(np.quantile(of, 0.95)), 1))
        for name, of in sorted(seen.items())
    }
    return dict(clients=clients, minutes=minutes, seconds=waits, failures=failures, server=looks)


def main() -> int:
    """Start the server, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder)
        os.environ["GRADIO_TEMP_DIR"] = str(files / "gradio")
        server, body = start_app(files / "log.txt")
        try:
            url = re.search(r'"root":"([^"]+)"', body)[1]
            report = asyncio.run(load(url, files / "gradio", options.clients, options.minutes))
        finally:
            server.terminate()
            server.wait()
    print(json.dumps(report, indent=2))
    return 1 if set(report["failures"]) - {"the queue is full"} else 0


if __name__ == "__main__":
    sys.exit(main())
