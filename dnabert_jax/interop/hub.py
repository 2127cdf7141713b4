"""Models by the name of their repository on the Hugging Face hub; a local directory needs no network."""

import concurrent.futures
import contextlib
import functools
import logging
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError, JobError, first_line
from dnabert_jax.extras import require_extra

_LOG = logging.getLogger(__name__)
_READ = [
    "config.json", "vocab.txt", "tokenizer.json", "*.safetensors", "*.safetensors.index.json",
    "provenance.json",
]  # fmt: skip
_PICKLES = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]
_REPOSITORY = re.compile(r"(?!.*(--|\.\.))\w[\w.-]*/\w[\w.-]*", re.ASCII)
_REQUEST_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
"""For the name server and all addresses of the hub together: each has a time limit of its own."""


def check_model(name: str | Path) -> None:
    """Raises InputError unless there is a file or directory of that name, or it is OWNER/NAME; does not ask the hub."""
    if not Path(name).exists() and not _REPOSITORY.fullmatch(str(name)):
        raise InputError(
            f"There is no file or directory named {name}. A model on the Hugging Face hub is named OWNER/NAME, such as "
            "zhihan1996/DNA_bert_6."
        )


def local_directory(name: str | Path) -> Path:
    """Returns the directory of that name, or a copy of the repository OWNER/NAME of the hub.

    If the hub does not answer within seconds, or HF_HUB_OFFLINE is set, the copy of an earlier download is used.

    Raises:
        InputError: neither exists, or huggingface_hub is not installed.
        JobError: the hub cannot be reached, and there is no copy of an earlier download.
    """
    if (path := Path(name)).exists():
        return path
    hub, answer = _look_up(str(name))
    if isinstance(answer, Path):
        return answer
    try:
        return Path(hub.snapshot_download(str(name), allow_patterns=answer))
    except (hub.errors.HfHubHTTPError, OSError, *_of_transport()) as error:
        raise JobError(f"{name} could not be downloaded from the Hugging Face hub ({first_line(error)}).") from error


@functools.cache
def _look_up(name: str) -> tuple[Any, list[str] | Path]:
    """Returns huggingface_hub, and which files of a repository to download or the copy of an earlier download."""
    check_model(name)
    missing = f"There is no directory named {name}"
    hub = _hub(f"{missing}. Fetching it from the Hugging Face hub")
    try:
        information = _answer(lambda: hub.HfApi().model_info(name, timeout=_REQUEST_SECONDS), _ANSWER_SECONDS)
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise InputError(
            f"{missing}, and the Hugging Face hub has no repository of that name that you may read."
        ) from error
    except (hub.errors.HfHubHTTPError, OSError, *_of_transport()) as error:
        with contextlib.suppress(hub.errors.LocalEntryNotFoundError):
            copy = Path(hub.snapshot_download(name, allow_patterns=_READ, local_files_only=True))
            if any(any(copy.glob(pattern)) for pattern in ("*.safetensors", _PICKLES[0])):
                _LOG.warning("The Hugging Face hub cannot be reached: %s is the copy of an earlier download.", name)
                return hub, copy
        raise JobError(
            f"{missing} and no earlier download, and the Hugging Face hub cannot be reached ({first_line(error)})."
        ) from error
    # The pickle only where there is nothing else.
    safe = any(file.rfilename.endswith(".safetensors") for file in information.siblings)
    return hub, _READ if safe else _READ + _PICKLES


def _answer(ask: Callable[[], Any], seconds: float) -> Any:
    """Returns what a call returns, or raises TimeoutError; the call is then left to itself."""
    answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:  # noqa: BLE001, as it is raised again below
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError as error:
        raise TimeoutError(f"no answer in {seconds:g} s") from error


def push_directory(directory: Path, repository: str, private: bool) -> str:
    """Uploads an exported directory to the repository OWNER/NAME, creates it if needed, and returns its address.

    Raises:
        InputError: huggingface_hub is not installed, or there can be no such repository.
        JobError: the hub cannot be reached, or does not let you.
    """
    hub = _hub("Uploading to the Hugging Face hub")
    try:
        address = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(repo_id=repository, folder_path=directory)
    except hub.errors.HFValidationError as error:
        raise InputError(f"The Hugging Face hub allows no repository named {repository}: give OWNER/NAME.") from error
    except (hub.errors.HfHubHTTPError, OSError, *_of_transport()) as error:
        raise JobError(f"{repository} could not be written on the hub ({first_line(error)}).") from error
    return str(address)


def _of_transport() -> list[type[Exception]]:
    """Returns what is raised without a network: since huggingface_hub 1.0 an error of its HTTP library, not OSError."""
    return [sys.modules[name].HTTPError for name in ("httpx", "httpx2") if name in sys.modules]


def _hub(purpose: str) -> Any:
    require_extra("huggingface", purpose, "huggingface_hub")
    import huggingface_hub
    import huggingface_hub.errors

    return huggingface_hub
