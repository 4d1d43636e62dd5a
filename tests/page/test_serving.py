"""What the server tells browsers and monitors, how it lies behind a proxy, and how it starts and ends."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from urllib.error import HTTPError

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from purifier import __version__
from purifier.files import bundled_digests
from purifier.ui.observed import LOG, JsonLines
from purifier.ui.page import build_page
from tests.helpers.browser import card, choose_example, open_tab, press
from tests.helpers.paths import ROOT
from tests.helpers.pictures import lesion_like
from tests.helpers.proxy import below
from tests.helpers.server import serving, start_app

pytestmark = pytest.mark.filterwarnings("ignore")  # the server's own threads and sockets
COUNT = r'^purifier_request_seconds_count{endpoint="api.classify",outcome="(\w+)"} (\d+)'
VIOLATIONS = """window.violations = [];
document.addEventListener("securitypolicyviolation", e => violations.push([e.violatedDirective, e.blockedURI]));"""


@pytest.fixture(scope="module")
def url():
    with serving(build_page()) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    return Client(url, verbose=False)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "Erika Mustermann.png"
    lesion_like(0).save(path)
    return path


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except HTTPError as error:
        return error.code, error.headers, error.read().decode()


def counted(url):
    return {outcome: float(count) for outcome, count in re.findall(COUNT, get(f"{url}metrics")[2], re.MULTILINE)}


def test_health_says_what_runs_here(url):
    status, _, body = get(f"{url}health")
    assert status == 200
    told = dict(status="ok", version=__version__, waiting=0, running=0, weights_sha256=bundled_digests())
    assert json.loads(body) == told


def test_requests_are_counted_by_endpoint_and_outcome(url, client, file):
    before = counted(url)
    client.predict(handle_file(file), api_name="/classify")
    with pytest.raises(AppError, match="no bundled classifier"):
        client.predict(handle_file(file), classifier="nobody", api_name="/classify")
    after = counted(url)
    assert {name: after[name] - before.get(name, 0) for name in after} == {"done": 1, "refused": 1}
    text = get(f"{url}metrics")[2]
    assert "purifier_requests_waiting 0.0" in text and f'purifier_info{{version="{__version__}"}} 1.0' in text
    assert file.stem not in text


def test_a_program_that_asks_for_little_does_not_wait_for_one_that_asked_for_much(url, client, file):
    picture, other = handle_file(file), Client(url, verbose=False)
    client.predict(picture, api_name="/classify")  # so that all is loaded
    much = other.submit(picture, api_name="/attack", steps=100)
    for _ in range(3):
        client.predict(picture, api_name="/classify")
    assert not much.done()
    assert len(much.result()) == 2


def test_each_request_has_one_thread_of_pytorch():
    code = """
import torch
from concurrent.futures import ThreadPoolExecutor
from purifier.ui.serving import serve
def build():
    print(torch.get_num_threads(), ThreadPoolExecutor(1).submit(torch.get_num_threads).result())
    raise SystemExit
serve(build)
"""
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=ROOT)
    assert done.stdout.split() == ["1", "1"], done.stderr


def test_the_log_has_no_personal_data(client, file, caplog):
    caplog.set_level(logging.INFO, LOG.name)
    client.predict(handle_file(file), api_name="/classify")
    (line,) = [json.loads(JsonLines().format(record)) for record in caplog.records if record.name == LOG.name]
    assert set(line) == {"time", "level", "event", "endpoint", "outcome", "seconds"}
    assert (line["event"], line["endpoint"], line["outcome"]) == ("request", "api.classify", "done")


def test_of_an_exception_the_log_has_only_the_kind():
    try:
        raise OSError("/home/Erika Mustermann.png")
    except OSError:
        record = LOG.makeRecord(
            LOG.name, logging.ERROR, "", 0, "failed", (), sys.exc_info(), extra=dict(endpoint="a", file="b")
        )
    line = json.loads(JsonLines().format(record))
    assert line.pop("time") and line == dict(level="ERROR", event="failed", endpoint="a", error="OSError")


@pytest.mark.parametrize("path", ["", "health", "config", "gradio_api/info", "gradio_api/file=/etc/passwd", "nowhere"])
def test_every_answer_has_the_headers(url, path):
    headers = get(url + path)[1]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "same-origin"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == "'self'" and policy["object-src"] == "'none'"
    assert not re.search(r"https?:|\*", headers["Content-Security-Policy"])


def test_the_browser_finds_nothing_against_the_policy(browser, url):
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(VIOLATIONS)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(url)
    choose_example(page)
    press(page, "Attack it")
    page.get_by_text("done.").wait_for()
    press(page, "Purify it")
    page.get_by_text("Purified.").wait_for()
    card(page, "Purified").get_by_role("img").wait_for()
    for tab in page.get_by_role("tab").all_inner_texts():
        open_tab(page, tab)
        page.wait_for_timeout(200)
    assert page.evaluate("violations") == [] and not [text for text in said if "Content Security Policy" in text]
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'https://example.org/a.png'}))")
    page.wait_for_function("violations.length")  # the page would have said so
    page.close()


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Start the page in a process of its own, with these variables; it is ended with the test."""
    servers = []

    def start(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        server, _ = start_app(tmp_path / "log")
        servers.append(server)
        return server, re.search(r"http://\S+?:\d+", (tmp_path / "log").read_text(encoding="utf-8"))[0] + "/"

    yield start
    for server in servers:
        server.kill()
        server.wait()


def test_behind_a_proxy_the_page_has_a_path_of_its_own(started, browser, file):
    _, server = started(GRADIO_ROOT_PATH="/lesions", PYTHONUNBUFFERED="1")
    with below("/lesions", server) as url:
        reading = Client(url, verbose=False).predict(handle_file(file), api_name="/classify")
        assert reading["diagnosis"]
        asked = []
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url)
        choose_example(page)
        press(page, "Attack it")
        page.get_by_text("done.").wait_for()
        page.close()
        assert len(asked) > 10 and [at for at in asked if not at.startswith((url, "data:", "blob:"))] == []


LONG = dict(draws=64, api_name="/purify")


def begin(url, file):
    """A purification that is being computed."""
    client = Client(url, verbose=False)
    job = client.submit(handle_file(file), **LONG)
    while json.loads(get(f"{url}health")[2])["running"] == 0:
        time.sleep(0.05)
    return client, job


def test_a_server_that_is_told_to_end_finishes_what_it_computes(started, file):
    server, url = started(PYTHONUNBUFFERED="1", PURIFIER_LOG="json")
    client, job = begin(url, file)
    server.send_signal(signal.SIGTERM)
    while get(f"{url}health")[0] == 200:
        time.sleep(0.05)
    assert not job.done()
    with pytest.raises(Exception, match="503|busy|ending|full"):
        client.predict(handle_file(file), api_name="/classify")
    picture, reading = job.result(timeout=120)
    assert os.path.getsize(picture) > 0 and reading["draws"] == 64
    assert server.wait(timeout=60) == 0


def test_a_server_that_is_told_to_end_does_not_wait_for_ever(started, file):
    server, url = started(PYTHONUNBUFFERED="1", PURIFIER_SHUTDOWN_SECONDS="0.5")
    begin(url, file)
    told = time.monotonic()
    server.send_signal(signal.SIGTERM)
    assert server.wait(timeout=60) == 1 and time.monotonic() - told < 10


def test_a_wrong_setting_ends_the_start_with_a_line():
    environment = {**os.environ, "PURIFIER_HUB": "some"}
    run = subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "purifier: PURIFIER_HUB must be 'off', 'listed' or 'any', and is 'some'.\n"
