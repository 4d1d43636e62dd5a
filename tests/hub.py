"""A server on loopback that speaks the Hugging Face Hub's protocol for downloads, from folders on disk."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit


class Hub:
    """``repositories[name][revision]`` is a folder; every folder also answers to its commit. Use it in a with-block."""

    def __init__(self, repositories: dict[str, dict[str, Path]], gated: tuple[str, ...] = ()) -> None:
        self.repositories, self.gated, self.requests = repositories, gated, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.requests.append(self.path)
                self.answer(*hub.answer(urlsplit(self.path).path))

            do_HEAD = do_GET

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"] and len(parts) >= 4:
            name, kind, revision = "/".join(parts[2:4]), (parts[4:] or ["info"])[0], (parts[5:] or ["main"])[0]
        elif len(parts) >= 5 and parts[2] == "resolve":
            name, kind, revision = "/".join(parts[:2]), "file", parts[3]
        else:
            return error(404, "EntryNotFound")
        if name not in self.repositories:
            return error(404, "RepoNotFound")
        if name in self.gated and kind == "file":
            return error(403, "GatedRepo")
        folder = self.folder(name, revision)
        if folder is None:
            return error(404, "RevisionNotFound")
        files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
        if kind == "file":
            return self.file(folder, "/".join(parts[4:]), files)
        if kind == "tree":
            return as_json([entry(folder / file, file) for file in files])
        siblings = [{"rfilename": file} for file in files]
        return as_json({
            "id": name, "modelId": name, "sha": commit(folder), "siblings": siblings, "private": False,
            "gated": "manual" if name in self.gated else False, "disabled": False, "downloads": 0, "likes": 0,
            "tags": [],
        })  # fmt: skip

    def folder(self, name: str, revision: str) -> Path | None:
        revisions = self.repositories[name]
        by_commit = {commit(folder): folder for folder in revisions.values()}
        return revisions.get(revision) or by_commit.get(revision)

    def file(self, folder: Path, file: str, files: list[str]) -> tuple[int, dict[str, str], bytes]:
        if file not in files:
            return error(404, "EntryNotFound", {"X-Repo-Commit": commit(folder)})
        body = (folder / file).read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": commit(folder), "Content-Type": "application/octet-stream"}, body


def commit(folder: Path) -> str:
    """A stand-in for a commit: 40 hexadecimal digits that depend on the folder's name."""
    return hashlib.sha1(folder.name.encode()).hexdigest()


def entry(path: Path, name: str) -> dict:
    body = path.read_bytes()
    return {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}


def as_json(value: object) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/json"}, json.dumps(value).encode()


def error(status: int, code: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    return status, {"X-Error-Code": code, "X-Error-Message": code, **(headers or {})}, b""
