"""Pictures of one's own in a folder for each diagnosis: which are one lesion, and which are not held out."""

import json
import shutil

import pytest

from purifier.cli.main import main
from purifier.evaluation.datasets import lesions_of, read_isic2019, read_samples, read_split, seen_in_making, source_of
from purifier.evaluation.known import known_lesions, number_of
from purifier.evaluation.splits import Sample, identity_of, is_bcn20000, split_of
from tests.helpers.pictures import lesion_like


def known(split):
    """Names of two pictures that the bundled classifiers were made with, in that split."""
    found = (
        f"ISIC_{number:07d}"
        for number, lesion in known_lesions().items()
        if split_of(lesion, f"ISIC_{number:07d}") == split
    )
    return next(found), next(found)


@pytest.fixture
def own(tmp_path):
    """Four pictures of one's own, and one of each split."""
    train, val, test = (known(split)[0] for split in ("train", "val", "test"))
    names = (
        "MEL/one.png",
        "MEL/deep/er/one.png",
        "nevus/two.JPG",
        "nevus/three.jpg",
        f"MEL/{train}.jpg",
        f"nevus/{val}_downsampled.png",
        f"nevus/{test.lower()}.JPG",
        "MEL/ISIC_0060000.jpg",
    )
    for i, name in enumerate(names):
        path = tmp_path / "own" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lesion_like(i).save(path)
    return tmp_path / "own"


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("MEL/ISIC_0024310.jpg", "ISIC_0024310"),
        ("whatever/ISIC_0024310_downsampled.png", "ISIC_0024310"),
        ("isic_0024310.JPG", "ISIC_0024310"),
        ("a\\b\\ISIC_0024310 (1).jpeg", "ISIC_0024310"),
        ("mel-ISIC_0024310_rot90.png", "ISIC_0024310"),
        ("ISIC_0024310", "ISIC_0024310"),
        ("ISIC_0024310/one.png", "one"),
        ("ISIC_2019_001.jpg", "ISIC_2019_001"),
        ("lesion.1.jpg", "lesion.1"),
        ("ISIC_00243101.jpg", "ISIC_00243101"),
        ("basic_0024310.jpg", "basic_0024310"),
    ],
)
def test_a_picture_is_told_by_its_own_name(name, identity):
    assert identity_of(name) == identity


def test_downsampled_pictures_are_msk_s():
    assert source_of("ISIC_0000001_downsampled") == "MSK" and not is_bcn20000("ISIC_0000001_downsampled")
    assert source_of("BCC/ISIC_0060000.jpg") == "BCN20000" and is_bcn20000("BCC/isic_0060000_downsampled.jpg")
    assert source_of("ISIC_0024306_downsampled.png") == "HAM10000"
    assert source_of("ISIC_0073254") == "BCN20000" and source_of("ISIC_0073255") == source_of("ISIC_9999999") == ""
    assert split_of("", "ISIC_0000001_downsampled") == split_of("", "ISIC_0000001")


def test_known_pictures_are_those_of_the_split(isic2019):
    """The table that the package carries and the data say the same, with metadata and without."""
    samples = read_isic2019(isic2019)
    assert {number_of(s.image) for s in samples} == set(known_lesions())
    for sample in samples:
        known_lesion = known_lesions()[number_of(sample.image)]
        assert (known_lesion or sample.image) == sample.lesion
        assert split_of(known_lesion, sample.image) == sample.split == split_of(sample.lesion, sample.image)


def test_the_table_of_known_pictures_is_what_its_readme_says():
    lesions = known_lesions()
    assert len(lesions) == 11_747 and not any(is_bcn20000(f"ISIC_{number:07d}") for number in lesions)
    splits = [split_of(lesion, f"ISIC_{number:07d}") for number, lesion in lesions.items()]
    assert [splits.count(split) for split in ("train", "val", "test")] == [8856, 1183, 1708]  # as in the cards


def test_each_picture_is_a_lesion_of_its_own_and_no_known_one_is_held_out(own):
    samples = read_samples(own)
    assert len(samples) == len({s.lesion for s in samples}) == 8
    train, val, test = (known(split)[0] for split in ("train", "val", "test"))
    splits = {s.image: s.split for s in samples}
    assert splits == {
        "MEL/one.png": "test",
        "MEL/deep/er/one.png": "test",
        "nevus/two.JPG": "test",
        "nevus/three.jpg": "test",
        f"MEL/{train}.jpg": "train",
        f"nevus/{val}_downsampled.png": "val",
        f"nevus/{test.lower()}.JPG": "test",
        "MEL/ISIC_0060000.jpg": "train",
    }
    assert {s.image: s.is_known for s in samples} == {name: "isic" in name.lower() for name in splits}


