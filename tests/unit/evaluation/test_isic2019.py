"""Ground truth as people and spreadsheets save it, and pictures as they lie about, in ISIC 2019's layout."""

import csv
import io
import shutil
import zipfile

import pytest
from PIL import Image

from purifier.evaluation.datasets import read_isic2019, read_pixels
from purifier.evaluation.spreadsheets import read_rows
from tests.helpers.pictures import lesion_like

TRUTH, METADATA = "ISIC_2019_Training_GroundTruth.csv", "ISIC_2019_Training_Metadata.csv"
PICTURES = "ISIC_2019_Training_Input"


def table(folder, name=TRUTH):
    with (folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def written(rows, delimiter=",", line="\r\n", quoting=csv.QUOTE_MINIMAL):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line, quoting=quoting).writerows(rows)
    return text.getvalue()


def changed(rows, change):
    return [[change(cell) for cell in row] for row in rows]


SAVED = {
    "UTF-8 with a byte order mark": lambda rows: written(rows).encode("utf-8-sig"),
    "semicolons": lambda rows: written(rows, ";").encode(),
    "semicolons, byte order mark": lambda rows: written(rows, ";").encode("utf-8-sig"),
    "decimal commas": lambda rows: written(changed(rows, lambda c: c.replace(".", ",")), ";").encode(),
    "decimal commas in quotes": lambda rows: written(changed(rows, lambda c: c.replace(".", ","))).encode(),
    "whole numbers": lambda rows: written(changed(rows, lambda c: c.removesuffix(".0"))).encode(),
    "Unicode text": lambda rows: written(rows, "\t").encode("utf-16"),
    "UTF-16, big endian": lambda rows: b"\xfe\xff" + written(rows, "\t").encode("utf-16-be"),
    "UTF-16 without a mark": lambda rows: written(rows, "\t").encode("utf-16-le"),
    "cp1252": lambda rows: written([[*row, "Größe"] for row in rows], ";").encode("cp1252"),
    "old Mac's lines": lambda rows: written(rows, line="\r").encode(),
    "all in quotes": lambda rows: written(rows, quoting=csv.QUOTE_ALL).encode(),
    "spaces": lambda rows: written(changed(rows, lambda c: f" {c}  ")).encode(),
    "lower case": lambda rows: written([changed(rows, str.lower)[0], *rows[1:]]).encode(),
    "upper case": lambda rows: written([changed(rows, str.upper)[0], *rows[1:]]).encode(),
    "full names": lambda rows: written([[c.replace("MEL", "Melanoma").replace("NV", "Nevus") for c in rows[0]],
                                        *rows[1:]]).encode(),
    "suffixes": lambda rows: written([rows[0], *([f"{r[0]}.jpg", *r[1:]] for r in rows[1:])]).encode(),
    "paths": lambda rows: written([rows[0], *([f"C:\\pictures\\{r[0]}.JPG", *r[1:]] for r in rows[1:])]).encode(),
    "lower-case names": lambda rows: written([rows[0], *([r[0].lower(), *r[1:]] for r in rows[1:])]).encode(),
    "empty rows": lambda rows: written([*rows[:3], [""] * 10, [], *rows[3:], [""] * 10], ";").encode(),
    "empty columns": lambda rows: written([[*row, "", ""] for row in rows], ";").encode(),
    "empty for 0": lambda rows: written(changed(rows, lambda c: "" if c == "0.0" else c)).encode(),
    "Excel's sep=": lambda rows: ("sep=;\r\n" + written(rows, ";")).encode(),
    "no UNK": lambda rows: written([row[:-1] for row in rows]).encode(),
    "the same row twice": lambda rows: written([*rows, rows[4]]).encode(),
    "UNK without a picture": lambda rows: written([*rows, ["ISIC_0099999", *["0.0"] * 8, "1.0"]]).encode(),
}  # fmt: skip


@pytest.mark.parametrize("saved", SAVED.values(), ids=SAVED)
def test_a_ground_truth_is_read_however_it_was_saved(small_isic2019, saved):
    expected = read_isic2019(small_isic2019)
    path = small_isic2019 / TRUTH
    path.write_bytes(saved(table(small_isic2019)))
    assert read_isic2019(small_isic2019) == expected and len(expected) == 24


