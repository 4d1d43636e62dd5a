"""The Hugging Face Hub: where classifiers are downloaded from and published to. The home of huggingface_hub."""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx2
from huggingface_hub import (
    CommitInfo,
    CommitOperationAdd,
    EvalResult,
    HfApi,
    ModelCard,
    ModelCardData,
    get_hf_file_metadata,
    get_token,
    hf_hub_download,
    hf_hub_url,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from tqdm import tqdm

from purifier.classifiers.hub_limits import listening, patient
from purifier.classifiers.mixed import MIXED
from purifier.classifiers.weights import (
    INDEX,
    WEIGHTS,
    few,
    find_weights,
    lacks_parts,
    no_weights,
    parts_of,
    weight_files,
)
from purifier.settings import environment
from purifier.texts import OF_DISK, Forbidden, NotFound, Text, Unreachable, UserError

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
CARD, METRICS = "README.md", "metrics.json"
MB = 1_000_000  # bytes
MAX_JSON = 10 * MB  # of a config, or of an index of weights
DIGEST = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
LOG_IN = "set HF_TOKEN or run `hf auth login`"

Progress = Callable[[int, int], None]  # bytes so far, of how many


@dataclass(frozen=True)
class PublicClassifier:
    """What the pages of somebody else's repository say of it."""

    description: str
    format: str  # timm or transformers
    gated: bool = False  # its owners must grant access


# Lesion classifiers that others publish, by repository. What is said here was read on their pages; none was ever
# loaded (there was no way to the Hub). Labels are mapped by name when one is; "seen" if their config could be read.
PUBLIC: dict[str, PublicClassifier] = {
    "andy279/convnext-tiny-ham10000-lesion-disjoint": PublicClassifier(
        "ConvNeXt-Tiny, seven diagnoses of HAM10000, split by lesion; labels not seen", "timm", gated=True
    ),
    "Anwarkh1/Skin_Cancer-Image_Classification": PublicClassifier(
        "ViT-B/16, seven diagnoses; labels seen", "transformers"
    ),
    "SeyedAli/Distilled-Melanoma-Classification-EfficientNet": PublicClassifier(
        "EfficientNet at 600 pixels (slow), the eight diagnoses of ISIC 2019; labels seen", "transformers"
    ),
}


def offered_repositories() -> tuple[str, ...]:
    """What the page offers of the Hub; where PURIFIER_HUB is ``listed`` also all that it loads of it."""
    settings = environment()
    return () if settings.hub == "off" else settings.hub_listed or tuple(PUBLIC)


def download(repository: str, check: Callable[[Path], Iterable[str]], progress: Progress | None = None) -> Path:
    """The snapshot folder of ``owner/name`` or ``owner/name@revision``; its name is the commit.

    The config comes first and ``check(folder)`` looks at it: weights that could not be used, or are too large, are not
    downloaded. It returns the names of the files that are needed besides. ``progress`` is called while the weights
    come, from any thread; never, where they are in this machine's cache. At most PURIFIER_HUB_MOST_MB are downloaded
    of the weights, by what the Hub says of them and by what comes, in at most PURIFIER_HUB_MOST_SECONDS. Of a file that
    is not what the Hub said nothing stays, so that the next try is a new one.
    """
    repo_id, _, revision = repository.partition("@")
    try:
        with patient(repository, environment().hub_most_seconds):
            folder = _download_json(repo_id, CONFIG, revision or None).parent
            for file in check(folder):
                _download_json(repo_id, file, folder.name)
            _download_weights(repo_id, repository, folder, progress)
        return folder
    except Unreachable:
        raise
    except HFValidationError as error:
        raise UserError(
            "{repository} is not a repository name: write 'hf-hub:owner/name'.", repository=repr(repo_id)
        ) from error
    except GatedRepoError as error:
        raise Forbidden(
            "{repository} is gated: its owners must grant you access. Ask for it on its page, then set HF_TOKEN or "
            "run `hf auth login`.",
            repository=repo_id,
        ) from error
    except RepositoryNotFoundError as error:
        raise NotFound(
            "There is no repository {repository} on the Hub, or it is private: then set HF_TOKEN or run `hf auth "
            "login`.",
            repository=repo_id,
        ) from error
    except RevisionNotFoundError as error:
        raise NotFound(
            "{repository} has no revision {revision}.", repository=repo_id, revision=repr(revision)
        ) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise Unreachable(
            "The Hub could not be reached, and {repository} has not been downloaded before. Check the network, or "
            "choose a bundled classifier.",
            repository=repository,
        ) from error
    except EntryNotFoundError as error:
        raise missing_file(PREPROCESSOR if PREPROCESSOR in str(error) else CONFIG, repository) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise _failure(error, Text("The download of {repository} from the Hub", repository=repository)) from error


def _download_weights(repo_id: str, source: str, folder: Path, progress: Progress | None) -> None:
    """Bring the files of weights into a snapshot's folder, unless they are there."""
    commit, there = folder.name, {path.name for path in folder.iterdir()}
    if WEIGHTS in there:
        return
    if INDEX in there and all((folder / part).is_file() for part in parts_of(folder / INDEX, source)):
        return
    try:
        sizes = _sizes(repo_id, folder)
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.HTTPError):
        if _has_weights(folder):  # of another name, from the last time
            return
        raise
    total, done, most = sum(sizes.values()), 0, int(environment().hub_most_mb * MB)
    if total > most:
        raise _too_large(source, few(sizes), most)
    for file, size in sizes.items():
        report = None if progress is None else partial(_report, progress, done, total)
        _download(repo_id, file, commit, most - done, report)
        done += size


