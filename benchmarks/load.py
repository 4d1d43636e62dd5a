"""Many visitors and programs at once: what they wait, what fails, and what the server takes.

``python -m benchmarks.load`` starts ``app.py`` and sends it 50 of them for ten minutes, or ``--clients`` for
``--minutes``. Each has a picture of its own, whose mark must be on every picture that comes back: nobody sees
another's. It prints a report in JSON, and ends with 1 where anything failed but by the stated limits of the queue.
"""

import argparse
import asyncio
import base64
import io
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
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from tests.helpers.pictures import lesion_like
from tests.helpers.server import start_app

API = "/gradio_api"
CARDS = re.compile(r'lp-card-(original|attacked|purified)\\" src=\\"data:image/png;base64,([^\\"]+)')
MARK = 32  # pixels a side of 224
APART = 12  # levels that a mark may be changed by attack and purifier; marks differ by 20
LOOK = 10  # seconds between two looks at the server
SLOW = 0.5  # seconds that a slow reader takes for each message
GIVES_UP = 120  # seconds without a message


class Failure(Exception):
    """What a visitor did not get."""


class Visitor:
    """A browser's tab, or a program: one session of the server's, with a picture of its own."""

    def __init__(self, number: int, http: httpx2.AsyncClient, config: dict, seen: dict[str, list[float]]) -> None:
        self.http, self.seen, self.random = http, seen, random.Random(number)
        self.mark = np.array([20 + 20 * (number % 10), 20 + 20 * (number // 10 % 10), 20 + 20 * (number // 100 % 10)])
        self.functions = {d["api_name"]: d for d in config["dependencies"] if d["queue"]}
        self.values = {c["id"]: c["props"].get("value") for c in config["components"]}
        self.slow, self.session = number % 7 == 3, ""

    async def work(self, until: float, failures: Counter) -> None:
        """Come again and again until then."""
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

    async def be_here(self) -> None:
        """What tells the server that the tab is open; with its end all of the visitor's goes."""
        async with self.http.stream("GET", f"{API}/heartbeat/{self.session}", timeout=None) as beat:
            async for _ in beat.aiter_raw():
                pass

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

    def inputs(self, name: str) -> list:
        """As the page has them at the start."""
        return [self.values[i] for i in self.functions[name]["inputs"]]

    async def upload(self) -> dict:
        """The visitor's picture."""
        picture, file = np.array(lesion_like(0, size=224)), io.BytesIO()
        picture[:MARK, :MARK] = self.mark
        Image.fromarray(picture).save(file, "PNG")
        answer = await self.http.post(f"{API}/upload", files={"files": ("lesion.png", file.getvalue(), "image/png")})
        return {"path": answer.raise_for_status().json()[0], "meta": {"_type": "gradio.FileData"}}

    async def ask(self, name: str, given: list | None = None, leaves: bool = False) -> None:
        """Wait for the last answer, or leave after the first; ``given`` come before the values at the start."""
        function, data = self.functions[name], self.inputs(name)
        data = data if given is None else given + data[len(given) :]
        start = time.monotonic()
        body = dict(data=data, fn_index=function["id"], session_hash=self.session, trigger_id=None, event_data=None)
        joined = await self.http.post(f"{API}/queue/join", json=body)
        if joined.status_code == 503:
            raise Failure("the queue is full")
        if joined.status_code != 200:
            raise Failure(f"{name}: status {joined.status_code}")
        async for message in self.messages():
            kind = message["msg"]
            if kind == "process_completed" and not message["success"]:
                raise Failure(f"{name}: {message['output'].get('error')}")
            if kind in ("process_completed", "process_generating"):
                self.check(name, message)
            if kind == "process_completed" or leaves and kind == "process_generating":
                if not leaves:
                    self.seen[name].append(time.monotonic() - start)
                return
        raise Failure(f"{name}: the stream ended")

    async def messages(self) -> AsyncIterator[dict]:
        """What the server sends."""
        query = {"session_hash": self.session}
        async with self.http.stream("GET", f"{API}/queue/data", params=query, timeout=GIVES_UP) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))
                    if self.slow:
                        await asyncio.sleep(SLOW)

    def check(self, name: str, message: dict) -> None:
        """Every picture that comes back has the visitor's mark."""
        for card, data in CARDS.findall(json.dumps(message)):
            pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"), dtype=float)
            inner = pixels[MARK // 4 : MARK * 3 // 4, MARK // 4 : MARK * 3 // 4].mean(axis=(0, 1))
            if np.abs(inner - self.mark).max() > APART:
                raise Failure(f"{name}: the {card} picture is another's")


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
        visitors = [Visitor(number, http, config, seen) for number in range(clients)]
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
