"""manifest.json: what a data directory holds, from what, and how it was made.

It is written last, so that a directory with a manifest is complete.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from dnabert_jax import storage
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.tokenizers import make_tokenizer
from dnabert_jax.storage import Location, is_url, join
from dnabert_jax.typed_json import parse_json

FILE_NAME = "manifest.json"
FORMAT = "dnabert-jax rows 1"
EXAMPLES_FORMAT = "dnabert-jax examples 1"
"""Of a directory of labelled examples, which has a manifest of its own."""
TRAIN, HELDOUT = "train", "heldout"

_THREADS = 4


@dataclasses.dataclass(frozen=True)
class ShardEntry:
    """One file of rows: its name in the directory, its number of rows, and the SHA-256 of its bytes if known."""

    name: str
    rows: int
    sha256: str | None


def shard_name(split: str, number: int, total: int) -> str:
    """Returns the name of shard `number` of `total`, as TFDS has it."""
    return f"{split}-{number:05d}-of-{total:05d}.tfrecord"


@dataclasses.dataclass(frozen=True)
class Split:
    """The rows of one split.

    Attributes:
        shards: in order; row r of the split counts on from shard to shard.
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
        k: bases of a token, for tokenizers that let one choose.
        packed: several sequences a row, or one.
        seed: of the windows.
        policies: what was done with N, lower case and strands, and what is held out, in words.
        dropped: what the policies left out, counted in bases. `uncut_bases` are in pieces too short for a cut window.
        sources: name, size, SHA-256, records, letters and repetitions of each sequence file.
        tokens: the name of the tokenizer.

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
    tokens: str = "kmers"

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the ids."""
        return make_tokenizer(self.tokens, self.k)

    @property
    def text(self) -> str:
        """The contents of manifest.json, which names no tokenizer where there was none to choose from."""
        fields = dataclasses.asdict(self)
        if self.tokens == "kmers":
            del fields["tokens"]
        return json.dumps(fields, indent=2) + "\n"

    @property
    def shards(self) -> list[ShardEntry]:
        """Returns the shards of all splits."""
        return [shard for split in self.splits.values() for shard in split.shards]

    def digest(self) -> str:
        """Returns the SHA-256 of the manifest; with the digests of the shards in it, of the whole data set."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_manifest(directory: Location) -> Manifest:
    """Returns the manifest of a data directory; raises InputError if there is none, or it is damaged."""
    location = join(directory, FILE_NAME)
    if not (FILE_NAME in storage.names(directory) if is_url(location) else Path(location).is_file()):
        raise InputError(
            f"{directory} is no data directory: it has no {FILE_NAME}, as `dnabert-jax prepare` writes, and no "
            "dataset_info.json, as a TFDS data set has; make one with `dnabert-jax prepare`."
        )
    text = storage.read(location)
    refuse_examples(text, directory)
    manifest = parse_json(Manifest, text, str(location))
    if manifest.format != FORMAT:
        raise InputError(f"{location} has the format {manifest.format!r}, this version reads {FORMAT!r}.")
    names = [shard.name for shard in manifest.shards]
    unequal = [name for name, split in manifest.splits.items() if sum(s.rows for s in split.shards) != split.rows]
    for fails, what in (
        (manifest.row_length < 1, f"a row length of {manifest.row_length}"),
        (TRAIN not in manifest.splits, f"no split {TRAIN!r}"),
        (len(set(names)) < len(names), "a shard twice"),
        (any(name != Path(name).name for name in names), "a shard outside of the directory"),
        (any(shard.sha256 is None for shard in manifest.shards), "a shard without SHA-256"),
        (bool(unequal), f"other numbers of rows in the shards of {', '.join(unequal)} than in all"),
    ):
        if fails:
            raise InputError(f"{location} is damaged: it has {what}; prepare the data again.")
    return manifest


def refuse_examples(manifest: bytes, directory: Location) -> None:
    """Raises InputError if a manifest is that of labelled examples, a directory of another kind."""
    if f'"format": "{EXAMPLES_FORMAT}"'.encode() in manifest:
        raise InputError(
            f"{directory} has labelled examples, and no rows for pre-training: `dnabert-jax finetune --data` reads its "
            "examples.tsv.gz."
        )


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked_manifest(
    directory: Path, manifest: Manifest, progress: Callable[[int, int], object] = lambda _done, _total: None
) -> Manifest:
    """Returns the manifest with the SHA-256 of every shard, each read through and compared if the manifest has one.

    Args:
        progress: told after each shard: bytes of it, and bytes in all.
    """
    paths = [directory / shard.name for shard in manifest.shards]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is missing: the data directory is incomplete; prepare or copy it again.")
    total = sum(path.stat().st_size for path in paths)
    digests = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        for shard, path, digest in zip(manifest.shards, paths, pool.map(file_digest, paths), strict=True):
            if shard.sha256 not in (digest, None):
                raise InputError(
                    f"{path} is not the file that {directory / FILE_NAME} lists: it was changed, or is from another "
                    "run; prepare the data again, or remove this directory if it is a copy."
                )
            digests[shard.name] = digest
            progress(path.stat().st_size, total)
    splits = {
        name: dataclasses.replace(
            split, shards=tuple(dataclasses.replace(shard, sha256=digests[shard.name]) for shard in split.shards)
        )
        for name, split in manifest.splits.items()
    }
    return dataclasses.replace(manifest, splits=splits)
