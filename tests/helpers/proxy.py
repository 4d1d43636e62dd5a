"""A reverse proxy that serves another server below a path of its own, as nginx and Caddy do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

HOP = ("host", "connection", "transfer-encoding", "content-length")
METHODS = ["GET", "POST", "DELETE", "OPTIONS"]


@contextmanager
def below(path: str, server: str) -> Iterator[str]:
    """The address at which ``server`` is found below ``path``; anything else is not there."""
    client = httpx2.AsyncClient(base_url=server, timeout=60)

    async def forward(request: Request) -> StreamingResponse:
        headers = {name: value for name, value in request.headers.items() if name not in HOP}
        told = {"x-forwarded-host": request.headers["host"], "x-forwarded-proto": "http"}
        url = httpx2.URL(path=f"/{request.path_params['rest']}", query=request.url.query.encode())
        asked = client.build_request(request.method, url, headers=headers | told, content=await request.body())
        answer = await client.send(asked, stream=True)
        kept = {name: value for name, value in answer.headers.items() if name not in HOP}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=BackgroundTask(answer.aclose))

    app = Starlette(routes=[Route(f"{path}/{{rest:path}}", forward, methods=METHODS)])
    proxy = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=proxy.run)
    thread.start()
    try:
        while not proxy.started:
            thread.join(0.01)
        yield f"http://127.0.0.1:{proxy.servers[0].sockets[0].getsockname()[1]}{path}/"
    finally:
        proxy.should_exit = True
        thread.join()
