"""The weights of a classifier: safetensors in one file or in parts, never unpickled. The home of safetensors."""

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from purifier.texts import UserError

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
        raise UserError(
            "{source} has several files of weights ({files}): rename the right one to model.safetensors.",
            source=source,
            files=few(single),
        )
    if parts:
        raise UserError(
            "{source} has parts of weights ({files}) without model.safetensors.index.json, which says what they hold.",
            source=source,
            files=few(parts),
        )
    raise no_weights(names, source)


def no_weights(names: Iterable[str], source: str) -> UserError:
    """What is there instead of safetensors."""
    names = list(names)
    pickles, others = ([name for name in names if name.lower().endswith(kinds)] for kinds in (PICKLES, OTHERS))
    if pickles:
        return UserError(
            "{source} has no model.safetensors. Weights in pickle files ({files}) are not loaded, since opening one "
            "can run any code; ask the owner to publish safetensors.",
            source=source,
            files=few(pickles),
        )
    if others:
        return UserError(
            "{source} has no model.safetensors, and weights in other formats ({files}) are not read; ask the owner to "
            "publish safetensors.",
            source=source,
            files=few(others),
        )
    return UserError("{source} has no model.safetensors and no other file of weights.", source=source)


def parts_of(index: Path, source: str) -> list[str]:
    """The files that an index names; ``ValueError`` where it is no index or names others than its neighbours."""
    try:
        files = sorted(set(json.loads(index.read_bytes())["weight_map"].values()), key=str)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            "{index} of {source} is not an index of safetensors: {reason}",
            index=index.name,
            source=source,
            reason=repr(error),
        ) from error
    for file in files:
        beside = isinstance(file, str) and PurePosixPath(file).name == file and "\\" not in file
        if not beside or not file.endswith(SAFETENSORS):
            raise UserError(
                "{index} of {source} names {file}, which is no safetensors file beside it.",
                index=index.name,
                source=source,
                file=repr(file),
            )
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


def lacks_parts(missing: list[str], index: str, source: str) -> UserError:
    """The error that names parts of an index that are not there."""
    return UserError("{source} lacks {files}, named in its {index}.", source=source, files=few(missing), index=index)


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
            raise _what_is_there(file, source, error) from error
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise UserError(
            "The weights of {source} hold NaN or infinite values in {names}.", source=source, names=few(broken)
        )
    return weights, whole


def write_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    """Write a folder's model.safetensors."""
    tensors = {name: tensor.cpu().contiguous() for name, tensor in weights.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def refuse_kinds(kinds: dict[str, str], source: str) -> None:
    """Raise for tensors, with their types by safetensors' names, that are no floating-point weights."""
    if kinds:
        raise UserError(
            "The weights of {source} are of types that are not read: {names}. Save them as float32, float16 or "
            "bfloat16.",
            source=source,
            names=few(_typed(kinds)),
        )


def _typed(kinds: dict[str, str]) -> list[str]:
    """Tensors with their types as torch names them, or nearly so: int8 for I8, float8_e4m3 for F8_E4M3."""
    return [f"{name} is {SHORT.get(kind[0], kind[0].lower())}{kind[1:].lower()}" for name, kind in kinds.items()]


def _what_is_there(file: Path, source: str, error: SafetensorError) -> UserError:
    """In place of safetensors, as far as a file's first bytes say."""
    with file.open("rb") as opened:
        start = opened.read(64)
    if start.startswith(b"version https://git-lfs"):
        return UserError(
            "{file} of {source} is a pointer of Git LFS: fetch the file itself with `git lfs pull`.",
            file=file.name,
            source=source,
        )
    if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        return UserError(
            "{file} of {source} is a pickle under another name, and pickles are not opened.",
            file=file.name,
            source=source,
        )
    wrong = f"{file.name} is no whole safetensors file ({error})"
    return UserError("The weights of {source} do not fit its config.json: {reason}", source=source, reason=wrong)


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
