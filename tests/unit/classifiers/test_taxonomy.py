import pytest

from purifier.classifiers.taxonomy import DIAGNOSES, code_of, full_name


def test_the_diagnoses_are_isic_2019_s_in_its_order():
    assert list(DIAGNOSES) == ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"]
    assert [code for code, d in DIAGNOSES.items() if d.malignant] == ["MEL", "BCC", "AK", "SCC"]


@pytest.mark.parametrize(
    ("label", "code"),
    [
        ("mel", "MEL"),
        ("Melanoma", "MEL"),
        ("Melanoma (mel)", "MEL"),
        ("nv", "NV"),
        ("Melanocytic nevi", "NV"),
        ("melanocytic_Nevi", "NV"),
        ("Melanocytic nevi (nv)", "NV"),
        ("basal cell carcinoma", "BCC"),
        ("basal_cell_carcinoma", "BCC"),
        ("AKIEC", "AK"),
        ("actinic_keratoses", "AK"),
        ("Actinic keratosis", "AK"),
        ("Actinic keratoses and intraepithelial carcinoma / Bowen's disease (akiec)", "AK"),
        ("benign_keratosis-like_lesions", "BKL"),
        ("Benign keratosis-like lesions (bkl)", "BKL"),
        ("df", "DF"),
        ("Dermatofibroma (df)", "DF"),
        ("vascular lesions", "VASC"),
        ("Squamous cell carcinoma", "SCC"),
        ("Bowen's disease", "SCC"),
        ("Actinic keratosis / intraepithelial carcinoma", "AK"),
    ],
)
def test_labels_map_by_name(label, code):
    assert code_of(label) == code


@pytest.mark.parametrize(
    "label", ["cat", "", "not melanoma", "Not melanoma (mel)", "melanoma in situ or nevus", "class 0"]
)
def test_unknown_labels_are_kept_as_they_are(label):
    assert code_of(label) == label
    assert full_name(label) == label


