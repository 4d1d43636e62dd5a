import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from cachetools import LRUCache
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from purifier.classifiers import classifier as classifiers
from purifier.classifiers.classifier import MODELS, Classifier, bundled_classifiers, load_classifier
from tests.helpers.classifiers import save
from tests.helpers.hub import Hub, commit


@pytest.fixture
def x():
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))


def test_the_default_is_bundled_and_small_enough():
    assert bundled_classifiers()[0] == "augmented"
    for name in bundled_classifiers():
        assert (MODELS / name / "model.safetensors").stat().st_size <= 20e6
        assert (MODELS / name / "README.md").is_file()


def test_the_default_knows_the_eight_diagnoses_and_is_frozen(classifier, x):
    assert classifier.labels == ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
    assert classifier(x).shape == (2, 8)
    assert not classifier.training and not any(p.requires_grad for p in classifier.parameters())
    assert_close(classifier.probabilities(x).sum(1), torch.ones(2))
    assert load_classifier() is load_classifier(" augmented ")


@pytest.fixture
def loads(monkeypatch):
    """The folders that were loaded, from an empty cache on."""
    load, found = classifiers._load_folder, []

    def counted(folder, source):
        found.append(folder.name)
        return load(folder, source)

    monkeypatch.setattr(classifiers, "_load_folder", counted)
    monkeypatch.setattr(classifiers._load_shared, "cache", LRUCache(classifiers.SHARED))
    return found


def test_threads_that_want_the_same_classifier_load_it_once_for_all(loads):
    names, together = ["augmented", "surrogate"] * 4, threading.Barrier(8)

    def load(name):
        together.wait()
        return load_classifier(name)

    with ThreadPoolExecutor(8) as threads:
        loaded = list(threads.map(load, names))
    assert sorted(loads) == ["augmented", "surrogate"] and len(set(map(id, loaded))) == 2
    assert all(c is load_classifier(name) and c.source == name for c, name in zip(loaded, names, strict=True))


def test_a_thread_s_classifier_stays_on_its_device_while_others_load_it_for_another(loads, x):
    done = threading.Event()

    def read():
        first, rounds = load_classifier("surrogate"), 0
        expected = first(x)
        while not done.is_set() or rounds < 3:
            assert load_classifier("surrogate") is first and torch.equal(first(x), expected)
            rounds += 1

    with ThreadPoolExecutor(3) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        elsewhere = threads.submit(load_classifier, "surrogate", device="meta").result()
        done.set()
        [reader.result() for reader in readers]
    assert elsewhere.mean.device.type == "meta" and load_classifier("surrogate").mean.device.type == "cpu"
    assert elsewhere is load_classifier("surrogate", device=torch.device("meta")) and len(loads) == 2


def test_only_those_used_last_are_kept(loads, monkeypatch):
    monkeypatch.setattr(classifiers, "_load_folder", lambda folder, source: nn.Identity())
    names = [f"hf-hub:{number}" for number in range(classifiers.SHARED + 1)]
    monkeypatch.setattr(classifiers, "download", lambda repository, *_: Path(repository))
    first, second, *_ = [load_classifier(name) for name in names[:-1]]
    assert load_classifier(names[0]) is first  # so the second is the one that was not used for longest
    load_classifier(names[-1])
    assert load_classifier(names[0]) is first and load_classifier(names[1]) is not second


def test_what_could_not_be_loaded_is_tried_again(loads, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(classifiers, "_load_folder", lambda folder, source: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            load_classifier()
    assert load_classifier().labels


def test_gradients_reach_the_pixels(classifier, x):
    x.requires_grad_()
    (g,) = torch.autograd.grad(classifier(x).sum(), x)
    assert g.isfinite().all() and (g != 0).float().mean() > 0.9


def test_a_folder_gives_back_the_network_its_preprocessing_and_its_labels_by_name(tmp_path, x):
    network = save(tmp_path, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), input_size=(3, 224, 224), crop_pct=1.0)
    loaded = load_classifier(f"local-dir:{tmp_path}")
    assert loaded.labels == ["AK", "BCC", "BKL", "DF", "MEL", "NV", "VASC"]
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    with torch.no_grad():
        assert_close(loaded(x), network((x - mean) / std))


def test_the_network_s_size_and_crop_are_honoured(tmp_path, x):
    network = save(tmp_path, mean=(0.5,) * 3, std=(0.5,) * 3, input_size=(3, 96, 96), crop_pct=0.75)
    resized = torch.nn.functional.interpolate(x, (128, 128), mode="bicubic", antialias=True)
    with torch.no_grad():
        expected = network((resized[..., 16:112, 16:112] - 0.5) / 0.5)
        assert_close(load_classifier(f"local-dir:{tmp_path}")(x), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"0": "nv", "1": "mel", "6": "x", "2": "bcc", "3": "df", "4": "bkl", "5": "vasc"}, ["NV", "MEL", "BCC"]),
        ({"nv": 1, "mel": 0, "bcc": 2, "df": 3, "bkl": 4, "vasc": 5, "x": 6}, ["MEL", "NV", "BCC"]),
        ({"nv": "mole", "mel": "bad", "bcc": "c", "df": "d", "bkl": "e", "vasc": "f", "x": "g"}, ["NV", "MEL", "BCC"]),
        (["Nevus", "Melanoma (mel)", "bcc", "d", "e", "f", "g"], ["NV", "MEL", "BCC"]),
    ],
)
def test_label_names_may_be_a_list_or_a_dict(tmp_path, names, expected):
    save(tmp_path, config={"label_names": names})
    assert load_classifier(f"local-dir:{tmp_path}").labels[:3] == expected