def _has_weights(folder: Path) -> bool:
    try:
        return bool(weight_files(folder, folder.name))
    except ValueError:
        return False


def _sizes(repo_id: str, folder: Path) -> dict[str, int]:
    """Bytes of each file of weights in a repository. Where they are in parts, their index is downloaded for it."""
    commit = folder.name
    try:
        return {WEIGHTS: get_hf_file_metadata(hf_hub_url(repo_id, WEIGHTS, revision=commit)).size or 0}
    except LocalEntryNotFoundError:
        raise
    except EntryNotFoundError:
        tree = HfApi().list_repo_tree(repo_id, revision=commit)
    listed = {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}
    file = find_weights(listed, repo_id)
    if not file.endswith(".json"):
        return {file: listed[file]}
    if listed[file] > MAX_JSON:
        raise _too_large(repo_id, file, MAX_JSON)
    parts = parts_of(_download_json(repo_id, file, commit), repo_id)
    if missing := [part for part in parts if part not in listed]:
        raise lacks_parts(missing, file, repo_id)
    return {part: listed[part] for part in parts}


def _download_json(repo_id: str, file: str, revision: str | None) -> Path:
    path = _download(repo_id, file, revision, MAX_JSON)
    try:
        _as_object(path.read_bytes(), file, repo_id)
    except UserError:
        _drop(path)
        raise
    return path


def _download(repo_id: str, file: str, revision: str | None, most: int, report: Progress | None = None) -> Path:
    """One file of at most ``most`` bytes; ``report`` is told of those that have come."""
    bar = _bar(most, _too_large(repo_id, file, most), report)
    other = Unreachable(
        "The Hub sent another {file} of {repository} than it said. Try again later, or choose a bundled classifier.",
        file=file,
        repository=repo_id,
    )
    try:
        path = Path(hf_hub_download(repo_id, file, revision=revision, tqdm_class=bar))
    except OSError as error:
        if type(error) is OSError and error.errno is None:  # the client's own, of the size
            raise other from error
        raise
    if not _is_whole(path.resolve()):
        _drop(path)
        raise other
    return path


def _is_whole(blob: Path) -> bool:
    """Whether a file of the cache has the hash that the Hub gave it, and that is its name: SHA-256, or git's SHA-1 of
    small files. Where it has another name, as on a system without links, nobody can tell."""
    if not DIGEST.fullmatch(blob.name):
        return True
    kind = hashlib.sha256 if len(blob.name) == 64 else hashlib.sha1(b"blob %d\0" % blob.stat().st_size).copy
    with blob.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest() == blob.name


def _drop(path: Path) -> None:
    """From the cache, so that the next try downloads it again."""
    blob = path.resolve()
    path.unlink()
    blob.unlink(missing_ok=True)


def _too_large(repository: str, files: str, most: int) -> UserError:
    return UserError(
        "{repository} is too large: at most {most} MB of {files} are downloaded.",
        repository=repository,
        files=files,
        most=f"{most / MB:g}",
    )


