"""What is to be cut from sequence files, once they are surveyed, and the manifest of what was made of it.

What a part becomes depends on the seed and on its place (file, part) alone, so that the same input and seed
give the same bytes, on one machine or on a cluster.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from data_prep.genome_job import GenomeJob
from data_prep.rows import Counts, Task
from data_prep.sources import SequenceFile, Survey
from data_prep.windows import MIN_KMERS
from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest, ShardEntry, Split
from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import BLOCK_LETTERS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sequence.vocabulary import SPECIAL_PER_SEQUENCE
from dnabert_jax.storage import file_name

_PARTING = np.frombuffer(b"N", np.uint8)
_MOST_REPETITIONS = 1000


class GenomePlan:
    """The job, checked against its files."""

    def __init__(self, job: GenomeJob, surveys: Sequence[Survey]):
        self.job, self.surveys = job, surveys
        trained, heldout = surveys[: len(job.fasta)], surveys[len(job.fasta) :]
        for name in job.heldout_records:
            if not any(job.holds_out(file, record, {name}) for file in trained for record in file.records):
                raise InputError(f"The held-out record {name!r} is in no file to train on: check its name.")
        digests = {file.sha256: file for file in trained}
        for file in heldout:
            if file.sha256 in digests:
                raise InputError(
                    f"{file.location} is held out, and the same as {digests[file.sha256].location}, to train on: leave "
                    "one of them out."
                )
        self.repetitions = [*self._repetitions(trained), *[1.0] * len(job.heldout_fasta)]

    def _repetitions(self, surveys: Sequence[Survey]) -> list[float]:
        """How often each file is cut so that its share of the training bases is its weight: at least once."""
        if not self.job.weights:
            return [1.0] * len(surveys)
        trained = [
            sum(bases for record, bases in file.records.items() if not self.job.holds_out(file, record))
            for file in surveys
        ]
        for bases, file in zip(trained, surveys, strict=True):
            if not bases:
                raise InputError(f"{file.location} has a weight, but no A, C, G or T outside of what is held out.")
        needed = [weight / bases for weight, bases in zip(self.job.weights, trained, strict=True)]
        for share, file in zip(needed, surveys, strict=True):
            if share / min(needed) > _MOST_REPETITIONS:
                raise InputError(
                    f"The weights ask for {file.location} {share / min(needed):,.0f} times, for one time of another: "
                    f"at most {_MOST_REPETITIONS:,} times are cut."
                )
        return [share / min(needed) for share in needed]

    @property
    def letters(self) -> int:
        """Of all tasks."""
        return sum(file.letters * math.ceil(r) for file, r in zip(self.surveys, self.repetitions, strict=True))

    def tasks(self, number: int, file: SequenceFile) -> Iterator[Task]:
        """Every part of a file, as often as it is to be cut: a block, or short records together, parted by an N.

        Records of a draft assembly are often shorter than a window: together they fill rows as long ones do, and the
        last bases of a thousand of them can be held out.

        Raises:
            InputError: at the end, if it is no longer the file that was surveyed.
        """
        repetition = self.repetitions[number]
        for part, (letters, whole) in enumerate(self._parts(number, file)):
            for again in range(1 if whole else math.ceil(repetition)):
                share = min(repetition - again, 1.0)
                yield Task(letters, (number, part), again, share, 1.0 if whole else self.job.fraction, file.location)
        file.check_unchanged(self.surveys[number])

    def _parts(self, number: int, file: SequenceFile) -> Iterator[tuple[UInt8[np.ndarray, " n"], bool]]:
        """Yields letters, at most as many as a block has, and whether all of them are held out."""
        waiting: list[np.ndarray] = []
        size, held_out = 0, False
        for block in read_blocks(file.path, file.location):
            whole = number >= len(self.job.fasta) or self.job.holds_out(self.surveys[number], block.record)
            if waiting and (whole != held_out or size + len(block.letters) > BLOCK_LETTERS):
                yield np.concatenate(waiting[1:]), held_out
                waiting, size = [], 0
            held_out = whole
            waiting += [_PARTING, block.letters]
            size += len(_PARTING) + len(block.letters)
        if waiting:
            yield np.concatenate(waiting[1:]), held_out

    def manifest(self, counts: Mapping[str, Counts], shards: Mapping[str, tuple[ShardEntry, ...]]) -> Manifest:
        """Returns the manifest of the finished shards; raises InputError if a split has no rows."""
        self._check_counts(counts)
        job = self.job
        bases = sum(split.bases for split in counts.values())
        certain = sum(file.certain_bases for file in self.surveys)
        return Manifest(
            k=job.k,
            row_length=job.row_length,
            packed=job.rows == "packed",
            seed=job.seed,
            policies=_policies(job, counts[HELDOUT].rows),
            dropped={
                "ambiguous_bases": sum(file.letters for file in self.surveys) - certain,
                "lower_case_bases": certain - bases,
                "uncut_bases": sum(split.uncut_bases for split in counts.values()),
            },
            sources=[
                {
                    "name": file.name,
                    "bytes": file.bytes,
                    "sha256": file.sha256,
                    "records": len(file.records),
                    "bases": file.letters,
                    "repetitions": repetition,
                }
                for file, repetition in zip(self.surveys, self.repetitions, strict=True)
            ],
            splits={
                name: Split(shards[name], split.rows, split.sequences, split.kmers, split.bases)
                for name, split in counts.items()
                if split.rows
            },
        )

    def _check_counts(self, counts: Mapping[str, Counts]) -> None:
        """Raises InputError if a split that was asked for has no rows."""
        names = ", ".join(str(location) for location in self.job.fasta)
        if not counts[TRAIN].rows:
            raise InputError(
                f"{names} gives no window to train on: outside of the held-out part it has no stretch of at least "
                f"{MIN_KMERS + self.job.k - 1} A, C, G, T{' in upper case' if self.job.lower_case == 'drop' else ''}."
            )
        asked = self.job.heldout_fasta or self.job.heldout_records or self.job.heldout_fraction
        if asked and not counts[HELDOUT].rows:
            raise InputError(f"The held-out part of {names} gives no window: hold out more, or other records.")


def _policies(job: GenomeJob, heldout_rows: int) -> dict[str, str]:
    heldout = [f"{job.fraction:g} of the certain bases of each block of 1 Mi, at its end"] if job.fraction else []
    heldout += [f"record {name}" for name in job.heldout_records]
    heldout += [f"file {file_name(location)}" for location in job.heldout_fasta]
    longest = job.row_length - SPECIAL_PER_SEQUENCE
    if not heldout_rows:
        heldout = ["nothing"]
    return {
        "windows": f"half cut without overlap, half sampled; {MIN_KMERS} to {longest} k-mers",
        "ambiguous_bases": "N and other IUPAC ambiguity letters end a run; no window holds one",
        "lower_case": "treated as ambiguous" if job.lower_case == "drop" else "read as upper case",
        "strand": "either, at random" if job.reverse_complement else "as in the file",
        "heldout": "; ".join(heldout),
    }
