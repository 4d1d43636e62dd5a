"""What visitors and programs are told when the server dies, its disk is full or cannot be written to, or the Hub is
slow; that nobody else waits for it; and that all works again afterwards."""

import asyncio
import json
import signal
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest
from gradio_client import Client, handle_file

from purifier.cli.main import main
from purifier.ui import folder
from tests.helpers.browser import choose_example, press
from tests.helpers.classifiers import save_small
from tests.helpers.disks import disk, full, read_only
from tests.helpers.hub import Hub, held
from tests.helpers.pictures import lesion_like
from tests.helpers.server import free_port, start_app
from tests.helpers.visitor import Failure, Visitor

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own threads and sockets
LONG = 100  # seconds, on a machine that has much else to do


class Server:
    """``app.py`` in a process of its own, at the same address each time that it is started."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.log, self.environment, self.port = log, environment, free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.start()

    def start(self) -> None:
        self.process, _ = start_app(self.log, self.port, **self.environment)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def get(self, path: str) -> dict:
        return json.loads(urllib.request.urlopen(self.url + path, timeout=LONG).read())


def eventually(holds):
    until = time.monotonic() + LONG
    while not (held := holds()) and time.monotonic() < until:
        time.sleep(0.05)
    return held


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "lesion.png"
    lesion_like(0).save(path)
    return path


@pytest.fixture(scope="module")
def visit(browser):
    """Open the page in a browser of one's own, which speaks that language."""
    with ExitStack() as stack:

        def opened(url, locale):
            page = stack.enter_context(browser.new_context(locale=locale)).new_page()
            page.set_default_timeout(1000 * LONG)
            page.goto(url)
            return page

        yield opened


class Crowd:
    """Visitors who go on asking, whatever the server does; each keeps its session."""

    def __init__(self, url: str, count: int) -> None:
        self.url, self.count, self.ended, self.failures = url, count, threading.Event(), set()
        self.visitors: list[Visitor] = []
        self.thread = threading.Thread(target=lambda: asyncio.run(self.all()))
        self.thread.start()

    async def all(self) -> None:
        async with httpx2.AsyncClient(base_url=self.url, timeout=LONG) as http:
            config = (await http.get("/config")).json()
            self.visitors = [Visitor(number, http, config) for number in range(self.count)]
            await asyncio.gather(*(self.one(visitor) for visitor in self.visitors))

    async def one(self, visitor: Visitor) -> None:
        while not self.ended.is_set():
            try:
                await visitor.ask("purify_1", leaves=True)  # what the server may have of it
                await visitor.ask("choose", [await visitor.upload()])
                await visitor.ask("attack_1", leaves=True)
                await visitor.ask("attack", [await visitor.upload()])
            except Failure as failure:
                self.failures.add(str(failure))
            except httpx2.HTTPError:  # there is no server
                await asyncio.sleep(0.2)

    def wait(self, pictures: int) -> None:
        """Until each was shown so many more."""
        assert eventually(lambda: len(self.visitors) == self.count)
        until = [visitor.shown + pictures for visitor in self.visitors]
        assert eventually(lambda: all(v.shown >= n for v, n in zip(self.visitors, until, strict=True))), self.failures

    def end(self) -> None:
        self.ended.set()
        self.thread.join()


@pytest.fixture(scope="module")
def died(tmp_path_factory, visit, file):
    """A server that was killed while it attacked for a visitor and for a program, and was started again."""
    temp = tmp_path_factory.mktemp("died")
    server = Server(temp / "log", GRADIO_TEMP_DIR=str(temp))
    client = Client(server.url, verbose=False)
    struck, idle = visit(server.url, "de-DE"), visit(server.url, "en-US")
    choose_example(idle)
    crowd = Crowd(server.url, 3)
    try:
        crowd.wait(4)
        job = client.submit(handle_file(file), steps=100, api_name="/attack")
        struck.get_by_role("button", name="Angreifen", exact=True).click()
        struck.get_by_text("Angriff: Schritt").first.wait_for()
        server.kill()
        left = [path for path in (temp / folder.NAME).rglob("*") if path.is_file()]
        struck.get_by_text("Der Server antwortet nicht.").first.wait_for()
        with pytest.raises(Exception) as error:
            job.result(timeout=LONG)
        server.start()
        crowd.wait(4)
        crowd.end()
        yield SimpleNamespace(**locals())
    finally:
        crowd.end()
        server.kill()


def test_a_page_whose_server_died_begins_anew_when_there_is_one_again(died):
    died.struck.get_by_role("group", name="Beispiele").get_by_role("button").first.click()
    died.struck.get_by_text("So beurteilt der Klassifikator das Bild.").first.wait_for()
    died.struck.get_by_role("button", name="Angreifen", exact=True).click()
    died.struck.get_by_text("fertig.").first.wait_for()


