import shutil

import pytest
import torch

from purifier.evaluation.datasets import (
    LABELS,
    SPLITS,
    is_bcn20000,
    label_indices,
    read_isic2019,
    read_pixels,
    source_of,
    split_of,
)


def test_the_official_layout_is_read(small_isic2019):
    samples = read_isic2019(small_isic2019)
    assert [s.image for s in samples] == [f"ISIC_{i:07d}" for i in range(24)]
    assert [s.label for s in samples] == [LABELS[i % 8] for i in range(24)]
    assert label_indices(samples).tolist() == [i % 8 for i in range(24)]
    assert samples[0].lesion == "ISIC_0000000" and samples[8].lesion == samples[9].lesion == "HAM_0000004"


def test_a_zip_of_the_pictures_is_read_the_same(small_isic2019):
    folder = read_pixels(read_isic2019(small_isic2019), 64)
    pictures = small_isic2019 / "ISIC_2019_Training_Input"
    shutil.make_archive(str(pictures), "zip", pictures)
    shutil.rmtree(pictures)
    samples = read_isic2019(small_isic2019)
    assert torch.equal(read_pixels(samples, 64), folder)


def test_another_archive_beside_it_is_left_alone(small_isic2019):
    (small_isic2019 / "ISIC_2019_Test_Input.zip").write_bytes(b"")
    assert len(read_isic2019(small_isic2019)) == 24


def test_the_metadata_are_optional(small_isic2019):
    (small_isic2019 / "ISIC_2019_Training_Metadata.csv").unlink()
    assert all(s.lesion == s.image for s in read_isic2019(small_isic2019))


def test_the_splits_are_disjoint_by_lesion_and_complete(small_isic2019):
    parts = {split: read_isic2019(small_isic2019, split) for split in SPLITS}
    assert sum(map(len, parts.values())) == 24
    lesions = [{s.lesion for s in part} for part in parts.values()]
    assert not (lesions[0] & lesions[1] or lesions[0] & lesions[2] or lesions[1] & lesions[2])


def test_the_split_never_changes():
    """Weights were trained on it: these are the assignments of the bundled ones."""
    lesions = [f"HAM_{i:07d}" for i in (0, 4, 10, 16, 29)]
    found = [split_of(lesion, "ISIC_0030000") for lesion in lesions]
    assert found == ["train", "val", "test", "test", "val"]
    assert split_of("HAM_0000010", "ISIC_0030001") == split_of("HAM_0000010", "ISIC_0030002") == "test"


def test_the_split_has_the_shares_it_says():
    splits = [split_of(f"HAM_{i:07d}", "ISIC_0030000") for i in range(20000)]
    assert abs(splits.count("test") / 20000 - 0.15) < 0.01
    assert abs(splits.count("val") / 20000 - 0.10) < 0.01


def test_bcn20000_is_for_training_alone():
    assert is_bcn20000("ISIC_0053453") and not is_bcn20000("ISIC_0034320") and not is_bcn20000("mine_0099999")
    assert {split_of(f"BCN_{i}", f"ISIC_{60000 + i:07d}") for i in range(100)} == {"train"}


def rewrite(path, old, new):
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda d: (d / "ISIC_2019_Training_GroundTruth.csv").unlink(), FileNotFoundError, "GroundTruth.csv"),
        (lambda d: rewrite(d / "ISIC_2019_Training_GroundTruth.csv", "VASC", "OTHER"), ValueError, "columns VASC"),
        (lambda d: rewrite(d / "ISIC_2019_Training_GroundTruth.csv", "image,", "name,"), ValueError, "column 'image'"),
        (
            lambda d: rewrite(d / "ISIC_2019_Training_GroundTruth.csv", "ISIC_0000003,0.0", "ISIC_0000003,1.0"),
            ValueError,
            "ISIC_0000003 more than one",
        ),
        (lambda d: (d / "ISIC_2019_Training_Input/ISIC_0000005.jpg").unlink(), ValueError, "ISIC_0000005"),
        (lambda d: shutil.rmtree(d / "ISIC_2019_Training_Input"), FileNotFoundError, "Training_Input.zip"),
    ],
    ids=["no truth", "no column", "no image column", "two diagnoses", "no picture", "no pictures"],
)
def test_incomplete_folders_are_refused_with_the_reason(small_isic2019, spoil, error, message):
    spoil(small_isic2019)
    with pytest.raises(error, match=message):
        read_isic2019(small_isic2019)


def test_an_unknown_split_is_refused(small_isic2019):
    with pytest.raises(ValueError, match="train, val, test or all"):
        read_isic2019(small_isic2019, "valid")


def test_the_real_data_are_read(isic2019):
    parts = {split: read_isic2019(isic2019, split) for split in SPLITS}
    for part in parts.values():
        assert {s.label for s in part} == set(LABELS)
    lesions = [{s.lesion for s in part} for part in parts.values()]
    assert not (lesions[0] & lesions[1] or lesions[0] & lesions[2] or lesions[1] & lesions[2])


def test_the_source_of_a_picture_is_in_its_number():
    names = ["ISIC_0024305", "ISIC_0024306", "ISIC_0034320", "ISIC_0034321", "lesion"]
    assert [source_of(name) for name in names] == ["MSK", "HAM10000", "HAM10000", "BCN20000", ""]
