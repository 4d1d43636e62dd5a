import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file

from purifier.alarm import alarm_of
from purifier.classifiers.classifier import load_classifier
from purifier.cli.batch import find_pictures
from purifier.cli.main import main
from purifier.denoiser import bundled_denoiser
from purifier.pictures.files import read_image
from purifier.pipeline import SUITED, Purifier
from purifier.readings import read
from purifier.reports import can_print
from purifier.runs import hash_of, mean_reading, purified_picture
from tests.helpers.paths import ROOT
from tests.helpers.pictures import lesion_like

EXAMPLES = ROOT / "assets" / "examples"
ONE, OUT = str(EXAMPLES / "NV-1.png"), ("--out", "OUT")  # OUT stands for a folder of the test's own
PAPER = {"report.pdf"} if can_print() else set()
QUICK = ["--steps", "2", "--blocks", "1", "--scales", "1"]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pictures" / "more").mkdir(parents=True)
    for i, name in enumerate(("b.png", "more/a.jpg", "more/c.png")):
        lesion_like(i, 96).save(tmp_path / "pictures" / name)
    return tmp_path / "pictures"


def rows_of(out):
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
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
    mean = mean_reading(load_classifier(), Purifier(), adv, draws=4)
    assert row["purified_p_NV"] == round(mean.probability("NV"), 4)
    assert (row["purified_draws"], row["purified_agreeing"]) == (4, mean.agreeing)
    alarm = alarm_of(load_classifier(), read(load_classifier(), adv)[0], mean, Purifier())
    assert row["alarm_score"] == round(alarm.score, 4) > 1
    assert row["alarm_attacked"] == ("" if alarm.attacked is None else alarm.attacked)
    assert sorted(path.name for path in (again / "attacked.png").iterdir()) == ["purified.png"]


def test_draws_are_counted_in_the_table_and_in_the_line(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["purify", str(folder / "b.png"), "--out", str(out), "--draws", "2", *QUICK[2:]]) == 0
    (row,) = rows_of(out)
    assert row["purified_draws"] == "2" and row["purified_agreeing"] in "12"
    assert capsys.readouterr().out.endswith(f" ({row['purified_agreeing']} of 2 draws)\n")
    assert row["alarm_attacked"] == row["alarm_false_alarm_rate"] == ""  # which two draws cannot tell
    again = tmp_path / "again"
    assert main(["purify", str(folder / "b.png"), "--out", str(again), "--draws", "1", *QUICK[2:]]) == 0
    (alone,) = read(load_classifier(), read_image(again / "b.png" / "purified.png"))
    assert rows_of(again)[0]["purified_p_NV"] == str(round(alone.probability("NV"), 4))
    assert (again / "b.png" / "purified.png").read_bytes() == (out / "b.png" / "purified.png").read_bytes()


@pytest.mark.parametrize("denoiser", [None, *SUITED])
def test_what_is_left_out_suits_the_denoiser(folder, tmp_path, denoiser):
    chosen = [] if denoiser is None else ["--denoiser", denoiser]
    usual = Purifier() if denoiser is None else Purifier(denoiser=denoiser)
    for name, given, changed in (("none", [], {}), ("one", ["--scales", "1"], dict(scales=(1.0,)))):
        assert (
            main(["purify", str(folder / "b.png"), "--draws", "1", "--out", str(tmp_path / name), *chosen, *given]) == 0
        )
        stored = json.loads((tmp_path / name / "settings.json").read_text(encoding="utf-8"))["settings"]
        assert Purifier.read(stored["purifier"]) == replace(usual, **changed)


