"""Models by the name of their repository on the Hugging Face hub; a local directory needs no network."""

import re
import sys
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError, JobError

_READ = ["config.json", "vocab.txt", "tokenizer.json", "*.safetensors", "*.safetensors.index.json", "provenance.json"]
_PICKLES = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


def local_directory(name: str | Path) -> Path:
    """The directory of that name, or a copy of the repository OWNER/NAME of the hub.

    Raises:
        InputError: neither is there, or huggingface_hub is not installed.
        JobError: the hub cannot be reached.
    """
    path = Path(name)
    if path.exists():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        raise InputError(f"{name} does not exist.")
    hub = _hub(f"{name} is no local directory; to get it from the Hugging Face hub")
    try:
        files = hub.list_repo_files(str(name))
        # The pickle only where there is nothing else.
        wanted = _READ if any(file.endswith(".safetensors") for file in files) else _READ + _PICKLES
        return Path(hub.snapshot_download(str(name), allow_patterns=wanted))
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise InputError(f"{name} is neither a local directory nor a repository that the hub lets you read.") from error
    except (hub.errors.HfHubHTTPError, OSError, *_of_transport()) as error:
        raise JobError(
            f"{name} is no local directory, and cannot be had from the hub ({_first_line(error)})."
        ) from error


def push_directory(directory: Path, repository: str, private: bool) -> str:
    """Uploads an exported directory to the repository OWNER/NAME, which is made if need be; returns its address.

    Raises:
        InputError: huggingface_hub is not installed, or there can be no such repository.
        JobError: the hub cannot be reached, or does not let you.
    """
    hub = _hub("To upload to the Hugging Face hub")
    try:
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=directory)
    except hub.errors.HFValidationError as error:
        raise InputError(f"{repository} is no name that the Hugging Face hub allows: give OWNER/NAME.") from error
    except (hub.errors.HfHubHTTPError, OSError, *_of_transport()) as error:
        raise JobError(f"{repository} could not be written on the hub ({_first_line(error)}).") from error
    return str(address)


def _of_transport() -> list[type[Exception]]:
    """What is raised where there is no network: since huggingface_hub 1.0 no OSError, but the library's beneath it."""
    return [sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error!s}".partition("\n")[0][:200]


def _hub(why: str) -> Any:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError as error:
        raise InputError(f"{why}, install huggingface_hub: pip install huggingface_hub.") from error
    return huggingface_hub
