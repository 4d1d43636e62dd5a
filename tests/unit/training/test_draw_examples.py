from types import SimpleNamespace

import pytest
import torch

from purifier import read_image
from purifier.cli.main import main
from purifier.evaluation.datasets import LABELS
from purifier.pyramid import resample
from purifier.training import drawing, examples

KINDS = ((0, "HAM10000"), (1, "HAM10000"), (0, "MSK"), (0, "HAM10000"), (0, "HAM10000"))  # diagnosis, source


@pytest.fixture
def few(monkeypatch):
    """Few pictures of mere noise in the place of drawn ones; how many are drawn large is counted."""
    large = []

    def enlarge(model, x, *_):
        large.append(len(x))
        return resample(x, (256, 256)).clamp(0, 1)

    for name, value in dict(CANDIDATES=4, ENLARGED=3, KEPT=2).items():
        monkeypatch.setattr(examples, name, value)
    monkeypatch.setattr(
        drawing, "draw", lambda model, y, *_, **s: torch.rand(len(y), 3, 64, 64, generator=s["generator"])
    )
    monkeypatch.setattr(drawing, "enlarge", enlarge)
    monkeypatch.setattr(
        examples, "realism_of", lambda of, y, *_: torch.arange(len(of), dtype=torch.float)
    )  # the small data set has too few of a diagnosis
    return large


def test_examples_are_drawn_chosen_and_accounted_for(small_isic2019, tmp_path, monkeypatch, few):
    monkeypatch.setattr(examples, "without_black_corners", lambda pixels: torch.arange(len(pixels)) % 4 > 0)
    out, beside = tmp_path / "drawn", tmp_path / "neighbours.png"
    command = ["examples", "--data", str(small_isic2019), "--thumbnails", str(small_isic2019), "--out", str(out)]
    assert main([*command, "--neighbours", str(beside)]) == 0
    sources = (out / "SOURCES.md").read_text(encoding="utf-8")
    assert "\n32 were drawn, 4 for each diagnosis. Of these 24 were left" in sources
    assert "those 3 were drawn large" in sources and "2 of them were kept" in sources
    drawn = {tuple(sorted(path.name for path in out.glob(f"{label}-*.png"))) for label in LABELS}
    assert drawn == {(f"{label}-1.png", f"{label}-2.png") for label in LABELS}
    for label in LABELS:
        assert read_image(out / f"{label}-1.png", size=None).shape == (1, 3, 256, 256)
        assert f"| {label}-1.png | {label} |" in sources
    assert sorted(path.suffix for path in out.iterdir()) == [".md"] + 16 * [".png"]
    assert read_image(beside, size=None).shape == (1, 3, 3 * 65 + 1, 16 * 65 + 1)
    assert len(few) == 24


def test_a_stopped_drawing_goes_on_and_takes_no_other_settings(small_isic2019, tmp_path, monkeypatch, few, capsys):
    command = ["examples", "--data", str(small_isic2019), "--thumbnails", str(small_isic2019)]
    command += ["--out", str(tmp_path / "out")]
    with monkeypatch.context() as patch:
        patch.setattr(examples, "load_classifier", lambda name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(command)
    assert main([*command, "--seed", "1"]) == 2 and "seed" in capsys.readouterr().err
    drawn = len(few)
    assert main(command) == 0 and len(few) == drawn > 0
    assert not (tmp_path / "out/.drawn").exists()


def test_without_weights_there_are_no_examples(small_isic2019, tmp_path, capsys):
    data = ["--data", str(small_isic2019), "--thumbnails", str(small_isic2019)]
    assert main(["examples", *data, "--out", str(tmp_path / "out"), "--generator", str(tmp_path)]) == 2
    assert "holds no weights" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_realistic_ones_are_sought_among_their_own_kind(monkeypatch):
    training = [SimpleNamespace(image=source, label=LABELS[i]) for i, source in KINDS]
    monkeypatch.setattr(examples, "source_of", lambda image: image)
    monkeypatch.setattr(examples, "realism", lambda of, against: of[:, 0] + against.sum())
    known, unframed = 10.0 ** torch.arange(5)[:, None], torch.tensor([True, True, True, False, True])
    found = examples.realism_of(torch.tensor([[0.1], [0.2], [0.3]]), torch.tensor([0, 1, 0]), known, training, unframed)
    # Of the first diagnosis the first and the last from the examples' source, of the second the second.
    assert found.tolist() == pytest.approx([10001.1, 10.2, 10001.3])


def test_the_best_of_each_diagnosis_come_first():
    y, worth = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([1.0, 3.0, 2.0, 0.0, 5.0])
    assert examples.best_of_each(worth, y, 2).tolist() == [1, 2, 4, 3]
    assert examples.best_of_each(worth, y, 9).tolist() == [1, 2, 0, 4, 3]


def readings(*given):
    """Probabilities of the first of two diagnoses, and what is left."""
    p = torch.tensor(given)
    return torch.stack([p, 1 - p], dim=1)


def test_kept_are_the_surest_and_then_what_differs_most_among_those_read_as_intended(monkeypatch):
    monkeypatch.setattr(examples, "KEPT", 3)
    y = torch.zeros(5, dtype=torch.long)
    features = torch.tensor([[0.0], [0.1], [4.0], [9.0], [2.0]])
    both = {"a": readings(0.9, 0.95, 0.6, 0.9, 0.7), "b": readings(0.9, 0.6, 0.8, 0.4, 0.7)}
    # 3 is furthest from 0, but b reads it otherwise; 4 is further from 0 and 2 than 1 is.
    assert examples.chosen(both, y, features) == [0, 2, 4]
    # Where nothing else is read as intended, the surest of the others fills up.
    both["b"] = readings(0.9, 0.1, 0.3, 0.4, 0.2)
    assert examples.chosen(both, y, features) == [0, 3, 2]


def test_each_diagnosis_has_its_own(monkeypatch):
    monkeypatch.setattr(examples, "KEPT", 1)
    p = readings(0.9, 0.2, 0.8, 0.1)
    assert examples.chosen({"a": p}, torch.tensor([0, 0, 1, 1]), torch.eye(4)) == [0, 3]
