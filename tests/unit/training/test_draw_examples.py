import re
from types import SimpleNamespace

import pytest
import torch

from purifier import read_image
from purifier.cli.main import main
from purifier.evaluation.datasets import LABELS
from purifier.pyramid import resample
from purifier.training import drawing, examples
from purifier.ui.examples import BUNDLED as EXAMPLES


@pytest.fixture
def few(monkeypatch):
    """Few pictures of mere noise in the place of drawn ones; how many are drawn large is counted, and which origins and
    guidance are asked for is kept."""
    large, asked = [], []

    def enlarge(model, x, *_):
        large.append(len(x))
        return resample(x, (256, 256)).clamp(0, 1)

    for name, value in dict(CANDIDATES=4, ENLARGED=3).items():
        monkeypatch.setattr(examples, name, value)

    def draw(model, y, origins, *, guidance, generator):
        asked.append((sorted({int(origin) for origin in origins}), guidance))
        return torch.rand(len(y), 3, 64, 64, generator=generator)

    monkeypatch.setattr(drawing, "draw", draw)
    monkeypatch.setattr(drawing, "enlarge", enlarge)
    monkeypatch.setattr(
        examples, "realism_of", lambda of, y, *_: torch.arange(len(of), dtype=torch.float)
    )  # the small data set has too few of a diagnosis
    return SimpleNamespace(large=large, asked=asked)


def command_for(data, out, *more):
    return ["examples", "--data", str(data), "--thumbnails", str(data), "--out", str(out), "--kept", "2", *more]


def names_in(out):
    return sorted(path.name for path in out.iterdir())


def test_examples_are_drawn_chosen_and_accounted_for(small_isic2019, tmp_path, monkeypatch, few):
    monkeypatch.setattr(examples, "without_black_corners", lambda pixels: torch.arange(len(pixels)) % 4 > 0)
    out, beside = tmp_path / "drawn", tmp_path / "neighbours.png"
    assert main(command_for(small_isic2019, out, "--neighbours", str(beside))) == 0
    sources = (out / "SOURCES.md").read_text(encoding="utf-8")
    assert "\n32 were drawn as of HAM10000, with guidance 1.5, 4 for each diagnosis. Of these 24\n" in sources
    assert "those 3 were drawn large" in sources and "Of these 2 were kept" in sources and "framed" not in sources
    assert names_in(out) == sorted(["SOURCES.md", *(f"{label}-{i}.png" for label in LABELS for i in (1, 2))])
    for label in LABELS:
        assert read_image(out / f"{label}-1.png", size=None).shape == (1, 3, 256, 256)
        assert f"| {label}-1.png | {label} |" in sources
    assert read_image(beside, size=None).shape == (1, 3, 3 * 65 + 1, 16 * 65 + 1)
    assert len(few.large) == 24 and set(map(str, few.asked)) == {"([0], 1.5)"}


def test_others_of_other_origins_come_beside_them(small_isic2019, tmp_path, monkeypatch, few):
    """And may have the black corners that they were asked to have."""
    monkeypatch.setattr(examples, "without_black_corners", lambda pixels: torch.zeros(len(pixels), dtype=torch.bool))
    out = tmp_path / "drawn"
    others = ("--origins", "MSK", "HAM10000 framed", "--guidance", "1", "--kept", "1", "--first", "3")
    assert main(command_for(small_isic2019, out, *others)) == 0
    alone = (out / "SOURCES.md").read_text(encoding="utf-8")
    assert "as of MSK, HAM10000 framed, with guidance 1, 4" in alone and "Of these 16\nwere left" in alone
    assert "black corner, unless they were drawn as framed, and" in alone and "Of these 1 was kept" in alone
    assert "--seed 0 --origins MSK 'HAM10000 framed' --guidance 1 --kept 1 --first 3\n" in alone
    assert names_in(out) == sorted(["SOURCES.md", *(f"{label}-3.png" for label in LABELS)])
    assert set(map(str, few.asked)) == {"([1, 3], 1.0)"}

    monkeypatch.setattr(examples, "without_black_corners", lambda pixels: torch.ones(len(pixels), dtype=torch.bool))
    assert main(command_for(small_isic2019, out)) == 0 and len(names_in(out)) == 1 + 3 * len(LABELS)
    both = (out / "SOURCES.md").read_text(encoding="utf-8")
    assert [line for line in both.splitlines() if line.startswith("## ")] == [
        "## Of each diagnosis 1 to 2",
        "## Of each diagnosis 3",
    ]
    assert both.endswith(alone.partition("\n## ")[2]) and both.startswith(alone.partition("\n## ")[0])
    assert main(command_for(small_isic2019, out)) == 0
    assert (out / "SOURCES.md").read_text(encoding="utf-8") == both


