"""The eight diagnoses of ISIC 2019, and how other models' labels map to them."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis of ISIC 2019: its full name, its malignancy, and what else it is called in labels."""

    name: str
    malignant: bool
    synonyms: tuple[str, ...] = ()


# In the order of the columns of ISIC_2019_Training_GroundTruth.csv. AK counts as malignant
# because the usual benign/malignant grouping of ISIC does so (it is a precursor of SCC).
DIAGNOSES: dict[str, Diagnosis] = {
    "MEL": Diagnosis("Melanoma", True, ("malignant melanoma",)),
    "NV": Diagnosis("Melanocytic nevus", False, ("nevus", "nevi", "naevus", "melanocytic nevi", "melanocytic naevus")),
    "BCC": Diagnosis("Basal cell carcinoma", True),
    "AK": Diagnosis(
        "Actinic keratosis",
        True,
        # HAM10000's label for actinic keratosis and squamous cell carcinoma in situ together.
        (
            "akiec",
            "actinic keratoses",
            "solar keratosis",
            "actinic keratosis intraepithelial carcinoma",
            "actinic keratoses and intraepithelial carcinoma",
            "actinic keratoses and intraepithelial carcinoma bowen s disease",
            "actinic keratoses and intraepithelial carcinoma bowens disease",
        ),
    ),
    "BKL": Diagnosis(
        "Benign keratosis",
        False,
        (
            "benign keratosis like lesion",
            "benign keratosis like lesions",
            "seborrheic keratosis",
            "pigmented benign keratosis",
        ),
    ),
    "DF": Diagnosis("Dermatofibroma", False),
    "VASC": Diagnosis("Vascular lesion", False, ("vascular lesions", "vascular", "vasc lesion")),
    "SCC": Diagnosis("Squamous cell carcinoma", True, ("bowen s disease", "squamous cell carcinoma in situ")),
}


def _normalised(label: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", label.lower()))


_CODES = {
    _normalised(text): code
    for code, diagnosis in DIAGNOSES.items()
    for text in (code, diagnosis.name, *diagnosis.synonyms)
}


def code_of(label: str) -> str:
    """The ISIC 2019 code that ``label`` means, whatever its case or spelling; an unknown label as it is.

    A short form in brackets counts: ``Melanoma (mel)`` is MEL, but ``Not melanoma (mel)`` is nothing known.
    """
    whole = _normalised(label)
    if whole in _CODES:
        return _CODES[whole]
    if {"not", "no", "non"} & set(whole.split()):
        return label
    for part in (re.sub(r"[(\[].*?[)\]]", " ", label), *re.findall(r"[(\[](.*?)[)\]]", label)):
        if _normalised(part) in _CODES:
            return _CODES[_normalised(part)]
    return label


def full_name(code: str) -> str:
    """The full name of an ISIC 2019 code; any other label as it is."""
    return DIAGNOSES[code].name if code in DIAGNOSES else code
