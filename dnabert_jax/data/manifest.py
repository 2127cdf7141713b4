"""manifest.json: what a data directory holds, from what, and how it was made.

It is written last, so that a directory with a manifest is complete.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from dnabert_jax.errors import InputError

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
        bases: certain bases of the genome in the split.
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
        policies: what was done with N, lower case and short runs, in words.
        dropped: what the policies left out, counted in bases. `uncut_bases` are in pieces too short for a cut window.
        sources: name, size and SHA-256 of each FASTA file, and its records.
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

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def digest(self) -> str:
        """SHA-256 of the manifest; with the digests of the shards in it, of the whole data set."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a data directory.

    Raises:
        InputError: there is none, or it is not one of this format.
    """
    path = directory / FILE_NAME
    if not path.is_file():
        raise InputError(
            f"{directory} is no prepared data directory: it has no {FILE_NAME}; make one with `dnabert-jax prepare`."
        )
    try:
        content = json.loads(path.read_text())
        if content["format"] != FORMAT:
            raise InputError(f"{path} has the format {content['format']!r}, this version reads {FORMAT!r}.")
        splits = {
            name: Split(**{**split, "shards": tuple(ShardEntry(**entry) for entry in split["shards"])})
            for name, split in content["splits"].items()
        }
        return Manifest(**{**content, "splits": splits})
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as a manifest ({error}); prepare the data again.") from error
