import csv
import json
import shutil
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

from purifier.batch import find_pictures
from purifier.classifiers import load_classifier
from purifier.cli import main
from purifier.images import read_image
from purifier.readings import read
from purifier.runs import hash_of
from tests.conftest import lesion_like
from tests.test_package import ROOT

EXAMPLES = ROOT / "assets" / "examples"
QUICK = ["--steps", "2", "--blocks", "1", "--scales", "1"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for i, name in enumerate(("b.png", "more/a.jpg", "more/c.png")):
        lesion_like(i, 96).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def rows_of(out):
    with (out / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_a_command_it_says_how_to_use_it(capsys):
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "usage: purifier" in capsys.readouterr().err


def test_classify_prints_what_the_package_reads(capsys):
    assert main(["classify", str(EXAMPLES / "NV-1.png"), "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    classifier = load_classifier()
    reading = read(classifier, read_image(EXAMPLES / "NV-1.png"))[0]
    assert row["file"] == "NV-1.png" and row["original_read_as"] == reading.top == "NV" and row["dermoscopic"] is True
    assert [row[f"original_p_{label}"] for label in classifier.labels] == [
        round(p, 4) for p in reading.probabilities.tolist()
    ]
    assert main(["classify", str(EXAMPLES / "NV-1.png")]) == 0
    assert capsys.readouterr().out.startswith("NV-1.png: Melanocytic nevus ")


def test_attack_and_purify_write_what_the_page_s_defaults_give(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["attack", str(EXAMPLES / "NV-1.png"), "--out", str(out), "--target", "MEL"]) == 0
    assert rows_of(out)[0]["attacked_read_as"] == "MEL"
    attacked = out / "NV-1.png" / "attacked.png"
    x, adv = read_image(EXAMPLES / "NV-1.png"), read_image(attacked)
    assert 0 < (adv - x).abs().max() <= 2 / 255 + 1e-6
    again = tmp_path / "again"
    assert main(["purify", str(attacked), "--out", str(again), "--json"]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["original_read_as"] == "MEL" and row["purified_read_as"] == "NV" and "attacked_read_as" not in row
    assert sorted(path.name for path in (again / "attacked.png").iterdir()) == ["purified.png"]


def test_a_folder_is_worked_through_and_what_cannot_be_read_is_said(folder, tmp_path, capsys):
    (folder / "more" / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not for us")
    out = tmp_path / "out"
    assert main(["purify", str(folder), "--out", str(out), *QUICK[2:]]) == 1
    rows = rows_of(out)
    assert [row["file"] for row in rows] == ["b.png", "more/a.jpg", "more/bad.png", "more/c.png"]
    assert "bad.png: This is not a picture" in capsys.readouterr().err
    assert [bool(row["error"]) for row in rows] == [False, False, True, False]
    assert (out / "more" / "a.jpg" / "purified.png").is_file() and not (out / "more" / "bad.png").exists()


def test_a_stopped_run_goes_on_where_it_was(folder, tmp_path):
    for i in range(12):
        lesion_like(10 + i, 64).save(folder / f"many-{i:02}.png")
    out, whole = tmp_path / "out", tmp_path / "whole"
    command = [sys.executable, "-m", "purifier.cli", "attack", str(folder), "--steps", "10", "--out"]
    process = subprocess.Popen([*command, str(out)], cwd=ROOT, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not ((out / "results.csv").exists() and len(rows_of(out)) >= 3):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = rows_of(out)
    assert 3 <= len(done) < 15
    with (out / "results.csv").open("a") as file:
        file.write("cut,of")
    first = {row["file"]: (out / row["file"] / "attacked.png").stat().st_mtime_ns for row in done}
    arguments = ["attack", str(folder), "--steps", "10", "--out"]
    assert main([*arguments, str(out)]) == 0 and main([*arguments, str(whole)]) == 0
    assert rows_of(out) == rows_of(whole) and len(rows_of(out)) == 15
    assert {name: (out / name / "attacked.png").stat().st_mtime_ns for name in first} == first


def test_a_changed_picture_is_done_again_and_other_settings_are_refused(folder, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["purify", str(folder), "--out", str(out), *QUICK[2:]]
    assert main(arguments) == 0
    lesion_like(9, 96).save(folder / "b.png")
    assert main(arguments) == 0
    last = rows_of(out)[-1]
    assert last["file"] == "b.png" and len(rows_of(out)) == 4
    assert main([*arguments, "--sigma", "3"]) == 2
    assert "holds a run of other settings (settings differ)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["classify", "nowhere.png"], "no file or folder nowhere.png"),
        (["classify", str(ROOT / "purifier" / "ui")], "holds no pictures"),
        (["classify", str(EXAMPLES / "NV-1.png"), "--classifier", "nobody"], "no bundled classifier"),
        (["purify", str(EXAMPLES / "NV-1.png"), "--out", "OUT", "--blocks", "0"], "blocks must be"),
        (["attack", str(EXAMPLES / "NV-1.png"), "--out", "OUT", "--target", "Freckle"], "target must be one of"),
        (
            ["report", str(EXAMPLES / "NV-1.png"), "--out", "OUT", "--settings", str(ROOT / "LICENSE")],
            "not the settings",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_said_in_one_line(arguments, says, tmp_path, capsys):
    assert main([str(tmp_path / "out") if part == "OUT" else part for part in arguments]) == 2
    error = capsys.readouterr().err
    assert says in error and "Traceback" not in error


def test_two_pictures_of_one_name_are_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other")
    with pytest.raises(ValueError, match="Two pictures are called b.png"):
        find_pictures([folder, tmp_path / "other"])
    assert list(find_pictures([tmp_path / "other"])) == ["b.png", "more/a.jpg", "more/c.png"]


def test_a_report_s_settings_give_the_same_run_again(folder, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    picture = str(folder / "b.png")
    arguments = ["report", picture, "--knows-purifier", "--attack-seed", "3", "--noise-seed", "4", *QUICK, "--out"]
    assert main([*arguments, str(first)]) == 0
    files = {path.name for path in (first / "b.png").iterdir()}
    assert files == {"attacked.png", "purified.png", "report.html", "report.pdf", "stages.zip", "run.json"}
    stored = str(first / "b.png" / "run.json")
    assert main(["report", picture, "--settings", stored, "--formats", "json", "--out", str(second)]) == 0
    for kind in ("attacked", "purified"):
        with Image.open(first / "b.png" / f"{kind}.png") as a, Image.open(second / "b.png" / f"{kind}.png") as b:
            assert a.tobytes() == b.tobytes()
    one, two = (json.loads((out / "b.png" / "run.json").read_text()) for out in (first, second))
    assert one["pictures"] == two["pictures"] and one["settings"] == two["settings"]
    adv = read_image(second / "b.png" / "attacked.png")
    assert one["pictures"]["attacked"]["sha256"] == hash_of(adv)