@pytest.mark.parametrize(
    "kind", ["UTF-8 with a byte order mark", "semicolons", "Unicode text", "upper case", "suffixes"]
)
def test_metadata_are_read_however_they_were_saved(small_isic2019, kind):
    expected = read_isic2019(small_isic2019)
    path = small_isic2019 / METADATA
    path.write_bytes(SAVED[kind](table(small_isic2019, METADATA)))
    assert read_isic2019(small_isic2019) == expected and len({s.lesion for s in expected}) == 16


def cell(row, column, value):
    def change(rows):
        rows[row - 1][column] = value
        return rows

    return change


WRONG = {
    "no number": (cell(5, 2, "yes"), "row 5, column NV: 'yes'"),
    "not a number": (cell(5, 2, "nan"), "row 5, column NV: 'nan'"),
    "a share": (cell(5, 2, "0.5"), "row 5, column NV: '0.5'"),
    "no diagnosis": (cell(2, 1, "0.0"), "row 2, gives ISIC_0000000 no diagnosis"),
    "only empty cells": (lambda rows: [*rows, ["ISIC_0000003", *[""] * 9]], "row 26, gives ISIC_0000003 no diagnosis"),
    "no image": (cell(7, 0, ""), "row 7, names no image"),
    "two diagnoses": (cell(3, 1, "1.0"), "row 3, gives ISIC_0000001 more than one diagnosis: MEL, NV"),
    "another diagnosis": (lambda rows: [*rows, [rows[1][0], *rows[2][1:]]],
                          "rows 2 and 26, give ISIC_0000000 two diagnoses: MEL and NV"),
    "too many cells": (lambda rows: [*rows[:4], [*rows[4], "0", "1"], *rows[5:]], "row 5, has 12 cells"),
    "a column twice": (lambda rows: [[*row, row[1]] for row in rows], "more than one column MEL"),
    "a diagnosis twice": (lambda rows: [[*row, "melanoma" if i == 0 else "0"] for i, row in enumerate(rows)],
                          "more than one column that means MEL"),
    "ISIC 2018": (lambda rows: [[c.replace("AK", "AKIEC") for c in row] for row in rows], "AKIEC is ISIC 2018's"),
    "a missing picture": (lambda rows: [*rows, ["ISIC_0099999", *rows[1][1:]]], "lists ISIC_0099999, and"),
    "many": (lambda rows: [*rows, *([f"ISIC_00999{i}0", *rows[1][1:]] for i in range(9))],
             "lists ISIC_0099900, ISIC_0099910, ISIC_0099920, ISIC_0099930, ISIC_0099940 and 4 more"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_wrong_table_is_refused_naming_file_and_row(small_isic2019, change, message, delimiter):
    path = small_isic2019 / TRUTH
    path.write_text(written(change(table(small_isic2019)), delimiter), encoding="utf-8")
    with pytest.raises(ValueError) as error:
        read_isic2019(small_isic2019)
    assert message in str(error.value) and TRUTH in str(error.value)


def test_unquoted_decimal_commas_between_commas_are_refused(small_isic2019):
    path = small_isic2019 / TRUTH
    path.write_text(path.read_text(encoding="utf-8").replace(".", ","), encoding="utf-8")
    with pytest.raises(ValueError, match="row 2, has 19 cells, and the header has 10"):
        read_isic2019(small_isic2019)


def test_a_workbook_is_no_table(small_isic2019):
    (small_isic2019 / TRUTH).write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(ValueError, match="is an Excel workbook"):
        read_isic2019(small_isic2019)


def test_two_lesions_of_one_picture_are_refused(small_isic2019):
    rows = table(small_isic2019, METADATA)
    (small_isic2019 / METADATA).write_text(written([*rows, ["ISIC_0000009", "HAM_0000001"]]), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{METADATA}, row 26, gives ISIC_0000009 the lesion HAM_0000001, another"):
        read_isic2019(small_isic2019)


def test_what_editors_leave_beside_a_table_is_no_table(small_isic2019):
    for name in (f"._{TRUTH}", f"~${TRUTH}", f".~lock.{TRUTH}#", f"._{METADATA}"):
        (small_isic2019 / name).write_bytes(b"\x00\x05\x16\x07")
    assert len(read_isic2019(small_isic2019)) == 24


def test_ham10000_s_own_table_is_refused_with_what_to_do(small_isic2019):
    (small_isic2019 / TRUTH).unlink()
    (small_isic2019 / "HAM10000_metadata.csv").write_text(
        "lesion_id,image_id,dx\nHAM_0000118,ISIC_0027419,bkl\n", encoding="utf-8"
    )
    with pytest.raises(
        FileNotFoundError, match="HAM10000_metadata.csv is HAM10000's: put its pictures in a folder for"
    ):
        read_isic2019(small_isic2019)


def test_the_row_numbers_are_those_that_a_spreadsheet_shows(tmp_path):
    (tmp_path / "a.csv").write_text('image,note\n\n"one","two\nlines"\n,\nlast,\n', encoding="utf-8")
    assert read_rows(tmp_path / "a.csv") == [
        (3, {"image": "one", "note": "two\nlines"}),
        (5, {"image": "last", "note": ""}),
    ]


def spread(pictures):
    """Other suffixes, upper case, nested folders, and what macOS and Jupyter leave: the pixels of half are the same."""
    for i, path in enumerate(sorted(pictures.iterdir())):
        if i % 4 == 0:
            path.rename(path.with_suffix((".JPG", ".JPEG", ".jpe")[i // 4 % 3]))
        elif i % 4 == 1:
            (pictures / "part" / "two").mkdir(parents=True, exist_ok=True)
            path.rename(pictures / "part" / "two" / path.name.lower())
        elif i % 4 == 2:
            with Image.open(path) as picture:
                picture.save(path.with_suffix((".png", ".TIF", ".bmp")[i // 4 % 3]))
            path.unlink()
        else:
            path.rename(path.with_name(f"{path.stem}_downsampled.jpg"))
    for junk in ("._ISIC_0000001.jpg", ".ipynb_checkpoints/ISIC_0000001.jpg", "__MACOSX/ISIC_0000001.jpg", "Thumbs.db"):
        (pictures / junk).parent.mkdir(exist_ok=True)
        (pictures / junk).write_bytes(b"no picture")


@pytest.mark.parametrize("zipped", [False, True])
def test_pictures_are_found_wherever_they_lie(small_isic2019, zipped):
    expected = read_isic2019(small_isic2019)
    pixels = read_pixels(expected, 64)
    pictures = small_isic2019 / PICTURES
    spread(pictures)
    if zipped:
        with zipfile.ZipFile(small_isic2019 / f"{PICTURES}.zip", "w") as archive:
            for path in pictures.rglob("*"):
                archive.write(path, f"{PICTURES}/{path.relative_to(pictures).as_posix()}")
        shutil.rmtree(pictures)
    found = read_isic2019(small_isic2019)
    assert [(s.image, s.label, s.lesion, s.split) for s in found] == [
        (s.image, s.label, s.lesion, s.split) for s in expected
    ]
    assert read_pixels(found, 64).equal(pixels)


def test_two_pictures_of_one_name_are_refused_unless_they_are_copies(small_isic2019):
    pictures = small_isic2019 / PICTURES
    (pictures / "again").mkdir()
    shutil.copy(pictures / "ISIC_0000002.jpg", pictures / "again" / "ISIC_0000002.JPG")
    assert len(read_isic2019(small_isic2019)) == 24
    lesion_like(99).save(pictures / "ISIC_0000002.png")
    with pytest.raises(ValueError, match="several pictures of ISIC_0000002: .*ISIC_0000002.png, .*again"):
        read_isic2019(small_isic2019)


def test_a_broken_archive_is_refused_by_name(small_isic2019):
    shutil.rmtree(small_isic2019 / PICTURES)
    (small_isic2019 / f"{PICTURES}.zip").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=f"{PICTURES}.zip is no zip archive"):
        read_isic2019(small_isic2019)


def test_an_error_names_the_picture(small_isic2019):
    (small_isic2019 / PICTURES / "ISIC_0000007.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="ISIC_0000007: This is not a picture"):
        read_pixels(read_isic2019(small_isic2019), 64)
