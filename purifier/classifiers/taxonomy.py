"""The eight diagnoses of ISIC 2019, and how other models' labels map to them."""

import re
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis of ISIC 2019: its full name, its malignancy, and what else it is called in labels.

    ``synonyms`` count as they are; ``heads`` also with any of the words ``kinds`` before and after them, such as
    "nevus" in "Nevus, NOS, Compound". All are written as ``_words`` reads them.
    """

    name: str
    malignant: bool
    synonyms: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


# In the order of the columns of ISIC_2019_Training_GroundTruth.csv. AK counts as malignant
# because the usual benign/malignant grouping of ISIC does so (it is a precursor of SCC).
# Besides ISIC 2019's own, the labels of the ISIC Archive, HAM10000, MILK10k, PAD-UFES-20, Derm7pt, PH2 and
# Fitzpatrick17k, as far as ISIC 2019 has them under one of the eight.
DIAGNOSES: dict[str, Diagnosis] = {
    "MEL": Diagnosis(
        "Melanoma",
        True,
        (
            "lentigo maligna",
            "melanoma less than 0 76 mm",
            "melanoma 0 76 to 1 5 mm",
            "melanoma more than 1 5 mm",
            "melanoma in situ lentigo maligna type",
            "melanoma in situ associated with a nevus",
            "melanoma invasive associated with a nevus",
            "melanoma invasive on chronically sun exposed skin or lentigo maligna melanoma",
        ),
        ("melanoma", "lentigo maligna melanoma"),
        (
            "malignant", "cutaneous", "in", "situ", "invasive", "superficial", "spreading", "ssm", "nodular", "acral",
            "lentiginous", "amelanotic", "desmoplastic", "metastasis", "metastatic",
        ),
    ),
    "NV": Diagnosis(
        "Melanocytic nevus",
        False,
        ("nev", "mole"),
        ("nevus",),
        (
            "melanocytic", "nevocytic", "benign", "common", "acquired", "pigmented", "junctional", "compound", "dermal",
            "intradermal", "atypical", "dysplastic", "clark", "or", "combined", "congenital", "spitz", "reed",
            "acral", "balloon", "cell", "spilus", "bap", "1", "bap1", "deficient", "recurrent", "persistent", "halo",
            "blue", "cellular", "deep", "penetrating", "any", "type",
        ),
    ),
    "BCC": Diagnosis(
        "Basal cell carcinoma",
        True,
        (),
        ("basal cell carcinoma",),
        ("nodular", "superficial", "infiltrating", "infiltrative", "morpheiform", "morpheaform", "micronodular",
         "pigmented", "solid", "cystic"),
    ),
    "AK": Diagnosis(
        "Actinic keratosis",
        True,
        # HAM10000's label for actinic keratosis and squamous cell carcinoma in situ together.
        (
            "ack",
            "akiec",
            "solar or actinic keratosis",
            "actinic or solar keratosis",
            "actinic keratosis intraepithelial carcinoma",
            "actinic keratosis intraepidermal carcinoma",
            "actinic keratosis and intraepithelial carcinoma",
            "actinic keratosis and intraepithelial carcinoma bowen disease",
            "actinic keratosis solar keratosis or intraepithelial carcinoma bowen disease",
        ),
        ("actinic keratosis", "solar keratosis"),
        ("pigmented", "bowenoid", "hypertrophic"),
    ),
    "BKL": Diagnosis(
        "Benign keratosis",
        False,
        (
            "sek",
            "benign keratosis like lesion",
            "pigmented benign keratosis",
            "benign pigmented keratosis",
            "solar lentigo",
            "actinic lentigo",
            "senile lentigo",
            "lichen planus like keratosis",
            "benign lichen planus like keratosis",
            "lichenoid keratosis",
            "benign lichenoid keratosis",
            "lplk",
        ),
        ("seborrheic keratosis",),
        ("pigmented", "irritated", "inflamed", "clonal"),
    ),
    "DF": Diagnosis("Dermatofibroma", False, ("fibrous histiocytoma", "benign fibrous histiocytoma")),
    "VASC": Diagnosis(
        "Vascular lesion",
        False,
        (
            "vascular",
            "vasc lesion",
            "vascular skin lesion",
            "vascular lesion and hemorrhage",
            "benign soft tissue proliferations vascular",
            "angioma",
            "cherry angioma",
            "angiokeratoma",
            "pyogenic granuloma",
            "granuloma pyogenic",
            "hemorrhage",
            "subcorneal hemorrhage",
        ),
        ("hemangioma",),
        ("cherry", "senile", "capillary", "hobnail"),
    ),
    "SCC": Diagnosis(
        "Squamous cell carcinoma",
        True,
        (
            "sccka",
            "bowen disease",
            "squamous cell carcinoma keratoacanthoma",
            "squamous cell carcinoma in situ bowen disease",
        ),
        ("squamous cell carcinoma",),
        ("in", "situ", "invasive", "cutaneous"),
    ),
}  # fmt: skip

SPELLINGS = {  # one for many, word by word
    "naevus": "nevus", "naevi": "nevus", "nevi": "nevus", "moles": "mole", "keratoses": "keratosis",
    "melanomas": "melanoma", "carcinomas": "carcinoma", "lesions": "lesion", "dermatofibromas": "dermatofibroma",
    "seborrhoeic": "seborrheic", "lentigines": "lentigo", "haemangioma": "hemangioma", "hemangiomas": "hemangioma",
    "haemangiomas": "hemangioma", "angiomas": "angioma", "angiokeratomas": "angiokeratoma",
    "granulomas": "granuloma", "haemorrhage": "hemorrhage", "bowens": "bowen",
}  # fmt: skip
SAYS_NO = {  # words of labels that name a diagnosis and do not mean it, or not it alone
    "not", "no", "without", "except", "excluding", "excluded", "exclude", "negative", "absent", "absence", "rule",
    "ruled", "false", "versus", "vs", "or", "other", "others", "unlike", "mimic", "mimics", "mimicking", "unknown",
    "suspected", "suspicious", "free",
}  # fmt: skip


GENERIC = {"skin", "cancer", "malignant", "benign", "precancerous", "pre", "tumor", "lesion", "class", "type"}


def _words(label: str) -> list[str]:
    """Lower case, without accents, punctuation and "NOS" (not otherwise specified), in one spelling."""
    plain = unicodedata.normalize("NFKD", label.lower().replace("æ", "ae").replace("œ", "oe"))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    words = (SPELLINGS.get(word, word) for word in re.findall(r"[a-z0-9]+", plain))
    return [word for word in words if word not in ("nos", "s")]  # the latter of Bowen's and Clark's


_CODES = {
    " ".join(_words(text)): code
    for code, diagnosis in DIAGNOSES.items()
    for text in (code, diagnosis.name, *diagnosis.synonyms)
}


def _known(label: str) -> str | None:
    """The code of a label that is one of the names, or one of the heads with nothing but its kinds around it."""
    whole = " ".join(_words(label))
    if whole in _CODES:
        return _CODES[whole]
    for code, diagnosis in DIAGNOSES.items():
        for head in diagnosis.heads:
            before, found, after = f" {whole} ".partition(f" {head} ")
            if found and set(f"{before} {after}".split()) <= set(diagnosis.kinds):
                return code
    return None


def code_of(label: str) -> str:
    """The ISIC 2019 code that ``label`` means, whatever its case or spelling; an unknown label as it is.

    A short form beside it or in brackets counts: ``Melanoma (mel)`` and ``mel, Melanoma`` are MEL. ``Not melanoma
    (mel)`` is nothing known, nor is ``Nevus (mel)``, which names two, nor ``Nevus (Becker)``, which is another thing.
    Of a path such as the ISIC Archive's ``Benign::Nevus::Nevus, NOS, Compound`` the last known part counts.
    """
    return _known(label) or _of_path(label) or _of_short_form(label) or _of_brackets(label) or label


def _denies(label: str) -> bool:
    words = _words(label)
    return bool(SAYS_NO & set(words)) or any(word.startswith("non") for word in words)


def _of_path(label: str) -> str | None:
    parts = re.split(r"::|>", label)
    for part in reversed(parts if len(parts) > 1 else []):
        if (code := _known(part)) or _denies(part):
            return code
    return None


def _of_short_form(label: str) -> str | None:
    """Of a code and its name, with a comma or the like between them, where both mean the same."""
    found = re.fullmatch(r"\s*(\w+)\s*[,:;|-](.+)|(.+)[,:;|-]\s*(\w+)\s*", label)
    if not found:
        return None
    short, rest = found[1] or found[4], found[2] or found[3]
    code = _known(short)
    return code if code and code == (_known(rest) or _of_brackets(rest)) else None


def _of_brackets(label: str) -> str | None:
    """The one code that is named inside and outside of brackets."""
    if _denies(label):
        return None
    outside, inside = re.sub(r"[(\[].*?[)\]]", " ", label), re.findall(r"[(\[](.*?)[)\]]", label)
    known = [{_known(item) for item in re.split(r"[,;/]|\band\b", part)} - {None} for part in inside]
    codes = set().union(*known) | {_known(outside)} - {None}
    explained = any(known) or all(set(_words(part)) <= GENERIC or part.strip().isdigit() for part in inside)
    return codes.pop() if len(codes) == 1 and explained else None


def full_name(code: str) -> str:
    """The full name of an ISIC 2019 code; any other label as it is."""
    return DIAGNOSES[code].name if code in DIAGNOSES else code
