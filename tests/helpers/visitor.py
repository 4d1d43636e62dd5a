"""A browser's tab or a program, as the server sees it: one session, with a picture of its own, whose mark must be on
every picture that comes back."""

import asyncio
import base64
import io
import json
import re
import uuid
from collections.abc import AsyncIterator, Sequence

import httpx2
import numpy as np
from PIL import Image

from tests.helpers.pictures import lesion_like

API = "/gradio_api"
CARDS = re.compile(r'lp-card-(original|attacked|purified)\\" src=\\"data:image/png;base64,([^\\"]+)')
MARK = 32  # pixels a side of 224
APART = 12  # levels that a mark may be changed by attack and purifier; marks differ by 20
GIVES_UP = 120  # seconds without a message


class Failure(Exception):
    """What a visitor did not get."""


class Visitor:
    """``config`` is what the server says at ``/config``."""

    def __init__(self, number: int, http: httpx2.AsyncClient, config: dict) -> None:
        self.http, self.session, self.pause = http, uuid.uuid4().hex, 0.0  # seconds that it reads each message
        self.mark = np.array([20 + 20 * (number % 10), 20 + 20 * (number // 10 % 10), 20 + 20 * (number // 100 % 10)])
        self.functions = {d["api_name"]: d for d in config["dependencies"] if d["queue"]}
        self.values = {c["id"]: c["props"].get("value") for c in config["components"]}
        self.shown = 0  # pictures that came back

    async def be_here(self) -> None:
        """What tells the server that the tab is open; with its end all of the visitor's goes."""
        async with self.http.stream("GET", f"{API}/heartbeat/{self.session}", timeout=None) as beat:
            async for _ in beat.aiter_raw():
                pass

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

    async def ask(self, name: str, given: Sequence = (), leaves: bool = False) -> dict:
        """The last answer, or the first where the visitor ``leaves``; ``given`` come before the values at the start."""
        function, data = self.functions[name], [*given, *self.inputs(name)[len(given) :]]
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
                await self.check(name, message)
            if kind == "process_completed" or leaves and kind == "process_generating":
                return message["output"]
        raise Failure(f"{name}: the stream ended")

    async def messages(self) -> AsyncIterator[dict]:
        """What the server sends."""
        query = {"session_hash": self.session}
        async with self.http.stream("GET", f"{API}/queue/data", params=query, timeout=GIVES_UP) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))
                    await asyncio.sleep(self.pause)

    async def check(self, name: str, message: dict) -> None:
        """Every picture that comes back has the visitor's mark."""
        found = [(card, base64.b64decode(data)) for card, data in CARDS.findall(json.dumps(message))]
        for value in message["output"].get("data", []):
            if isinstance(value, dict) and "path" in value:  # a program's
                file = await self.http.get(f"{API}/file={value['path']}")
                found.append(("file's", file.raise_for_status().content))
        for kind, data in found:
            pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), dtype=float)
            inner = pixels[MARK // 4 : MARK * 3 // 4, MARK // 4 : MARK * 3 // 4].mean(axis=(0, 1))
            if np.abs(inner - self.mark).max() > APART:
                raise Failure(f"{name}: the {kind} picture is another's")
            self.shown += 1
