"""The records of a genome that are asked for, to be entered at any place.

They are copied, as codes of their bases, into a file on disk that is mapped into memory: a FASTA file cannot be entered
at a place, the less if it is compressed, and an index of it, by which the blocks may be those of the records alone, is
not always there.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from dnabert_jax.errors import InputError
from dnabert_jax.io.contigs import contig_key
from dnabert_jax.sequence.kmers import base_codes
from dnabert_jax.storage import scratch_directory
from dnabert_jax.tasks.datasets.unlabelled import Blocks

_Places = dict[str, tuple[int, int]]


class GenomeRecords:
    """Records of a genome.

    Attributes:
        names: the record for each name that was asked for and is there, under this name or the one of the other style.
    """

    def __init__(self, names: Mapping[str, str], codes: UInt8[np.ndarray, " b"], places: _Places):
        self.names = names
        self._codes, self._places = codes, places

    def __getitem__(self, record: str) -> UInt8[np.ndarray, " bases"]:
        """The codes of a record's bases, as of `base_codes`, which are read when they are looked at."""
        return self._codes[slice(*self._places[record])]

    def length(self, record: str) -> int:
        first, end = self._places[record]
        return end - first


@contextlib.contextmanager
def genome_records(
    blocks: Blocks, genome: str, asked: Iterable[str], scratch: Path | None = None
) -> Iterator[GenomeRecords]:
    """Gives the records of these names; a name that is not there is left out.

    Args:
        blocks: of the genome, FASTA or .2bit.
        genome: its file, to call it by.
        asked: names, in the style of UCSC or Ensembl: chr22 and 22 are one, chrM and MT.
        scratch: existing directory with room for a byte for each base of these records; that for temporary files, if
            not given.

    Raises:
        InputError: the genome has a letter that is no IUPAC DNA letter, two records of one name, or two that a name may
            mean.
    """
    asked = set(asked)
    with scratch_directory(scratch) as directory:
        path = directory / "genome"
        places = _copy_records(blocks, genome, {contig_key(name) for name in asked}, path)
        names = _resolve(asked, places, genome)
        codes = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.zeros(0, np.uint8)
        yield GenomeRecords(names, codes, places)


def _copy_records(blocks: Blocks, genome: str, wanted: set[str], path: Path) -> _Places:
    """Writes the codes of the records with these plain names one after the other; where each begins and ends."""
    places: _Places = {}
    with path.open("wb") as file:
        for record, number, letters in blocks:
            if contig_key(record) not in wanted:
                continue
            if number == 0:
                if record in places:
                    raise InputError(f"Two records of {genome} are named {record!r}: names must differ.")
                places[record] = (file.tell(), 0)
            first, last = places[record][0], file.tell()
            file.write(base_codes(letters, f"Record {record!r} of {genome}", last - first).tobytes())
            places[record] = (first, file.tell())
    return places


def _resolve(asked: set[str], records: Iterable[str], genome: str) -> dict[str, str]:
    """The record of the genome for each name of which there is one: the same name, or else that of the other style."""
    alike: dict[str, list[str]] = {}
    for record in records:
        alike.setdefault(contig_key(record), []).append(record)
    found = {}
    for name in sorted(asked):
        candidates = alike.get(contig_key(name), [])
        if name in candidates:
            found[name] = name
        elif len(candidates) > 1:
            raise InputError(f"{genome} has the records {' and '.join(candidates)}: which one {name} is is not clear.")
        elif candidates:
            found[name] = candidates[0]
    return found