def test_copies_are_one_lesion(own):
    train = known("train")[0]
    (own / "MEL" / "more").mkdir()
    shutil.copy(own / "MEL" / "one.png", own / "MEL" / "more" / "other name.png")
    shutil.copy(own / "MEL" / f"{train}.jpg", own / "MEL" / "more" / "renamed.jpg")
    lesion_like(50).save(own / "MEL" / "more" / f"{train}_crop.png")
    samples = {s.image: s for s in read_samples(own)}
    assert samples["MEL/more/other name.png"].lesion == samples["MEL/one.png"].lesion
    of_train = [samples[f"MEL/{name}"] for name in (f"{train}.jpg", "more/renamed.jpg", f"more/{train}_crop.png")]
    assert len({s.lesion for s in of_train}) == 1 and {s.split for s in of_train} == {"train"}
    assert len({s.lesion for s in samples.values()}) == 8


def test_pictures_of_one_known_lesion_are_one_lesion(tmp_path):
    lesions = {}
    for number, lesion in known_lesions().items():
        if lesion and lesion in lesions:
            break
        lesions[lesion] = number
    for i, name in enumerate((number, lesions[lesion])):
        (tmp_path / "BCC").mkdir(exist_ok=True)
        lesion_like(i).save(tmp_path / "BCC" / f"ISIC_{name:07d}.jpg")
    assert {s.lesion for s in read_samples(tmp_path)} == {lesion}


def test_metadata_beside_the_folders_tell_the_lesions(own):
    (own / "my_Metadata.csv").write_text(
        f"image;lesion_id\r\ntwo.JPG;L7\r\nthree;L7\r\n{known('train')[0]};L9\r\n", encoding="utf-8"
    )
    samples = {s.image: s for s in read_samples(own)}
    assert samples["nevus/two.JPG"].lesion == samples["nevus/three.jpg"].lesion == "L7"
    trained = samples[f"MEL/{known('train')[0]}.jpg"]
    assert (trained.lesion, trained.split) == ("L9", "train")  # whatever the hash of L9 says


def test_another_picture_of_a_lesion_that_was_trained_on_is_not_held_out(own):
    lesion = next(lesion for lesion in known_lesions().values() if lesion and split_of(lesion, "") == "train")
    (own / "my_Metadata.csv").write_text(
        f"image,lesion_id\ntwo,{lesion}\nthree,L7\n{known('train')[0]},L7\n", encoding="utf-8"
    )
    samples = {s.image: s for s in read_samples(own)}
    assert samples["nevus/two.JPG"].split == samples["nevus/three.jpg"].split == "train"


@pytest.mark.parametrize("copied", [False, True])
def test_a_picture_under_two_diagnoses_is_refused(own, copied):
    name = known("train")[0]
    if copied:
        shutil.copy(own / "MEL" / "one.png", own / "nevus" / "zero.png")
        message = r"MEL/one.png and .*nevus/zero.png are one picture"
    else:
        lesion_like(50).save(own / "nevus" / f"{name.lower()}.png")
        message = rf"MEL/{name}.jpg and .*nevus/{name.lower()}.png are one picture"
    with pytest.raises(ValueError, match=message):
        read_samples(own)


def test_what_is_no_picture_of_a_diagnosis(own, tmp_path):
    for junk in (
        ".ipynb_checkpoints/one.png",
        "MEL/._one.png",
        "__MACOSX/MEL/one.png",
        "MEL/.cache/one.png",
        "MEL/notes.txt",
        "out/accuracy.png",
        "out/settings.json",
    ):
        (own / junk).parent.mkdir(parents=True, exist_ok=True)
        (own / junk).write_bytes(b"x")
    assert len(read_samples(own)) == 8
    lesion_like(0).save(own / "loose.png")
    kept, left_out = read_split(own, "test")
    assert len(kept) == 5 and left_out["pictures in no diagnosis's folder"] == ["loose.png"]
    (own / "MEL" / "nevus").mkdir()
    lesion_like(60).save(own / "MEL" / "nevus" / "x.png")
    with pytest.raises(ValueError, match="nevus/x.png lies in the folders of two diagnoses, MEL and NV"):
        read_samples(own)
    shutil.rmtree(own / "MEL" / "nevus")
    (own / "cat").mkdir()
    with pytest.raises(ValueError, match="folders cat are none of the diagnoses"):
        read_samples(own)


def test_what_may_be_a_picture_is_not_passed_over(own):
    (own / "nevus" / "phone.heic").write_bytes(b"x")
    (own / "nevus" / "IM_0001").write_bytes(bytes(128) + b"DICM" + bytes(50))
    assert {"nevus/phone.heic", "nevus/IM_0001"} <= {s.image for s in read_samples(own)}


