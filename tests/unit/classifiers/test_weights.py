"""Weights of others: in parts, under other names, of other types, and broken ones."""

import json
import re
import shutil

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from purifier.classifiers import classifier as module
from purifier.classifiers.classifier import digest_of, load_classifier
from purifier.classifiers.weights import INDEX, WEIGHTS
from tests.helpers.classifiers import in_parts, save_small


def change(folder, **tensors):
    """Replace tensors of a folder's weights; the names have "__" for ".", and None takes one away."""
    weights = load_file(folder / WEIGHTS)
    for name, change in tensors.items():
        name = name.replace("__", ".")
        weights[name] = None if change is None else change(weights.get(name))
    save_file({name: tensor.contiguous() for name, tensor in weights.items() if tensor is not None}, folder / WEIGHTS)


def load(folder):
    return load_classifier(f"local-dir:{folder}")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_small(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def logits(folder):
    """What the weights give as they were saved."""
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return x, load(folder)(x)


def test_weights_in_parts_are_the_same_weights(folder, logits):
    before = digest_of(folder)
    in_parts(folder)
    assert torch.equal(load(folder)(logits[0]), logits[1])
    digest = digest_of(folder)
    assert digest != before
    (part, *_) = sorted(folder.glob("model-*"))
    part.write_bytes(part.read_bytes() + b" ")
    assert digest_of(folder) != digest


@pytest.mark.parametrize(
    "name", ["pytorch_model.safetensors", "open_clip_model.safetensors", "best.safetensors", "model.fp32.safetensors"]
)
def test_a_single_file_of_another_name_is_loaded(folder, logits, name):
    (folder / WEIGHTS).rename(folder / name)
    (folder / "training_args.bin").write_bytes(b"not looked at")
    assert torch.equal(load(folder)(logits[0]), logits[1])


def test_the_file_of_the_usual_name_is_taken_where_there_are_others(folder, logits):
    save_file({"a": torch.zeros(1)}, folder / "adapter_model.safetensors")
    (folder / INDEX).write_text("{}", encoding="utf-8")
    assert torch.equal(load(folder)(logits[0]), logits[1])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_floating_point_weights_of_other_widths_become_float32(folder, logits, kind):
    weights = load_file(folder / WEIGHTS)
    rounded = {n: t.to(kind) if t.is_floating_point() else t for n, t in weights.items()}
    save_file(rounded, folder / WEIGHTS)
    loaded = load(folder)
    assert all(p.dtype == torch.float32 for p in loaded.parameters())
    assert_close(loaded(logits[0]), logits[1], rtol=0, atol=0.1 if kind == torch.bfloat16 else 0.02)
    state = loaded.network.state_dict()
    assert all(torch.equal(state[n], t.to(state[n].dtype)) for n, t in rounded.items())


def test_names_with_the_prefix_of_parallel_training_are_known(folder, logits):
    save_file({f"module.{n}": t for n, t in load_file(folder / WEIGHTS).items()}, folder / WEIGHTS)
    assert torch.equal(load(folder)(logits[0]), logits[1])


def test_names_of_an_earlier_format_are_known_as_far_as_timm_knows_them(tmp_path):
    """ConvNeXt's, as its authors publish them."""
    torch.manual_seed(0)
    settings = dict(depths=(1, 1, 1, 1), dims=(8, 8, 8, 8), num_classes=7)
    network = timm.create_model("convnext_atto", **settings, head_init_scale=1.0).eval()
    timm.models.save_for_hf(network, str(tmp_path), model_config={"num_classes": 7}, safe_serialization=True)
    weights = {}
    for name, tensor in network.state_dict().items():
        name = re.sub(r"^stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
        name = re.sub(r"^stem\.", "downsample_layers.0.", name).replace("head.norm", "norm").replace("head.fc", "head")
        name = name.replace(".blocks.", ".").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        weights[name] = tensor
    assert set(weights) != set(network.state_dict())
    save_file(weights, tmp_path / WEIGHTS)
    loaded = load(tmp_path)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in loaded.network.state_dict().items())
    assert "state_dict" not in loaded.network.pretrained_cfg


def test_a_folder_that_timm_can_read_needs_no_other(folder, monkeypatch):
    """Nothing is written where a machine has no place for it."""
    monkeypatch.setattr(module, "TemporaryDirectory", lambda: 1 / 0)
    assert load(folder).labels


def spoil(folder, kind):
    weights = folder / WEIGHTS
    if kind == "pickle":
        weights.rename(folder / "pytorch_model.bin")
    elif kind == "other format":
        weights.rename(folder / "tf_model.h5")
    elif kind == "nothing":
        weights.unlink()
    elif kind == "several":
        (folder / "b.safetensors").write_bytes(weights.read_bytes())
        weights.rename(folder / "a.safetensors")
    elif kind == "parts without index":
        in_parts(folder)
        (folder / INDEX).unlink()
    elif kind == "a part missing":
        (folder / in_parts(folder)[1]).unlink()
    elif kind == "no index":
        in_parts(folder)
        (folder / INDEX).write_text("[1]", encoding="utf-8")
    elif kind in ("outside", "outside on Windows", "in a folder", "a pickle in the index", "no text"):
        in_parts(folder)
        name = {
            "outside": "../x.safetensors",
            "outside on Windows": "..\\x.safetensors",
            "in a folder": "a/x.safetensors",
            "a pickle in the index": "pytorch_model.bin",
            "no text": 5,
        }[kind]
        (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}), encoding="utf-8")
    elif kind == "LFS":
        weights.write_text(
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", encoding="utf-8"
        )
    elif kind == "renamed pickle":
        torch.save({"a": torch.zeros(1)}, weights)
    elif kind == "empty":
        weights.write_bytes(b"")
    elif kind in DTYPES:
        change(folder, fc__weight=lambda t: t.to(DTYPES[kind]))
    elif kind == "complex":
        change(folder, fc__weight=lambda t: t.to(torch.complex64))
    elif kind == "NaN":
        change(folder, fc__weight=lambda t: t.index_fill(0, torch.tensor([3]), torch.nan))
    elif kind == "infinite":
        change(folder, layer1__0__bn1__running_var=lambda t: t * torch.inf)
    elif kind == "too large for float32":
        change(folder, fc__bias=lambda t: t.double() * 0 + 1e300)
    elif kind == "one lacks":
        change(folder, fc__bias=None)
    elif kind == "many lack":
        save_file({"fc.bias": torch.zeros(7)}, weights)
    elif kind == "one more":
        change(folder, head__bias=lambda _: torch.zeros(3))
    elif kind == "other classes":
        change(folder, fc__weight=lambda t: t[:5], fc__bias=lambda t: t[:5])


