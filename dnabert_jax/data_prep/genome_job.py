"""What `prepare genome` is asked to do, what is to be cut from its files once they are surveyed, and how.

What a part becomes depends on the seed and on its place (file, part) alone, so that the same input and seed
give the same bytes, on one machine or on a cluster.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from dnabert_jax.config import require
from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest, ShardEntry, Split, file_digest
from dnabert_jax.data.packing import fill_rows
from dnabert_jax.data.tfrecord import encode_rows
from dnabert_jax.data_prep.sources import SequenceFile, Survey
from dnabert_jax.data_prep.windows import MIN_TOKENS, WindowKind, certain_runs, clip_runs, windows_of_runs
from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import BLOCK_LETTERS
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sequence.bases import AMBIGUOUS, base_codes, reverse_complement
from dnabert_jax.sequence.tokenizer import Tokenizer
from dnabert_jax.sequence.tokenizers import make_tokenizer
from dnabert_jax.storage import Location, file_name

_DEFAULT_HELDOUT_FRACTION = 0.01
_PARTING = np.frombuffer(b"N", np.uint8)
_MOST_REPETITIONS = 1000


@dataclasses.dataclass(frozen=True)
class GenomeJob:
    """What to prepare, and how; the command line takes its flags and their help from here.

    Attributes:
        fasta: Sequence files to train on: FASTA, plain, gzip or bgzip, or .2bit; local, or URLs such as gs://...
        out: Directory to make, local or the URL of one; must not exist.
        k: Letters of a k-mer, 1 to 7; must be that of the model.
        seed: Of the windows; the same input and seed give the same bytes.
        weights: Share of the training bases that each file of --fasta gives; they sum to 1. As they come, if not
            given. A file that is short for its weight is cut several times, differently each time; each at least once.
        heldout_fasta: Sequence files to hold out for evaluation.
        heldout_records: Names of records in --fasta to hold out whole; FILE:NAME for that file's alone.
        heldout_fraction: Share of each 1 Mi bases, at their end, to hold out. If not given, 0.01 where nothing
            else is held out, else 0.
        lower_case: Soft-masked bases: read as upper case, or drop them.
        reverse_complement: Turn each training window to the other strand with probability 1/2.
        windows: Half of the windows cut one after the other, of mixed lengths, and half sampled, as DNABERT's; or full
            windows alone.
        rows: Several sequences packed into a row, or one sequence a row.
        row_length: Tokens of a row.
        rows_per_shard: Of a TFRecord file.
        tokens: The name of the tokenizer.
    """

    fasta: tuple[Location, ...]
    out: Location
    k: int = 6
    seed: int = 0
    weights: tuple[float, ...] = ()
    heldout_fasta: tuple[Location, ...] = ()
    heldout_records: tuple[str, ...] = ()
    heldout_fraction: float | None = None
    lower_case: Literal["upper", "drop"] = "upper"
    reverse_complement: bool = False
    windows: WindowKind = "mixed"
    rows: Literal["packed", "single"] = "packed"
    row_length: int = 512
    rows_per_shard: int = 65_536
    tokens: str = "kmers"

    def __post_init__(self) -> None:
        _ = self.tokenizer.vocabulary_size  # which refuses an impossible k
        weights, files = self.weights, len(self.fasta)
        require(files > 0, "No sequence file is named: name at least one.")
        require(0 <= self.fraction < 1, f"The held-out fraction is {self.fraction}: it must be at least 0, below 1.")
        require(self.most >= MIN_TOKENS, f"A row of {self.row_length} tokens is too short.")
        require(self.rows_per_shard > 0, f"A shard of {self.rows_per_shard} rows is impossible: at least 1 is needed.")
        require(self.seed >= 0, f"The seed is {self.seed}: it must not be negative.")
        if weights:
            require(len(weights) == files, f"{len(weights)} weights are given for {files} files: give one for each.")
            require(min(weights) > 0, "Every weight must be above 0: leave out what has none.")
            is_one = math.isclose(sum(weights), 1, abs_tol=1e-6)
            require(is_one, f"The weights sum to {sum(weights):g}: they must sum to 1.")

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that makes the ids."""
        return make_tokenizer(self.tokens, self.k)

    @property
    def most(self) -> int:
        """The tokens of a full window."""
        return self.row_length - self.tokenizer.specials

    @property
    def fraction(self) -> float:
        """Returns the held-out fraction in force."""
        if self.heldout_fraction is not None:
            return self.heldout_fraction
        return 0.0 if self.heldout_fasta or self.heldout_records else _DEFAULT_HELDOUT_FRACTION

    @property
    def files(self) -> tuple[Location, ...]:
        """Returns all files, those to train on first."""
        return (*self.fasta, *self.heldout_fasta)

    def holds_out(self, file: Survey, record: str, names: Collection[str] | None = None) -> bool:
        """Returns whether `heldout_records`, or `names`, name a record: NAME, or FILE:NAME with or without its path."""
        names = self.heldout_records if names is None else names
        return not {record, f"{file_name(file.location)}:{record}", f"{file.location}:{record}"}.isdisjoint(names)


