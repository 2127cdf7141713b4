"""`prepare verify`: is a data directory what its manifest says, to the last bit?

Of a TFDS data set the manifest is what its metadata say: no SHA-256, and no counts but of rows.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Bool, UInt16

from data_prep.windows import MIN_KMERS
from dnabert_jax import storage
from dnabert_jax.data.manifest import Manifest, Split, file_digest
from dnabert_jax.data.rows import OpenShard, read_source
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import CLS, FIRST_KMER, PAD, SEP, vocabulary_size
from dnabert_jax.storage import Location, join, local_copy

_ROWS_AT_ONCE = 4096


def verify_directory(directory: Location, progress: Callable[[int], object] | None = None) -> list[str]:
    """All that is wrong with a data directory, in sentences; nothing if it is sound.

    Checked are: every file of the manifest and no other shard; size and SHA-256 of each; framing and checksum of each
    record; ids inside the vocabulary; rows that are sequences of at least 5 k-mers between [CLS] and [SEP], then
    padding, with neighbouring k-mers that overlap; and the counts of rows, sequences and k-mers.

    Args:
        directory: to check.
        progress: if given, called with the number of rows after each block.

    Raises:
        InputError: there is no manifest or metadata to check against.
    """
    manifest, open_shard = read_source(directory)
    problems: list[str] = []
    for name, split in manifest.splits.items():
        problems += _split_problems(directory, name, split, manifest, open_shard, progress)
    listed = {shard.name for shard in manifest.shards}
    problems += [
        f"{join(directory, other)} is not in the manifest: it is from another run."
        for other in storage.names(directory)
        if other.endswith(".tfrecord") and other not in listed
    ]
    return problems


def _split_problems(
    directory: Location,
    name: str,
    split: Split,
    manifest: Manifest,
    open_shard: OpenShard,
    progress: Callable[[int], object] | None,
) -> Iterator[str]:
    sequences = kmers = 0
    complete = True
    for entry in split.shards:
        location = str(join(directory, entry.name))
        with contextlib.ExitStack() as copies:
            try:
                path = copies.enter_context(local_copy(location))
                shard = open_shard(path, entry.rows, manifest.row_length, location)
            except InputError as error:
                complete = False
                yield str(error)
                continue
            if entry.sha256 and file_digest(path) != entry.sha256:
                yield f"{location} has another SHA-256 than the manifest says: it was changed, or is from another run."
            for first in range(0, entry.rows, _ROWS_AT_ONCE):
                rows, damage = shard.inspect(first, min(first + _ROWS_AT_ONCE, entry.rows))
                yield from (f"{location}: record {number} is damaged: {reason}." for number, reason in damage.items())
                for place, reason in _row_problems(rows, manifest.k):
                    if first + place not in damage:
                        yield f"{location}: record {first + place} is no row: {reason}."
                sequences += int((rows == CLS).sum())
                kmers += int((rows >= FIRST_KMER).sum())
                if progress:
                    progress(len(rows))
    counted = {"rows": sum(entry.rows for entry in split.shards), "sequences": sequences, "kmers": kmers}
    for what, count in counted.items():
        stated = getattr(split, what)
        if complete and stated is not None and count != stated:
            yield f"{directory}: the split {name} has {count:,} {what} where the manifest says {stated:,}."


def _row_problems(rows: UInt16[np.ndarray, "R L"], k: int) -> Iterator[tuple[int, str]]:
    """Yields the place of each row that breaks a rule, and the first rule it breaks."""
    is_kmer = rows >= FIRST_KMER
    before, after = rows[:, :-1], rows[:, 1:]
    both = is_kmer[:, :-1] & is_kmer[:, 1:]
    numbers = rows.astype(np.int32) - FIRST_KMER
    overlapping = numbers[:, 1:] // 4 == numbers[:, :-1] % 4 ** (k - 1)
    # What may follow what: [CLS] a k-mer; a k-mer another or [SEP]; [SEP] a [CLS] or padding; padding itself.
    follows = (
        ((before == CLS) & is_kmer[:, 1:])
        | both
        | (is_kmer[:, :-1] & (after == SEP))
        | ((before == SEP) & ((after == CLS) | (after == PAD)))
        | ((before == PAD) & (after == PAD))
    )
    ends_well = (rows[:, -1] == SEP) | (rows[:, -1] == PAD)
    rules = (
        ("an id is outside of the vocabulary", (rows < vocabulary_size(k)).all(axis=1)),
        ("it is not [CLS] k-mers [SEP] ... [PAD]", (rows[:, 0] == CLS) & follows.all(axis=1) & ends_well),
        ("two neighbouring k-mers do not overlap", (overlapping | ~both).all(axis=1)),
        (f"a sequence has fewer than {MIN_KMERS} k-mers", _long_enough(rows)),
    )
    held = np.stack([holds for _, holds in rules])
    for place in np.flatnonzero(~held.all(axis=0)).tolist():
        yield place, rules[int(np.argmin(held[:, place]))][0]


def _long_enough(rows: UInt16[np.ndarray, "R L"]) -> Bool[np.ndarray, "R"]:
    """Whether no [SEP] comes sooner after a [CLS] than MIN_KMERS k-mers allow."""
    holds = np.ones(len(rows), bool)
    for distance in range(1, MIN_KMERS + 1):
        holds &= ~((rows[:, :-distance] == CLS) & (rows[:, distance:] == SEP)).any(axis=1)
    return holds
