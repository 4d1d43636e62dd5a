"""The labels of a classifier, from its config.json."""

from purifier.classifiers.taxonomy import DIAGNOSES, code_of
from purifier.texts import UserError

# Where labels are looked for, the first that holds any first, at the top of the config and then in its pretrained_cfg.
KEYS = ("label_names", "labels", "id2label", "label2id", "label_descriptions")


def read_labels(config: dict, count: int, source: str) -> list[str]:
    """One label for each of ``count`` outputs: those of the first of ``KEYS``, else their numbers.

    They may be a list, or a dict by number, with the number of each, or with their descriptions in the order of the
    outputs. Where a name means none of the eight diagnoses and its entry in ``label_descriptions`` does, that is the
    label. Raises ``ValueError`` for labels that are too few or many, leave out a number, or occur twice.
    """
    inner = config.get("pretrained_cfg") or {}
    found = {key: config.get(key) or inner.get(key) for key in KEYS}
    key = next((key for key in KEYS if found[key]), None)
    if key is None:
        return [f"class {i}" for i in range(count)]
    names, of = _in_order(found[key], key, count, source), dict(key=key, source=source)
    if not isinstance(names, list | tuple) or len(names) != count:
        raise UserError(
            "{source} has {count} classes, and its {key} are {names}.", **of, count=count, names=repr(found[key])
        )
    if not all(isinstance(name, str | int | float) for name in names):
        raise UserError("The {key} of {source} must be names, and are {names}.", **of, names=repr(names))
    names = [str(name) for name in names]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            "The {key} of {source} name more than one output {names}.", **of, names=", ".join(map(repr, twice))
        )
    descriptions = found["label_descriptions"]
    return [_described(name, descriptions) for name in names] if isinstance(descriptions, dict) else names


def _in_order(names: object, key: str, count: int, source: str) -> object:
    """The names in the order of the outputs, where they are a dict; anything else as it is."""
    if not isinstance(names, dict):
        return names
    if all(str(name).isdecimal() for name in names):
        numbered = [(int(number), name) for number, name in names.items()]
    elif all(_is_number(value) for value in names.values()):
        numbered = [(int(number), name) for name, number in names.items()]
    elif key in ("id2label", "label2id"):
        raise UserError(
            "The {key} of {source} must name the outputs by number, and is {names}.",
            key=key,
            source=source,
            names=repr(names),
        )
    else:  # label: description
        return list(names)
    numbers = sorted(number for number, _ in numbered)
    if len(numbers) == count and numbers != list(range(count)):
        raise UserError(
            "The {key} of {source} must number its outputs from 0 to {last}, and numbers them {numbers}.",
            key=key,
            source=source,
            last=count - 1,
            numbers=", ".join(map(str, numbers)),
        )
    return [name for _, name in sorted(numbered, key=lambda pair: pair[0])]


def _is_number(value: object) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, str) and value.isdecimal())


def _described(name: str, descriptions: dict) -> str:
    description = descriptions.get(name)
    known = isinstance(description, str) and code_of(name) not in DIAGNOSES and code_of(description) in DIAGNOSES
    return description if known else name