class Task(NamedTuple):
    """A part of a file, once.

    Attributes:
        letters: ASCII, checked before; but the file may have changed since.
        place: (file, part), which with the repetition decides all that is random.
        repetition: 0 for the first time that the part is cut; held-out windows are cut then only.
        share: of the training windows to keep, for a last repetition that is not whole.
        heldout: share of the part's certain bases, at its end, that is held out; 1 for records held out whole.
        file: what errors call the file.
    """

    letters: UInt8[np.ndarray, " n"]
    place: tuple[int, int]
    repetition: int
    share: float
    heldout: float
    file: str


Counts = Counter[str]
"""Numbers of rows, sequences and kmers; of bases, the certain ones that they were cut from; and of uncut_bases, which
no cut window holds."""


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
        """Returns how often each file is cut, at least once, so that its share of the training bases is its weight."""
        if not self.job.weights:
            return [1.0] * len(surveys)
        needed = []
        for weight, file in zip(self.job.weights, surveys, strict=True):
            trained = sum(bases for record, bases in file.records.items() if not self.job.holds_out(file, record))
            if not trained:
                raise InputError(f"{file.location} has a weight, but no A, C, G or T outside of what is held out.")
            needed.append(weight / trained)
        repetitions = [share / min(needed) for share in needed]
        for repetition, file in zip(repetitions, surveys, strict=True):
            if repetition > _MOST_REPETITIONS:
                raise InputError(
                    f"The weights ask for {file.location} {repetition:,.0f} times, for one time of another: at most "
                    f"{_MOST_REPETITIONS:,} times are cut."
                )
        return repetitions

    @property
    def letters(self) -> int:
        """Returns the number of letters of all tasks."""
        return sum(file.letters * math.ceil(r) for file, r in zip(self.surveys, self.repetitions, strict=True))

    def tasks(self, number: int, file: SequenceFile) -> Iterator[Task]:
        """Yields every part of a file as often as it is to be cut: a block, or short records together, parted by an N.

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
        surveyed = self.surveys[number]
        if file.path.stat().st_size != surveyed.bytes or file_digest(file.path) != surveyed.sha256:
            raise InputError(f"{file.location} changed while it was read: run again when nothing writes to it.")

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
        total = sum(counts.values(), Counts())
        certain = sum(file.certain_bases for file in self.surveys)
        return Manifest(
            k=job.k,
            tokens=job.tokens,
            row_length=job.row_length,
            packed=job.rows == "packed",
            seed=job.seed,
            policies=_policies(job, counts[HELDOUT]["rows"]),
            dropped={
                "ambiguous_bases": sum(file.letters for file in self.surveys) - certain,
                "lower_case_bases": certain - total["bases"],
                "uncut_bases": total["uncut_bases"],
            },
            sources=[
                {
                    "name": file_name(file.location),
                    "bytes": file.bytes,
                    "sha256": file.sha256,
                    "records": len(file.records),
                    "bases": file.letters,
                    "repetitions": repetition,
                }
                for file, repetition in zip(self.surveys, self.repetitions, strict=True)
            ],
            splits={
                name: Split(shards[name], split["rows"], split["sequences"], split["kmers"], split["bases"])
                for name, split in counts.items()
                if split["rows"]
            },
        )

    def _check_counts(self, counts: Mapping[str, Counts]) -> None:
        """Raises InputError if a split that was asked for has no rows."""
        names = ", ".join(str(location) for location in self.job.fasta)
        letters = "A, C, G, T in upper case" if self.job.lower_case == "drop" else "A, C, G, T"
        if not counts[TRAIN]["rows"]:
            raise InputError(
                f"{names} gives no window to train on: outside of the held-out part it has no stretch of at least "
                f"{self.job.tokenizer.stretch(MIN_TOKENS)} {letters}."
            )
        asked = self.job.heldout_fasta or self.job.heldout_records or self.job.heldout_fraction
        if asked and not counts[HELDOUT]["rows"]:
            raise InputError(f"The held-out part of {names} gives no window: hold out more, or other records.")


def _policies(job: GenomeJob, heldout_rows: int) -> dict[str, str]:
    heldout = [f"{job.fraction:g} of the certain bases of each block of 1 Mi, at its end"] if job.fraction else []
    heldout += [f"record {name}" for name in job.heldout_records]
    heldout += [f"file {file_name(location)}" for location in job.heldout_fasta]
    if not heldout_rows:
        heldout = ["nothing"]
    word = "k-mers" if job.tokenizer.overlap > 1 else "tokens"
    return {
        "windows": {
            "mixed": f"half cut without overlap, half sampled; {MIN_TOKENS} to {job.most} {word}",
            "full": f"cut without overlap, full ones of {job.most} {word}",
        }[job.windows],
        "ambiguous_bases": "N and other IUPAC ambiguity letters end a run; no window holds one",
        "lower_case": "treated as ambiguous" if job.lower_case == "drop" else "read as upper case",
        "strand": "either, at random" if job.reverse_complement else "as in the file",
        "heldout": "; ".join(heldout),
    }


def block_rows(task: Task, job: GenomeJob) -> dict[str, tuple[bytes, Counts]]:
    """Returns the records of a part and their counts for each split; bases are counted at the first repetition only."""
    codes = base_codes(task.letters, f"{task.file} changed while it was read: a part of it")
    if job.lower_case == "drop":
        codes[task.letters >= ord("a")] = AMBIGUOUS
    runs = certain_runs(codes)
    border = _border(runs, task.heldout, len(codes))
    parts = {TRAIN: clip_runs(runs, 0, border)}
    if task.repetition == 0:
        parts[HELDOUT] = clip_runs(runs, border, len(codes))
    return {name: _split_rows(name, codes, part, task, job) for name, part in parts.items()}


def _border(runs: Int[np.ndarray, "runs 2"], heldout: float, length: int) -> int:
    """Returns the position from which on the part is held out."""
    ends = np.cumsum(runs[:, 1] - runs[:, 0])
    total = int(ends[-1]) if len(ends) else 0
    trained = total - int(total * heldout)
    if trained == total:
        return length
    number = int(np.searchsorted(ends, trained, side="left"))
    return int(runs[number, 1] - (ends[number] - trained))


def _split_rows(
    name: str, codes: UInt8[np.ndarray, " n"], runs: Int[np.ndarray, "runs 2"], task: Task, job: GenomeJob
) -> tuple[bytes, Counts]:
    stream = (*task.place, task.repetition, (TRAIN, HELDOUT).index(name))
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(job.seed, spawn_key=stream)))
    tokenizer = job.tokenizer
    starts, counts, uncut_bases = windows_of_runs(runs, tokenizer, job.most, job.windows, rng)
    if name == TRAIN and task.share < 1:
        chosen = rng.random(len(starts)) < task.share
        starts, counts = starts[chosen], counts[chosen]
    if name == TRAIN and job.reverse_complement:
        # The other strand follows this one; base i here is the last but i there.
        turned = rng.random(len(starts)) < 0.5
        codes = np.concatenate([codes, reverse_complement(codes)])
        starts = np.where(turned, len(codes) - starts - tokenizer.stretch(counts), starts)
    ids = tokenizer.encode_windows(codes, starts, counts)
    rows = fill_rows(ids, counts, job.row_length, tokenizer.suffix, job.rows == "packed")
    first = task.repetition == 0
    total = Counts(
        rows=len(rows),
        sequences=len(starts),
        kmers=int(counts.sum()),
        bases=int((runs[:, 1] - runs[:, 0]).sum()) if first else 0,
        uncut_bases=uncut_bases if first else 0,
    )
    return encode_rows(rows).tobytes(), total