def test_a_page_that_did_not_notice_says_that_its_picture_is_gone(died):
    press(died.idle, "Purify it")
    died.idle.get_by_text("Choose a picture first. Pictures are deleted").first.wait_for()
    choose_example(died.idle)
    press(died.idle, "Attack it")
    died.idle.get_by_text("done.").first.wait_for()


def test_a_program_is_told_and_can_ask_again(died):
    assert not isinstance(died.error.value, TimeoutError)
    assert died.client.predict(handle_file(died.file), api_name="/classify")["diagnosis"]
    assert Client(died.server.url, verbose=False).predict(handle_file(died.file), api_name="/classify")["diagnosis"]


def test_nobody_is_shown_another_s_picture_after_it_either(died):
    assert died.left and not died.crowd.failures


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    net = save_small(tmp_path_factory.mktemp("net"))
    with Hub({"someone/net": {"main": net}}) as hub:
        yield hub


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Where the pictures of ``small`` lie."""
    with disk(tmp_path_factory.mktemp("disks") / "room", 4) as room:
        yield room


@pytest.fixture(scope="module")
def small(tmp_path_factory, hub, room):
    """A server whose pictures have little room, and whose libraries can write to none of their caches."""
    temp = tmp_path_factory.mktemp("small")
    of_hub = dict(HF_ENDPOINT=hub.url, HF_HOME=str(temp / "home"), HF_HUB_DISABLE_XET="1", PURIFIER_HUB="any")
    with disk(temp / "caches", 1) as caches, read_only(caches):
        of_caches = dict(MPLCONFIGDIR=str(caches / "matplotlib"), NUMBA_CACHE_DIR=str(caches / "numba"))
        server = Server(temp / "log", GRADIO_TEMP_DIR=str(room), PURIFIER_LOG="json", **of_hub, **of_caches)
        try:
            yield server
        finally:
            server.kill()


def upload(page, file):
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Bild wählen").click()
    chooser.value.set_files(file)


def test_a_full_disk_is_said_and_with_room_all_works_again(small, room, visit, file):
    client, page = Client(small.url, verbose=False), visit(small.url, "de-DE")
    reading = client.predict(handle_file(file), api_name="/classify")
    with full(room):
        with pytest.raises(Exception, match="507 Insufficient Storage"):
            client.predict(handle_file(file), api_name="/classify")
        upload(page, file)
        page.get_by_text("Der Server konnte eine Datei nicht speichern: Die Festplatte ist voll.").first.wait_for()
    assert client.predict(handle_file(file), api_name="/classify") == reading
    upload(page, file)
    page.get_by_text("So beurteilt der Klassifikator das Bild.").first.wait_for()


def as_visitors(server, count, script):
    """What ``script``, a coroutine, gives for so many visitors; in a thread, for Playwright has this one's loop."""

    async def run():
        async with httpx2.AsyncClient(base_url=server.url, timeout=LONG) as http:
            config = (await http.get("/config")).json()
            return await asyncio.wait_for(script([Visitor(number, http, config) for number in range(count)]), LONG)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, run()).result()


def test_an_answer_for_which_there_is_no_room_is_said_too(small, room):
    async def script(visitors):
        (visitor,) = visitors
        given = [await visitor.upload()]
        with full(room), pytest.raises(Failure, match="could not store a file: The disk is full. Try again later."):
            await visitor.ask("attack", given)
        await visitor.ask("attack", given)
        assert visitor.shown == 1

    as_visitors(small, 1, script)
    log = small.log.read_text(encoding="utf-8")
    assert '"event": "system error: No space left on device"' in log and "Traceback" not in log


def test_who_waits_for_the_hub_keeps_nobody_waiting(small, hub):
    answers = threading.Event()
    hub.faults = {"/model.safetensors": held(answers)}

    async def script(visitors):
        *waiting, other = visitors
        loading = [asyncio.create_task(v.ask("change_classifier", ["hf-hub:someone/net"])) for v in waiting]
        while not any("model.safetensors" in path for path in hub.requests):
            await asyncio.sleep(0.05)
        await other.ask("choose", [await other.upload()])
        await other.ask("attack_1")
        await other.ask("classify", [await other.upload()])
        assert not any(task.done() for task in loading) and other.shown > 2
        answers.set()
        return [json.dumps(answer) for answer in await asyncio.gather(*loading)]

    try:
        assert all("Classifier: hf-hub:someone/net@" in answer for answer in as_visitors(small, 4, script))
    finally:
        answers.set()
        hub.faults = {}


def test_where_pictures_cannot_be_stored_the_page_does_not_start(tmp_path, monkeypatch, capsys):
    with disk(tmp_path / "disk", 1) as unwritable, read_only(unwritable):
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(unwritable))
        assert main(["serve"]) == 2
    said = (
        f"purifier: Nothing can be written to {unwritable} (Read-only file system). Let GRADIO_TEMP_DIR name a folder"
    )
    assert capsys.readouterr().err.startswith(said)
