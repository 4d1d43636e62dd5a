import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace

import pandas as pd
import pytest
import torch
from pandas.testing import assert_frame_equal
from PIL import Image
from torch.testing import assert_close

from purifier.classifiers.classifier import MODELS
from purifier.cli.main import main
from purifier.denoiser import digest_of_weights
from purifier.evaluation import grid as module
from purifier.evaluation.attackers import get_attacker
from purifier.evaluation.datasets import LABELS, read_isic2019, read_samples
from purifier.evaluation.grid import COARSE, coarse_part, parts, peak_memory, provenance, run
from purifier.evaluation.settings import Grid
from purifier.results.summary import summarise
from tests.helpers.pictures import lesion_like
from tests.helpers.runs import OPTIONS, TIMES


def test_the_coarse_part_of_a_change_is_what_lies_below_the_bound():
    columns = torch.arange(224) / 224
    waves = [torch.cos(2 * torch.pi * cycles * columns).expand(1, 3, 224, 224) for cycles in (COARSE - 1, COARSE + 1)]
    change = torch.cat([waves[0], waves[1], waves[0] + waves[1]])
    expected = waves[0].norm()
    assert_close(coarse_part(change), torch.stack([expected, 0 * expected, expected]), atol=0.1, rtol=1e-4)


def test_the_table_is_tidy(small_isic2019, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["evaluate", *OPTIONS, "--data", str(small_isic2019), "--out", str(out)]) == 0
    assert capsys.readouterr().out.strip() == (out / "table.md").read_text(encoding="utf-8").strip()
    rows = pd.read_parquet(out / "results.parquet")
    assert not rows.duplicated(["image", "attack", "eps", "defence", "draw"]).any()
    # nobody and PGD behind three defences, of which one draws twice; EOT behind two
    assert len(rows) == 20 * (2 * (1 + 2 + 1) + (2 + 1))
    assert rows.image.nunique() == 20
    lesions = {sample.image: sample.lesion for sample in read_isic2019(small_isic2019)}
    assert (rows.lesion == rows.image.map(lesions)).all()
    assert set(rows[rows.attack == "eot1x2"].threat) == {"adaptive"}
    assert set(rows[rows.attack != "eot1x2"].threat) == {"oblivious"}
    assert (rows[rows.attack != "none"].linf <= 4 / 255 + 1e-6).all()
    assert rows[rows.attack == "none"].linf.max() == 0
    assert rows[[f"p_{label}" for label in LABELS]].sum(axis=1).between(0.999, 1.001).all()
    records = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert {"classifier", "attack", "eps", "defence", "threat", "n", "draws", "accuracy"} < set(records[0])
    # and behind two, of which one knows the defence, all attacks together
    assert len(records) == 2 * 3 + 2 + 2 and all(record["n"] == 20 for record in records)
    for kind in ("png", "svg"):
        assert (out / f"accuracy.{kind}").stat().st_size > 5000


def test_a_killed_run_goes_on_and_ends_with_the_same_rows(small_isic2019, tmp_path):
    """Killed as soon as its second part is there, then after its fourth, then left alone."""
    samples = str(small_isic2019)
    once, killed = tmp_path / "once", tmp_path / "killed"
    assert main(["evaluate", *OPTIONS, "--data", samples, "--out", str(once)]) == 0
    command = [sys.executable, "-m", "purifier.cli", "evaluate", *OPTIONS, "--data", samples, "--out", str(killed)]
    for count in (2, 4):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 300
        while len(list(killed.glob("parts/[!.]*"))) < count and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    found = {path: path.stat().st_mtime_ns for path in killed.glob("parts/[!.]*")}
    assert len(found) >= 4 and not (killed / "results.parquet").exists()
    assert main(["evaluate", *OPTIONS, "--data", samples, "--out", str(killed)]) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in found.items())  # nothing is computed twice
    one, two = (pd.read_parquet(out / "results.parquet").drop(columns=TIMES) for out in (once, killed))
    assert_frame_equal(one, two)


