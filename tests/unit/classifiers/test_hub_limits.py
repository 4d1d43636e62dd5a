"""A Hub that is slow or silent, breaks off, or sends something else: on loopback, by the real client."""

import shutil
from itertools import count
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import get_session

from purifier.classifiers import hub_limits
from purifier.classifiers.classifier import load_classifier
from tests.helpers.classifiers import save_small
from tests.helpers.disks import disk, full, read_only
from tests.helpers.hub import (
    GB,
    Client,
    Hub,
    broken_off,
    busy,
    endless,
    portal,
    redirected,
    silent,
    slow,
    stuck,
    with_body,
)

CONFIG, WEIGHTS, OTHER = "/config.json", "/model.safetensors", "/pytorch_model.safetensors"
SHORT, LONG = "2", "600"  # seconds
IN_VAIN = "The download of {name} from the Hub was ended: it took more than 2 seconds."
ANOTHER = "The Hub sent another {file} of {name} than it said."


@pytest.fixture(scope="module")
def net(tmp_path_factory) -> Path:
    return save_small(tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def hub():
    with Hub({}) as hub:
        yield hub


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def client(hub, home):
    with Client(hub.url, home) as client:
        yield client


NUMBERS = count()


@pytest.fixture
def name(hub, net):
    """A repository that nobody asked for before."""
    name = f"someone/net{next(NUMBERS)}"
    hub.repositories[name] = {"main": net}
    yield name
    hub.faults = {}


def weights_sum(folder):
    return sum(p.double().sum().item() for p in load_classifier(f"local-dir:{folder}").parameters())


def works(client, hub, name, net):
    """Whether it can be loaded now."""
    hub.faults = {}
    loaded = client("load", f"hf-hub:{name}", PURIFIER_HUB_MOST_SECONDS=LONG, PURIFIER_HUB_MOST_MB="1000")
    return loaded.get("sum") == weights_sum(net)


@pytest.mark.parametrize(
    ("seconds", "part", "fault", "says"),
    [
        (SHORT, CONFIG, silent, IN_VAIN),
        (SHORT, CONFIG, slow, IN_VAIN),
        (SHORT, WEIGHTS, stuck, IN_VAIN),
        (SHORT, WEIGHTS, slow, IN_VAIN),
        (SHORT, CONFIG, busy, IN_VAIN),
        (LONG, WEIGHTS, broken_off, "The download of {name} from the Hub failed: peer closed connection"),
        (LONG, "", portal, "The Hub could not be reached, and {name} has not been downloaded before."),
        (LONG, WEIGHTS, portal, "The Hub could not be reached, and {name} has not been downloaded before."),
        (LONG, CONFIG, with_body(lambda body: b"<html>"), ANOTHER),
        (LONG, CONFIG, with_body(lambda body: body[:-9] + b"garbage!}"), ANOTHER),
        (LONG, WEIGHTS, with_body(lambda body: body + body), ANOTHER),
        (LONG, WEIGHTS, with_body(lambda body: body[:-9] + bytes(9)), ANOTHER),
        (LONG, CONFIG, endless, "{name} is too large: at most 10 MB of config.json are downloaded."),
        (LONG, WEIGHTS, endless, "{name} is too large: at most 1 MB of model.safetensors are downloaded."),
        (LONG, CONFIG, redirected(""), "The download of {name} from the Hub failed: Exceeded 20 redirects"),
    ],
)
def test_what_the_hub_does_is_said_and_the_next_try_is_a_new_one(
    client, hub, home, name, net, seconds, part, fault, says
):
    hub.faults = {part: fault}
    found = client("load", f"hf-hub:{name}", PURIFIER_HUB_MOST_SECONDS=seconds, PURIFIER_HUB_MOST_MB="1")
    assert says.format(name=name, file=part[1:]) in found["message"]
    assert not list(home.rglob("*.incomplete"))
    assert works(client, hub, name, net)


def test_a_list_of_files_is_not_waited_for_without_end_either(client, hub, name, net, tmp_path):
    other = shutil.copytree(net, tmp_path / "other")
    (other / WEIGHTS[1:]).rename(other / OTHER[1:])
    hub.repositories[name], hub.faults = {"main": other}, {"/tree/": silent}
    found = client("load", f"hf-hub:{name}", PURIFIER_HUB_MOST_SECONDS=SHORT)
    assert found["error"] == "ConnectionError" and f"The download of {name} from the Hub" in found["message"]
    assert works(client, hub, name, net)


def test_garbage_that_the_hub_itself_calls_the_file_does_not_stay(client, hub, name, net, tmp_path):
    bad = shutil.copytree(net, tmp_path / net.name)  # the same commit
    (bad / CONFIG[1:]).write_text("garbage", encoding="utf-8")
    hub.repositories[name] = {"main": bad}
    assert "is not valid JSON" in client("load", f"hf-hub:{name}")["message"]
    hub.repositories[name] = {"main": net}
    assert works(client, hub, name, net)


def test_five_gigabytes_are_refused_before_any_is_downloaded(client, hub, name):
    hub.said = {WEIGHTS[1:]: 5 * GB}
    found = client("load", f"hf-hub:{name}", PURIFIER_HUB_MOST_SECONDS=LONG, PURIFIER_HUB_MOST_MB="1000")
    hub.said = {}
    assert found["message"] == f"{name} is too large: at most 1000 MB of model.safetensors are downloaded."
    assert len([path for path in hub.requests if name in path and WEIGHTS in path]) == 1  # for its size


@pytest.mark.parametrize("honest", [True, False])
def test_another_server_gets_no_token_and_is_not_believed(client, hub, name, net, tmp_path, honest):
    copy = shutil.copytree(net, tmp_path / net.name)
    if not honest:
        (copy / WEIGHTS[1:]).write_bytes((copy / WEIGHTS[1:]).read_bytes()[:-9] + bytes(9))
    with Hub({name: {"main": copy}}) as elsewhere:
        hub.faults, hub.tokens = {WEIGHTS: redirected(elsewhere.url)}, set()
        found = client("load", f"hf-hub:{name}", PURIFIER_HUB_MOST_SECONDS=LONG, HF_TOKEN="hf_secret")
        assert hub.tokens == {"hf_secret"} and elsewhere.requests and elsewhere.tokens == {""}
    if honest:
        assert found["sum"] == weights_sum(net)
    else:
        assert ANOTHER.format(file=WEIGHTS[1:], name=name) in found["message"]


def test_a_silent_hub_is_not_asked_again_and_again(hub, monkeypatch):
    monkeypatch.setattr(hub_limits, "SILENT", 0.5)
    monkeypatch.setattr(hub, "faults", {"": silent})
    with hub_limits.patient("someone/net", 600):
        with pytest.raises(httpx2.TimeoutException):
            get_session().get(hub.url)  # which has no limit of its own
        with pytest.raises(ConnectionError, match="someone/net from the Hub was ended: for 0.5 seconds nothing came"):
            get_session().get(hub.url)
        assert hub_limits.listening()
    assert hub_limits.listening() is None


def test_the_cache_s_disk_may_be_full_or_read_only(hub, name, net, tmp_path):
    hub.repositories["someone/cached"] = {"main": net}
    with disk(tmp_path / "disk", 4) as home, Client(hub.url, home) as client:
        assert works(client, hub, "someone/cached", net)
        for trouble, says in ((full, "The disk is full."), (read_only, "The disk cannot be written to.")):
            with trouble(home):
                assert client("load", f"hf-hub:{name}")["message"].endswith(f"from the Hub failed: {says}")
                assert says in client("page", f"hf-hub:{name}")[-1]
                assert works(client, hub, "someone/cached@main", net)  # another name: it asks the Hub again
        assert works(client, hub, name, net)
