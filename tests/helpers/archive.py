"""A server that answers as the ISIC Archive does."""

import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from purifier.pictures import isic_archive
from tests.helpers.pictures import lesion_like

ID = "ISIC_0024306"


def png() -> bytes:
    file = io.BytesIO()
    lesion_like(0).save(file, "PNG")
    return file.getvalue()


class Archive:
    """A server on loopback that answers as the ISIC Archive does. ``answers[path]`` replaces what it would say."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.seconds, self.pause, archive = 0.0, 0.0, self  # before an answer; between its bytes

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                archive.requests.append((self.path, dict(self.headers)))
                time.sleep(archive.seconds)
                status, headers, body = archive.answers.get(self.path, (404, {}, b'{"detail": "Not Found"}'))
                try:
                    self.send_response(status)
                    for name, value in {"Set-Cookie": "visitor=1", **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    for i in range(len(body)) if archive.pause else ():
                        self.wfile.write(body[i : i + 1])
                        time.sleep(archive.pause)
                    self.wfile.write(b"" if archive.pause else body)
                except OSError:  # the client has left
                    pass

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.answers["/full/picture.png?signature=abc"] = 200, {"Content-Type": "image/png"}, png()
        self.say(**self.about())
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def about(self, **changes) -> dict:
        """The shape of the API's answer."""
        files = {
            "full": {"url": f"{self.url}/full/picture.png?signature=abc", "size": len(png())},
            "thumbnail_256": {"url": f"{self.url}/thumbnail.jpg", "size": 1},
        }
        clinical = {
            "age_approx": 45,
            "diagnosis_1": "Benign",
            "diagnosis_2": "Benign proliferations",
            "diagnosis_3": "Nevus",
        }
        return (
            dict(
                isic_id=ID,
                copyright_license="CC-BY-NC",
                attribution="ViDIR Group",
                public=True,
                files=files,
                metadata={"acquisition": {"pixels_x": 96, "pixels_y": 96}, "clinical": clinical},
            )
            | changes
        )

    def say(self, status: int = 200, **about) -> None:
        self.answers[f"/api/v2/images/{ID}/"] = status, {"Content-Type": "application/json"}, json.dumps(about).encode()

    def keep_at(self, url: str) -> None:
        self.say(**self.about(files={"full": {"url": url, "size": 1}}))

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def archive(monkeypatch):
    archive = Archive()
    monkeypatch.setenv("PURIFIER_ISIC_ARCHIVE", f"{archive.url}/")
    monkeypatch.delenv("PURIFIER_OFFLINE", raising=False)
    monkeypatch.setattr(isic_archive, "_looks", {})
    yield archive
    archive.close()
