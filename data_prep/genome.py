"""`prepare genome`: FASTA files to a data directory of packed rows for pre-training.

Each record is worked through in blocks of 4 Mi bases. A block's windows depend on the seed and on the place of the
block alone (file, record, block), so that the same input and seed give the same bytes.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from data_prep.fasta import file_digest, read_fasta
from data_prep.shards import ShardWriter
from data_prep.windows import MIN_KMERS, certain_runs, windows_of_runs
from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, Split
from dnabert_jax.data.packing import SPECIAL_PER_SEQUENCE, fill_rows
from dnabert_jax.errors import InputError
from dnabert_jax.output_directory import output_directory
from dnabert_jax.sequence.kmers import AMBIGUOUS, base_codes, kmer_ids
from dnabert_jax.sequence.vocabulary import check_k

_BLOCK_BASES = 1 << 22
_DEFAULT_HELDOUT_FRACTION = 0.01


@dataclasses.dataclass(frozen=True)
class GenomeJob:
    """What to prepare, and how. See `launch/prepare.py` for the words of the command line.

    Attributes:
        fasta: files whose records are trained on, unless held out.
        out: the directory to make.
        k: letters of a k-mer.
        seed: of the windows.
        heldout_fasta: files whose records are all held out.
        heldout_records: names of records in `fasta` that are held out whole.
        heldout_fraction: share of the certain bases of every other record, at its end, that is held out. None
            means 0.01 if nothing else is held out, else 0.
        drop_lower_case: treat soft-masked bases as ambiguous; otherwise case is ignored.
        packed: several sequences a row, or one.
        row_length: tokens of a row.
        rows_per_shard: of a TFRecord file.
    """

    fasta: tuple[Path, ...]
    out: Path
    k: int = 6
    seed: int = 0
    heldout_fasta: tuple[Path, ...] = ()
    heldout_records: tuple[str, ...] = ()
    heldout_fraction: float | None = None
    drop_lower_case: bool = False
    packed: bool = True
    row_length: int = 512
    rows_per_shard: int = 1 << 16

    def __post_init__(self) -> None:
        check_k(self.k)
        if not self.fasta:
            raise InputError("No FASTA file is named: name at least one.")
        if not 0 <= self.fraction < 1:
            raise InputError(f"The held-out fraction is {self.fraction}: it must be at least 0 and below 1.")
        if self.row_length < MIN_KMERS + SPECIAL_PER_SEQUENCE:
            raise InputError(f"A row of {self.row_length} tokens is too short: at least 7 are needed.")
        if self.rows_per_shard < 1:
            raise InputError(f"A shard of {self.rows_per_shard} rows is impossible: at least 1 is needed.")
        if self.seed < 0:
            raise InputError(f"The seed is {self.seed}: it must not be negative.")

    @property
    def fraction(self) -> float:
        """The held-out fraction in force."""
        if self.heldout_fraction is not None:
            return self.heldout_fraction
        return 0.0 if self.heldout_fasta or self.heldout_records else _DEFAULT_HELDOUT_FRACTION


class _SplitBuilder:
    """Rows and counts of one split while it is being made."""

    def __init__(self, job: GenomeJob, directory: Path, name: str):
        self._job, self._stream = job, (TRAIN, HELDOUT).index(name)
        self._writer = ShardWriter(directory, name, job.rows_per_shard)
        self.rows = self.sequences = self.kmers = self.bases = self.uncut_bases = 0

    def add(self, codes: UInt8[np.ndarray, "n"], runs: Int[np.ndarray, "runs 2"], place: tuple[int, int, int]) -> None:
        """Adds the windows of the runs of one block; `place` is (file, record, block)."""
        job = self._job
        rng = np.random.Generator(np.random.Philox(np.random.SeedSequence(job.seed, spawn_key=(*place, self._stream))))
        windows = windows_of_runs(runs, job.k, job.row_length - SPECIAL_PER_SEQUENCE, rng)
        self.bases += int((runs[:, 1] - runs[:, 0]).sum())
        self.uncut_bases += windows.uncut_bases
        if not len(windows.starts):
            return
        rows = fill_rows(kmer_ids(codes, job.k), windows.starts, windows.counts, job.row_length, job.packed)
        self._writer.append(rows)
        self.rows += len(rows)
        self.sequences += len(windows.starts)
        self.kmers += int(windows.counts.sum())

    def finish(self) -> Split:
        return Split(self._writer.close(), self.rows, self.sequences, self.kmers, self.bases)


def prepare_genome(job: GenomeJob, progress: Callable[[int], object] | None = None) -> Manifest:
    """Makes the data directory `job.out` and returns its manifest.

    Args:
        job: what to do.
        progress: if given, called with the number of bases after each block.

    Raises:
        InputError: bad input, an output that exists, or no usable window. Nothing is left under `job.out`.
    """
    with output_directory(job.out) as directory:
        builders = {name: _SplitBuilder(job, directory, name) for name in (TRAIN, HELDOUT)}
        dropped = {"ambiguous_bases": 0, "lower_case_bases": 0}
        sources = []
        names: dict[str, Path] = {}
        for file_number, path in enumerate((*job.fasta, *job.heldout_fasta)):
            all_heldout = file_number >= len(job.fasta)
            bases = records = 0
            for record, (name, letters) in enumerate(read_fasta(path)):
                if name in names:
                    raise InputError(
                        f"Two records are named {name!r} (in {names[name]} and {path}): names must differ."
                    )
                names[name] = path
                codes = _codes(letters, f"Record {name!r} of {path}", job.drop_lower_case, dropped)
                parts = _split_runs(job, codes, all_heldout or name in job.heldout_records)
                _add_blocks(builders, codes, parts, (file_number, record), progress)
                records, bases = records + 1, bases + len(letters)
            size = path.stat().st_size
            sources.append(
                {"name": path.name, "bytes": size, "sha256": file_digest(path), "records": records, "bases": bases}
            )
        missing = [name for name in job.heldout_records if name not in names]
        if missing:
            raise InputError(f"The held-out record {missing[0]!r} is in no FASTA file: check its name.")
        splits = _finished_splits(job, builders)
        dropped["uncut_bases"] = sum(builder.uncut_bases for builder in builders.values())
        manifest = Manifest(job.k, job.row_length, job.packed, job.seed, _policies(job), dropped, sources, splits)
        (directory / FILE_NAME).write_text(manifest.to_json())
    return manifest


def _codes(
    letters: UInt8[np.ndarray, "n"], name: str, drop_lower_case: bool, dropped: dict[str, int]
) -> UInt8[np.ndarray, "n"]:
    codes = base_codes(letters, name)
    dropped["ambiguous_bases"] += int((codes == AMBIGUOUS).sum())
    if drop_lower_case:
        lower = (letters >= ord("a")) & (codes < AMBIGUOUS)
        dropped["lower_case_bases"] += int(lower.sum())
        codes[lower] = AMBIGUOUS
    return codes


def _split_runs(job: GenomeJob, codes: UInt8[np.ndarray, "n"], heldout: bool) -> dict[str, Int[np.ndarray, "runs 2"]]:
    """The certain runs of a record, parted at the position after which all is held out."""
    runs = certain_runs(codes)
    lengths = runs[:, 1] - runs[:, 0]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    trained = 0 if heldout else total - int(total * job.fraction)
    number = int(np.searchsorted(ends, trained, side="left"))
    border = int(runs[number, 1] - (ends[number] - trained)) if number < len(runs) else len(codes)
    return {TRAIN: _clip(runs, 0, border), HELDOUT: _clip(runs, border, len(codes))}


def _clip(runs: Int[np.ndarray, "runs 2"], first: int, end: int) -> Int[np.ndarray, "clipped 2"]:
    """The parts of the runs that lie in [first, end)."""
    clipped = np.clip(runs, first, end)
    return clipped[clipped[:, 0] < clipped[:, 1]]


def _add_blocks(
    builders: dict[str, _SplitBuilder],
    codes: UInt8[np.ndarray, "n"],
    parts: dict[str, Int[np.ndarray, "runs 2"]],
    place: tuple[int, int],
    progress: Callable[[int], object] | None,
) -> None:
    for block, first in enumerate(range(0, len(codes), _BLOCK_BASES)):
        here = codes[first : first + _BLOCK_BASES]
        for name, runs in parts.items():
            inside = _clip(runs, first, first + len(here)) - first
            builders[name].add(here, inside, (*place, block))
        if progress:
            progress(len(here))


def _finished_splits(job: GenomeJob, builders: dict[str, _SplitBuilder]) -> dict[str, Split]:
    names = ", ".join(str(path) for path in job.fasta)
    if not builders[TRAIN].rows:
        raise InputError(
            f"{names} gives no window to train on: no stretch of at least {MIN_KMERS + job.k - 1} A, C, G, T is left"
            f"{' once lower case is dropped' if job.drop_lower_case else ''} and the held-out part is taken away."
        )
    asked = job.heldout_fasta or job.heldout_records or job.heldout_fraction
    if asked and not builders[HELDOUT].rows:
        raise InputError(f"The held-out part of {names} gives no window: hold out more, or other records.")
    return {name: builder.finish() for name, builder in builders.items() if builder.rows}


def _policies(job: GenomeJob) -> dict[str, str]:
    heldout = [f"{job.fraction:g} of each record's certain bases, at its end"] if job.fraction else []
    heldout += [f"record {name}" for name in job.heldout_records]
    heldout += [f"file {path.name}" for path in job.heldout_fasta]
    longest = job.row_length - SPECIAL_PER_SEQUENCE
    return {
        "windows": f"half cut without overlap, half sampled; {MIN_KMERS} to {longest} k-mers",
        "ambiguous_bases": "N and other IUPAC ambiguity letters end a run; no window holds one",
        "lower_case": "treated as ambiguous" if job.drop_lower_case else "read as upper case",
        "heldout": "; ".join(heldout) or "nothing",
    }
