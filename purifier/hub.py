"""The Hugging Face Hub: where classifiers are downloaded from. The home of huggingface_hub."""

from collections.abc import Callable
from pathlib import Path

import httpx2
from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
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

CONFIG, WEIGHTS = "config.json", "model.safetensors"
MAX_WEIGHTS = 1_000_000_000  # bytes that are downloaded for one classifier


def download(repository: str, check: Callable[[Path], object]) -> Path:
    """The snapshot folder of ``owner/name`` or ``owner/name@revision``; its name is the commit.

    The config comes first and ``check(folder)`` looks at it: weights that could not be used, or are too large, are not
    downloaded.
    """
    repo_id, _, revision = repository.partition("@")
    try:
        folder = Path(hf_hub_download(repo_id, CONFIG, revision=revision or None)).parent
        check(folder)
        if try_to_load_from_cache(repo_id, WEIGHTS, revision=folder.name) is None:
            size = get_hf_file_metadata(hf_hub_url(repo_id, WEIGHTS, revision=folder.name)).size or 0
            if size > MAX_WEIGHTS:
                raise ValueError(f"The weights of {repository} have {size / 1e9:.1f} GB; at most 1 GB is downloaded.")
            hf_hub_download(repo_id, WEIGHTS, revision=folder.name)
        return folder
    except HFValidationError as error:
        raise ValueError(f"{repo_id!r} is not a repository name: write 'hf-hub:owner/name'.") from error
    except GatedRepoError as error:
        raise PermissionError(
            f"{repo_id} is gated: its owners must grant you access. Ask for it on its page, then set HF_TOKEN."
        ) from error
    except RepositoryNotFoundError as error:
        raise FileNotFoundError(f"There is no repository {repo_id} on the Hub, or it is private.") from error
    except RevisionNotFoundError as error:
        raise FileNotFoundError(f"{repo_id} has no revision {revision!r}.") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ConnectionError(
            f"The Hub could not be reached, and {repository} has not been downloaded before. "
            f"Check the network, or choose a bundled classifier."
        ) from error
    except EntryNotFoundError as error:
        missing = CONFIG if CONFIG in str(error) else WEIGHTS
        raise missing_file(missing, repository) from error
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        raise ConnectionError(f"The download of {repository} from the Hub failed: {error}") from error


def missing_file(file: str, source: str) -> ValueError:
    if file == CONFIG:
        return ValueError(f"{source} has no {CONFIG}: it is not a classifier in timm's format.")
    return ValueError(
        f"{source} has no {WEIGHTS}. Weights in pickle files (.bin, .pth) are not loaded, "
        f"since opening one can run any code; ask the owner to publish safetensors."
    )