def test_an_unknown_origin_is_refused_before_anything_is_drawn(small_isic2019, tmp_path, few, capsys):
    assert main(command_for(small_isic2019, tmp_path / "out", "--origins", "MSK", "Vienna")) == 2
    said = capsys.readouterr().err
    assert "no origin 'Vienna'" in said and "BCN20000 framed" in said and not (tmp_path / "out").exists()


def test_the_bundled_ones_are_accounted_for_by_what_the_command_writes_today():
    sources = (EXAMPLES / "SOURCES.md").read_text(encoding="utf-8")
    intro, *sections = sources.split("\n## ")
    assert intro == examples.SOURCES.format(side=examples.SIDE)
    values = re.sub(r"\\\{[^}]*\\\}", r"(?s:.*?)", re.escape(examples.SECTION))
    assert sections and all(re.fullmatch(values, f"## {section.rstrip()}\n") for section in sections)
    assert sorted(re.findall(r"^\| (\S+\.png) \|", sources, re.M)) == sorted(
        path.name for path in EXAMPLES.glob("*.png")
    )


def test_a_stopped_drawing_goes_on_and_takes_no_other_settings(small_isic2019, tmp_path, monkeypatch, few, capsys):
    command = command_for(small_isic2019, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(examples, "load_classifier", lambda name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            main(command)
    assert main([*command, "--seed", "1"]) == 2 and "seed" in capsys.readouterr().err
    drawn = len(few.large)
    assert main(command) == 0 and len(few.large) == drawn > 0
    assert not (tmp_path / "out/.drawn").exists()


def test_without_weights_there_are_no_examples(small_isic2019, tmp_path, capsys):
    data = ["--data", str(small_isic2019), "--thumbnails", str(small_isic2019)]
    assert main(["examples", *data, "--out", str(tmp_path / "out"), "--generator", str(tmp_path)]) == 2
    assert "holds no weights" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_realistic_ones_are_sought_among_their_own_kind_unless_there_are_few(monkeypatch):
    monkeypatch.setattr(examples, "realism", lambda of, against: of[:, 0] + against.sum())
    monkeypatch.setattr(examples, "FEW", 2)
    known, labels = 10.0 ** torch.arange(5)[:, None], torch.tensor([0, 1, 0, 0, 1])
    kin = torch.tensor([True, True, False, True, False])
    found = examples.realism_of(torch.tensor([[0.1], [0.2], [0.3]]), torch.tensor([0, 1, 0]), known, labels, kin)
    # Of the first diagnosis two are kin, of the second one alone, and both count.
    assert found.tolist() == pytest.approx([1001.1, 10010.2, 1001.3])


def test_the_best_of_each_diagnosis_come_first():
    y, worth = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([1.0, 3.0, 2.0, 0.0, 5.0])
    assert examples.best_of_each(worth, y, 2).tolist() == [1, 2, 4, 3]
    assert examples.best_of_each(worth, y, 9).tolist() == [1, 2, 0, 4, 3]


def readings(*given):
    """Probabilities of the first of two diagnoses, and what is left."""
    p = torch.tensor(given)
    return torch.stack([p, 1 - p], dim=1)


def test_kept_are_the_surest_and_then_what_differs_most_among_those_read_as_intended():
    y = torch.zeros(5, dtype=torch.long)
    features = torch.tensor([[0.0], [0.1], [4.0], [9.0], [2.0]])
    both = {"a": readings(0.9, 0.95, 0.6, 0.9, 0.7), "b": readings(0.9, 0.6, 0.8, 0.4, 0.7)}
    # 3 is furthest from 0, but b reads it otherwise; 4 is further from 0 and 2 than 1 is.
    assert examples.chosen(both, y, features, 3) == [0, 2, 4]
    # Where nothing else is read as intended, the surest of the others fills up.
    both["b"] = readings(0.9, 0.1, 0.3, 0.4, 0.2)
    assert examples.chosen(both, y, features, 3) == [0, 3, 2]


def test_each_diagnosis_has_its_own():
    p = readings(0.9, 0.2, 0.8, 0.1)
    assert examples.chosen({"a": p}, torch.tensor([0, 0, 1, 1]), torch.eye(4), 1) == [0, 3]