PUBLISHED = {  # labels as data sets publish them, and what ISIC 2019 has them under; None: under none of the eight
    "ISIC Archive": {
        "Melanoma, NOS": "MEL", "Melanoma in situ": "MEL", "Melanoma Invasive": "MEL", "Melanoma metastasis": "MEL",
        "Melanoma Invasive, Superficial spreading": "MEL", "Melanoma in situ, Lentigo maligna type": "MEL",
        "Malignant melanocytic proliferations (Melanoma)": "MEL", "Melanoma Invasive, Associated with a nevus": "MEL",
        "Nevus": "NV", "Nevus, NOS": "NV", "Nevus, Atypical, Dysplastic, or Clark": "NV",
        "Nevus, NOS, Junctional": "NV", "Nevus, NOS, Compound": "NV",
        "Nevus, Spilus": "NV", "Nevus, BAP-1 deficient": "NV", "Blue nevus": "NV",
        "Nevus, Recurrent or persistent": "NV", "Nevus, Balloon cell": "NV",
        "Benign::Benign melanocytic proliferations::Nevus::Nevus, Atypical, Dysplastic, or Clark": "NV",
        "Benign > Benign melanocytic proliferations > Nevus > Nevus, Agminated": "NV",
        "Basal cell carcinoma": "BCC", "Basal cell carcinoma, NOS": "BCC", "Basal cell carcinoma, Superficial": "BCC",
        "Solar or actinic keratosis": "AK", "Squamous cell carcinoma, NOS": "SCC",
        "Squamous cell carcinoma in situ": "SCC", "Squamous cell carcinoma, Invasive": "SCC",
        "Squamous cell carcinoma in situ, Bowens disease": "SCC",
        "Seborrheic keratosis": "BKL", "Pigmented benign keratosis": "BKL", "Solar lentigo": "BKL",
        "Lichen planus like keratosis": "BKL", "Dermatofibroma": "DF", "Hemangioma": "VASC", "Angiokeratoma": "VASC",
        "Pyogenic granuloma": "VASC", "Benign soft tissue proliferations - Vascular": "VASC",
        "Lentigo NOS": None, "Lentigo simplex": None, "Scar": None, "Verruca": None, "Angiofibroma": None,
        "Fibroepithelial polyp": None, "Hidradenoma": None, "Atypical melanocytic neoplasm": None,
        "Atypical intraepithelial melanocytic proliferation": None, "Benign": None, "Malignant": None,
        "Indeterminate": None, "Trichilemmal or isthmic-catagen or pilar cyst": None,
        "Benign soft tissue proliferations - Fibro-histiocytic": None, "Malignant::Not melanoma": None,
    },
    "PAD-UFES-20": {"ACK": "AK", "BCC": "BCC", "MEL": "MEL", "NEV": "NV", "SCC": "SCC", "SEK": "BKL"},
    "Derm7pt": {
        "melanoma": "MEL", "melanoma (in situ)": "MEL", "melanoma (less than 0.76 mm)": "MEL",
        "melanoma (0.76 to 1.5 mm)": "MEL", "melanoma (more than 1.5 mm)": "MEL", "melanoma metastasis": "MEL",
        "blue nevus": "NV", "clark nevus": "NV", "combined nevus": "NV", "congenital nevus": "NV", "dermal nevus": "NV",
        "recurrent nevus": "NV", "reed or spitz nevus": "NV", "basal cell carcinoma": "BCC", "dermatofibroma": "DF",
        "seborrheic keratosis": "BKL", "vascular lesion": "VASC",
        "lentigo": None, "melanosis": None, "miscellaneous": None, "DF/LT/MLS/MISC": None,
    },
    "PH2": {"Common Nevus": "NV", "Atypical Nevus": "NV", "Melanoma": "MEL"},
    "Fitzpatrick17k": {
        "melanoma": "MEL", "malignant melanoma": "MEL", "superficial spreading melanoma ssm": "MEL",
        "lentigo maligna": "MEL", "nevocytic nevus": "NV", "congenital nevus": "NV", "halo nevus": "NV",
        "basal cell carcinoma": "BCC", "basal cell carcinoma morpheiform": "BCC",
        "solid cystic basal cell carcinoma": "BCC", "squamous cell carcinoma": "SCC", "actinic keratosis": "AK",
        "seborrheic keratosis": "BKL", "dermatofibroma": "DF", "pyogenic granuloma": "VASC",
        "granuloma pyogenic": "VASC",
        "epidermal nevus": None, "becker nevus": None, "nevus sebaceous of jadassohn": None, "naevus comedonicus": None,
        "keloid": None, "porokeratosis actinic": None, "disseminated actinic porokeratosis": None, "lymphangioma": None,
        "port wine stain": None, "telangiectases": None, "kaposi sarcoma": None, "seborrheic dermatitis": None,
    },
    "HAM10000": {
        "akiec": "AK", "bcc": "BCC", "bkl": "BKL", "df": "DF", "mel": "MEL", "nv": "NV", "vasc": "VASC",
        "akiec, Actinic Keratoses (Solar Keratoses) or intraepithelial Carcinoma (Bowen’s disease)": "AK",
        "nv, Melanocytic Nevi": "NV", "vasc, Vascular skin lesion": "VASC",
        "benign keratosis-like lesions (solar lentigines / seborrheic keratoses and lichen-planus like keratoses, bkl)":
            "BKL",
        "vascular lesions (angiomas, angiokeratomas, pyogenic granulomas and hemorrhage, vasc)": "VASC",
    },
    "ISIC 2017 to 2020": {
        "seborrheic_keratosis": "BKL", "AKIEC": "AK", "nevus": "NV", "solar lentigo": "BKL",
        "lichenoid keratosis": "BKL", "unknown": None, "UNK": None, "lentigo NOS": None,
        "cafe-au-lait macule": None, "other": None, "atypical melanocytic proliferation": None,
    },
    "MILK10k": {
        "SCCKA": "SCC", "Vascular lesions and hemorrhage (VASC)": "VASC", "Melanocytic nevus, any type (NV)": "NV",
        "Actinic keratosis/intraepidermal carcinoma (AKIEC)": "AK", "Benign keratinocytic lesion (BKL)": "BKL",
        "BEN_OTH": None, "MAL_OTH": None, "INF": None, "Inflammatory and infectious (INF)": None,
    },
    "other spellings": {
        "naevus": "NV", "Spitz nævus": "NV", "Dysplastic naevi": "NV", "Clark's nevus": "NV", "Moles": "NV",
        "seborrhoeic keratoses": "BKL", "Haemangioma": "VASC", "Melanoma (skin cancer)": "MEL", "Nevus (benign)": "NV",
    },
    "what only sounds like one": {
        "not melanoma": None, "Not melanoma (mel)": None, "non-melanoma": None, "nonmelanoma (mel)": None,
        "Melanoma (excluded)": None, "Melanoma (ruled out)": None, "melanoma negative": None, "nevus (mel)": None,
        "Nevus (Becker)": None, "Nevus, Epidermal": None, "nevus vs melanoma (mel)": None, "MEL-like": None,
        "other than nevus (nv)": None, "melanoma-free": None, "melanocytic": None, "carcinoma": None,
        "melanoma, nevus": None, "mel, nv": None, "Nevus of Ota": None, "uveal melanoma": None,
        "Melanoma (uveal)": None,
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("label", "code"), [(label, code) for labels in PUBLISHED.values() for label, code in labels.items()]
)
def test_published_labels_are_what_isic_2019_has_them_under(label, code):
    assert code_of(label) == (code or label)


@pytest.mark.parametrize("denial", ["not {}", "No {}", "non-{}", "Not {} (code)", "{} (excluded)", "without {}"])
def test_a_label_and_its_negation_never_meet(denial):
    names = [name for code, d in DIAGNOSES.items() for name in (code, d.name, *d.synonyms, *d.heads)]
    assert {code_of(name) for name in names} == set(DIAGNOSES)
    assert not [name for name in names if code_of(denial.format(name).replace("code", name)) in DIAGNOSES]


def test_no_name_means_two_diagnoses():
    names = [n.lower() for code, d in DIAGNOSES.items() for n in (code, d.name, *d.synonyms)]
    assert len(names) == len(set(names))


def test_full_names():
    assert full_name("BKL") == "Benign keratosis"
