"""What the server keeps of visitors goes, stays in one folder, and says nothing of them or of itself."""

import gc
import io
import re
import signal
import time
import zipfile
from pathlib import Path

import gradio as gr
import httpx2
import pytest
import torch
from gradio_client import Client, handle_file
from PIL import Image

from purifier import texts
from purifier.classifiers.classifier import load_classifier
from purifier.pictures.files import quantise, read_image, to_png
from purifier.reports import stages_zip
from purifier.texts import NotFound, UserError
from purifier.ui import forgetting
from purifier.ui.actions import choose
from purifier.ui.course import Course
from purifier.ui.folder import NAME, prepare
from purifier.ui.page import build_page
from purifier.ui.session import Session
from purifier.ui.status import words_of
from tests.helpers.browser import card
from tests.helpers.corpus import exif, icc, written
from tests.helpers.paths import ROOT
from tests.helpers.pictures import lesion_like
from tests.helpers.server import serving, start_app
from tests.helpers.texts import modules, texts_in

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own threads and sockets
OF_MEMORY = {"IHDR", "IDAT", "IEND"}  # the chunks that a PNG needs
ERRORS = [name for name, kind in vars(texts).items() if isinstance(kind, type) and issubclass(kind, texts.Worded)]
SAID = sorted({text for path in modules() for text in texts_in(path, dict.fromkeys(ERRORS, 0))})


@pytest.fixture(scope="module")
def page():
    demo = build_page()
    with serving(demo) as url:
        yield demo, url


@pytest.fixture
def own(tmp_path) -> Path:
    """A photograph that says whose it is and where it was taken."""
    path = tmp_path / "Erika Mustermann.jpg"
    path.write_bytes(written("JPEG", lesion_like(0), exif=exif(), icc_profile=icc(), comment=b"Erika Mustermann"))
    return path


def visit(demo, visitor: str, path: Path) -> None:
    """As an event of the page leaves the state of a visitor who chose a picture."""
    state = demo.state_holder[visitor]
    (session,) = (key for key, block in demo.blocks.items() if isinstance(getattr(block, "value", None), Session))
    state[session] = choose(str(path), state[session]).session


def eventually(holds, seconds: float = 20) -> bool:
    until = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.05)
    return held


def test_one_visitor_is_forgotten_and_no_other(page, own, tmp_path):
    demo, other = page[0], tmp_path / "other.png"
    lesion_like(1).save(other)
    visit(demo, "one", own)
    visit(demo, "two", other)
    forgetting.forget(demo, "one")
    assert "one" not in demo.state_holder and not own.exists()
    assert "two" in demo.state_holder and other.exists()
    forgetting.forget(demo, "nobody")


def test_who_closes_the_page_is_forgotten(page, own):
    demo, url = page
    visit(demo, "leaves", own)
    with httpx2.stream("GET", f"{url}gradio_api/heartbeat/leaves", timeout=30) as beat:
        assert next(beat.iter_text()).startswith("data: ALIVE")
        assert "leaves" in demo.state_holder
    assert eventually(lambda: not own.exists())
    kept = demo.state_holder.session_data.get("leaves")
    assert kept is None or not kept.state_data


def test_who_asks_for_nothing_is_forgotten(own, tmp_path, monkeypatch):
    monkeypatch.setattr(forgetting, "LOOK", 0.2)
    monkeypatch.setattr(forgetting, "IDLE", 1.5)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "temp"))
    prepare()
    left = tmp_path / "temp" / NAME / "hash" / "lesion.png"  # by a server that was killed
    left.parent.mkdir()
    left.touch()
    demo = build_page()
    with serving(demo):
        visit(demo, "idle", own)
        until = time.monotonic() + 3
        while time.monotonic() < until:
            demo.state_holder["busy"]
            assert "busy" in demo.state_holder
            time.sleep(0.2)
        assert eventually(lambda: "idle" not in demo.state_holder) and not own.exists()
        assert eventually(lambda: not left.exists())


def test_looking_goes_on_after_it_failed(own, monkeypatch, caplog):
    monkeypatch.setattr(forgetting, "LOOK", 0.05)
    monkeypatch.setattr(forgetting, "IDLE", -1)
    failing = [OSError("read-only"), RuntimeError("anything")]

    def tidied(idle):
        if failing:
            raise failing.pop()

    monkeypatch.setattr(forgetting, "tidy", tidied)
    demo = build_page()
    with serving(demo):
        assert eventually(lambda: not failing)
        visit(demo, "idle", own)
        assert eventually(lambda: "idle" not in demo.state_holder)
    assert caplog.text.count("looking for what is idle failed") == 2


def test_what_a_class_predicted_is_kept_while_it_talks(page, own, monkeypatch):
    demo = page[0]
    visit(demo, "class", own)
    course = Course().predict(0, 1)
    ids = {type(block.value): key for key, block in demo.blocks.items() if isinstance(block, gr.State)}
    demo.state_holder["class"][ids[Course]] = course
    monkeypatch.setattr(forgetting, "IDLE", -1)
    forgetting.forget_idle(demo)
    assert demo.state_holder.session_data["class"].state_data == {ids[Course]: course}
    assert not own.exists() and demo.state_holder["class"][ids[Session]].original is None
    forgetting.forget(demo, "class")
    assert "class" not in demo.state_holder


def test_ten_minutes_are_kept():
    assert forgetting.IDLE + 2 * forgetting.LOOK <= 600
    demo = build_page()
    frequency, age = demo.delete_cache  # of files
    assert frequency + age <= 600


