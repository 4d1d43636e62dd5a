"""That what the package says, without knowing of languages, reaches visitors in theirs."""

import io
import zlib
from dataclasses import replace

import pytest
import torch
from PIL import Image

from purifier.attacks import AttackSettings
from purifier.classifiers.classifier import load_classifier
from purifier.classifiers.hub import missing_file
from purifier.classifiers.labels import read_labels
from purifier.classifiers.mixed import refuse_other_labels
from purifier.classifiers.preparation import of_timm
from purifier.classifiers.weights import find_weights, refuse_kinds
from purifier.defences import FAMILIES, get_defence
from purifier.evaluation.attackers import examples, get_attacker
from purifier.pictures.files import read_image
from purifier.pipeline import Purifier
from purifier.results.plots import plot_convergence, plot_epsilon
from purifier.results.record import Record, read_evaluations
from purifier.runs import Attack, Settings, attack_steps
from purifier.texts import Text
from purifier.ui import api
from purifier.ui.plots import plot_spectrum
from purifier.ui.session import classifier_for_page
from purifier.wording.language import catalogue, languages, say, speaking
from tests.helpers.pictures import lesion_like
from tests.helpers.records import record
from tests.helpers.texts import PROPER


def png(width, height, mode="RGB", **settings):
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, format="TIFF" if mode == "F" else "PNG", **settings)
    return file.getvalue()


def animation():
    file = io.BytesIO()
    lesion_like(0).save(file, format="TIFF", save_all=True, append_images=[lesion_like(1)])
    return file.getvalue()


def changed(old, new, **settings):
    """A picture's file with other bytes in the place of some."""
    file = io.BytesIO()
    lesion_like(0).save(file, **settings)
    assert old in file.getvalue()
    return file.getvalue().replace(old, new)


ENTRY = b"%s\3\0\1\0\0\0"  # of a TIFF file, with the tag's number
HDR = b"\0\0\0\4cICP\x09\x10\0\1" + zlib.crc32(b"cICP\x09\x10\0\1").to_bytes(4)


def no_target():
    classifier = load_classifier()
    next(attack_steps(classifier, read_image(png(224, 224)), Attack(target="XYZ")))


def raise_missing(file):
    raise missing_file(file, "hf-hub:owner/name")


SETTINGS = {"input_size": (3, 5, 5), "mean": (0.5,) * 3, "std": (0.5,) * 3}
WRONG = {
    "no file": lambda: read_image("/nowhere.png"),
    "no picture": lambda: read_image(b"text"),
    "cut off": lambda: read_image(png(300, 300)[:200]),
    "too small": lambda: read_image(png(20, 300)),
    "too many pixels": lambda: read_image(png(10_000, 5_001, "1")),
    "far too many pixels": lambda: read_image(png(20_000, 10_000, "1")),
    "an animation": lambda: read_image(animation()),
    "32 bits": lambda: read_image(png(100, 100, "F")),
    "lossless JPEG": lambda: read_image(changed(b"\xff\xc0\0\x11", b"\xff\xc3\0\x11", format="JPEG")),
    "JPEG in BMP": lambda: read_image(changed(b"\x18\0\0\0\0\0", b"\x18\0\4\0\0\0", format="BMP")),
    "HDR": lambda: read_image(png(100, 100)[:33] + HDR + png(100, 100)[33:]),
    "compression of TIFF": lambda: read_image(
        changed(ENTRY % b"\3\1" + b"\1\0", ENTRY % b"\3\1" + b"\x98\x87", format="TIFF")
    ),
    "colours of TIFF": lambda: read_image(
        changed(ENTRY % b"\6\1" + b"\2\0", ENTRY % b"\6\1" + b"\x23\x80", format="TIFF")
    ),
    "layout of TIFF": lambda: read_image(
        changed(ENTRY % b"\x15\1" + b"\3\0", ENTRY % b"\x15\1" + b"\2\0", format="TIFF")
    ),
    "scales": lambda: Purifier(scales=(0.5,)),
    "blocks": lambda: Purifier(blocks=0),
    "sigma": lambda: Purifier(sigma=2),
    "method": lambda: AttackSettings(method="cw"),
    "target": no_target,
    "epsilon": lambda: Attack(settings=AttackSettings(eps=0.5 / 255)),
    "steps": lambda: Attack(settings=AttackSettings(steps=0)),
    "seed": lambda: Settings(seed=2**40),
    "draws": lambda: Settings(draws=0),
    "settings": lambda: Settings.from_json("nothing"),
    "no picture given": lambda: api.classify(None, "augmented"),
    "a folder": lambda: classifier_for_page("local-dir:/etc"),
    "no such classifier": lambda: classifier_for_page("nobody"),
    "no config": lambda: raise_missing("config.json"),
    "no preprocessor": lambda: raise_missing("preprocessor_config.json"),
    "no weights": lambda: raise_missing("model.safetensors"),
    "no repository": lambda: classifier_for_page("hf-hub:a/b/c/d"),
    "too few labels": lambda: read_labels({"labels": ["mel"]}, 2, "hf-hub:owner/name"),
    "labels that are none": lambda: read_labels({"labels": ["mel", None]}, 2, "hf-hub:owner/name"),
    "a label twice": lambda: read_labels({"labels": ["mel", "mel"]}, 2, "hf-hub:owner/name"),
    "labels without numbers": lambda: read_labels({"id2label": {"a": "mel", "b": "nv"}}, 2, "hf-hub:owner/name"),
    "a gap": lambda: read_labels({"id2label": {"0": "mel", "2": "nv"}}, 2, "hf-hub:owner/name"),
    "other labels": lambda: refuse_other_labels(["MEL", "NV"], ["NV", "MEL"], "hf-hub:owner/name"),
    "a pickle": lambda: find_weights(["pytorch_model.bin"], "hf-hub:owner/name"),
    "another format": lambda: find_weights(["model.onnx"], "hf-hub:owner/name"),
    "several weights": lambda: find_weights(["a.safetensors", "b.safetensors"], "hf-hub:owner/name"),
    "parts alone": lambda: find_weights(["model-00001-of-00002.safetensors"], "hf-hub:owner/name"),
    "int8": lambda: refuse_kinds({"a": "I8", "b": "U8"}, "hf-hub:owner/name"),
    "random": lambda: of_timm({**SETTINGS, "interpolation": "random"}, "hf-hub:owner/name"),
    "crop mode": lambda: of_timm({**SETTINGS, "crop_mode": "random"}, "hf-hub:owner/name"),
    "crop": lambda: of_timm({**SETTINGS, "crop_pct": -1}, "hf-hub:owner/name"),
    "input size": lambda: of_timm({**SETTINGS, "input_size": (3, 5)}, "hf-hub:owner/name"),
    "channels": lambda: of_timm({**SETTINGS, "input_size": (1, 5, 5)}, "hf-hub:owner/name"),
    "mean": lambda: of_timm({**SETTINGS, "mean": (0.5,)}, "hf-hub:owner/name"),
}