def test_the_denoiser_and_bands_can_be_chosen(folder, tmp_path, capsys):
    bundled_denoiser.cache_clear()  # loading it prints nothing
    arguments = ["purify", str(folder / "b.png"), "--draws", "1", "--blocks", "1", "--out"]
    assert main([*arguments, str(tmp_path / "out"), "--denoiser", "learned", "--no-bands", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == "b.png"
    purifier = Purifier(blocks=1, denoiser="learned", bands=False)
    expected = purified_picture(purifier, read_image(folder / "b.png"))
    assert torch.equal(read_image(tmp_path / "out" / "b.png" / "purified.png"), expected)
    assert not torch.equal(expected, purified_picture(Purifier(denoiser="rof"), read_image(folder / "b.png")))
    with pytest.raises(SystemExit) as stop:
        main([*arguments, str(tmp_path / "other"), "--denoiser", "magic"])
    assert stop.value.code == 2


def test_a_folder_is_worked_through_and_what_cannot_be_read_is_said(folder, tmp_path, capsys):
    (folder / "more" / "bad.png").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not for us", encoding="utf-8")
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
    with (out / "results.csv").open("a", encoding="utf-8") as file:
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
    assert last["file"] == "b.png" and len(rows_of(out)) == 3  # a row for each picture
    assert main([*arguments, "--sigma", "3"]) == 2
    assert "holds a run of other settings (settings differ)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["classify", "nowhere.png"], "no file or folder nowhere.png"),
        (["classify", str(ROOT / "purifier" / "ui")], "holds no pictures"),
        (["classify", ONE, "--classifier", "nobody"], "no bundled classifier"),
        (["purify", ONE, *OUT, "--blocks", "0"], "blocks must be"),
        (["attack", ONE, *OUT, "--target", "Freckle"], "target must be one of"),
        (["attack", ONE, *OUT, "--epsilon", "0.03"], "--epsilon must be from 1 to 255, in 1/255, and is 0.03"),
        (["attack", ONE, *OUT, "--epsilon", "nan"], "--epsilon must be"),
        (["attack", ONE, *OUT, "--epsilon", "0"], "--epsilon must be"),
        (["attack", ONE, *OUT, "--steps", "0"], "--steps must be at least 1, and is 0"),
        (["attack", ONE, *OUT, "--attack-seed", "9" * 25], "--attack-seed must be from 0"),
        (["purify", ONE, *OUT, "--draws", "0"], "--draws must be at least 1, and is 0"),
        (["purify", ONE, *OUT, "--draws", "65"], "Draws averaged must be a whole number from 1 to 64, and is 65"),
        (["purify", ONE, *OUT, "--noise-seed", "-1"], "--noise-seed must be from 0"),
        (["purify", ONE, *OUT, "--sigma", "400"], "--sigma must be from 0 to 255, in 1/255, and is 400."),
        (["purify", ONE, *OUT, "--sigma", "inf"], "--sigma must be"),
        (["purify", ONE, *OUT, "--weight", "-1"], "--weight must be from 0 to 1"),
        (["purify", ONE, *OUT, "--scales", "3", "1"], "scales must be some of"),
        (["purify", ONE, "--out", str(ROOT / "LICENSE")], "is a file, and results go to a folder"),
        (["purify", str(EXAMPLES), "--out", str(EXAMPLES)], "Choose another --out"),
        (["classify", ONE, "--device", "gpu"], "'gpu' is no device. Write cpu"),
        (["classify", ONE, "--device", "cuda:99"], "no device 'cuda:99' here"),
        (["classify", ONE, "--device", "meta"], "no device 'meta' here"),
        (["evaluate", "--data", "nowhere", *OUT, "--eps", "nan"], "eps must be positive"),
        (["evaluate", "--data", "nowhere", *OUT, "--eps", "0"], "eps must be positive"),
        (["evaluate", "--data", "nowhere", *OUT, "--draws", "0"], "--draws must be at least 1"),
        (["evaluate", "--data", "nowhere", *OUT, "--limit", "0"], "--limit must be at least 1"),
        (["evaluate", "--data", "nowhere", *OUT, "--seed", str(2**70)], "--seed must be from 0"),
        (["tune", "--data", "nowhere", *OUT, "--trials", "0"], "--trials must be at least 1"),
        (["train", "generator", "--data", "x", "--work", "OUT", "--threads", "-1"], "--threads must be at least 1"),
        (["report", ONE, *OUT, "--settings", str(ROOT / "LICENSE")], "not the settings"),
    ],
)
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
    assert files == {"attacked.png", "purified.png", "report.html", "stages.zip", "run.json", *PAPER}
    stored = str(first / "b.png" / "run.json")
    assert main(["report", picture, "--settings", stored, "--formats", "json", "--out", str(second)]) == 0
    for kind in ("attacked", "purified"):
        with Image.open(first / "b.png" / f"{kind}.png") as a, Image.open(second / "b.png" / f"{kind}.png") as b:
            assert a.tobytes() == b.tobytes()
    one, two = (json.loads((out / "b.png" / "run.json").read_text(encoding="utf-8")) for out in (first, second))
    assert one["pictures"] == two["pictures"] and one["settings"] == two["settings"]
    adv = read_image(second / "b.png" / "attacked.png")
    assert one["pictures"]["attacked"]["sha256"] == hash_of(adv)