def _report(progress: Progress, done: int, total: int, now: int, of: int) -> None:
    """Of one file's bytes, after ``done`` bytes of others."""
    progress(done + now, total or of)


def _bar(most: int, refusal: UserError, report: Progress | None) -> type[tqdm]:
    """A tqdm that draws nothing, and raises ``refusal`` where more than ``most`` bytes are to come or have come."""
    patience = listening()  # for Xet, which has connections of its own

    class Bar(tqdm):
        monitor_interval = 0  # no thread

        def __init__(self, *args, **settings) -> None:
            super().__init__(*args, **{**settings, "disable": True})
            self.n, self.total = settings.get("initial", 0), settings.get("total")
            self.check(self.total or 0)

        def check(self, size: int) -> None:
            if size > most:
                raise refusal

        def update(self, n: float | None = 1) -> None:
            self.n += n or 0
            self.check(self.n)
            if patience is not None:
                patience.hear()
            if report is not None:
                report(self.n, self.total or self.n)

        def update_transfer(self, *_, **__) -> None:
            """Xet counts what came over the network apart from what was written; the latter is the progress."""

        set_transfer_postfix_str = update_transfer

    return Bar


def missing_file(file: str, source: str) -> UserError:
    """The error that says what the lack of ``file`` at ``source`` means."""
    if file == CONFIG:
        return UserError("{source} has no config.json: it is not a classifier in timm's format.", source=source)
    if file == PREPROCESSOR:
        return UserError(
            "{source} has no preprocessor_config.json: the size and scale of its pictures are not known.", source=source
        )
    return no_weights((), source)


def read_config(folder: Path, source: str, file: str = CONFIG) -> dict:
    """A folder's config.json, in any of JSON's encodings, with or without a byte order mark.

    Raises ``ValueError`` where there is none, or where it holds something else.
    """
    if not (folder / file).is_file():
        raise missing_file(file, source)
    return _as_object((folder / file).read_bytes(), file, source)


def _as_object(content: bytes, file: str, source: str) -> dict:
    """What JSON in a file of that name at ``source`` holds."""
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(
            "The {file} of {source} is not valid JSON ({reason}).", file=file, source=source, reason=str(error)
        ) from error
    if not isinstance(config, dict):
        raise UserError(
            "The {file} of {source} must hold an object in braces, and holds {kind}.",
            file=file,
            source=source,
            kind=_kind(config),
        )
    return config


def _kind(value: object) -> str:
    names = {list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), "nothing")


def publish(folder: Path, repo_id: str, *, private: bool = False, revision: str | None = None) -> CommitInfo:
    """Upload a classifier's folder to ``owner/name``; returns the commit's URL, with its hash as ``oid``.

    The repository is created where there is none, and so is the branch ``revision``. Only config.json,
    model.safetensors, README.md and metrics.json are uploaded, the card's front matter completed from the metrics.
    Raises ``ValueError`` for a folder or name that cannot be used, ``PermissionError`` where the Hub refuses the
    token, ``ConnectionError`` for the rest.
    """
    folder = folder.resolve()
    files = _files(folder)
    if repo_id.count("/") != 1:
        raise ValueError(f"{repo_id!r} is not a repository name: write 'owner/name'.")
    if get_token() is None:
        raise PermissionError(f"Publishing needs a token of the Hub with write permission: {LOG_IN}.")
    api, additions = HfApi(), [CommitOperationAdd(name, content) for name, content in files.items()]
    try:
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise ValueError(f"{repo_id} is public already: make it private on its page, or choose another name.")
        if revision is not None:
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        return api.create_commit(repo_id, additions, commit_message=f"Publish {folder.name}", revision=revision)
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not a repository name: write 'owner/name'.") from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError, RuntimeError) as error:  # RuntimeError: of the weights alone
        raise _failure(error, Text("The upload to {repository}", repository=repo_id)) from error


