import json

import pytest

from purifier.classifiers.classifier import load_classifier
from purifier.classifiers.labels import KEYS, read_labels
from tests.helpers.classifiers import save_small

NAMES = ["mel", "nv", "bcc"]
FORMS = {
    "label_names": (NAMES, dict(zip("012", NAMES, strict=True)), dict(zip(NAMES, "abc", strict=True))),
    "labels": (NAMES, {"2": "bcc", "0": "mel", "1": "nv"}),
    "id2label": ({"2": "bcc", "0": "mel", "1": "nv"}, {0: "mel", 1: "nv", 2: "bcc"}, NAMES),
    "label2id": ({"bcc": 2, "mel": 0, "nv": 1}, {"bcc": "2", "mel": "0", "nv": "1"}),
    "label_descriptions": (NAMES, {"1": "nv", "0": "mel", "2": "bcc"}, {"mel": "a", "nv": "b", "bcc": "c"}),
}


@pytest.mark.parametrize(("key", "form"), [(key, form) for key, forms in FORMS.items() for form in forms])
def test_labels_are_found_in_every_form_at_the_top_and_within(key, form):
    assert read_labels({key: form}, 3, "x") == NAMES
    assert read_labels({"pretrained_cfg": {key: form}}, 3, "x") == NAMES


def test_the_first_of_the_keys_counts():
    config = {key: [f"{key} {i}" for i in range(3)] for key in KEYS}
    for key in KEYS:
        assert read_labels(config, 3, "x")[0] == f"{key} 0"
        config[key] = None
    assert read_labels(config, 3, "x") == ["class 0", "class 1", "class 2"]
    assert read_labels({"label_names": NAMES, "pretrained_cfg": {"label_names": ["a", "b", "c"]}}, 3, "x") == NAMES


def test_numbers_are_in_the_order_of_numbers():
    names = [f"n{i}" for i in range(12)]
    assert read_labels({"id2label": {str(i): name for i, name in enumerate(names)}}, 12, "x") == names


def test_a_description_is_the_label_where_it_is_known_and_the_name_is_not():
    descriptions = {"c0": "Melanoma, NOS", "nv": "a mole", "c2": "something else"}
    config = {"label_names": ["c0", "nv", "c2"], "label_descriptions": descriptions}
    assert read_labels(config, 3, "x") == ["Melanoma, NOS", "nv", "c2"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"label_names": ["mel", "nv"]}, "x has 3 classes, and its label_names are"),
        ({"id2label": {"0": "mel", "1": "nv"}}, "x has 3 classes, and its id2label are"),
        ({"id2label": {"1": "mel", "2": "nv", "3": "bcc"}}, "id2label of x must number .* from 0 to 2.* 1, 2, 3"),
        ({"id2label": {"0": "mel", "1": "nv", "7": "bcc"}}, "id2label of x must number .* from 0 to 2.* 0, 1, 7"),
        ({"id2label": {"0": "mel", "00": "nv", "1": "bcc"}}, "numbers them 0, 0, 1"),
        ({"label2id": {"mel": 0, "nv": 0, "bcc": 1}}, "label2id of x must number .* 0, 0, 1"),
        ({"label2id": {"mel": 0, "nv": -1, "bcc": 1}}, "label2id of x must number .* -1, 0, 1"),
        ({"label2id": {"mel": "a", "nv": "b", "bcc": "c"}}, "label2id of x must name the outputs by number"),
        ({"id2label": {"a": "mel", "b": "nv", "c": "bcc"}}, "id2label of x must name the outputs by number"),
        ({"label_names": ["mel", "nv", "mel"]}, "label_names of x name more than one output 'mel'"),
        ({"id2label": {"0": "mel", "1": "mel", "2": "mel"}}, "id2label of x name more than one output 'mel'"),
        ({"labels": ["mel", None, "nv"]}, "labels of x must be names"),
        ({"labels": "abc"}, "its labels are 'abc'"),
        ({"labels": [["mel"], "nv", "bcc"]}, "labels of x must be names"),
        ({"labels": 3}, "its labels are 3"),
    ],
)
def test_labels_that_fit_no_outputs_are_refused_by_name(config, message):
    with pytest.raises(ValueError, match=message):
        read_labels(config, 3, "x")


def test_id2label_of_a_timm_config_is_used(tmp_path):
    names = ["Melanoma, NOS", "Nevus", "ACK", "SEK", "e", "f", "g"]
    path = save_small(tmp_path) / "config.json"
    path.write_text(
        json.dumps(
            {**json.loads(path.read_text(encoding="utf-8")), "label_names": None, "id2label": dict(enumerate(names))}
        ),
        encoding="utf-8",
    )
    assert load_classifier(f"local-dir:{tmp_path}").labels == ["MEL", "NV", "AK", "BKL", "e", "f", "g"]


def test_id2label_of_a_flat_timm_config_is_used(tmp_path):
    """Of the time when timm's config.json was the pretrained_cfg itself."""
    path = save_small(tmp_path) / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    flat = {"architecture": "resnet10t", **config["pretrained_cfg"], "num_classes": 7, "label_names": None}
    flat["model_args"] = config["model_args"]
    path.write_text(json.dumps({**flat, "id2label": {str(i): f"n{i}" for i in range(7)}}), encoding="utf-8")
    assert load_classifier(f"local-dir:{tmp_path}").labels == [f"n{i}" for i in range(7)]