def test_outputs_of_one_diagnosis_become_one_with_their_probabilities_added(tmp_path, x):
    names = ["seborrheic keratosis", "nv", "pigmented benign keratosis", "mel", "bcc", "df", "vasc"]
    network = save(
        tmp_path, config={"label_names": names}, mean=(0.0,) * 3, std=(1.0,) * 3, input_size=(3, 224, 224), crop_pct=1.0
    )
    loaded = load_classifier(f"local-dir:{tmp_path}")
    assert loaded.labels == ["BKL", "NV", "MEL", "BCC", "DF", "VASC"]
    with torch.no_grad():
        whole, merged = network(x).softmax(1), loaded.probabilities(x)
    assert_close(merged[:, 0], whole[:, 0] + whole[:, 2])
    assert_close(merged[:, 1:], whole[:, [1, 3, 4, 5, 6]])


def test_unknown_labels_are_kept(tmp_path):
    save(tmp_path, config={"label_names": ["cat", "dog", "mel", "nv", "e", "f", "g"]})
    assert load_classifier(f"local-dir:{tmp_path}").labels == ["cat", "dog", "MEL", "NV", "e", "f", "g"]


def spoil(kind: str, folder: Path) -> None:
    if kind == "no config":
        (folder / "config.json").unlink()
    elif kind == "bad json":
        (folder / "config.json").write_text("{", encoding="utf-8")
    elif kind == "transformers":
        (folder / "config.json").write_text(
            json.dumps({"model_type": "vit", "architectures": ["ViT"]}), encoding="utf-8"
        )
    elif kind == "unknown architecture":
        save(folder, config={"architecture": "resnet_of_mine"})
    elif kind == "no classes":
        save(folder, config={"num_classes": 0})
    elif kind == "too few labels":
        save(folder, config={"label_names": ["mel", "nv"]})
    elif kind == "label text":
        save(folder, config={"label_names": "abcdefg"})
    elif kind == "odd architecture":
        save(folder, config={"architecture": 5})
    elif kind == "odd settings":
        save(folder, config={"pretrained_cfg": None})
    elif kind == "odd interpolation":
        save(folder, interpolation="random")
    elif kind == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif kind == "other weights":
        save_file({"a": torch.zeros(3)}, folder / "model.safetensors")
    elif kind == "cut off":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no config", "no config.json"),
        ("bad json", "not valid JSON"),
        ("transformers", "transformers"),
        ("unknown architecture", "timm's architectures"),
        ("no classes", "not a classifier: it has 0 classes"),
        ("too few labels", "7 classes, and its label_names are"),
        ("pickle", "pickle"),
        ("other weights", "do not fit"),
        ("cut off", "do not fit"),
        ("label text", "7 classes, and its label_names are 'abcdefg'"),
        ("odd architecture", "timm's architectures"),
        ("odd settings", "must be a dict"),
        ("odd interpolation", "random"),
    ],
)
def test_folders_that_cannot_be_used_are_refused_with_the_reason(tmp_path, kind, message):
    save(tmp_path)
    spoil(kind, tmp_path)
    with pytest.raises(ValueError, match=message):
        load_classifier(f"local-dir:{tmp_path}")


@pytest.mark.parametrize("name", ["nothing", "owner/name", "", "hf-hub:", "local-dir:", "/some/where"])
def test_other_names_are_refused_with_the_remedies(name):
    with pytest.raises(ValueError, match="hf-hub:owner/name.*local-dir:path"):
        load_classifier(name)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_classifier(f"local-dir:{tmp_path}/nowhere")