@pytest.mark.parametrize(("split", "count"), [("test", 5), ("val", 1), ("train", 2), ("all", 6)])
def test_a_split_and_what_it_leaves_out_are_everything(own, split, count):
    kept, left_out = read_split(own, split)
    assert len(kept) == count == 8 - sum(map(len, left_out.values()))
    assert split == "train" or "train" not in {s.split for s in kept}
    assert sum(seen_in_making(kept).values()) == {"test": 0, "val": 1, "train": 2, "all": 1}[split]


def test_in_the_official_layout_all_is_all(small_isic2019):
    kept, left_out = read_split(small_isic2019, "all")
    assert len(kept) == 24 and left_out == {} and sum(seen_in_making(kept).values()) > 10


def test_without_metadata_training_pictures_are_no_test_pictures(small_isic2019):
    """By their own hashes some of HAM10000's would be in another split than their lesion."""
    name = next(
        f"ISIC_{number:07d}"
        for number, lesion in known_lesions().items()
        if lesion and split_of(lesion, "") == "train" and split_of("", f"ISIC_{number:07d}") == "test"
    )
    path = small_isic2019 / "ISIC_2019_Training_GroundTruth.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("ISIC_0000003", name), encoding="utf-8")
    pictures = small_isic2019 / "ISIC_2019_Training_Input"
    (pictures / "ISIC_0000003.jpg").rename(pictures / f"{name}.jpg")
    (small_isic2019 / "ISIC_2019_Training_Metadata.csv").unlink()
    kept, left_out = read_split(small_isic2019, "test")
    assert name in left_out["training pictures of the bundled classifiers"]


def test_a_run_says_what_it_leaves_out(own, tmp_path, capsys):
    command = ["evaluate", "--data", str(own), "--attacks", "none", "--defences", "none", "--out"]
    (own / "nevus" / "bad.png").write_bytes(b"x")
    assert main([*command, str(tmp_path / "out")]) == 0
    error = capsys.readouterr().err
    assert "Left out, as training pictures of the bundled classifiers: 2." in error
    assert "Left out, as validation pictures of the bundled classifiers: 1." in error
    assert "Skipped: nevus/bad.png" in error and "Not held out" not in error
    left_out = json.loads((tmp_path / "out" / "left_out.json").read_text(encoding="utf-8"))
    assert sum(map(len, left_out.values())) == 3
    records = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert {(r["n"], r["lesions"]) for r in records} == {(5, 5)}


def test_what_is_not_held_out_is_said(small_isic2019, tmp_path, capsys):
    command = [
        "evaluate",
        "--data",
        str(small_isic2019),
        "--attacks",
        "none",
        "--defences",
        "none",
        "--limit",
        "5",
        "--seed",
        "1",
    ]
    assert main([*command, "--split", "train", "--out", str(tmp_path / "out")]) == 0
    assert "Not held out, as training pictures of the bundled classifiers: 5 of 5." in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "tune"])
def test_an_empty_split_names_the_others(own, tmp_path, capsys, command):
    shutil.rmtree(own / "nevus")
    for path in (own / "MEL").iterdir():
        if "ISIC" not in path.name:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert main([command, "--data", str(own), "--out", str(tmp_path / "out")]) == 2
    split = "test" if command == "evaluate" else "val"
    error = capsys.readouterr().err
    assert f"no pictures in the split {split}, and 2 in train" in error and "--split all" in error


def test_a_small_folder_in_the_official_layout_is_pointed_to_all(small_isic2019, tmp_path, capsys):
    truth = small_isic2019 / "ISIC_2019_Training_GroundTruth.csv"
    truth.write_text(
        "\n".join(truth.read_text(encoding="utf-8").splitlines()[:3]).replace("ISIC_000000", "mine_00"),
        encoding="utf-8",
    )
    pictures = small_isic2019 / "ISIC_2019_Training_Input"
    for i in (0, 1):
        (pictures / f"ISIC_000000{i}.jpg").rename(pictures / f"mine_00{i}.jpg")
    there = {split_of("", f"mine_00{i}") for i in (0, 1)}
    split = next(split for split in ("val", "test") if split not in there)
    command = ["evaluate", "--data", str(small_isic2019), "--attacks", "none", "--defences", "none"]
    assert main([*command, "--split", split, "--out", str(tmp_path / "out")]) == 2
    assert "Use --split all." in capsys.readouterr().err
    assert main([*command, "--split", "all", "--out", str(tmp_path / "out")]) == 0


def test_a_sample_without_lesion_is_its_own():
    assert lesions_of([Sample("a", None, "NV", ""), Sample("b", None, "NV", "")]) == ["a", "b"]