@pytest.mark.parametrize("call", WRONG.values(), ids=WRONG)
def test_an_error_reaches_every_visitor_in_their_language(call):
    with pytest.raises((ValueError, OSError)) as error:
        call()
    assert is_translated(str(error.value))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_defence_s_title_is_translated(name):
    assert is_translated(get_defence(name).title)


def test_titles_of_what_was_measured_are_translated():
    records = [record for records in read_evaluations().values() for record in records]
    titles = {title for record in records for title in (record.attacker.title, record.defence_title)}
    titles |= {get_attacker(name).title for name in examples()}
    unknown = {title for title in titles if not is_translated(title)}
    assert not {title for title in unknown if title != "MDDA" and title.template not in PROPER}


@pytest.mark.parametrize("language", languages()[1:])
def test_the_words_of_plots_are_translated(language):
    english = words_of_plots()
    with speaking(language):
        said = words_of_plots()
    same = {word for word, again in zip(english, said, strict=True) if word == again}
    assert len(set(english)) > 20 and same <= {"MDDA", "bilateral, 80/255"}


def is_translated(text: str) -> bool:
    """Whether a text, and those among its values, stand in every catalogue and are said as they stand there."""
    if not isinstance(text, Text) or not all(text.template in catalogue(language) for language in languages()[1:]):
        return False
    for language in languages()[1:]:
        with speaking(language):
            if (say(text) == text) != (catalogue(language)[text.template] == text.template):
                return False
    return all(is_translated(value) for value in text.values.values() if isinstance(value, Text))


def every_defence_attacked() -> list[Record]:
    """By who does not know it, and by who does with so many steps and samples that these are plotted."""
    efforts = [f"eot{steps}x{samples}" for steps in (5, 10, 20) for samples in (1, 2, 4)]
    conditions = [("none", None), *((attack, eps) for attack in ("pgd20", *efforts) for eps in (2.0, 8.0))]
    return [
        replace(record(name, attack, eps), attacker=get_attacker(attack), defence_title=get_defence(name).title)
        for name in ("none", "mdda", "mdda-rof", *(f"{name}{family.default:g}" for name, family in FAMILIES.items()))
        for attack, eps in conditions
    ]


def words_of_plots() -> list[str]:
    figures = [plot_spectrum({"Unterschied 差": torch.ones(1, 3, 16, 16).tril()})]
    runs = [every_defence_attacked(), *read_evaluations().values()]
    figures += [plot(records) for records in runs for plot in (plot_epsilon, plot_convergence)]
    found = []
    for figure in (figure for figure in figures if figure is not None):
        legends = [*figure.legends, *(axis.get_legend() for axis in figure.axes)]
        found += [text.get_text() for legend in legends if legend is not None for text in legend.get_texts()]
        found += [word for axis in figure.axes for word in (axis.get_title(), axis.get_xlabel(), axis.get_ylabel())]
    return [word for word in found if word and not word.startswith("Unterschied")]
