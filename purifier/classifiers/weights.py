"""The weights of a classifier: safetensors in one file or in parts, never unpickled. The home of safetensors."""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open
from torch import Tensor

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SAFETENSORS = ".safetensors"
PICKLES = (".bin", ".pth", ".pt", ".ckpt", ".pkl", ".pickle", ".tar", ".joblib")
OTHERS = (".h5", ".hdf5", ".keras", ".msgpack", ".onnx", ".ort", ".gguf", ".npz", ".pb", ".tflite", ".mlmodel", ".ot")
PART = re.compile(r"-\d+-of-\d+\.safetensors$")
FLOATS = ("F64", "F32", "F16", "BF16")  # safetensors' names of what is converted to float32
WIDE = ("I64", "I32", "BOOL")  # what networks count and look up in; anything narrower is quantised weights
SHORT = {"I": "int", "U": "uint", "F": "float", "C": "complex"}  # their first letters
NAMED = 3  # tensors or files that a message names


def find_weights(names: Iterable[str], source: str) -> str:
    """The file of weights among ``names``: model.safetensors, an index of parts, or the only other safetensors file.

    Raises ``ValueError`` that says what there is instead.
    """
    names = sorted(names)
    if WEIGHTS in names:
        return WEIGHTS
    indices = [name for name in names if name.endswith(f"{SAFETENSORS}.index.json")]
    parts = [name for name in names if PART.search(name)]
    single = [name for name in names if name.endswith(SAFETENSORS) and name not in parts]
    if INDEX in indices or len(indices) == 1:
        return INDEX if INDEX in indices else indices[0]
    if len(single) == 1:
        return single[0]
    if single:
        raise ValueError(f"{source} has several files of weights ({few(single)}): rename the right one to {WEIGHTS}.")
    if parts:
        raise ValueError(f"{source} has parts of weights ({few(parts)}) without {INDEX}, which says what they hold.")
    raise no_weights(names, source)


def no_weights(names: Iterable[str], source: str) -> ValueError:
    """What is there instead of safetensors."""
    names = list(names)
    pickles, others = ([name for name in names if name.lower().endswith(kinds)] for kinds in (PICKLES, OTHERS))
    if pickles:
        return ValueError(
            f"{source} has no {WEIGHTS}. Weights in pickle files ({few(pickles)}) are not loaded, "
            f"since opening one can run any code; ask the owner to publish safetensors."
        )
    if others:
        return ValueError(
            f"{source} has no {WEIGHTS}, and weights in other formats ({few(others)}) are not read; "
            f"ask the owner to publish safetensors."
        )
    return ValueError(f"{source} has no {WEIGHTS} and no other file of weights.")


def parts_of(index: Path, source: str) -> list[str]:
    """The files that an index names; ``ValueError`` where it is no index or names others than its neighbours."""
    try:
        files = sorted(set(json.loads(index.read_bytes())["weight_map"].values()), key=str)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{index.name} of {source} is not an index of safetensors: {error!r}") from error
    for file in files:
        beside = isinstance(file, str) and PurePosixPath(file).name == file and "\\" not in file
        if not beside or not file.endswith(SAFETENSORS):
            raise ValueError(f"{index.name} of {source} names {file!r}, which is no safetensors file beside it.")
    return files


def weight_files(folder: Path, source: str) -> list[Path]:
    """The files of weights in a folder, all of them there."""
    file = find_weights((path.name for path in folder.iterdir() if path.is_file()), source)
    if not file.endswith(".json"):
        return [folder / file]
    parts = [folder / part for part in parts_of(folder / file, source)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise lacks_parts(missing, file, source)
    return parts


def lacks_parts(missing: list[str], index: str, source: str) -> ValueError:
    """The error that names parts of an index that are not there."""
    return ValueError(f"{source} lacks {few(missing)}, named in its {index}.")


def read_weights(files: list[Path], source: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors by name, floating-point ones as float32, and the types of those that are none.

    Raises ``ValueError`` for files that are no safetensors, for quantised weights, and for NaN and infinite values.
    """
    weights, whole = {}, {}
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
                refuse_kinds({name: kind for name, kind in kinds.items() if kind not in FLOATS + WIDE}, source)
                for name, kind in kinds.items():
                    tensor = opened.get_tensor(name)
                    weights[name] = tensor.float() if kind in FLOATS else tensor
                whole |= {name: kind for name, kind in kinds.items() if kind not in FLOATS}
        except SafetensorError as error:
            wrong = f"{file.name} is no whole safetensors file ({error})"
            said = _instead(file, source) or f"The weights of {source} do not fit its config.json: {wrong}"
            raise ValueError(said) from error
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"The weights of {source} hold NaN or infinite values in {few(broken)}.")
    return weights, whole


def refuse_kinds(kinds: dict[str, str], source: str) -> None:
    """Raise for tensors, with their types by safetensors' names, that are no floating-point weights."""
    if kinds:
        raise ValueError(
            f"The weights of {source} are of types that are not read: {few(_typed(kinds))}. "
            f"Save them as float32, float16 or bfloat16."
        )


def _typed(kinds: dict[str, str]) -> list[str]:
    """Tensors with their types as torch names them, or nearly so: int8 for I8, float8_e4m3 for F8_E4M3."""
    return [f"{name} is {SHORT.get(kind[0], kind[0].lower())}{kind[1:].lower()}" for name, kind in kinds.items()]


def _instead(file: Path, source: str) -> str:
    """What a file with the wrong name is, as far as its first bytes say."""
    with file.open("rb") as opened:
        start = opened.read(64)
    if start.startswith(b"version https://git-lfs"):
        return f"{file.name} of {source} is a pointer of Git LFS: fetch the file itself with `git lfs pull`."
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return f"{file.name} of {source} is a pickle under another name, and pickles are not opened."
    return ""


def few(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def differences(network: dict[str, Tensor], weights: dict[str, Tensor]) -> str:
    """In which tensors weights do not fit a network's; "" where they do."""
    missing = [name for name in network if name not in weights]
    unknown = [name for name in weights if name not in network]
    shapes = [
        f"{name} is {_shape(weights[name])}, not {_shape(tensor)}"
        for name, tensor in network.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    said = (("they lack", missing), ("they have unknown", unknown), ("of another shape are", shapes))
    return "; ".join(f"{words} {few(names)}" for words, names in said if names)


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"
