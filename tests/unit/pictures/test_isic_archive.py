import csv
import json
import socket
import time

import numpy as np
import pytest

from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.evaluation.datasets import read_isic2019
from purifier.pictures import isic_archive
from purifier.pictures.files import open_picture
from purifier.pictures.isic_archive import EXAMPLES, fetch, is_reachable, normalised
from tests.helpers.archive import ID, Archive
from tests.helpers.pictures import lesion_like


@pytest.fixture
def nobody(monkeypatch) -> str:
    """An address on this machine where nothing answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("PURIFIER_ISIC_ARCHIVE", url)
    monkeypatch.delenv("PURIFIER_OFFLINE", raising=False)
    monkeypatch.setattr(isic_archive, "_looks", {})
    return url


def test_a_picture_comes_with_what_the_archive_says_of_it(archive):
    picture = fetch("24306")
    assert np.array_equal(np.asarray(open_picture(picture.file)), np.asarray(lesion_like(0)))
    assert (picture.isic_id, picture.licence, picture.attribution) == (ID, "CC-BY-NC", "ViDIR Group")
    assert picture.diagnosis == "Nevus"
    assert picture.page == f"{archive.url}/images/{ID}/"


def test_nothing_of_the_visitor_is_sent(archive):
    fetch(ID)
    assert [path for path, _ in archive.requests] == [f"/api/v2/images/{ID}/", "/full/picture.png?signature=abc"]
    for _, headers in archive.requests:
        assert set(headers) <= {"Host", "Accept", "Accept-Encoding", "Connection", "User-Agent"}
        assert headers["User-Agent"] == "lesion-purifier"


@pytest.mark.parametrize(
    ("clinical", "diagnosis"),
    [
        ({}, ""),
        (None, ""),
        ({"diagnosis_1": "Malignant", "diagnosis_2": None}, "Malignant"),
        ({"diagnosis_1": "Benign", "diagnosis_4": "Nevus, Atypical", "diagnosis_5": ""}, "Nevus, Atypical"),
        ({"diagnosis": "melanoma"}, "melanoma"),
    ],
)
def test_the_most_specific_diagnosis_is_given(archive, clinical, diagnosis):
    archive.say(**archive.about(metadata={"acquisition": {}, "clinical": clinical}))
    assert fetch(ID).diagnosis == diagnosis


def test_attribution_may_be_missing(archive):
    archive.say(**archive.about(attribution=None))
    assert fetch(ID).attribution == ""


@pytest.mark.parametrize("text", ["ISIC_0024306", "isic_24306", "24306", " 0024306\n", "Isic_0024306"])
def test_ids_are_understood_as_people_write_them(text):
    assert normalised(text) == ID


@pytest.mark.parametrize(
    "text", ["", "ISIC_", "ISIC_12345678", "HAM_0001", "ISIC_-1", "2.5", "٢٤٣٠٦", "../../admin", "1/2"]
)
def test_what_is_no_id_is_refused_before_anything_is_asked(archive, text):
    with pytest.raises(ValueError, match="is not an id of the ISIC Archive"):
        fetch(text)
    assert not archive.requests


def test_a_picture_that_is_not_there_is_named(archive):
    with pytest.raises(FileNotFoundError, match="no public picture ISIC_0000001"):
        fetch("1")


@pytest.mark.parametrize("status", [500, 503, 403])
def test_an_answer_with_an_error_is_a_connection_error(archive, status):
    archive.say(status)
    with pytest.raises(ConnectionError, match=rf"answered with an error \({status}\). Try again later"):
        fetch(ID)


def test_too_many_requests_ask_to_wait(archive):
    archive.say(429)
    with pytest.raises(ConnectionError, match="Wait a minute"):
        fetch(ID)


def test_a_file_that_is_gone_is_not_taken_for_a_missing_picture(archive):
    archive.keep_at(f"{archive.url}/gone.jpg")
    with pytest.raises(ConnectionError, match=r"error \(404\)"):
        fetch(ID)


def test_a_server_that_hangs_is_left(archive, monkeypatch):
    monkeypatch.setattr(isic_archive, "TOTAL", 0.2)
    archive.seconds, started = 2.0, time.monotonic()
    with pytest.raises(ConnectionError, match="did not answer in time"):
        fetch(ID)
    assert time.monotonic() - started < 1.5


def test_a_server_that_dribbles_is_left(archive, monkeypatch):
    """Each byte comes in time, and all of them would take a minute."""
    monkeypatch.setattr(isic_archive, "TOTAL", 0.3)
    archive.pause, started = 0.05, time.monotonic()
    with pytest.raises(ConnectionError, match="did not answer in time"):
        fetch(ID)
    assert time.monotonic() - started < 1.5


def test_where_nothing_answers_the_error_says_what_to_do(nobody):
    with pytest.raises(ConnectionError, match="could not be reached. Check the network and try again"):
        fetch(ID)


def test_a_server_that_hangs_up_is_a_connection_error(archive):
    archive.answers[f"/api/v2/images/{ID}/"] = 200, {"Content-Length": "1000"}, b"{"
    with pytest.raises(ConnectionError, match="could not be reached"):
        fetch(ID)


def shape(**changes) -> bytes:
    about = dict(isic_id=ID, copyright_license="CC-0", files={"full": {"url": "u"}}, metadata={})
    return json.dumps(about | changes).encode()


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>Log in to the network</html>",
        b"",
        b"[]",
        b"null",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        shape(files={}),
        shape(files=None),
        shape(files={"full": {"url": 3}}),
        shape(files={"full": "u"}),
        shape(isic_id="ISIC_0000001"),
        shape(metadata=[]),
        shape(attribution=3),
        shape(metadata={"clinical": {"diagnosis_1": 3}}),
    ],
)
def test_an_answer_of_another_shape_is_refused(archive, answer):
    archive.answers[f"/api/v2/images/{ID}/"] = 200, {}, answer
    with pytest.raises(ValueError, match=f"answer about {ID} is not what this program knows"):
        fetch(ID)


@pytest.mark.parametrize("licence", [None, "", 3])
def test_a_picture_without_a_licence_is_not_used(archive, licence):
    archive.say(**archive.about(copyright_license=licence))
    with pytest.raises(ValueError, match="names no licence"):
        fetch(ID)
    assert len(archive.requests) == 1


def test_no_more_is_read_than_the_limit(archive, monkeypatch):
    monkeypatch.setattr(isic_archive, "MAX_BYTES", 1_000_000)
    archive.answers["/full/picture.png?signature=abc"] = 200, {}, bytes(50_000_000)
    with pytest.raises(ValueError, match="file is too large; at most 1 MB are read"):
        fetch(ID)
    monkeypatch.setattr(isic_archive, "MAX_JSON", 10)
    with pytest.raises(ValueError, match="too large"):
        fetch(ID)


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/x.jpg",
        "https://localhost/x.jpg",
        "https://[::1]/x.jpg",
        "https://10.0.0.1/x.jpg",
        "https://192.168.1.1/x.jpg",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:10.0.0.1]/x.jpg",
        "https://2130706433/x.jpg",
        "https://0/x.jpg",
        "http://content.isic-archive.com/x.jpg",
        "file:///etc/passwd",
        "ftp://8.8.8.8/x.jpg",
        "//8.8.8.8/x.jpg",
        "x.jpg",
        "",
        "https://",
        "https://user:word@8.8.8.8/x.jpg",
        "https://" + "a" * 70 + "/",
        "http://127.0.0.1:1/x.jpg",
    ],
)
def test_only_public_addresses_are_asked(archive, url):
    archive.keep_at(url)
    with pytest.raises(ValueError, match="address that is not public"):
        fetch(ID)
    assert len(archive.requests) == 1


def test_another_server_on_this_machine_is_not_asked(archive):
    other = Archive()
    archive.keep_at(f"{other.url}/full/picture.png?signature=abc")
    with pytest.raises(ValueError, match="address that is not public"):
        fetch(ID)
    assert not other.requests
    other.close()


def test_names_of_private_machines_are_not_asked(archive, monkeypatch):
    resolve = socket.getaddrinfo
    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 443))
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: [place] if "isic" in str(host) else resolve(host, *a, **k)
    )
    archive.keep_at("https://content.isic-archive.com/x.jpg")
    with pytest.raises(ValueError, match="address that is not public"):
        fetch(ID)


def test_a_public_address_is_asked(monkeypatch):
    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("18.155.1.1", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [place])
    isic_archive._check_address("https://content.isic-archive.com/x.jpg?Signature=a", isic_archive._endpoint(), ID)


@pytest.mark.parametrize("path", [f"/api/v2/images/{ID}/", "/full/picture.png?signature=abc"])
def test_redirects_are_not_followed(archive, path):
    other = Archive()
    archive.answers[path] = 302, {"Location": f"{other.url}/full/picture.png?signature=abc"}, b""
    with pytest.raises(ConnectionError, match=r"error \(302\)"):
        fetch(ID)
    assert not other.requests
    other.close()


def test_whether_it_is_reachable_is_remembered_for_ten_minutes(archive, monkeypatch):
    looked_at = f"/api/v2/images/{EXAMPLES[0][0]}/"
    archive.answers[looked_at] = 200, {}, b"{}"
    assert is_reachable() and is_reachable()
    assert [path for path, _ in archive.requests] == [looked_at]
    del archive.answers[looked_at]
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 599)
    assert is_reachable()
    monkeypatch.setattr(time, "monotonic", lambda: now + 601)
    assert not is_reachable() and len(archive.requests) == 2


def test_what_hangs_or_is_not_there_is_not_reachable(archive, nobody, monkeypatch):
    assert not is_reachable()
    monkeypatch.setenv("PURIFIER_ISIC_ARCHIVE", archive.url)
    monkeypatch.setattr(isic_archive, "LOOK", 0.1)
    archive.seconds = 1.0
    assert not is_reachable()
    monkeypatch.setenv("PURIFIER_ISIC_ARCHIVE", "nonsense")
    assert not is_reachable()


def test_offline_nothing_is_asked(archive, monkeypatch):
    archive.answers[f"/api/v2/images/{EXAMPLES[0][0]}/"] = 200, {}, b"{}"
    assert is_reachable()
    monkeypatch.setenv("PURIFIER_OFFLINE", "1")
    assert not is_reachable()
    with pytest.raises(ConnectionError, match="PURIFIER_OFFLINE is 1"):
        fetch(ID)
    assert len(archive.requests) == 1


def test_the_examples_are_of_every_diagnosis():
    assert {code for _, code in EXAMPLES} == set(DIAGNOSES)
    assert len({name for name, _ in EXAMPLES}) == len(EXAMPLES) == 12
    assert all(normalised(name) == name for name, _ in EXAMPLES)


def test_the_examples_are_what_the_ground_truth_says_and_no_classifier_was_trained_on_them(isic2019):
    samples = {sample.image: sample for sample in read_isic2019(isic2019)}
    assert {name: samples[name].label for name, _ in EXAMPLES} == dict(EXAMPLES)
    assert {samples[name].split for name, _ in EXAMPLES} == {"test"}


def test_the_example_melanomas_and_nevi_are_cc0(isic2019):
    (metadata,) = isic2019.glob("*Metadata.csv")
    with metadata.open(newline="", encoding="utf-8") as file:
        licences = {row["image"]: row.get("licence", "CC0-1.0") for row in csv.DictReader(file)}
    assert {licences[name] for name, code in EXAMPLES if code in ("MEL", "NV")} == {"CC0-1.0"}
