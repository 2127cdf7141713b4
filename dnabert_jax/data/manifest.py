"""manifest.json: what a data directory holds, from what, and how it was made.

It is written last, so that a directory with a manifest is complete.
"""

import dataclasses
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.storage import Location, join
from dnabert_jax.typed_json import parse_json, to_json

FILE_NAME = "manifest.json"
FORMAT = "dnabert-jax rows 1"
TRAIN, HELDOUT = "train", "heldout"

_THREADS = 4


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """One TFRecord file: its name in the directory, its number of rows, and the SHA-256 of its bytes."""

    name: str
    rows: int
    sha256: str


def shard_name(split: str, number: int, total: int) -> str:
    """Of shard `number` of `total`, as TFDS names them."""
    return f"{split}-{number:05d}-of-{total:05d}.tfrecord"


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows of one split.

    Attributes:
        shards: in order; row r of the split counts on from shard to shard.
        rows, sequences, kmers: how many in all.
        bases: certain bases of the sources in the split, each once however often it was cut.
    """

    shards: tuple[ShardEntry, ...]
    rows: int
    sequences: int
    kmers: int
    bases: int


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A whole data directory.

    Attributes:
        k: letters of a k-mer.
        row_length: tokens of a row.
        packed: several sequences a row, or one.
        seed: of the windows.
        policies: what was done with N, lower case and strands, and what is held out, in words.
        dropped: what the policies left out, counted in bases. `uncut_bases` are in pieces too short for a cut window.
        sources: name, size, SHA-256, records, letters and repetitions of each sequence file.
        splits: by name, `train` and usually `heldout`.
    """

    k: int
    row_length: int
    packed: bool
    seed: int
    policies: dict[str, str]
    dropped: dict[str, int]
    sources: list[dict[str, Any]]
    splits: dict[str, Split]
    format: str = FORMAT

    @property
    def shards(self) -> list[ShardEntry]:
        """Of all splits."""
        return [shard for split in self.splits.values() for shard in split.shards]

    def digest(self) -> str:
        """SHA-256 of the manifest; with the digests of the shards in it, of the whole data set."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()


def read_manifest(directory: Location) -> Manifest:
    """The manifest of a data directory.

    Raises:
        InputError: there is none, or it is damaged, or of another format.
    """
    location = join(directory, FILE_NAME)
    if FILE_NAME not in storage.names(directory):
        raise InputError(
            f"{directory} is no prepared data directory: it has no {FILE_NAME}; make one with `dnabert-jax prepare`."
        )
    manifest = parse_json(Manifest, storage.read(location), str(location))
    if manifest.format != FORMAT:
        raise InputError(f"{location} has the format {manifest.format!r}, this version reads {FORMAT!r}.")
    for name, split in manifest.splits.items():
        if sum(shard.rows for shard in split.shards) != split.rows:
            raise InputError(
                f"{location} contradicts itself: the shards of {name} do not hold its {split.rows:,} rows."
            )
    return manifest


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_shards(directory: Path, manifest: Manifest, progress: Callable[[int, int], object] | None = None) -> None:
    """Reads every shard through, several at once, and compares its SHA-256 with the manifest.

    Args:
        directory: local, with the shards.
        manifest: of the directory.
        progress: if given, told after each shard: bytes of it, and bytes in all.

    Raises:
        InputError: a shard is missing, damaged, or from another run.
    """
    paths = [directory / shard.name for shard in manifest.shards]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is missing: the data directory is incomplete; prepare or copy it again.")
    total = sum(path.stat().st_size for path in paths)
    with ThreadPoolExecutor(_THREADS) as pool:
        for shard, path, digest in zip(manifest.shards, paths, pool.map(file_digest, paths), strict=True):
            if digest != shard.sha256:
                raise InputError(
                    f"{path} is not the file that {directory / FILE_NAME} lists: it was changed, or is from another "
                    "run; prepare or copy the data again."
                )
            if progress:
                progress(path.stat().st_size, total)
