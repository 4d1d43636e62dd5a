"""A server on loopback that speaks the Hugging Face Hub's protocol, from and to folders on disk, and a client of it."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

KINDS = (["models"], ["spaces"])  # of repositories, in the paths of the API
GB = 1_000_000_000  # bytes
ZEROS = bytes(1_000_000)
Fault = Callable[[BaseHTTPRequestHandler, int, dict[str, str], bytes], None]


class Hub:
    """``repositories[name][revision]`` is a folder; every folder also answers to its commit. Use it in a with-block.

    ``writers`` are tokens and what owner's repositories each may write; uploads go to folders in ``storage``.
    """

    def __init__(
        self,
        repositories: dict[str, dict[str, Path]],
        gated: tuple[str, ...] = (),
        writers: dict[str, str] | None = None,
        storage: Path | None = None,
    ) -> None:
        self.repositories, self.gated, self.requests, self.tokens = repositories, gated, [], set()
        self.writers, self.storage, self.private = writers or {}, storage, set()
        self.spaces: dict[str, str] = {}  # repositories that are Spaces, with their SDK
        self.said: dict[str, int] = {}  # files whose size is another than the Hub says
        self.large: dict[str, bytes] = {}  # what was uploaded by the protocol for large files, by SHA-256
        self.faults: dict[str, Fault] = {}  # how requests are answered with this in their path
        self.ended = threading.Event()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                hub.requests.append(self.path)
                hub.tokens.add(self.token())
                self.answer(*hub.answer(urlsplit(self.path).path, self.token()))

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.answer(*hub.write(urlsplit(self.path).path, body, self.token()))

            do_HEAD, do_PUT = do_GET, do_POST

            def token(self) -> str:
                return self.headers.get("Authorization", "").removeprefix("Bearer ")

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                fault = next((fault for part, fault in hub.faults.items() if part in self.path), Handler.send)
                try:
                    fault(self, status, headers, body)
                except ConnectionError:  # the client has left
                    self.close_connection = True

            def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
                _begin(self, status, headers, len(body))
                if self.command != "HEAD":
                    self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.ended = self.ended
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Hub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], bytes]:
        parts = path.strip("/").split("/")
        if parts[0] == "api" and parts[1:2] in KINDS and len(parts) >= 4:
            name, kind, revision = "/".join(parts[2:4]), (parts[4:] or ["info"])[0], (parts[5:] or ["main"])[0]
        elif len(parts) >= 5 and parts[2] == "resolve":
            name, kind, revision = "/".join(parts[:2]), "file", parts[3]
        else:
            return error(404, "EntryNotFound")
        if name not in self.repositories or (name in self.private and token not in self.writers):
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
        return as_json(
            {
                "id": name,
                "modelId": name,
                "sha": commit(folder),
                "siblings": siblings,
                "private": name in self.private,
                "gated": "manual" if name in self.gated else False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": [],
            }
        )

    def write(self, path: str, body: bytes, token: str) -> tuple[int, dict[str, str], bytes]:
        """The requests of an upload, in the order in which the client makes them."""
        parts = path.strip("/").split("/")
        if parts[0] == "large":
            self.large[parts[1]] = body
            return as_json({})
        if parts[1] == "validate-yaml":
            return as_json({"warnings": [], "errors": []})
        request = {} if parts[-2] == "commit" else json.loads(body)
        if parts[1:] == ["repos", "create"]:
            name = f"{request['organization']}/{request['name']}"
        elif parts[0] == "api" and parts[1:2] in KINDS:
            name = "/".join(parts[2:4])
        else:
            name = "/".join(parts[parts[0] == "spaces" :][:2]).removesuffix(".git")
        if token not in self.writers:
            return error(401, "")
        if self.writers[token] != name.split("/")[0]:
            return error(403, "", message="You don't have the rights to write")
        if parts[1:] == ["repos", "create"]:
            self.spaces |= {name: request["sdk"]} if request.get("type") == "space" else {}
            return self.create(name, request.get("visibility") == "private")
        if parts[-1] == "batch":
            return as_json({"objects": [self.upload_action(entry) for entry in request["objects"]]})
        if parts[4] == "branch":
            revisions = self.repositories[name]
            status = 409 if parts[5] in revisions else 200
            revisions.setdefault(parts[5], revisions["main"])
            return as_json({}, status)
        if parts[4] == "preupload":
            return as_json({"files": [upload_mode(entry) for entry in request["files"]]})
        return self.commit(name, parts[5], [json.loads(line) for line in body.splitlines()])

    def create(self, name: str, private: bool) -> tuple[int, dict[str, str], bytes]:
        exists = name in self.repositories
        if not exists:
            empty = self.storage / f"{name.replace('/', '-')}-0"
            empty.mkdir(parents=True)
            self.repositories[name] = {"main": empty}
            self.private |= {name} if private else set()
        return as_json({"url": f"{self.url}/{name}"}, 409 if exists else 200)

    def upload_action(self, entry: dict) -> dict:
        return {**entry, "actions": {"upload": {"href": f"{self.url}/large/{entry['oid']}"}}}

    def commit(self, name: str, revision: str, lines: list[dict]) -> tuple[int, dict[str, str], bytes]:
        """A new folder with the last one's files and the new ones."""
        revisions = self.repositories[name]
        folder = self.storage / f"{name.replace('/', '-')}-{len(revisions)}"
        shutil.copytree(revisions[revision], folder)
        for line in lines:
            value = line["value"]
            if "path" in value:
                (folder / value["path"]).parent.mkdir(parents=True, exist_ok=True)
            if line["key"] == "file":
                (folder / value["path"]).write_bytes(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                (folder / value["path"]).write_bytes(self.large[value["oid"]])
        revisions[revision] = revisions[commit(folder)] = folder
        return as_json({"commitUrl": f"{self.url}/{name}/commit/{commit(folder)}", "commitOid": commit(folder)})

    def folder(self, name: str, revision: str) -> Path | None:
        revisions = self.repositories[name]
        by_commit = {commit(folder): folder for folder in revisions.values()}
        return revisions.get(revision) or by_commit.get(revision)

    def file(self, folder: Path, file: str, files: list[str]) -> tuple[int, dict[str, str], bytes]:
        if file not in files:
            return error(404, "EntryNotFound", {"X-Repo-Commit": commit(folder)})
        body = (folder / file).read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        said = {"X-Linked-Size": str(self.said[file])} if file in self.said else {}
        headers = {"ETag": etag, "X-Repo-Commit": commit(folder), "Content-Type": "application/octet-stream"}
        return 200, {**headers, **said}, body


# What may go wrong with an answer: ``Fault``s.


def silent(handler, status, headers, body):
    """Takes the request, and answers nothing."""
    handler.server.ended.wait()


def held(until):
    """Waits with the answer for an event."""

    def fault(handler, status, headers, body):
        until.wait()
        handler.send(status, headers, body)

    return fault


def stuck(handler, status, headers, body):
    """Sends the half, and nothing more."""
    _send_half(handler, status, headers, body)
    if handler.command != "HEAD":
        handler.server.ended.wait()


def broken_off(handler, status, headers, body):
    """Sends the half and hangs up, however often it is asked."""
    _send_half(handler, status, headers, body)
    handler.close_connection = handler.command != "HEAD"


def slow(handler, status, headers, body):
    """A byte, and after a while another."""
    _begin(handler, status, headers, len(body))
    for i in range(0 if handler.command == "HEAD" else len(body)):
        handler.wfile.write(body[i : i + 1])
        if handler.server.ended.wait(0.1):
            return


def endless(handler, status, headers, body):
    """Says no size, and sends 5 GB."""
    _begin(handler, status, headers, None)
    handler.close_connection = handler.command != "HEAD"
    for _ in range(0 if handler.command == "HEAD" else 5 * GB // len(ZEROS)):
        handler.wfile.write(ZEROS)


def portal(handler, status, headers, body):
    """What a network says that wants a login first."""
    handler.send(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><title>Welcome to the guests' network</title>")


def busy(handler, status, headers, body):
    """Asks to be asked again in an hour."""
    handler.send(429, {"Retry-After": "3600", "RateLimit": '"api";r=0;t=3600'}, b"")


def with_body(other):
    """Has the file's headers, and the body that ``other`` makes of its own."""

    def fault(handler, status, headers, body):
        handler.send(status, headers, body if handler.command == "HEAD" else other(body))

    return fault


def redirected(server):
    """Sends to the same path at another server."""

    def fault(handler, status, headers, body):
        handler.send(302, {**headers, "Location": server + handler.path}, b"")

    return fault


def _begin(handler, status, headers, size):
    handler.send_response(status)
    for name, value in {**headers, **({} if size is None else {"Content-Length": str(size)})}.items():
        handler.send_header(name, value)
    handler.end_headers()


def _send_half(handler, status, headers, body):
    _begin(handler, status, headers, len(body))
    if handler.command != "HEAD":
        handler.wfile.write(body[: len(body) // 2])


def commit(folder: Path) -> str:
    """A stand-in for a commit: 40 hexadecimal digits that depend on the folder's name."""
    return hashlib.sha1(folder.name.encode()).hexdigest()


def entry(path: Path, name: str) -> dict:
    body = path.read_bytes()
    return {"type": "file", "path": name, "size": len(body), "oid": hashlib.sha1(body).hexdigest()}


def upload_mode(entry: dict) -> dict:
    mode = "lfs" if entry["path"].endswith(".safetensors") else "regular"
    return {"path": entry["path"], "uploadMode": mode, "shouldIgnore": False}


def as_json(value: object, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json"}, json.dumps(value).encode()


def error(
    status: int, code: str, headers: dict[str, str] | None = None, message: str = ""
) -> tuple[int, dict[str, str], bytes]:
    return status, {"X-Error-Code": code, "X-Error-Message": message or code, **(headers or {})}, b""


# Runs what it reads, a line each, and answers with a line each.
CLIENT = """
import contextlib, io, json, os, sys

answers, sys.stdout = sys.stdout, sys.stderr


def load(name):
    from purifier.classifiers.classifier import load_classifier

    seen = []
    classifier = load_classifier(name, lambda *progress: seen.append(progress))
    total = sum(p.double().sum().item() for p in classifier.parameters())
    return dict(source=classifier.source, labels=classifier.labels, sum=total, progress=seen)


def page(name):
    from purifier.ui.actions import change_classifier
    from purifier.ui.session import Session

    return [update.status for update in change_classifier(name, Session())]


def generator(name):
    from purifier.training.drawing import trained
    from purifier.training.generator import Generator

    return sum(p.double().sum().item() for p in trained(Generator, name).parameters())


def command(*arguments):
    from purifier.cli.main import main

    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(list(arguments))
    return dict(code=code, out=out.getvalue(), err=err.getvalue())


for line in sys.stdin:
    what, arguments, environment = json.loads(line)
    os.environ.update(environment)
    try:
        row = globals()[what](*arguments)
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "purifier.texts"]
        row = dict(error=kinds[0], message=str(error))
    print(json.dumps(row), file=answers, flush=True)
"""


class Client:
    """The package with the real client of the Hub, in a process of its own: that reads HF_ENDPOINT when imported.

    ``client("load", name)``, ``client("generator", name)``, ``client("page", name)`` and ``client("command", "publish",
    ...)``; the keywords are environment variables, which stay.
    """

    def __init__(self, url: str, home: Path) -> None:
        environment = dict(HF_ENDPOINT=url, HF_HOME=str(home), HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1")
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENT],
            env={**os.environ, **environment},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_) -> None:
        self.process.communicate()

    def __call__(self, what: str, *arguments: str, **environment: str) -> dict | list:
        self.process.stdin.write(json.dumps([what, arguments, environment]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())
