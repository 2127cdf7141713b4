"""Sequence files of any kind, from wherever they lie, and what they hold."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dnabert_jax.data.manifest import file_digest
from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import BLOCK_LETTERS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes
from dnabert_jax.storage import Location, local_copy


@dataclasses.dataclass(frozen=True)
class SequenceFile:
    """A FASTA (plain, gzip, bgzip) or .2bit file on local disk.

    Attributes:
        location: where the user has it, by which errors call it.
    """

    path: Path
    location: str


@contextlib.contextmanager
def sequence_files(
    locations: Sequence[Location], scratch: Path | None = None, progress: Callable[[int], object] = lambda _: None
) -> Iterator[list[SequenceFile]]:
    """Yields the files, those of stores as copies that are removed at the end."""
    with contextlib.ExitStack() as copies:
        files = []
        for location in locations:
            path = copies.enter_context(local_copy(location, scratch, progress))
            if not path.is_file():
                raise InputError(
                    f"{path} is not a file that this machine sees: name a FASTA, plain, gzip or bgzip, or .2bit file."
                )
            files.append(SequenceFile(path, str(location)))
        yield files


@dataclasses.dataclass(frozen=True)
class Survey:
    """What a first reading of a file found.

    Attributes:
        bytes, sha256: of the file as it lies on disk.
        records: bases of each record that may be in a window, by name, in order: A, C, G, T, in upper case if lower
            case is dropped.
        certain_bases: A, C, G, T of all records, in either case.
    """

    location: str
    bytes: int
    sha256: str
    records: dict[str, int]
    letters: int
    certain_bases: int


def survey(
    file: SequenceFile, drop_lower_case: bool = False, progress: Callable[[int], object] = lambda _: None
) -> Survey:
    """Reads a file through once, so that all that is wrong with it is known before anything is written.

    Args:
        progress: called with the number of letters after each block.
    """
    # Before it is read: should it change meanwhile, the digest of the second reading is another.
    size, digest = file.path.stat().st_size, file_digest(file.path)
    records: dict[str, int] = {}
    letters = certain_bases = 0
    for block in read_blocks(file.path, file.location):
        if block.number == 0:
            if block.record in records:
                raise InputError(f"Two records of {file.location} are named {block.record!r}: names must differ.")
            records[block.record] = 0
        place = f"Record {block.record!r} of {file.location}"
        codes = base_codes(block.letters, place, block.number * BLOCK_LETTERS)
        certain = codes < AMBIGUOUS
        certain_bases += int(certain.sum())
        records[block.record] += int((certain & (block.letters < ord("a")) if drop_lower_case else certain).sum())
        letters += len(block.letters)
        progress(len(block.letters))
    return Survey(file.location, size, digest, records, letters, certain_bases)
