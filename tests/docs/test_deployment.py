"""What is uploaded, locked and built from the repository."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from gradio_client import Client, handle_file
from packaging.requirements import Requirement

from tests.helpers.hub import Hub
from tests.helpers.paths import ROOT
from tests.helpers.pictures import lesion_like
from tests.helpers.server import start_app

BIN = Path(sys.executable).parent
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
CPU = (ROOT / "requirements-cpu.txt").read_text(encoding="utf-8")


def requirements(text):
    lines = (line.split("#")[0].split("--hash")[0].strip(" \\") for line in text.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def test_what_the_page_needs_is_locked_within_its_bounds():
    locked = {}
    for found in requirements(LOCK) + requirements(CPU):
        (pin,) = found.specifier
        assert pin.operator == "=="
        locked.setdefault(found.name, []).append(pin.version)
    needed = requirements((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    assert len(needed) > 20
    assert [str(r) for r in needed if not all(v in r.specifier for v in locked.get(r.name, ["0"]))] == []
    assert {found.name for found in requirements(CPU)} == {"torch", "torchvision"}


def test_the_lock_has_hashes_and_neither_cuda_nor_an_address():
    for entry in re.split(r"\n(?=\S)", LOCK.strip()):
        assert re.search(r"^[\w.-]+==[^ ]+ (;.* )?\\\n    --hash=sha256:[0-9a-f]{64}", entry), entry[:80]
    assert not re.search(r"nvidia|cuda|triton|https?:|index", LOCK)


def test_the_image_holds_what_the_page_needs_and_no_more():
    docker = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = {name for line in re.findall(r"^COPY (?!--)(.*) \S+$", docker, re.MULTILINE) for name in line.split()}
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    assert copied == kept and all((ROOT / name).exists() for name in copied)
    assert re.search(r"^USER \d+:\d+$", docker, re.MULTILINE) and "HEALTHCHECK" in docker
    page = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))["services"]["page"]
    assert page["read_only"] and page["cap_drop"] == ["ALL"] and "ports" not in page


@pytest.fixture
def committed():
    if shutil.which("make") is None or not (ROOT / ".git").exists():
        pytest.skip("needs make and the repository")
    listed = subprocess.run(
        ["git", "ls-tree", "-rz", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split("\0")) - {""}


def test_a_space_is_uploaded_as_it_is_committed(committed, tmp_path):
    with Hub({}, writers={"hf_writer": "owner"}, storage=tmp_path / "storage") as hub:
        quiet = dict(HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
        environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_writer", **quiet}
        make = ["make", "-o", ".venv/.run", "space", "SPACE=owner/lesions", f"BIN={BIN}"]
        run = subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert hub.spaces == {"owner/lesions": "gradio"}
        folder = hub.repositories["owner/lesions"]["main"]
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    wanted = ("README.md", "LICENSE", "app.py", "packages.txt", "requirements.txt", "assets/", "docs/", "purifier/")
    assert there == {name for name in committed if name.startswith(wanted)}
    weights = "assets/models/augmented/model.safetensors"
    assert (folder / weights).read_bytes() == (ROOT / weights).read_bytes()


@pytest.mark.skipif("FRESH" not in os.environ, reason="installs PyTorch once more, for minutes: set FRESH")
def test_the_page_runs_where_only_its_requirements_are(tmp_path, monkeypatch):
    """On the Python that runs the tests; of its packages nothing is seen."""
    needed = 12e9  # bytes, with PyTorch's CUDA build
    if shutil.disk_usage(tmp_path).free < needed:
        pytest.skip(f"needs {needed / 1e9:.0f} GB of disk")
    environment = tmp_path / "environment"
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    try:
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", ROOT / "requirements.txt"], check=True)
        monkeypatch.delenv("PYTHONPATH", raising=False)
        monkeypatch.setattr(sys, "executable", str(python))
        server, _ = start_app(tmp_path / "log")
        try:
            log = (tmp_path / "log").read_text(encoding="utf-8")
            client = Client(re.search(r"http://\S+?:\d+", log)[0], verbose=False)
            lesion_like(0).save(tmp_path / "lesion.png")
            attacked, _ = client.predict(handle_file(tmp_path / "lesion.png"), steps=2, api_name="/attack")
            clean, reading = client.predict(handle_file(attacked), draws=1, api_name="/purify")
            assert reading["draws"] == 1 and Path(clean).stat().st_size > 0
            assert client.predict(handle_file(clean), api_name="/classify")["diagnosis"]
        finally:
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(environment, ignore_errors=True)