DTYPES = {
    "int8": torch.int8, "uint8": torch.uint8, "int16": torch.int16, "int32": torch.int32, "int64": torch.int64,
    "bool": torch.bool, "float8": torch.float8_e4m3fn, "float8_e5m2": torch.float8_e5m2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("pickle", r"no model.safetensors. Weights in pickle files \(pytorch_model.bin\) are not loaded"),
        ("other format", r"no model.safetensors, and weights in other formats \(tf_model.h5\) are not read"),
        ("nothing", "no model.safetensors and no other file of weights"),
        ("several", r"several files of weights \(a.safetensors, b.safetensors\): rename the right one"),
        ("parts without index", r"parts of weights \(model-00001-of-00003.*\) without model.safetensors.index.json"),
        ("a part missing", "lacks model-00002-of-00003.safetensors, named in its model.safetensors.index.json"),
        ("no index", "is not an index of safetensors"),
        ("outside", "names '../x.safetensors', which is no safe"),
        ("outside on Windows", "which is no safetensors file beside it"),
        ("in a folder", "names 'a/x.safetensors', which is no"),
        ("no text", "names 5, which is no"),
        ("a pickle in the index", "names 'pytorch_model.bin', which is no safetensors file"),
        ("LFS", "is a pointer of Git LFS: fetch the file itself with `git lfs pull`"),
        ("renamed pickle", "is a pickle under another name"),
        ("empty", "is no whole safetensors file"),
        ("int8", "fc.weight is int8.*Save them as float32"),
        ("uint8", "fc.weight is uint8"),
        ("int16", "fc.weight is int16"),
        ("int32", "fc.weight is int32"),
        ("int64", "fc.weight is int64"),
        ("bool", "fc.weight is bool"),
        ("float8", "fc.weight is float8_e4m3"),
        ("float8_e5m2", "fc.weight is float8_e5m2"),
        ("complex", "fc.weight is complex64"),
        ("NaN", "NaN or infinite values in fc.weight"),
        ("infinite", "infinite values in layer1.0.bn1.running_var"),
        ("too large for float32", "infinite values in fc.bias"),
        ("one lacks", "do not fit.*they lack fc.bias"),
        ("many lack", r"they lack [\w.]+, [\w.]+, [\w.]+ and \d+ more"),
        ("one more", "do not fit.*they have unknown head.bias"),
        ("other classes", "of another shape are fc.weight is 5 x 16, not 7 x 16, fc.bias is 5, not 7"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_with_what_was_found(folder, kind, message):
    spoil(folder, kind)
    with pytest.raises(ValueError, match=message) as error:
        load(folder)
    if "pickle" not in kind:
        assert "pickle" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_args": {"global_pool": ""}}, "cannot read a picture .*Check global_pool, num"),
        ({"model_args": {"num_classes": 5}}, "do not fit"),
        ({"model_args": {"in_chans": 1}}, "channels|do not fit"),
        ({"model_args": {"nothing": 1}}, "do not fit"),
        ({"model_args": [1]}, "model_args of .* must be a dict"),
        ({"architecture": "resnet18"}, "they lack"),
        ({"architecture": ["resnet10t"]}, "timm's architectures"),
        ({"architecture": None}, "timm's architectures"),
        ({"num_classes": True}, "it has True classes"),
        ({"num_classes": "7"}, "it has 7 classes"),
        ({"pretrained_cfg": {"odd": 1}}, "do not fit.*pretrained_cfg has odd, which timm does not know"),
        ({"lesion_purifier": {"odd": 1}}, "holds what is not known"),
    ],
)
def test_settings_that_load_and_then_fail_are_refused_at_once(folder, config, message):
    path = folder / "config.json"
    before = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(config.get("model_args"), dict):
        config = {"model_args": {**before["model_args"], **config["model_args"]}}
    path.write_text(json.dumps({**before, **config}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_a_network_that_gives_no_finite_number_is_refused(folder):
    change(folder, layer4__0__bn2__bias=lambda t: t * 0 + 1e38, fc__weight=lambda t: t * 0 + 1e30)
    with pytest.raises(ValueError, match="gives NaN or infinite values for a grey picture"):
        load(folder)


@pytest.mark.parametrize("logits", [torch.zeros(1, 7, 2, 2), torch.zeros(1, 6), [torch.zeros(1, 7)]])
def test_a_network_that_gives_something_else_is_refused(folder, monkeypatch, logits):
    monkeypatch.setattr(timm.models.ResNet, "forward", lambda self, x: logits)
    with pytest.raises(
        ValueError, match=r"gives (\(1, 7, 2, 2\)|\(1, 6\)|list) for one picture, and must give \(1, 7\)"
    ):
        load(folder)


def test_what_is_bundled_is_known_and_not_tried_out(monkeypatch):
    monkeypatch.setattr(module._load_shared, "cache", {})
    monkeypatch.setattr(module, "_try_out", lambda *_: 1 / 0)
    assert load_classifier().labels


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_config_is_read_in_every_encoding_of_json(folder, encoding):
    path, names = folder / "config.json", ["Nævus", "黑色素瘤", "bcc", "Bösartig", "e", "f", "g"]
    config = {**json.loads(path.read_text(encoding="utf-8")), "label_names": names}
    path.write_text(json.dumps(config, ensure_ascii=False), encoding=encoding)
    assert load(folder).labels == ["NV", "黑色素瘤", "BCC", *names[3:]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["resnet10t"]', "must hold an object in braces, and holds a list"),
        ('"resnet10t"', "holds a text"),
        ("null", "holds nothing"),
        ("7", "holds a number"),
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_a_config_that_is_no_object_is_refused(folder, content, message):
    (folder / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_a_config_in_latin_1_is_refused(folder):
    (folder / "config.json").write_bytes('{"label_names": ["bösartig"]}'.encode("latin-1"))
    with pytest.raises(ValueError, match="not valid JSON"):
        load(folder)


def test_a_file_and_an_unknown_user_in_a_folder_s_place_are_named(folder):
    with pytest.raises(NotADirectoryError, match="model.safetensors is a file: name the folder that holds config.json"):
        load(folder / WEIGHTS)
    with pytest.raises(FileNotFoundError, match="There is no folder ~nobody-of-that-name/x"):
        load_classifier("local-dir:~nobody-of-that-name/x")
    with pytest.raises(OSError, match="cannot be opened|There is no folder"):
        load_classifier("local-dir:" + 5000 * "x")
    assert load_classifier(f"local-dir: {folder} ").labels


@pytest.mark.parametrize("name", ["is_dir", "read_bytes", "iterdir"])
def test_a_folder_without_permission_is_said_to_be_one(folder, monkeypatch, name):
    path, true = type(folder), getattr(type(folder), name)

    def refuse(self, *arguments):
        if self.is_relative_to(folder):
            raise PermissionError(13, "Permission denied", str(self))
        return true(self, *arguments)

    monkeypatch.setattr(path, name, refuse)
    with pytest.raises(PermissionError, match=f"^{folder}.* cannot be opened: Permission denied.$"):
        load(folder)