# Loads each name given and prints its source, labels and sum of weights, or its error. huggingface_hub reads
# HF_ENDPOINT and HF_HOME when it is imported, so this runs in a process of its own.
PROBE = """
import json, sys
from purifier.classifiers.classifier import load_classifier
for name in sys.argv[1:]:
    try:
        c = load_classifier(name)
        row = dict(source=c.source, labels=c.labels, sum=sum(p.double().sum().item() for p in c.parameters()))
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ != "purifier.texts"]
        row = dict(error=kinds[0], message=str(error))
    print(json.dumps(row))
"""


def probe(names: list[str], home: Path, url: str, **environment: str) -> list[dict]:
    env = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    run = subprocess.run([sys.executable, "-c", PROBE, *names], env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def weights_sum(network: torch.nn.Module) -> float:
    return sum(p.double().sum().item() for p in network.parameters())


def test_the_hub(tmp_path):
    """The real client against a server on loopback: revisions, errors, and what is left when the server has gone."""
    folders = {name: tmp_path / name for name in ("one", "two", "pickle", "transformers", "gated", "empty")}
    networks = {name: save(folder, seed=i) for i, (name, folder) in enumerate(folders.items())}
    spoil("pickle", folders["pickle"])
    spoil("transformers", folders["transformers"])
    spoil("no config", folders["empty"])
    repositories = {
        "someone/lesions": {"main": folders["two"], "v1": folders["one"]},
        **{f"someone/{name}": {"main": folders[name]} for name in ("pickle", "transformers", "gated", "empty")},
    }
    known = ["hf-hub:someone/lesions", "hf-hub:someone/lesions@v1"]
    with Hub(repositories, gated=("someone/gated",)) as hub:
        url = hub.url
        pinned = f"hf-hub:someone/lesions@{commit(folders['one'])}"
        bad = ["nothing", "lesions@v9", "pickle", "transformers", "gated", "empty"]
        bad = [*(f"hf-hub:someone/{name}" for name in bad), "hf-hub:a b"]
        rows = probe([*known, pinned, *bad], tmp_path / "home", url)
        asked = list(hub.requests)
    latest, first, same = rows[:3]
    assert latest["source"] == f"hf-hub:someone/lesions@{commit(folders['two'])}"
    assert first["source"] == same["source"] == pinned
    assert latest["labels"] == ["AK", "BCC", "BKL", "DF", "MEL", "NV", "VASC"]
    assert latest["sum"] == weights_sum(networks["two"]) and first["sum"] == weights_sum(networks["one"])
    errors = [(row["error"], row["message"]) for row in rows[3:]]
    expected = [
        ("FileNotFoundError", "no repository someone/nothing"),
        ("FileNotFoundError", "no revision 'v9'"),
        ("ValueError", "pickle"),
        ("ValueError", "transformers"),
        ("PermissionError", "gated"),
        ("ValueError", "no config.json"),
        ("ValueError", "not a repository name"),
    ]
    assert [kind for kind, _ in errors] == [kind for kind, _ in expected], errors
    for (_, message), (_, part) in zip(errors, expected, strict=True):
        assert part in message
    assert not any("pytorch_model.bin" in path for path in asked)
    assert not any("transformers" in path and "safetensors" in path for path in asked), "weights before the config"

    # A server that hangs up.
    def hang_up() -> None:
        with suppress(OSError):  # the test is over
            while True:
                rude.accept()[0].close()

    with socket.create_server(("127.0.0.1", 0)) as rude:
        threading.Thread(target=hang_up, daemon=True).start()
        (hung_up,) = probe(["hf-hub:someone/new"], tmp_path / "home", f"http://127.0.0.1:{rude.getsockname()[1]}")
    assert hung_up["error"] == "ConnectionError"

    # The server has gone: what was downloaded still works, anything else says why it does not.
    for environment in ({}, {"HF_HUB_OFFLINE": "1"}):
        again, never = probe([known[1], "hf-hub:someone/never"], tmp_path / "home", url, **environment)
        assert again["sum"] == first["sum"]
        assert never["error"] == "ConnectionError" and "could not be reached" in never["message"]


def test_a_classifier_without_labels_numbers_its_classes(tmp_path):
    save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    del config["label_names"]
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_classifier(f"local-dir:{tmp_path}").labels[:2] == ["class 0", "class 1"]


def test_it_moves_to_another_type_with_its_constants(tmp_path, x):
    save(tmp_path)
    loaded = load_classifier(f"local-dir:{tmp_path}").double()
    assert isinstance(loaded, Classifier) and loaded.mean.dtype == torch.float64
    assert loaded(x.double()).dtype == torch.float64