def test_another_picture_takes_the_place_of_the_last_one(own, tmp_path):
    other = tmp_path / "other.png"
    lesion_like(1).save(other)
    session = choose(str(own), Session()).session
    assert own.exists() and session.upload == own
    session = choose(str(other), session).session
    assert not own.exists() and other.exists() and session.upload == other
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    choose(str(bad), session)
    assert other.exists()


def in_memory(folder: Path) -> bool:
    """Whether a picture that was uploaded into the folder is still anywhere in this process."""
    gc.collect()
    found = (thing.upload for thing in gc.get_objects() if isinstance(thing, Session))
    return any(upload is not None and upload.is_relative_to(folder) for upload in found)


def test_the_button_forgets_and_begins_anew(browser, own, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "temp"))
    demo = build_page()
    with serving(demo) as url:
        page = browser.new_page()
        page.goto(url)
        page.get_by_text("An example that purification restores").wait_for(timeout=120_000)
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose a picture").click()
        chooser.value.set_files(own)
        page.get_by_text("This is what the classifier reads.").wait_for()

        def uploaded():
            return [path for path in (tmp_path / "temp").rglob("*") if path.is_file() and "Erika" in path.name]

        assert len(uploaded()) == 1 and in_memory(tmp_path)
        before = set(demo.state_holder.session_data)
        page.get_by_role("button", name="Delete my pictures").click()
        page.get_by_text("An example that purification restores").wait_for(timeout=120_000)
        assert card(page, "Original").is_visible()
        assert not uploaded()
        assert not before & {name for name, kept in demo.state_holder.session_data.items() if kept.state_data}
        assert eventually(lambda: not in_memory(tmp_path))
        page.close()


def chunks(png: bytes) -> set[str]:
    found, place = set(), 8
    while place < len(png):
        found.add(png[place + 4 : place + 8].decode())
        place += 12 + int.from_bytes(png[place : place + 4])
    return found


def test_what_is_given_back_has_no_metadata(page, own, tmp_path):
    client = Client(page[1], verbose=False, download_files=tmp_path)
    attacked, _ = client.predict(handle_file(own), steps=1, api_name="/attack")
    clean, _ = client.predict(handle_file(own), draws=1, api_name="/purify")
    for path in map(Path, (attacked, clean)):
        assert chunks(path.read_bytes()) == OF_MEMORY and not Image.open(path).info
        assert "Erika" not in path.name
    session = choose(str(own), Session()).session
    done = stages_zip(session.run, load_classifier())
    with zipfile.ZipFile(io.BytesIO(done)) as opened:
        pngs = [opened.read(name) for name in opened.namelist() if name.endswith(".png")]
        assert pngs and all(chunks(png) == OF_MEMORY for png in pngs)
        assert not any(b"Erika" in opened.read(name) or "Erika" in name for name in opened.namelist())
    assert chunks(to_png(quantise(read_image(own)))) == OF_MEMORY


def files_in(folder: Path) -> set[str]:
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in found if not {"__pycache__", ".git", ".pytest_cache"} & set(path.parts)}


def test_files_lie_in_one_folder_and_go_with_the_server(tmp_path, own, monkeypatch):
    home, temp = tmp_path / "home", tmp_path / "temp"
    home.mkdir()
    temp.mkdir()
    for name, value in dict(HOME=home, TMPDIR=temp, PYTHONDONTWRITEBYTECODE=1).items():
        monkeypatch.setenv(name, str(value))
    for name in ("GRADIO_TEMP_DIR", "XDG_CACHE_HOME", "HF_HOME", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)
    before = files_in(ROOT)
    server, body = start_app(tmp_path / "log")
    url = re.search(r'"root":"([^"]+)"', body)[1]
    try:
        client = Client(url, verbose=False, download_files=tmp_path / "downloads")
        client.predict(handle_file(own), steps=1, api_name="/attack")
        assert any("Erika" in name for name in files_in(temp))
        assert all(name.startswith("lesion-purifier/") for name in files_in(temp))
        assert files_in(ROOT) == before
        assert all(name.startswith(".cache/matplotlib/") for name in files_in(home))  # its list of the fonts
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=90)
    assert not files_in(temp)


class Anything(str):
    """A value for any place in a text."""

    def __format__(self, spec: str) -> str:
        return str(self)


@pytest.mark.parametrize("template", SAID)
def test_no_message_has_a_path_in_it(template):
    secret = Anything("/srv/clinic-of-Doe/uploads/x.png")
    told = words_of(UserError(template, **dict.fromkeys(re.findall(r"{(\w+)", template), secret)))
    assert "srv" not in told and "clinic" not in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "No such file or directory", "/srv/secret/x.png"), "could not open a file"),
        (PermissionError(13, "Permission denied", "/srv/secret"), "could not open a file"),
        (ConnectionError("db.internal:5432 refused"), "could not open a file"),
        (NotFound("There is no picture at {path}.", path=Path("/srv/secret/x.png")), "There is no picture at x.png."),
        (ValueError("/srv/secret/x.zip is no zip archive."), "x.zip is no zip archive."),
        (ValueError(r"C:\Users\secret\x.zip is no zip archive."), "x.zip is no zip archive."),
        (UserError("This server does not load {name}.", name="owner/name@main"), "owner/name@main"),
        (UserError("See {page}.", page="https://huggingface.co/owner/secrets"), "https://huggingface.co/owner/secrets"),
    ],
)
def test_an_error_names_no_folder_and_no_machine(error, told):
    assert told in words_of(error)
    assert not re.search(r"secret\b|internal", words_of(error))


def test_a_file_that_is_gone_is_said_without_its_folder(page, own):
    update = choose(str(own.parent / "gone" / "gone.png"), Session())
    assert "There is no picture at gone.png." in update.status and str(own.parent) not in update.status
    assert torch.is_tensor(choose(str(own), Session()).session.original)
