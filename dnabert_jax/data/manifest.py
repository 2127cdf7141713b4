"""manifest.json: what a data directory holds, from what, and how it was made.

It is written last, so that a directory with a manifest is complete.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError
from dnabert_jax.typed_json import read_json, to_json

FILE_NAME = "manifest.json"
FORMAT = "dnabert-jax rows 1"
TRAIN, HELDOUT = "train", "heldout"


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """One TFRecord file: its name in the directory, its number of rows, and the SHA-256 of its bytes."""

    name: str
    rows: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows of one split.

    Attributes:
        shards: in order; row r of the split counts on from shard to shard.
        rows, sequences, kmers: how many in all.
        bases: certain bases of the sources in the split, each once however often it was cut.

    Of a TFDS data set only shards and rows are known; the rest is None.
    """

    shards: tuple[ShardEntry, ...]
    rows: int
    sequences: int | None
    kmers: int | None
    bases: int | None


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

    Of a TFDS data set, `packed` and `seed` are None, `policies` and `dropped` are empty, and its one source has only a
    name and a size.
    """

    k: int
    row_length: int
    packed: bool | None
    seed: int | None
    policies: dict[str, str]
    dropped: dict[str, int]
    sources: list[dict[str, Any]]
    splits: dict[str, Split]
    format: str = FORMAT

    def digest(self) -> str:
        """SHA-256 of the manifest; with the digests of the shards in it, of the whole data set."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a data directory.

    Raises:
        InputError: there is none, or it is damaged, or of another format.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise InputError(
            f"{directory} is no data directory: it has no {FILE_NAME}, as `dnabert-jax prepare` writes, and no "
            "dataset_info.json, as a TFDS data set has; make one with `dnabert-jax prepare`."
        )
    manifest = read_json(Manifest, path)
    if manifest.format != FORMAT:
        raise InputError(f"{path} has the format {manifest.format!r}, this version reads {FORMAT!r}.")
    for name, split in manifest.splits.items():
        if sum(shard.rows for shard in split.shards) != split.rows:
            raise InputError(f"{path} contradicts itself: the shards of {name} do not hold its {split.rows:,} rows.")
    return manifest
