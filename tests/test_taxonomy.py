import pytest

from purifier.taxonomy import DIAGNOSES, code_of, full_name


def test_the_diagnoses_are_isic_2019_s_in_its_order():
    assert list(DIAGNOSES) == ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
    assert [code for code, d in DIAGNOSES.items() if d.malignant] == ["MEL", "BCC", "AK", "SCC"]


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("mel", "MEL"), ("Melanoma", "MEL"), ("Melanoma (mel)", "MEL"), ("nv", "NV"), ("Melanocytic nevi", "NV"),
        ("melanocytic_Nevi", "NV"), ("Melanocytic nevi (nv)", "NV"), ("basal cell carcinoma", "BCC"),
        ("basal_cell_carcinoma", "BCC"), ("AKIEC", "AK"), ("actinic_keratoses", "AK"), ("Actinic keratosis", "AK"),
        ("Actinic keratoses and intraepithelial carcinoma / Bowen's disease (akiec)", "AK"),
        ("benign_keratosis-like_lesions", "BKL"), ("Benign keratosis-like lesions (bkl)", "BKL"), ("df", "DF"),
        ("Dermatofibroma (df)", "DF"), ("vascular lesions", "VASC"), ("Squamous cell carcinoma", "SCC"),
        ("Bowen's disease", "SCC"), ("Actinic keratosis / intraepithelial carcinoma", "AK"),
    ],
)  # fmt: skip
def test_labels_map_by_name(label, code):
    assert code_of(label) == code


@pytest.mark.parametrize(
    "label", ["cat", "", "not melanoma", "Not melanoma (mel)", "melanoma in situ or nevus", "class 0"]
)
def test_unknown_labels_are_kept_as_they_are(label):
    assert code_of(label) == label
    assert full_name(label) == label


def test_no_name_means_two_diagnoses():
    names = [n.lower() for code, d in DIAGNOSES.items() for n in (code, d.name, *d.synonyms)]
    assert len(names) == len(set(names))


def test_full_names():
    assert full_name("BKL") == "Benign keratosis"
