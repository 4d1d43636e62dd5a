"""How the numbers of a mixture are chosen, and the command that does it."""

import json

import pytest
import torch
from huggingface_hub import ModelCard
from torch.testing import assert_close

from purifier.classifiers.classifier import Calibration, load_classifier, write_calibration
from purifier.classifiers.mixed import Mixing, mixed, sharpened
from purifier.cli.main import main
from purifier.evaluation.datasets import LABELS
from purifier.evaluation.tune import Trials
from purifier.training import mix as module
from purifier.training.mix import best_for, chosen, least_share
from tests.helpers.classifiers import save_small


def numbers(share, **others):
    return Mixing(**{"share": share, "scale": 1.0, "power": 1.0, "clamp": 0.0, **others})


def test_with_the_least_share_the_robust_member_decides_on_the_part_that_is_kept_whatever_the_other_says():
    logits = 2 * torch.randn(200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y, runner_up = logits.topk(2).indices.T
    other = torch.nn.functional.one_hot(runner_up, 4)
    for kept in (0.5, 0.9, 1.0):
        share = least_share(logits, y, kept)
        shares = [((1 - s) * other + s * logits.softmax(1)).argmax(1) == y for s in (share, share - 0.02)]
        held, with_less = (right.double().mean().item() for right in shares)
        assert held == pytest.approx(kept, abs=0.01) and held >= kept > with_less
    assert least_share(logits, runner_up, 1.0) == 1
    assert least_share(1e6 * logits, y, 1.0) == 0.5001  # half would be a tie


def test_of_mixtures_that_keep_as_much_the_one_that_reads_most_clean_pictures_rightly_is_taken(tmp_path):
    """The robust member is sure where it is right, attacked or not, and wrong with less of a margin elsewhere."""
    y = torch.arange(40) % 4
    truth = torch.nn.functional.one_hot(y, 4).float()
    wrong = torch.nn.functional.one_hot((y + 1) % 4, 4).float()
    is_right = (torch.arange(40) < 20)[:, None]
    robust = torch.where(is_right, 3 * truth, 3 * wrong + 2.6 * truth)
    read = torch.stack([8 * truth, robust, 8 * wrong, robust], dim=1)
    best = best_for(1.0, read, y, Trials(tmp_path / "trials.jsonl"))
    assert 0.5 <= best.share < 1
    assert (mixed(read[:, 0], read[:, 1], best).argmax(1) == y).all()
    assert (mixed(read[:, 2], read[:, 3], best).argmax(1) == y).equal(is_right.flatten())
    with pytest.raises(ValueError, match="withstands the attack on none"):
        best_for(1.0, read[~is_right.flatten()], y[~is_right.flatten()], Trials(tmp_path / "none.jsonl"))
    lines = (tmp_path / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(module.SCALES) * len(module.POWERS) * len(module.CLAMPS)
    tried = max(map(json.loads, lines), key=lambda line: (line["accuracy"]["clean"], line["accuracy"]["likelihood"]))
    assert tried["accuracy"]["share"] == best.share and tried["what"]["scale"] == best.scale
    assert least_share(sharpened(read[:20, 3], best), y[:20], 1.0) == best.share


def test_of_those_that_withstand_as_much_as_the_robust_member_the_best_on_clean_pictures_is_taken():
    found = {
        numbers(0.9): {"clean": 0.5, "attacked": 0.42},
        numbers(0.8): {"clean": 0.6, "attacked": 0.36},
        numbers(0.7): {"clean": 0.8, "attacked": 0.3},
    }
    assert chosen(found, 0.4, images=100) == numbers(0.8)  # one standard error is 0.049
    assert chosen(found, 0.4, images=10_000) == numbers(0.9)
    assert chosen(found, 0.9, images=100) == numbers(0.9)


@pytest.fixture
def command(small_isic2019, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POWERS", (1.0, 2.0))
    monkeypatch.setattr(module, "CLAMPS", (0.0,))
    monkeypatch.setattr(module, "STEPS", 2)
    folders = [save_small(tmp_path / name, seed=i, labels=LABELS, license="mit") for i, name in enumerate("ab")]
    write_calibration(folders[0], Calibration(temperature=3.0))
    members = [
        part
        for kind, folder in zip(("--accurate", "--robust"), folders, strict=True)
        for part in (kind, f"local-dir:{folder}")
    ]
    return ["mix", "--data", str(small_isic2019), "--split", "all", *members, "--out", str(tmp_path / "both")]


def test_the_command_makes_a_classifier_that_can_be_loaded_and_says_what_it_reached(
    command, tmp_path, capsys, monkeypatch
):
    assert main(command) == 0
    rows = capsys.readouterr().out.splitlines()
    kept = json.loads((tmp_path / "both" / "mixed.json").read_text(encoding="utf-8"))
    card = ModelCard.load(tmp_path / "both" / "README.md")
    assert [row.split(" | ")[0] for row in rows] == ["| accurate", "| robust", "| mixed"]
    assert all(row in card.text for row in rows) and card.data.license == "mit"
    accuracy = kept["accuracy"]["mixed"]
    assert all(score["low"] <= score["value"] <= score["high"] for score in accuracy.values())
    own = accuracy["attacked by its own gradient"]["value"]
    assert accuracy["attacked"]["value"] <= own <= accuracy["clean"]["value"]

    both = load_classifier(f"local-dir:{tmp_path / 'both'}")
    assert both.network.mixing == Mixing(**kept["mixing"]) and both.labels == LABELS
    assert both.calibration.temperature != 1 and both.calibration.out_of_distribution is None
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    members = [load_classifier(kept[kind]) for kind in ("accurate", "robust")]
    assert_close(both(x), mixed(*(member(x) for member in members), both.network.mixing))

    before = (tmp_path / "both" / "trials.jsonl").read_text(encoding="utf-8")
    assert before.count('"kept"') == len(module.SCALES) * 2 * len(module.KEPT)
    monkeypatch.setattr(module, "over_batches", lambda *_: pytest.fail("computed twice"))
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines() == rows
    assert (tmp_path / "both" / "trials.jsonl").read_text(encoding="utf-8") == before
    assert main([*command, "--seed", "1"]) == 2
    assert "other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [(["--eps", "0"], "eps must be positive"), (["--robust", "nobody"], "no bundled classifier 'nobody'")],
)
def test_what_cannot_be_mixed_is_refused(command, capsys, changes, message):
    assert main([*command, *changes]) == 2
    assert message in capsys.readouterr().err


def test_members_of_other_labels_are_refused_before_anything_is_attacked(command, tmp_path, capsys):
    other = save_small(tmp_path / "other", labels=[*LABELS[1:], LABELS[0]])
    assert main([*command, "--robust", f"local-dir:{other}"]) == 2
    assert "must know the same diagnoses in the same order" in capsys.readouterr().err
    assert not (tmp_path / "both").exists()