def test_a_folder_that_holds_another_run_is_left_alone(small_isic2019, tmp_path, capsys):
    command = ["evaluate", "--data", str(small_isic2019), "--split", "all", "--limit", "2", "--attacks", "none"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    before = sorted(path.read_bytes() for path in (tmp_path / "out" / "parts").iterdir())
    assert main([*command, "--out", str(tmp_path / "out"), "--seed", "1"]) == 2
    assert "holds a run of other settings (seed, images, pixels differ)" in capsys.readouterr().err
    assert sorted(path.read_bytes() for path in (tmp_path / "out" / "parts").iterdir()) == before


def test_a_defence_that_does_nothing_scores_like_no_defence(small_isic2019, tmp_path):
    grid = Grid(attacks=("fgsm",), eps=(4.0,), defences=("none", "rof0", "noise0"), draws=2)
    records = [r.row() for r in summarise(run(grid, read_isic2019(small_isic2019)[:6], tmp_path))]
    apart = ("defence", "family", "number", "seconds", "attack_seconds", "peak", "draws")
    scores = [key for key in records[0] if not key.startswith(apart)]
    for attack in ("none", "fgsm"):
        none, *others = [[r[key] for key in scores] for r in records if r["attack"] == attack]
        assert others == [none, none]


def test_the_seed_decides_the_rows(small_isic2019, tmp_path):
    samples = read_isic2019(small_isic2019)[:3]

    def rows(seed, name):
        grid = Grid(attacks=("pgd1",), eps=(8.0,), draws=1, seed=seed)
        return run(grid, samples, tmp_path / name).drop(columns=TIMES)

    assert_frame_equal(rows(1, "a"), rows(1, "b"))
    assert not rows(1, "a").equals(rows(2, "c"))


def test_a_picture_that_cannot_be_read_is_left_out_and_named(small_isic2019, tmp_path, capsys):
    (small_isic2019 / "ISIC_2019_Training_Input" / "ISIC_0000003.jpg").write_bytes(b"no picture")
    out = tmp_path / "out"
    command = ["evaluate", "--data", str(small_isic2019), "--split", "all", "--attacks", "none", "--defences", "none"]
    assert main([*command, "--out", str(out)]) == 0
    assert "Skipped: ISIC_0000003" in capsys.readouterr().err
    assert list(json.loads((out / "skipped.json").read_text(encoding="utf-8"))) == ["ISIC_0000003"]
    assert pd.read_parquet(out / "results.parquet").image.nunique() == 23


def as_dicom(path):
    """The picture of a file as a DICOM file in its place."""
    pydicom = pytest.importorskip("pydicom")
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = pydicom.uid.DermoscopicPhotographyImageStorage
    dataset.SOPInstanceUID, dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "1.2.3", "RGB", 3
    dataset.Columns, dataset.Rows = picture.size
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = dataset.PlanarConfiguration = 0
    dataset.PixelData = picture.tobytes()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(path.with_suffix(".dcm"), enforce_file_format=True)
    path.unlink()


def test_dicom_files_and_others_are_measured_to_the_end(small_isic2019, tmp_path, capsys):
    """And read as the JPEG files that they were made of."""
    pictures = small_isic2019 / "ISIC_2019_Training_Input"
    grid = Grid(attacks=(), defences=("none",))
    before = run(grid, read_isic2019(small_isic2019)[:6], tmp_path / "before")
    for i in range(5):
        as_dicom(pictures / f"ISIC_000000{i}.jpg")
    with Image.open(pictures / "ISIC_0000005.jpg") as picture:
        picture.save(pictures / "ISIC_0000005.png")
    (pictures / "ISIC_0000005.jpg").unlink()
    after = run(grid, read_isic2019(small_isic2019)[:6], tmp_path / "after")
    assert before.jpeg_quality.between(90, 94).all() and after.jpeg_quality.isna().all()
    assert_frame_equal(before.drop(columns=[*TIMES, "jpeg_quality"]), after.drop(columns=[*TIMES, "jpeg_quality"]))
    out = tmp_path / "out"
    command = ["evaluate", "--data", str(small_isic2019), "--split", "all", "--attacks", "none", "--defences", "none"]
    assert main([*command, "--limit", "12", "--out", str(out)]) == 0
    assert pd.read_parquet(out / "results.parquet").image.nunique() == 12 and "Skipped" not in capsys.readouterr().err


def test_every_file_is_read_before_anything_is_computed(small_isic2019, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "about", lambda samples: 1 / 0)
    monkeypatch.setattr(module, "measure", lambda work: pytest.fail("computed, and then lost"))
    with pytest.raises(ZeroDivisionError):
        run(Grid(attacks=(), defences=("none",)), read_isic2019(small_isic2019)[:2], tmp_path / "out")


def test_a_damaged_archive_costs_its_damaged_pictures_alone(small_isic2019):
    pictures = small_isic2019 / "ISIC_2019_Training_Input"
    shutil.make_archive(str(pictures), "zip", pictures)
    shutil.rmtree(pictures)
    archive = small_isic2019 / "ISIC_2019_Training_Input.zip"
    with zipfile.ZipFile(archive) as opened:
        info = opened.getinfo("ISIC_0000003.jpg")
    data = bytearray(archive.read_bytes())
    data[info.header_offset + 200 : info.header_offset + 300] = bytes(100)
    archive.write_bytes(data)
    _, kept, skipped = module.read_readable(read_isic2019(small_isic2019), 64)
    assert len(kept) == 23 and list(skipped) == ["ISIC_0000003"]


def test_a_folder_for_each_diagnosis_is_read_too(tmp_path):
    for i, label in enumerate(("melanoma", "NV")):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        lesion_like(i).save(tmp_path / "pictures" / label / "one.png")
    (tmp_path / "pictures" / "NV" / "notes.txt").write_text("not a picture", encoding="utf-8")
    samples = read_samples(tmp_path / "pictures")
    assert [(s.image, s.label) for s in samples] == [("NV/one.png", "NV"), ("melanoma/one.png", "MEL")]
    rows = run(Grid(attacks=(), defences=("none",)), samples, tmp_path / "out")
    assert sorted(rows.label) == ["MEL", "NV"]
    (tmp_path / "pictures" / "cat").mkdir()
    with pytest.raises(ValueError, match="folders cat are none of the diagnoses"):
        read_samples(tmp_path / "pictures")


def test_the_targeted_attack_is_for_melanomas_only(small_isic2019, tmp_path):
    grid = Grid(attacks=("targeted1",), eps=(8.0,), defences=("none",))
    rows = run(grid, read_isic2019(small_isic2019), tmp_path)
    assert set(rows[rows.attack == "targeted1"].label) == {"MEL"}


def test_attacks_of_no_size_run_once_and_those_who_know_a_defence_for_each():
    grid = Grid(attacks=("cw5", "pgd20", "eot2x2", "fixed2"), eps=(2.0, 8.0), defences=("none", "mdda", "jpeg30"))
    found = [(p.attacker.name, p.eps, p.defences) for p in parts(grid, batches=1)]
    three = ("none", "mdda", "jpeg30")
    assert found == [
        ("none", None, three),
        ("cw5", None, three),
        ("pgd20", 2.0, three),
        ("pgd20", 8.0, three),
        *((name, eps, (defence,)) for name in ("eot2x2", "fixed2") for eps in (2.0, 8.0) for defence in three[1:]),
    ]


def test_who_knows_the_noise_meets_just_that_noise(small_isic2019, monkeypatch):
    met, known = [], []
    read = module.read_defended
    monkeypatch.setattr(module, "read_defended", lambda *all: met.append(all[4]) or read(*all))

    def spy(how, task, x, y):
        known.append(task.noise_seed)
        return x

    attacker = replace(get_attacker("fixed1"), attack=spy)
    part = module.Part(attacker=attacker, eps=2.0, defences=("mdda",), batch=0)
    pixels, kept, _ = module.read_readable(read_isic2019(small_isic2019)[:2], 64)
    cpu = module.torch.device("cpu")
    module.measure(module.Work(part=part, grid=Grid(draws=3), device=cpu, pixels=pixels, samples=kept))
    assert met == known and len(met) == 1


def test_a_defence_named_twice_is_measured_once(small_isic2019, tmp_path):
    grid = Grid(attacks=(), defences=("none", "jpeg", "jpeg20", "mdda"), draws=1)
    assert grid.defences == ("none", "jpeg20", "mdda")
    rows = run(grid, read_isic2019(small_isic2019)[:2], tmp_path)
    assert not rows.duplicated(["image", "defence"]).any()


def test_an_attack_does_not_transfer_to_where_it_was_made():
    with pytest.raises(ValueError, match="give another surrogate"):
        Grid(classifier="surrogate", attacks=("transfer20",))


def test_peak_memory_grows_with_what_a_defence_keeps():
    picture = 3 * 224 * 224 * 4 / 1e6
    assert peak_memory("none") < picture / 1000  # a few bytes, of the look at whether the values are in range
    assert picture < peak_memory("rof0.02") < peak_memory("mdda") < 100 * picture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "nowhere"], "GroundTruth.csv"),
        (["--data", "{data}", "--classifier", "nothing"], "bundled classifier 'nothing'"),
        (["--data", "{data}", "--eps", "-1"], "eps must be positive"),
        (["--data", "{data}", "--limit", "0"], "limit must be at least 1"),
        (["--data", "{data}", "--draws", "0"], "draws must be at least 1"),
        (["--data", "{data}", "--attacks", "magic"], "no attack 'magic'"),
        (["--data", "{data}", "--defences", "magic"], "no defence 'magic'"),
        (["--data", "{data}", "--per-class", "0"], "at least 1 picture of each"),
    ],
)
def test_bad_input_ends_with_2_and_the_reason(small_isic2019, tmp_path, capsys, options, message):
    options = [option.format(data=small_isic2019) for option in options]
    assert main(["evaluate", "--split", "all", "--out", str(tmp_path / "out"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "out" / "results.parquet").exists()


def test_a_ground_truth_without_a_diagnosis_is_refused(small_isic2019, tmp_path, capsys):
    path = small_isic2019 / "ISIC_2019_Training_GroundTruth.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("SCC", "OTHER", 1), encoding="utf-8")
    assert main(["evaluate", "--data", str(small_isic2019), "--out", str(tmp_path / "out")]) == 2
    assert "lacks the columns SCC" in capsys.readouterr().err


def test_a_changed_picture_and_changed_weights_are_no_resumption(small_isic2019, tmp_path):
    """Of the same names: what was measured on the old ones does not come back."""
    out, model = tmp_path / "out", tmp_path / "model"
    shutil.copytree(MODELS / "surrogate", model)
    grid = Grid(classifier=f"local-dir:{model}", attacks=(), defences=("none",), draws=1)
    samples = read_isic2019(small_isic2019)[:2]
    run(grid, samples, out)
    assert len(run(grid, samples, out)) == 2
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    config["pretrained_cfg"]["mean"] = [0.4] * 3
    (model / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match=r"\(classifiers differ\).*classifiers\.local-dir:.* is another"):
        run(grid, samples, out)
    shutil.copytree(MODELS / "surrogate", model, dirs_exist_ok=True)
    lesion_like(99).save(samples[0].path)
    with pytest.raises(ValueError, match=r"\(pixels differ\)"):
        run(grid, samples, out)


def test_a_missing_art_is_noticed_before_anything_runs(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("art.", "purifier.evaluation.art"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "art", None)
    with pytest.raises(ModuleNotFoundError):
        Grid(defences=("art-median3",))


def test_the_learned_denoiser_is_part_of_what_a_run_depends_on():
    assert "denoiser" not in provenance(Grid(defences=("mdda:denoiser=rof", "mdda-rof", "jpeg30")))
    for names in (Grid.defences, ("mdda:denoiser=learnedx2",)):
        assert provenance(Grid(defences=names))["denoiser"] == digest_of_weights()
