"""Publishing to the Hub and loading from it, by the real client, from a server on loopback."""

import json
import shutil
import sys
import threading
from functools import partial
from html import unescape
from types import SimpleNamespace

import httpx2
import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._xet_progress_reporting import XetDownloadProgressReporter
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from purifier.classifiers import hub as hub_module
from purifier.classifiers.classifier import MODELS, bundled_classifiers, folder_of, load_classifier, write_mixture
from purifier.classifiers.hub import PUBLIC, card_metadata, download, publish
from purifier.classifiers.mixed import Mixing
from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.classifiers.weights import INDEX
from purifier.ui import actions
from purifier.ui import session as session_module
from purifier.ui.controls import classifier_choices
from purifier.ui.session import Session, classifier_for_page
from tests.helpers.classifiers import in_parts, save_small
from tests.helpers.hub import Client, Hub
from tests.helpers.hub import commit as folder_commit

WRITERS = {"hf_writer": "someone", "hf_reader": "nobody"}
BUNDLED = MODELS / "augmented"


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A small random vision transformer as the transformers library saves it; the folder and the model."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    labels = {0: "melanoma", 1: "melanocytic_Nevi", 2: "something else"}
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=48,
        patch_size=16,
        id2label=labels,
        label2id={label: i for i, label in labels.items()},
    )
    model = transformers.ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    processor = transformers.ViTImageProcessor(
        size={"height": 48, "width": 48}, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6], resample=3
    )
    processor.save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """The folder of a small random convolutional network, which takes pictures of any size."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("resnet")
    settings = dict(embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], id2label={0: "mel", 1: "nv", 2: "bcc"})
    transformers.ResNetForImageClassification(transformers.ResNetConfig(**settings)).save_pretrained(folder)
    return folder


@pytest.fixture
def copy(vit, tmp_path):
    return shutil.copytree(vit[0], tmp_path / "copy")


@pytest.fixture(scope="module")
def hub(tmp_path_factory, vit):
    parts, other, several = (save_small(tmp_path_factory.mktemp(name)) for name in ("parts", "other", "several"))
    in_parts(parts)
    (other / "model.safetensors").rename(other / "pytorch_model.safetensors")
    (other / "pytorch_model.bin").write_bytes(b"never asked for")
    shutil.copy(several / "model.safetensors", several / "a.safetensors")
    (several / "model.safetensors").rename(several / "b.safetensors")
    repositories = {"someone/vit": {"main": vit[0]}}
    repositories |= {f"someone/{f.name[:-1]}": {"main": f} for f in (parts, other, several)}
    with Hub(repositories, writers=WRITERS, storage=tmp_path_factory.mktemp("storage")) as hub:
        yield hub


@pytest.fixture(scope="module")
def client(hub, tmp_path_factory):
    with Client(hub.url, tmp_path_factory.mktemp("home")) as client:
        yield client


def log_in(client, token="hf_writer"):
    return lambda *arguments: client("command", "publish", *arguments, HF_TOKEN=token)


def weights_sum(network):
    return sum(p.double().sum().item() for p in network.parameters())


def test_what_is_published_loads_again_by_its_commit_with_its_card(client, hub):
    done = log_in(client)("augmented", "someone/lesions")
    assert done["code"] == 0, done["err"]
    url, name = done["out"].split("\nLoad it with: ")
    name = name.strip()
    assert url == f"{hub.url}/someone/lesions/commit/{name.partition('@')[2]}"

    loaded, bundled = client("load", name), load_classifier(f"local-dir:{folder_of('augmented')}")
    assert loaded["source"] == name and loaded["labels"] == bundled.labels
    assert loaded["sum"] == weights_sum(bundled)

    folder = hub.repositories["someone/lesions"]["main"]
    assert {file.name for file in folder.iterdir()} == {"config.json", "model.safetensors", "README.md", "metrics.json"}
    for file in ("config.json", "model.safetensors", "metrics.json"):
        assert (folder / file).read_bytes() == (BUNDLED / file).read_bytes()
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.pipeline_tag) == ("timm", "image-classification")
    assert card.data.license == "cc-by-nc-4.0" and card.data.datasets == ["isic2019"] and card.data.tags
    assert card.text == ModelCard.load(BUNDLED / "README.md").text
    assert card.data.eval_results == card_metadata("augmented", metrics()).eval_results


def test_a_download_reports_its_bytes_and_the_cache_none(client, hub):
    log_in(client)("augmented", "someone/progress")
    size = (BUNDLED / "model.safetensors").stat().st_size
    first = client("load", "hf-hub:someone/progress")["progress"]
    assert len(first) > 1 and all(total == size for _, total in first)
    assert [done for done, _ in first] == sorted({done for done, _ in first}) and first[-1][0] == size
    commit = hub.repositories["someone/progress"]
    pinned = next(revision for revision in commit if revision != "main")
    assert client("load", f"hf-hub:someone/progress@{pinned}")["progress"] == []


def test_the_page_says_where_a_classifier_came_from(client, hub):
    log_in(client)("augmented", "someone/page")
    statuses = [unescape(client("page", "hf-hub:someone/page")[-1]) for _ in range(2)]
    assert all("Classifier: hf-hub:someone/page@" in text for text in statuses)
    assert "(downloaded)" in statuses[0] and "(from this machine's cache)" in statuses[1]
    assert client("page", "standard")[-1].endswith("Classifier: standard</p>")
    assert "no repository someone/none" in client("page", "hf-hub:someone/none")[-1]


def test_a_branch_and_a_private_repository_are_made_where_asked_for(client, hub):
    publish = log_in(client)
    assert publish("augmented", "someone/branched")["code"] == 0
    before = hub.repositories["someone/branched"]["main"]
    done = publish("augmented", "someone/branched", "--revision", "trial")
    assert done["code"] == 0 and hub.repositories["someone/branched"]["main"] == before
    assert client("load", "hf-hub:someone/branched@trial")["source"] in done["out"]

    assert publish("augmented", "someone/hidden", "--private")["code"] == 0
    assert hub.private == {"someone/hidden"}
    stranger = client("load", "hf-hub:someone/hidden", HF_TOKEN="hf_unknown")
    assert stranger["error"] == "FileNotFoundError" and "private" in stranger["message"]
    assert "sum" in client("load", "hf-hub:someone/hidden", HF_TOKEN="hf_writer")
    refused = publish("augmented", "someone/branched", "--private")
    assert refused["code"] == 2 and "is public already" in refused["err"]


@pytest.mark.parametrize(
    ("token", "arguments", "message"),
    [
        ("", ["augmented", "someone/new"], "set HF_TOKEN or run `hf auth login`"),
        ("hf_unknown", ["augmented", "someone/new"], "does not accept your token (401)"),
        ("hf_reader", ["augmented", "someone/new"], "no permission for it (403)"),
        ("hf_reader", ["augmented", "someone/vit"], "no permission for it (403)"),
        ("hf_writer", ["augmented", "lesions"], "write 'owner/name'"),
        ("hf_writer", ["augmented", "someone/a b"], "write 'owner/name'"),
        ("hf_writer", ["nothing", "someone/new"], "no bundled classifier 'nothing'"),
        ("hf_writer", ["hf-hub:someone/vit", "someone/new"], "no bundled classifier 'hf-hub:someone/vit'"),
        ("hf_writer", ["local-dir:nowhere", "someone/new"], "no folder nowhere"),
    ],
)
def test_what_the_hub_or_the_name_does_not_allow_is_said_with_the_remedy(client, hub, token, arguments, message):
    refused = log_in(client, token)(*arguments)
    assert refused["code"] == 2 and message in refused["err"] and "Traceback" not in refused["err"]
    assert "someone/new" not in hub.repositories


def test_without_a_network_publishing_says_so(tmp_path):
    with Client("http://127.0.0.1:9", tmp_path) as client:
        refused = log_in(client)("augmented", "someone/lesions")
    assert refused["code"] == 2 and "upload to someone/lesions failed" in refused["err"]
    assert "Check the network" in refused["err"]


def spoil(folder, kind):
    if kind == "no config":
        (folder / "config.json").unlink()
    elif kind == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif kind == "transformers":
        (folder / "config.json").write_text('{"model_type": "vit"}', encoding="utf-8")
    elif kind == "parts":
        in_parts(folder)
    elif kind == "no card":
        (folder / "README.md").unlink()
    elif kind == "no front matter":
        (folder / "README.md").write_text("# A classifier\n", encoding="utf-8")
    elif kind == "no license":
        (folder / "README.md").write_text("---\ntags: [dermoscopy]\n---\n# A classifier\n", encoding="utf-8")
    elif kind == "bad YAML":
        (folder / "README.md").write_text("---\nlicense: [\n---\n# A classifier\n", encoding="utf-8")
    elif kind == "other metrics":
        (folder / "metrics.json").write_text('{"accuracy": 1}', encoding="utf-8")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no config", "no config.json"),
        ("pickle", "no model.safetensors"),
        ("transformers", "neither in timm's format nor a mixture"),
        ("no card", "no README.md"),
        ("no front matter", "names no license"),
        ("no license", "names no license"),
        ("parts", "has its weights in model.safetensors.index.json, and only model.safetensors is published"),
        ("bad YAML", "cannot be read"),
        ("other metrics", "not what `purifier card` writes"),
    ],
)
def test_folders_that_nobody_could_use_are_not_published(tmp_path, kind, message):
    folder = shutil.copytree(BUNDLED, tmp_path / "model")
    spoil(folder, kind)
    with pytest.raises(ValueError, match=message):
        publish(folder, "someone/lesions")


def test_a_folder_of_one_s_own_keeps_what_its_card_says(client, hub, tmp_path):
    folder = shutil.copytree(BUNDLED, tmp_path / "mine")
    (folder / "metrics.json").unlink()
    (folder / "notes.txt").write_text("not for others", encoding="utf-8")
    (folder / "README.md").write_text("---\nlicense: mit\ndatasets: [mine]\n---\n# Mine\n", encoding="utf-8")
    done = log_in(client)(f"local-dir:{folder}", "someone/mine")
    assert done["code"] == 0, done["err"]
    published = hub.repositories["someone/mine"]["main"]
    assert {file.name for file in published.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    card = ModelCard.load(published / "README.md")
    assert (card.data.license, card.data.datasets, card.data.library_name) == ("mit", ["mine"], "timm")
    assert card.data.eval_results is None and card.text == "# Mine\n"


def test_a_mixture_is_published_and_loaded_as_any_classifier(client, hub, tmp_path):
    mixing, folder = Mixing(share=0.6, scale=2.0, power=2.0, clamp=-0.5), tmp_path / "both"
    write_mixture(folder, *(f"local-dir:{save_small(tmp_path / name, seed=i)}" for i, name in enumerate("ab")), mixing)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# Both\n", encoding="utf-8")
    done = log_in(client)(f"local-dir:{folder}", "someone/both")
    assert done["code"] == 0, done["err"]
    published = hub.repositories["someone/both"]["main"]
    assert ModelCard.load(published / "README.md").data.library_name == "lesion-purifier"
    loaded, size = client("load", "hf-hub:someone/both"), (folder / "model.safetensors").stat().st_size
    assert loaded["sum"] == weights_sum(load_classifier(f"local-dir:{folder}"))
    assert loaded["source"] in done["out"] and {total for _, total in loaded["progress"]} == {size}
    assert "Classifier: hf-hub:someone/both@" in unescape(client("page", "hf-hub:someone/both")[-1])


def test_a_mixture_that_cannot_be_used_is_refused_before_its_weights_are_downloaded(client, hub, tmp_path):
    folder = tmp_path / "spoilt"
    mixing = Mixing(share=0.6, scale=2.0, power=2.0, clamp=-0.5)
    write_mixture(folder, *(f"local-dir:{save_small(tmp_path / name)}" for name in "ab"), mixing)
    config = (folder / "config.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(config.replace('"share": 0.6', '"share": 6'), encoding="utf-8")
    hub.repositories["someone/spoilt"] = {"main": folder}
    assert "share from 0 to 1" in client("load", "hf-hub:someone/spoilt")["message"]
    assert not any("spoilt" in path and "safetensors" in path for path in hub.requests)


def metrics():
    return json.loads((BUNDLED / "metrics.json").read_text(encoding="utf-8"))


def test_the_card_s_metadata_holds_what_was_measured():
    measured = metrics()
    again = ModelCard(f"---\n{card_metadata('augmented', measured).to_yaml()}\n---\ntext").data
    assert again.model_name == "augmented"
    values = {result.metric_name: result.metric_value for result in again.eval_results}
    clean = {"Accuracy": "accuracy", "Balanced accuracy": "balanced_accuracy", "AUROC of melanoma": "melanoma_auroc"}
    for name, key in clean.items():
        (value,) = [value for text, value in values.items() if text.startswith(name) and "clean pictures" in text]
        assert value == pytest.approx(measured["clean"][key]["value"], abs=5e-5)
    for eps, result in measured["attacked"].items():
        for end, key in (("not purified", "attacked"), ("purified", "attacked_purified")):
            (name,) = [text for text in values if f"epsilon {eps}/255" in text and text.endswith(f": {end}")]
            assert "PGD-20" in name and "oblivious of the purifier" in name
            assert values[name] == pytest.approx(result[key]["value"], abs=5e-5)
    assert len(values) == len(again.eval_results) == 3 + 2 * len(measured["attacked"])


def test_a_transformers_model_gives_its_own_logits_and_gradients(vit):
    folder, model = vit
    x = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loaded = load_classifier(f"local-dir:{folder}")
    assert loaded.labels == ["MEL", "NV", "something else"] and not loaded.training
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6)))
    assert_close(loaded(x), model((x - mean) / std).logits)
    (g,) = torch.autograd.grad(loaded(x)[:, 0].sum(), x)
    assert g.isfinite().all() and (g != 0).float().mean() > 0.9
    assert not any(p.requires_grad for p in loaded.parameters())


def test_pictures_are_prepared_as_the_image_processor_does(vit):
    transformers = pytest.importorskip("transformers")
    folder, model = vit
    picture = torch.randint(0, 256, (3, 96, 96), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    pixels = transformers.AutoImageProcessor.from_pretrained(folder)(images=picture, return_tensors="pt")
    with torch.no_grad():
        expected = model(**pixels).logits
        assert_close(load_classifier(f"local-dir:{folder}")(picture[None] / 255), expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize(
    ("settings", "size", "crop"),
    [
        (dict(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 224}, crop_pct=0.875), 224, 0.875),
        (dict(image_processor_type="ConvNextImageProcessor", size={"shortest_edge": 384}, crop_pct=0.875), 384, 1),
        (
            dict(
                image_processor_type="BitImageProcessor",
                size={"shortest_edge": 256},
                do_center_crop=True,
                crop_size={"height": 224, "width": 224},
            ),
            224,
            0.875,
        ),
        (
            dict(image_processor_type="ViTImageProcessor", size={"height": 32, "width": 48}, do_normalize=False),
            (32, 48),
            1,
        ),
        (dict(model_type="resnet"), 384, 1),  # no settings at all: a config of the model in this file's place
    ],
)
def test_size_crop_and_scale_are_the_image_processor_s(resnet, tmp_path, settings, size, crop):
    folder = shutil.copytree(resnet, tmp_path / "resnet")
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    loaded = load_classifier(f"local-dir:{folder}")
    assert loaded.size == (size if isinstance(size, tuple) else (size, size)) and loaded.crop == crop
    if settings.get("do_normalize") is False:
        assert_close(loaded.mean, torch.zeros(1, 3, 1, 1)), assert_close(loaded.std, torch.ones(1, 3, 1, 1))


def test_transformers_models_come_from_the_hub_with_their_revision(client, hub, vit):
    loaded = client("load", "hf-hub:someone/vit")
    assert loaded["source"].startswith("hf-hub:someone/vit@") and loaded["labels"] == ["MEL", "NV", "something else"]
    assert loaded["sum"] == weights_sum(vit[1])
    assert not any(path.endswith(".bin") for path in hub.requests)


@pytest.mark.parametrize("name", ["parts", "other"])
def test_weights_in_parts_and_under_another_name_come_from_the_hub(client, hub, name):
    folder = hub.repositories[f"someone/{name}"]["main"]
    first = client("load", f"hf-hub:someone/{name}")
    assert first["sum"] == weights_sum(load_classifier(f"local-dir:{folder}"))
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    done = [bytes_ for bytes_, _ in first["progress"]]
    assert {total for _, total in first["progress"]} == {size} and done == sorted(set(done)) and done[-1] == size
    before = len(hub.requests)
    again = client("load", f"{first['source'].partition('@')[0]}@{folder_commit(folder)}")
    assert again["sum"] == first["sum"] and again["progress"] == []
    assert not any("-of-" in path or ".bin" in path for path in hub.requests[before:])


def test_several_files_of_weights_are_named_before_any_is_downloaded(client, hub):
    refused = client("load", "hf-hub:someone/several")
    assert "several files of weights (a.safetensors, b.safetensors)" in refused["message"]
    assert not any(
        "several/resolve" in path and "safetensors" in path and "model." not in path for path in hub.requests
    )


def a_repository(monkeypatch, folder, sizes, reached=True):
    """Without model.safetensors, and with files of these sizes; returns what is downloaded."""
    downloaded = []

    def no_such_file(*_, **__):
        raise RemoteEntryNotFoundError("404", response=httpx2.Response(404, request=httpx2.Request("HEAD", "http://x")))

    def not_there(*_, **__):
        raise LocalEntryNotFoundError("offline")

    def download(repo_id, file, **_):
        downloaded.append(file)
        return str(folder / file)

    listed = [RepoFile(path=path, size=size, oid="0") for path, size in sizes.items()]
    monkeypatch.setattr(hub_module, "get_hf_file_metadata", no_such_file if reached else not_there)
    monkeypatch.setattr(hub_module.HfApi, "list_repo_tree", lambda *_, **__: listed)
    monkeypatch.setattr(hub_module, "hf_hub_download", download)
    return downloaded


def test_the_limit_holds_for_all_parts_together(monkeypatch, tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    parts = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    (tmp_path / INDEX).write_text(json.dumps({"weight_map": {"a": parts[0], "b": parts[1]}}), encoding="utf-8")
    for size, fits in ((500_000_000, True), (500_000_001, False)):
        downloaded = a_repository(monkeypatch, tmp_path, {INDEX: 100, parts[0]: 500_000_000, parts[1]: size})
        if fits:
            assert download("someone/parts", lambda _: []) == tmp_path and downloaded[2:] == parts
            continue
        with pytest.raises(ValueError, match=r"at most 1000 MB of model-00001-of-00002.safetensors, .* are downloaded"):
            download("someone/parts", lambda _: [])
        assert downloaded == ["config.json", INDEX]


@pytest.mark.parametrize(
    ("sizes", "map_", "message"),
    [
        ({INDEX: 100, "a.safetensors": 1}, ["a.safetensors", "b.safetensors"], "lacks b.safetensors, named in its"),
        ({INDEX: 100}, ["../../a.safetensors"], "names '../../a.safetensors', which is no"),
        ({INDEX: 100, "pytorch_model.bin": 1}, ["pytorch_model.bin"], "names 'pytorch_model.bin', which is no"),
        ({INDEX: 20_000_000}, [], "at most 10 MB of model.safetensors.index.json"),
        ({"pytorch_model.bin": 1}, [], "pickle"),
        ({"model.onnx": 1}, [], r"other formats \(model.onnx\)"),
        ({}, [], "no other file of weights"),
        ({"a.safetensors": 2_000_000_000}, [], "at most 1000 MB of a.safetensors"),
    ],
)
def test_what_a_repository_does_not_offer_is_said_before_the_download(monkeypatch, tmp_path, sizes, map_, message):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / INDEX).write_text(json.dumps({"weight_map": dict(enumerate(map_))}), encoding="utf-8")
    downloaded = a_repository(monkeypatch, tmp_path, sizes)
    (tmp_path / "elsewhere" / INDEX).rename(tmp_path / "index")
    fetch = hub_module.hf_hub_download
    found = {"config.json": tmp_path / "config.json", INDEX: tmp_path / "index"}
    monkeypatch.setattr(hub_module, "hf_hub_download", lambda *a, **k: fetch(*a, **k) and str(found[a[1]]))
    with pytest.raises(ValueError, match=message):
        download("someone/parts", lambda _: [])
    assert set(downloaded) <= {"config.json", INDEX}


def test_a_file_of_another_name_is_used_again_without_the_network(monkeypatch, tmp_path):
    save_small(tmp_path)
    a_repository(monkeypatch, tmp_path, {}, reached=False)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.safetensors")
    assert download("someone/other", lambda _: []) == tmp_path
    (tmp_path / "pytorch_model.safetensors").unlink()
    with pytest.raises(ConnectionError, match="could not be reached"):
        download("someone/other", lambda _: [])


def change_config(folder, **entries):
    change(folder / "config.json", **entries)


def change(path, **entries):
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **entries}), encoding="utf-8")


def spoil_transformers(folder, kind):
    if kind == "another task":
        change_config(folder, architectures=["ViTModel"])
    elif kind == "labels":
        change_config(folder, id2label=["a", "b", "c"])
    elif kind == "code of its own":
        change_config(folder, model_type="own", auto_map={"AutoConfig": "own.Own"})
        (folder / "own.py").write_text("raise SystemExit('this ran')", encoding="utf-8")
    elif kind == "no preprocessor":
        (folder / "preprocessor_config.json").unlink()
    elif kind == "pickle":
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    elif kind == "another network":
        change_config(folder, num_hidden_layers=3)
    elif kind == "another width":
        change_config(folder, hidden_size=32)
    elif kind == "fewer layers":
        change_config(folder, num_hidden_layers=1)
    elif kind == "another picture size":
        change(folder / "preprocessor_config.json", size={"height": 64, "width": 64})
    elif kind == "gaps":
        change_config(folder, id2label={"0": "a", "1": "b", "3": "c"})
    elif kind == "one name twice":
        change_config(folder, id2label={"0": "a", "1": "b", "2": "b"})
    elif kind == "processor":
        (folder / "preprocessor_config.json").write_text("[1]", encoding="utf-8")
    elif kind == "unknown processor":
        (folder / "preprocessor_config.json").write_text('{"image_processor_type": "Mine"}', encoding="utf-8")
    elif kind in ("int8", "NaN"):
        tensors = load_file(folder / "model.safetensors")
        name = "classifier.weight"
        tensors[name] = tensors[name].to(torch.int8) if kind == "int8" else tensors[name] * torch.nan
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("another task", "not an image classifier"),
        ("labels", "id2label"),
        ("code of its own", "do not fit"),
        ("no preprocessor", "no preprocessor_config.json"),
        ("pickle", "no model.safetensors"),
        ("another network", "they lack"),
        ("another width", "do not fit"),
        ("fewer layers", r"they have unknown vit.*layers?\.1.* and 13 more"),
        ("gaps", "id2label of .* must number .* 0, 1, 3"),
        ("another picture size", "cannot read a picture .*64"),
        ("one name twice", "name more than one output 'b'"),
        ("processor", "preprocessor_config.json of .* must hold an object"),
        ("int8", "classifier.weight is int8"),
        ("unknown processor", "preprocessor_config.json of .* cannot be used"),
        ("NaN", "infinite values in cl"),
    ],
)
def test_transformers_folders_that_cannot_be_used_are_refused_with_the_reason(copy, kind, message):
    spoil_transformers(copy, kind)
    with pytest.raises(ValueError, match=message):
        load_classifier(f"local-dir:{copy}")


def test_a_transformers_model_may_have_its_weights_in_parts_or_under_another_name(copy, vit):
    x = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    expected = load_classifier(f"local-dir:{copy}")(x)
    vit[1].save_pretrained(copy / "parts", max_shard_size="4KB")
    for name in ("config.json", "preprocessor_config.json"):
        text = (copy / name).read_text(encoding="utf-8")
        (copy / "parts" / name).write_text(text, encoding="utf-8-sig")  # as Windows' editor saves it
    assert len(list((copy / "parts").glob("*-of-*.safetensors"))) > 1
    assert torch.equal(load_classifier(f"local-dir:{copy / 'parts'}")(x), expected)
    (copy / "model.safetensors").rename(copy / "pytorch_model.safetensors")
    assert torch.equal(load_classifier(f"local-dir:{copy}")(x), expected)


def test_without_the_library_the_extra_is_named(copy, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r'pip install "lesion-purifier\[transformers\]"'):
        load_classifier(f"local-dir:{copy}")


def test_the_menu_offers_public_classifiers_after_the_bundled_ones():
    choices = classifier_choices()
    bundled = bundled_classifiers()
    assert [value for _, value in choices[: len(bundled)]] == bundled
    assert [value for _, value in choices[len(bundled) :]] == [f"hf-hub:{repository}" for repository in PUBLIC]
    for (label, _), about in zip(choices[len(bundled) :], PUBLIC.values(), strict=True):
        assert ("gated" in label) == about.gated and about.format in label
        assert about.format in ("timm", "transformers") and about.description


def test_what_was_written_is_the_progress_and_nothing_is_drawn(capsys):
    seen = []
    report = partial(hub_module._report, lambda *progress: seen.append(progress), 100, 0)
    bar = hub_module._bar(1000, ValueError("too large"), report)
    reporter = XetDownloadProgressReporter(reconstruction_desc="weights", total=50, log_level=0, tqdm_class=bar)
    report = SimpleNamespace(
        total_bytes_completed=20,
        total_transfer_bytes_completed=30,
        total_bytes_completion_rate=1.0,
        total_transfer_bytes_completion_rate=1.0,
        total_bytes=50,
    )
    reporter.update_progress(report)
    report.total_bytes_completed = 50
    reporter.update_progress(report)
    reporter.close()
    assert seen == [(120, 50), (150, 50)] and not any(capsys.readouterr())


def test_what_says_no_size_is_stopped_when_too_much_has_come():
    bar = hub_module._bar(100, ValueError("too large"), None)(total=None)
    bar.update(60)
    bar.update(40)
    with pytest.raises(ValueError, match="too large"):
        bar.update(1)
    with pytest.raises(ValueError, match="too large"):
        hub_module._bar(100, ValueError("too large"), None)(total=101)


@pytest.mark.parametrize("lies", [False, True])
def test_more_than_the_setting_allows_is_not_downloaded(hub, vit, tmp_path, lies):
    """By what the Hub says before, or, where that is a lie, by what it begins to send."""
    hub.said = {"model.safetensors": 9} if lies else {}
    try:
        with Client(hub.url, tmp_path) as client:
            found = client("load", "hf-hub:someone/vit", PURIFIER_HUB_MOST_MB="0.00001")
    finally:
        hub.said = {}
    assert found["error"] == "ValueError" and "at most 1e-05 MB of model.safetensors are downloaded" in found["message"]
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size > 9_000]


def test_a_config_that_is_no_config_by_its_size_is_not_downloaded(hub, tmp_path):
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "config.json").write_bytes(b" " * 10_000_001)
    hub.repositories["someone/large"] = {"main": tmp_path / "large"}
    with Client(hub.url, tmp_path / "home") as client:
        found = client("load", "hf-hub:someone/large")
    assert "at most 10 MB of config.json are downloaded" in found["message"]


@pytest.mark.parametrize(
    ("environment", "refusal"),
    [
        ({"PURIFIER_HUB": "off"}, "loads nothing from the Hub"),
        ({"PURIFIER_HUB": "listed"}, f"only: {', '.join(PUBLIC)}"),
        ({"SPACE_ID": "owner/space"}, "only: "),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, "only: "),
        ({"PURIFIER_HUB": "listed", "PURIFIER_HUB_LISTED": "google/other google/tiny-vit@v2"}, "only: google/other"),
        ({"PURIFIER_HUB": "listed", "PURIFIER_HUB_LISTED": "google/tiny-vit"}, None),
        ({"SPACE_ID": "owner/space", "PURIFIER_HUB": "any"}, None),
        ({}, None),
    ],
)
def test_the_page_loads_from_the_hub_what_its_setting_allows(monkeypatch, environment, refusal):
    for name in ("PURIFIER_HUB", "PURIFIER_HUB_LISTED", "SPACE_ID", "GRADIO_SERVER_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    loaded = []
    monkeypatch.setattr(session_module, "load_classifier", lambda name, *_, **__: loaded.append(name))
    for name in ("hf-hub:google/tiny-vit@main", " hf-hub:google/tiny-vit "):
        if refusal is None:
            classifier_for_page(name)
            continue
        with pytest.raises(ValueError, match=refusal):
            classifier_for_page(name)
    assert len(loaded) == (2 if refusal is None else 0)
    classifier_for_page("augmented")
    assert loaded[-1] == "augmented"
    offered = [name for _, name in classifier_choices() if name.startswith("hf-hub:")]
    if environment.get("PURIFIER_HUB") == "off":
        assert not offered
    elif "PURIFIER_HUB_LISTED" in environment:
        assert offered == [f"hf-hub:{name}" for name in environment["PURIFIER_HUB_LISTED"].split()]


def test_a_running_download_shows_how_far_it_is(monkeypatch, classifier):
    shown = threading.Event()

    def load(name, progress=None):
        if progress is None:  # it is there
            return classifier
        progress(12_000_000, 340_000_000)
        assert shown.wait(timeout=20)
        return classifier

    monkeypatch.setattr(actions, "classifier_for_page", load)
    monkeypatch.setattr(actions, "REFRESH", 0.01)
    run = actions.change_classifier("hf-hub:owner/<b>name", Session())
    assert "Downloading owner/&lt;b&gt;name: 12 of 340 MB" in next(run).status
    shown.set()
    *_, last = run
    assert last.classifier == "hf-hub:owner/<b>name" and "(downloaded)" in last.status
    assert actions.use_classifier(last.classifier, Session()).session.classifier == last.classifier
    assert set(classifier.labels) == set(DIAGNOSES)
