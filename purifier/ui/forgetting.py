"""When what the server keeps of a visitor goes: on request, with the page closed, and unused for a while.

Gradio keeps all that a visitor's page shows, not only its gr.State, until many others have come.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import gradio as gr
from fastapi import FastAPI
from gradio.state_holder import SessionState

from purifier.ui.components import QUIET, label
from purifier.ui.course import Course
from purifier.ui.folder import tidy
from purifier.ui.memory import give_back
from purifier.ui.observed import LOG
from purifier.ui.session import Session

IDLE = 9 * 60  # seconds
LOOK = 20  # seconds between two looks at what is idle; together less than the ten minutes that are promised


def add_forgetting(page: gr.Blocks) -> None:
    """Add the button to the page that is being built, after which it begins anew."""

    def gone(request: gr.Request) -> None:
        forget(page, request.session_hash)

    page.unload(gone)
    asked = gr.Button(label("Delete my pictures"), size="sm", elem_classes="lp-forget").click(gone, None, None, **QUIET)
    asked.then(None, None, None, js="() => location.reload()", api_visibility="private")


def forget(page: gr.Blocks, visitor: str) -> None:
    """Drop all that is kept of the visitor with this session hash, and the uploaded file."""
    page.state_holder.time_last_used.pop(visitor, None)
    kept = page.state_holder.session_data.pop(visitor, None)
    for value in () if kept is None else kept.state_data.values():
        if isinstance(value, Session) and value.upload is not None:
            value.upload.unlink(missing_ok=True)


def forget_idle(page: gr.Blocks) -> None:
    """``forget`` all who asked for nothing in the last ``IDLE`` seconds, but for what they predicted in lessons."""
    now = time.time()
    for visitor, used in list(page.state_holder.time_last_used.items()):
        if now - used.timestamp() > IDLE:
            kept = page.state_holder.session_data.get(visitor)
            forget(page, visitor)
            found = {} if kept is None else {k: v for k, v in kept.state_data.items() if isinstance(v, Course)}
            if found:
                page.state_holder.session_data[visitor] = SessionState(page)
                page.state_holder.session_data[visitor].state_data.update(found)


@asynccontextmanager
async def forgetting(app: FastAPI) -> AsyncIterator[None]:
    """While the server runs, ``forget_idle`` and ``tidy`` every ``LOOK`` seconds, and give back the memory."""

    async def look() -> None:
        while True:
            await asyncio.sleep(LOOK)
            try:
                forget_idle(app.get_blocks())
                await asyncio.to_thread(tidy, IDLE)
                await asyncio.to_thread(give_back)  # so that nobody's answer waits for it
            except Exception:  # what fails now must not end all looking
                LOG.exception("looking for what is idle failed")

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()