def test_without_pango_the_other_files_are_written(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("purifier.reports.can_print", lambda: False)
    assert main(["report", str(folder / "b.png"), *QUICK, "--out", str(tmp_path / "out")]) == 0
    found = {path.name for path in (tmp_path / "out" / "b.png").iterdir()}
    assert found == {"attacked.png", "purified.png", "report.html", "stages.zip", "run.json"}
    assert "needs the library Pango" in capsys.readouterr().err


def test_a_report_of_nothing_done_is_one_of_the_original(folder, tmp_path):
    settings, out = tmp_path / "run.json", tmp_path / "out"
    nothing = {"settings": {"classifier": "augmented", "attack": None, "purifier": None, "seed": 0, "draws": 1}}
    settings.write_text(json.dumps(nothing), encoding="utf-8-sig")  # as Notepad saves it
    assert main(["report", str(folder / "b.png"), "--settings", str(settings), "--out", str(out)]) == 0
    assert {path.name for path in (out / "b.png").iterdir()} == {"report.html", "stages.zip", "run.json", *PAPER}
    told = json.loads((out / "b.png" / "run.json").read_text(encoding="utf-8"))
    assert list(told["pictures"]) == ["original"] and told["settings"] == nothing["settings"]
    assert told["pictures"]["original"]["top"] == rows_of(out)[0]["original_read_as"]


@pytest.mark.parametrize(("epsilon", "bound"), [("1", 1), ("1.5", 1), ("2.5", 2), ("3.999", 3)])
def test_the_bound_holds_for_the_picture_that_is_saved(epsilon, bound, folder, tmp_path):
    out = tmp_path / "out"
    assert main(["attack", str(folder / "b.png"), "--out", str(out), "--epsilon", epsilon, "--steps", "3"]) == 0
    x, adv = read_image(folder / "b.png"), read_image(out / "b.png" / "attacked.png")
    assert round(255 * (adv - x).abs().max().item(), 3) == bound


def test_a_target_may_have_its_full_name(folder, tmp_path):
    read_as = []
    for target in ("BCC", "Basal cell carcinoma", "bcc"):
        out = tmp_path / target
        assert main(["attack", str(folder / "b.png"), "--out", str(out), "--target", target, "--steps", "3"]) == 0
        read_as.append((out / "b.png" / "attacked.png").read_bytes())
    assert read_as[0] == read_as[1] == read_as[2]


def retrained(source, folder):
    """The weights in ``folder`` as another training would have left them: other readings, the same names."""
    network = timm.create_model(f"local-dir:{source}", pretrained=True)
    with torch.no_grad():
        network.get_classifier().bias += torch.randn(8, generator=torch.Generator().manual_seed(0))
    shutil.copytree(source, folder, dirs_exist_ok=True)
    save_file(network.state_dict(), folder / "model.safetensors")


def test_new_weights_under_an_old_name_are_read_with(folder, tmp_path):
    """What was read with the old ones does not come back."""
    model, out, fresh = tmp_path / "model", tmp_path / "out", tmp_path / "fresh"
    shutil.copytree(ROOT / "assets" / "models" / "surrogate", model)
    arguments = ["purify", str(folder), "--classifier", f"local-dir:{model}", *QUICK[2:], "--out"]
    assert main([*arguments, str(out)]) == 0
    before = rows_of(out)
    retrained(ROOT / "assets" / "models" / "surrogate", model)
    assert main([*arguments, str(out)]) == 0 and main([*arguments, str(fresh)]) == 0
    assert rows_of(out) == rows_of(fresh) != before and len(before) == len(rows_of(out)) == 3
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["pretrained_cfg"]["mean"] = [0.4] * 3
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert main([*arguments, str(out)]) == 0
    assert rows_of(out) != rows_of(fresh)


def test_what_is_missing_in_the_output_is_written_again(folder, tmp_path):
    out = tmp_path / "out"
    arguments = ["report", str(folder), "--out", str(out), "--formats", "json", *QUICK]
    assert main(arguments) == 0
    lost, kept = out / "b.png" / "purified.png", out / "more" / "a.jpg" / "run.json"
    content, written = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    (out / "more" / "c.png" / "run.json").unlink()
    assert main(arguments) == 0
    assert lost.read_bytes() == content and (out / "more" / "c.png" / "run.json").is_file()
    assert kept.stat().st_mtime_ns == written and len(rows_of(out)) == 3


def test_a_refusal_says_what_differs(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["attack", str(folder / "b.png"), "--out", str(out), *QUICK]) == 0
    assert main(["attack", str(folder / "b.png"), "--out", str(out), *QUICK, "--target", "NV"]) == 2
    assert 'settings.attack.target: "any other" there, "NV" now.' in capsys.readouterr().err


def test_results_inside_the_folder_are_not_worked_on(folder, capsys):
    arguments = ["purify", str(folder), "--out", str(folder / "more" / "out"), *QUICK[2:]]
    for _ in range(2):
        assert main(arguments) == 0
        rows = rows_of(folder / "more" / "out")
        assert [row["file"] for row in rows] == ["b.png", "more/a.jpg", "more/c.png"]


def test_what_cannot_be_read_is_listed_and_the_rest_is_done(folder, tmp_path, capsys, monkeypatch):
    original = lesion_like(5, 96)
    for name in ("old.jfif", "IM000001", "scan.dat"):  # a JPEG of any name is one
        original.save(folder / name, format="JPEG")
    for name in ("phone.heic", "web.avif", "film.gif", "drawing.svg", "raw.CR2", "empty.jpg", "._b.png"):
        (folder / name).write_bytes(b"")
    (folder / ".ipynb_checkpoints").mkdir()
    original.save(folder / ".ipynb_checkpoints" / "b-checkpoint.png")
    (folder / "nowhere.png").symlink_to(tmp_path / "gone.png")
    (folder / "link").symlink_to(folder, target_is_directory=True)  # to itself: no picture comes twice
    os.mkfifo(folder / "pipe.png")
    (folder / "notes.txt").write_text("not for us", encoding="utf-8")
    (folder / "secret.png").write_bytes(b"")
    read_bytes = Path.read_bytes

    def refused(path):  # root may read anything
        if path.name == "secret.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    out = tmp_path / "out"
    assert main(["purify", str(folder), "--out", str(out), *QUICK[2:]]) == 1
    rows = {row["file"]: row["error"] for row in rows_of(out)}
    read = {name for name, error in rows.items() if not error}
    assert read == {"b.png", "more/a.jpg", "more/c.png", "old.jfif", "IM000001", "scan.dat"}
    listed = {"phone.heic", "web.avif", "film.gif", "drawing.svg", "raw.CR2", "empty.jpg", "nowhere.png", "secret.png"}
    assert set(rows) - read == listed
    assert rows["secret.png"] == "It cannot be opened: Permission denied."
    said = capsys.readouterr().err
    assert all(f"{name}: " in said for name in listed) and "they are no pictures: 1 (notes.txt)" in said


def test_names_of_any_alphabet_and_of_none_come_back_as_they_are(tmp_path):
    """On a console that knows ASCII alone, as one that is redirected may."""
    folder, out = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    names = ["Läsion.png", "病变.png", 'a,b"c.png', os.fsdecode(b"caf\xe9.png")]
    for name in names:
        lesion_like(0, 96).save(folder / name)
    command = [sys.executable, "-m", "purifier.cli", "classify", str(folder), "--out", str(out)]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert main(["classify", str(folder), "--out", str(out)]) == 0
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file"] for row in rows) == sorted(["caf\\xe9.png", *names[:3]])
    assert "病变.png: " in done.stdout.decode("utf-8")


def test_ctrl_c_ends_with_130_and_no_traceback(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("purifier.cli.pictures.load_classifier", interrupted)
    assert main(["classify", str(EXAMPLES / "NV-1.png")]) == 130
    assert "stopped" in capsys.readouterr().err


def test_a_reader_that_leaves_ends_it_quietly():
    command = f"{sys.executable} -m purifier.cli classify {EXAMPLES} --json | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert json.loads(done.stdout)["file"] and "Traceback" not in done.stderr and "Errno" not in done.stderr