def _failure(error: Exception, what: Text) -> UserError:
    """What the Hub, or the way there, means by ``error``, and what can be done about it."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status == 401:
        return Forbidden(
            "{what} failed: the Hub does not accept your token (401). To log in, set HF_TOKEN or run `hf auth login`.",
            what=what,
        )
    if status == 403:
        return Forbidden(
            "{what} failed: your token has no permission for it (403). Use another: set HF_TOKEN or run "
            "`hf auth login`.",
            what=what,
        )
    if status == 400:
        return UserError("{what} failed: {reason}", what=what, reason=str(error))
    reason = OF_DISK.get(getattr(error, "errno", None)) or f"{error.__cause__ or error}."
    if isinstance(error, httpx2.HTTPError):
        return Unreachable("{what} failed: {reason} Check the network and try again.", what=what, reason=reason)
    return Unreachable("{what} failed: {reason}", what=what, reason=reason)


def _files(folder: Path) -> dict[str, Path | bytes]:
    """What is uploaded of a folder: name in the repository to path or content."""
    config = read_config(folder, str(folder))
    if (file := find_weights((path.name for path in folder.iterdir()), str(folder))) != WEIGHTS:
        raise ValueError(
            f"{folder} has its weights in {file}, and only {WEIGHTS} is published: save them as that file."
        )
    if "architecture" not in config and MIXED not in config:
        raise ValueError(f"{folder} is neither in timm's format nor a mixture, and nothing else is published.")
    if not (folder / CARD).is_file():
        raise ValueError(f"{folder} has no {CARD}: write a model card first, with a license in its front matter.")
    files = {file: folder / file for file in (CONFIG, WEIGHTS, METRICS) if (folder / file).is_file()}
    return {**files, CARD: _completed_card(folder, library_of(config)).encode("utf-8")}


def _completed_card(folder: Path, library: str) -> str:
    """The folder's card; its front matter keeps what it says, and its model-index is what the metrics say."""
    try:
        card = ModelCard((folder / CARD).read_text(encoding="utf-8-sig"))
    except Exception as error:  # YAML's own errors, or the Hub client's for values of the wrong kind
        raise ValueError(f"The front matter of {folder / CARD} cannot be read: {error}") from error
    said = card.data.to_dict()
    if not said.get("license"):
        raise ValueError(f"{folder / CARD} names no license in a front matter (YAML between two lines of ---).")
    added = {"library_name": library, "pipeline_tag": "image-classification"}
    if (folder / METRICS).is_file():
        try:
            added = card_metadata(folder.name, json.loads((folder / METRICS).read_bytes()), library).to_dict()
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder / METRICS} is not what `purifier card` writes: {error!r}.") from error
        said.pop("model-index", None)
    card.data = ModelCardData(**{**added, **said})
    return str(card)


def library_of(config: dict) -> str:
    """What loads a classifier that is published, by the Hub's name."""
    return "lesion-purifier" if MIXED in config else "timm"


def card_metadata(name: str, metrics: dict, library: str = "timm") -> ModelCardData:
    """The front matter for the card of a classifier made here, ``metrics`` as the Hub's model-index."""
    clean = metrics["clean"]
    pictures = f"{clean['images']} clean pictures"
    results = [
        _result("accuracy", f"Accuracy, {pictures}", clean["accuracy"]),
        _result("balanced_accuracy", f"Balanced accuracy, {pictures}", clean["balanced_accuracy"]),
        _result("roc_auc", f"AUROC of melanoma against the rest, {pictures}", clean["melanoma_auroc"]),
    ]
    for eps, result in metrics["attacked"].items():
        method = f"{result['attack']['method'].upper()}-{result['attack']['steps']}"
        attack = f"{result['images']} pictures under {method}, epsilon {eps}/255, attacker oblivious of the purifier"
        results.append(_result("accuracy", f"Accuracy, {attack}: not purified", result["attacked"]))
        results.append(_result("accuracy", f"Accuracy, {attack}: purified", result["attacked_purified"]))
    return ModelCardData(
        model_name=name,
        library_name=library,
        pipeline_tag="image-classification",
        license="cc-by-nc-4.0",
        datasets=["isic2019"],
        tags=["dermoscopy", "skin-lesion", "adversarial-robustness"],
        eval_results=results,
    )


def _result(kind: str, name: str, score: dict) -> EvalResult:
    return EvalResult(
        task_type="image-classification",
        dataset_type="isic2019",
        dataset_name="ISIC 2019, split by lesion",
        dataset_split="test",
        metric_type=kind,
        metric_name=name,
        metric_value=round(score["value"], 4),
    )
