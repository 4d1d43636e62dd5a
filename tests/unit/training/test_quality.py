import json

import pytest
import torch
from PIL import Image

from purifier.cli.main import main
from purifier.evaluation.datasets import LABELS
from purifier.pyramid import resample
from purifier.training import drawing, likeness, quality
from purifier.training.drawing import GENERATOR, SUPER_RESOLUTION
from purifier.training.generator import Generator
from purifier.training.quality import EXAMPLES
from tests.helpers.hub import Client, Hub, commit
from tests.helpers.pictures import lesion_like


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def features(count, seed=0, spread=1.0):
    return spread * torch.randn(count, 16, generator=seeded(seed))


def test_pictures_of_the_same_kind_are_at_no_distance_and_cover_each_other():
    found = quality.compared(features(400), features(400, seed=1), seed=0)
    assert abs(found["kid"]) < 2 * found["kid_deviation"]
    assert found["precision"] > 0.7 and found["recall"] > 0.7
    assert found == quality.compared(features(400), features(400, seed=1), seed=0)


def test_pictures_of_another_kind_are_far_and_cover_nothing():
    found = quality.compared(features(400) + 9, features(400, seed=1), seed=0)
    assert found["kid"] > 10 * found["kid_deviation"] and found["precision"] == found["recall"] == 0


def test_what_lacks_variety_has_precision_without_recall():
    found = quality.compared(features(400, spread=0.2), features(400, seed=1), seed=0)
    assert found["precision"] > 0.9 > 0.3 > found["recall"]


def test_what_is_learnt_is_scored_by_the_mean_over_the_diagnoses():
    y = torch.arange(8).repeat_interleave(20)
    x, held_out = (3 * torch.eye(16)[y] + features(len(y), seed) for seed in (0, 1))
    assert quality.learnt(x, y, held_out, y) > 0.8
    assert quality.learnt(x, y, held_out, (y + 1) % 8) < 0.1
    only_first = torch.zeros(160, dtype=torch.long).index_fill(0, torch.arange(150, 160), 1)
    assert quality.learnt(x, y, 3 * torch.eye(16)[torch.zeros(160, dtype=torch.long)], only_first) == 0.5


def test_detail_is_what_a_small_picture_lacks():
    x = torch.rand(2, 3, 256, 256, generator=seeded())
    x[1] = torch.linspace(0, 1, 256)  # a ramp has none
    assert quality.detail_of(x)[0] > 0.2 > 0.01 > quality.detail_of(x)[1]


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def test_a_generator_is_measured_by_one_command(small_isic2019, tmp_path, monkeypatch, capsys):
    for name, value in dict(PER_CLASS=1, SHEET=1, SUBSET=4, SUBSETS=2, PAIRS=2).items():
        monkeypatch.setattr(quality, name, value)
    for name in ("ENLARGED", "WHOLE"):
        monkeypatch.setattr(quality, name, 1)
    monkeypatch.setattr(likeness, "NEIGHBOURS", 1)
    monkeypatch.setattr(
        drawing,
        "enlarge",
        lambda model, x, *_: (resample(x, (256, 256)) + 0.1 * torch.randn(1, 3, 256, 256)).clamp(0, 1),
    )
    split = {"train": lambda samples: samples, "val": lambda samples: samples[:4], "test": lambda samples: samples[4:]}
    everything = quality.read_isic2019(small_isic2019)
    monkeypatch.setattr(
        quality, "read_isic2019", lambda folder, split_name="all": split.get(split_name, list)(everything)
    )
    torch.manual_seed(0)
    Generator(widths=(32, 32, 32)).save_pretrained(tmp_path / "generator")
    command = ["quality", "--data", str(small_isic2019), "--thumbnails", str(small_isic2019)]
    command += ["--generator", str(tmp_path / "generator"), "--out", str(tmp_path / "out")]
    (tmp_path / "own").mkdir()
    for label in LABELS:
        lesion_like(len(label)).save(tmp_path / f"own/{label}-1.png")
    command += ["--beside", str(EXAMPLES), str(tmp_path / "own")]
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "out/quality.json").read_text(encoding="utf-8"))
    assert printed["training"]["precision"] > printed["drawn"]["precision"]  # nothing has been learnt
    assert set(printed["nearer_than_held_out"]) == {"pixels", "features"}
    assert {size_of(tmp_path / f"out/sheets/{label}.jpg") for label in LABELS} == {(64, 64)}
    assert size_of(tmp_path / "out/neighbours.png") == (2 * 65 + 1, 2 * (2 * 65 + 1))
    words = [say(printed) for say in (quality.in_words, quality.whole_in_words, quality.enlarged_in_words)]
    assert (tmp_path / "out/quality.md").read_text(encoding="utf-8") == "\n".join(words)
    drawn, resampled = (printed["enlarged"][name] for name in ("drawn", "resampled"))
    assert printed["enlarged"]["pictures"] == 8 and drawn["detail"] > 1 > 0.3 > resampled["detail"]
    whole = printed["whole"]
    assert list(whole) == ["held_out", "training", "drawn", "examples", "own"] and "kid" not in whole["held_out"]
    assert whole["drawn"]["pictures"] == whole["own"]["pictures"] == 8
    assert whole["own"]["kid"] < whole["examples"]["kid"]  # which the small data set's are drawn as
    assert whole["examples"]["read_as_meant"] > 0.6
    before = (tmp_path / "out/sheets.pt").stat().st_mtime_ns
    assert main(command) == 0 and (tmp_path / "out/sheets.pt").stat().st_mtime_ns == before


def test_a_folder_without_pictures_is_refused_before_anything_is_drawn(tmp_path, capsys):
    command = ["quality", "--data", str(tmp_path), "--thumbnails", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*command, "--beside", str(tmp_path)]) == 2
    assert "no PNG pictures" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_generator_is_loaded_from_the_hub_by_its_commit(tmp_path):
    torch.manual_seed(0)
    model, folder = Generator(widths=(32, 32, 32)), tmp_path / "generator"
    model.save_pretrained(folder)
    with Hub({"someone/generator": {"main": folder}}) as hub, Client(hub.url, tmp_path / "home") as client:
        total = pytest.approx(sum(p.double().sum().item() for p in model.parameters()))
        assert client("generator", "hf-hub:someone/generator") == total
        assert client("generator", f"hf-hub:someone/generator@{commit(folder)}") == total
        assert "no repository someone/other" in client("generator", "hf-hub:someone/other")["message"]


def test_the_models_cards_say_what_was_measured_and_show_it():
    found = json.loads((GENERATOR / "quality.json").read_text(encoding="utf-8"))
    cards = [(folder / "README.md").read_text(encoding="utf-8") for folder in (GENERATOR, SUPER_RESOLUTION)]
    assert quality.in_words(found) in cards[0] and quality.whole_in_words(found) in cards[0]
    assert quality.enlarged_in_words(found) in cards[1]
    for label in LABELS:
        assert size_of(GENERATOR / f"sheets/{label}.jpg") == (521, 521)
        assert f"sheets/{label}.jpg" in cards[0]
