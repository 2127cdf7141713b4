"""Data directories on stores, copied to local disk: training reads rows in random order, which no store serves well."""

import fcntl
from collections.abc import Callable
from pathlib import Path

from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME, file_digest, read_manifest
from dnabert_jax.errors import InputError, named_if_full
from dnabert_jax.output_directory import locked
from dnabert_jax.storage import Location, is_url, join
from dnabert_jax.typed_json import to_json


def stage(location: Location, cache: Path, progress: Callable[[int], object] = lambda _: None) -> Path:
    """The data directory on local disk: itself, or a copy of it under `cache`, which the next run finds there.

    A copy is known by the digest of its manifest. Processes of one machine share it: one copies, the others wait.
    What a killed process left is gone on with, shard by shard.

    Args:
        progress: called with the number of bytes after each block that is copied.
    """
    if not is_url(location):
        return Path(location)
    manifest = read_manifest(location)
    directory = cache / manifest.digest()
    directory.mkdir(parents=True, exist_ok=True)
    with directory.with_suffix(".lock").open("w", encoding="utf-8") as lock, named_if_full(directory):
        locked(lock, fcntl.LOCK_EX)
        for shard in manifest.shards:
            source, target = str(join(location, shard.name)), directory / shard.name
            if target.exists():
                continue
            partial = target.with_name(target.name + ".partial")
            storage.download(source, partial, progress)
            if file_digest(partial) != shard.sha256:
                raise InputError(f"{source} is not the file that its manifest lists: prepare the data again.")
            partial.rename(target)
        if not (directory / FILE_NAME).exists():
            storage.write(directory / FILE_NAME, to_json(manifest).encode())
    return directory
