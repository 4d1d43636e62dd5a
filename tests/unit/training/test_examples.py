import pytest

from purifier.classifiers.taxonomy import DIAGNOSES
from purifier.pictures.files import SIZE, read_image
from purifier.ui.examples import BUNDLED, caption, example_files, example_gallery
from tests.helpers.pictures import lesion_like


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PURIFIER_EXAMPLES", str(tmp_path))
    return tmp_path


def test_every_diagnosis_has_a_bundled_example_of_which_the_source_is_told(classifier):
    captions = [caption(path) for _, path in example_gallery()]
    assert captions == 4 * [diagnosis.name for diagnosis in DIAGNOSES.values()]
    sources = (BUNDLED / "SOURCES.md").read_text(encoding="utf-8")
    assert all(path.name in sources for path in example_files())
    assert "purifier examples --data" in sources and "CC BY-NC 4.0" in sources


def test_bundled_examples_are_read_as_told(classifier):
    sources = (BUNDLED / "SOURCES.md").read_text(encoding="utf-8")
    told = {row.split(" | ")[0].strip("| "): row.split(" | ")[3] for row in sources.splitlines() if ".png |" in row}
    assert set(told) == {path.name for path in example_files()}
    for path in example_files():
        label, given = told[path.name].split()
        as_drawn, on_the_page = (classifier.probabilities(read_image(path, size))[0] for size in (None, SIZE))
        place = classifier.labels.index(label)
        assert as_drawn.argmax() == on_the_page.argmax() == place, path.name
        assert as_drawn[place].item() == pytest.approx(float(given), abs=0.011), path.name


def test_a_teacher_s_folder_takes_their_place(folder):
    lesion_like(0).save(folder / "MEL-mine.JPG", format="JPEG")
    lesion_like(1).save(folder / "a mole.tif")
    (folder / "notes.txt").write_text("not shown", encoding="utf-8")
    gallery = example_gallery()
    named = [(caption(path), path.name) for _, path in gallery]
    assert named == [("Melanoma", "MEL-mine.JPG"), ("a mole", "a mole.tif")]
    assert gallery[0][0].shape == (1, 3, 112, 112)


def test_an_unreadable_example_is_named_and_left_out(folder):
    lesion_like(0).save(folder / "good.png")
    (folder / "bad.png").write_text("no picture", encoding="utf-8")
    (folder / "folder.png").mkdir()
    with pytest.warns(UserWarning, match="bad.png is left out"):
        assert [path.name for _, path in example_gallery()] == ["good.png"]


def test_a_folder_without_pictures_is_an_error(folder):
    with pytest.raises(FileNotFoundError, match="PURIFIER_EXAMPLES"):
        example_files()


def test_captions():
    from pathlib import Path

    assert caption(Path("BCC-2.png")) == "Basal cell carcinoma"
    assert caption(Path("patient 7.png")) == "patient 7"
