"""`prepare verify`: is a data directory what its manifest says, to the last bit?

Of a TFDS data set the manifest is what its metadata say: no SHA-256, and no counts but of rows.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import UInt16

from dnabert_jax import storage
from dnabert_jax.data.manifest import FILE_NAME, Manifest, file_digest
from dnabert_jax.data.rows import read_source
from dnabert_jax.data.tfds_rows import ArrayRecordShard
from dnabert_jax.data.tfrecord import RowShard
from dnabert_jax.data_prep.tfds_metadata import tfds_metadata
from dnabert_jax.data_prep.windows import MIN_TOKENS
from dnabert_jax.errors import InputError, StoreError
from dnabert_jax.outputs import MARK
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL, PAD, SEP
from dnabert_jax.storage import Location, is_hidden, join, local_copy

_ROWS_AT_ONCE = 4096
_MOST_RECORDS = 100
"""Wrong records of a shard that are listed."""
_TFDS_FILES = {"features.json", "dataset_info.json", "metadata.json"}
"""Of a data set that TensorFlow Datasets wrote; it is not held to be exactly as ours."""


def verify_directory(directory: Location, progress: Callable[[int], object] = lambda _: None) -> Iterator[str]:
    """Yields all that is wrong with a data directory, in sentences; nothing if it is sound.

    Checked are: every file of the manifest, the TFDS metadata, and that there is no other file; size and SHA-256 of
    each; framing and checksum of each record; ids inside the vocabulary; rows that are sequences of at least 5 k-mers
    between [CLS] and [SEP], then padding, with neighbouring k-mers that overlap; and the counts of rows, sequences and
    k-mers.

    Raises:
        InputError: there is no manifest or metadata to check against, or they are damaged.
        StoreError: the directory cannot be read.
    """
    manifest, open_shard = read_source(directory)
    for name in manifest.splits:
        yield from _split_problems(directory, name, manifest, open_shard, progress)
    present, metadata = storage.names(directory), {} if open_shard is ArrayRecordShard else tfds_metadata(manifest)
    for name, content in metadata.items():
        if name not in present or storage.read(join(directory, name)) != content:
            yield f"{join(directory, name)} is not what the manifest calls for: TensorFlow Datasets needs it."
    known = {shard.name for shard in manifest.shards} | {FILE_NAME} | (metadata.keys() or _TFDS_FILES)
    for name in sorted(set(present) - known):
        if name == MARK or not is_hidden(name):
            yield f"{join(directory, name)} is not in the manifest: it is from another run, or half-written."


def _split_problems(
    directory: Location, name: str, manifest: Manifest, open_shard: type[RowShard], progress: Callable[[int], object]
) -> Iterator[str]:
    split = manifest.splits[name]
    counted = {"rows": sum(entry.rows for entry in split.shards), "sequences": 0, "kmers": 0}
    complete = True
    for entry in split.shards:
        location = str(join(directory, entry.name))
        with contextlib.ExitStack() as copies:
            try:
                path = copies.enter_context(local_copy(location))
                shard = open_shard(path, entry.rows, manifest.row_length, location)
            except StoreError:
                raise
            except InputError as error:
                complete = False
                yield str(error)
                continue
            if entry.sha256 and file_digest(path) != entry.sha256:
                yield f"{location} has another SHA-256 than the manifest says: it was changed, or is from another run."
            yield from _shard_problems(shard, location, manifest.tokenizer, counted, progress)
    for what, count in counted.items():
        stated = getattr(split, what)
        if complete and stated is not None and count != stated:
            yield f"{directory}: the split {name} has {count:,} {what} where the manifest says {stated:,}."


def _shard_problems(
    shard: RowShard, location: str, tokenizer: Tokenizer, counted: dict[str, int], progress: Callable[[int], object]
) -> Iterator[str]:
    """Yields what is wrong with the records of a shard, and counts what is in them."""
    wrong = 0
    for first in range(0, shard.num_rows, _ROWS_AT_ONCE):
        rows, damage = shard.inspect(np.arange(first, min(first + _ROWS_AT_ONCE, shard.num_rows)))
        problems = {first + place: f"is no row: {reason}" for place, reason in _row_problems(rows, tokenizer)}
        problems |= {number: f"is damaged: {reason}" for number, reason in damage.items()}
        for number in sorted(problems)[: max(_MOST_RECORDS - wrong, 0)]:
            yield f"{location}: record {number} {problems[number]}."
        wrong += len(problems)
        counted["sequences"] += int((rows == CLS).sum())
        counted["kmers"] += int((rows >= NUM_SPECIAL).sum())
        progress(len(rows))
    if wrong > _MOST_RECORDS:
        yield f"{location}: {wrong - _MOST_RECORDS:,} more records are wrong."


def _row_problems(rows: UInt16[np.ndarray, "R L"], tokenizer: Tokenizer) -> Iterator[tuple[int, str]]:
    """Yields the place of each row that breaks a rule, and the first rule it breaks."""
    spells_bases = rows >= NUM_SPECIAL
    before, after = rows[:, :-1], rows[:, 1:]
    both = spells_bases[:, :-1] & spells_bases[:, 1:]
    ends = rows == SEP if tokenizer.suffix else spells_bases
    # What may follow what: [CLS] a token; a token another or [SEP]; the end a [CLS] or padding; padding itself.
    follows = (
        ((before == CLS) & spells_bases[:, 1:])
        | both
        | (spells_bases[:, :-1] & (after == SEP) & bool(tokenizer.suffix))
        | (ends[:, :-1] & ((after == CLS) | (after == PAD)))
        | ((before == PAD) & (after == PAD))
    )
    ends_well = ends[:, -1] | (rows[:, -1] == PAD)
    ended = np.pad(~spells_bases, ((0, 0), (0, MIN_TOKENS)), constant_values=True)
    length = rows.shape[1]
    short = [(rows == CLS) & ended[:, step : step + length] for step in range(1, MIN_TOKENS + 1)]
    rules = (
        ("an id is outside of the vocabulary", (rows < tokenizer.vocabulary_size).all(axis=1)),
        (
            f"it is not [CLS] tokens{' [SEP]' * len(tokenizer.suffix)} ... [PAD]",
            (rows[:, 0] == CLS) & follows.all(axis=1) & ends_well,
        ),
        ("two neighbouring tokens do not fit together", (tokenizer.agree(before, after) | ~both).all(axis=1)),
        (f"a sequence has fewer than {MIN_TOKENS} tokens", ~np.any([wrong.any(axis=1) for wrong in short], axis=0)),
    )
    held = np.stack([holds for _, holds in rules])
    for place in np.flatnonzero(~held.all(axis=0)).tolist():
        yield place, rules[int(np.argmin(held[:, place]))][0]
