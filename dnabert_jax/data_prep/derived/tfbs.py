"""`prepare tfbs`: windows at the summits of ChIP-seq peaks."""

import dataclasses
from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dnabert_jax.data_prep.derived.contigs import Regions
from dnabert_jax.data_prep.derived.task import ContigSites, DerivedJob, Notes, Task
from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import read_bed
from dnabert_jax.io.peak_index import peak_set_name
from dnabert_jax.storage import Location, file_name

Negative = Literal["gc-windows", "shuffle", "substitution"]

_SHUFFLED = {"length": 101, "negatives": ("shuffle",)}

PROTOCOLS: dict[str, dict[str, Any]] = {
    "dnabert-tfbs": {"length": 101, "negatives": ("gc-windows",)},
    # Of Zeng et al. 2016 (doi 10.1093/bioinformatics/btw255), whose sets DNABERT's 690 are; its mouse sets follow it.
    "zeng-tfbs": _SHUFFLED,
    "dnabert-mouse-tfbs": _SHUFFLED,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TfbsJob(DerivedJob):
    """Bound windows and background.

    Attributes:
        peaks: Peaks of the same assembly, plain or gzip, - for standard input: narrowPeak or a table of MACS, which
            have summits, or BED of any kind, of which the middles are taken. Or a folder of such files (.narrowPeak,
            .broadPeak, .bed, plain or .gz), each of which becomes a set.
        out: Directory to make, local or the URL of one; must not exist. For a folder of peaks, a local directory, in
            which finished sets stay.
        protocol: dnabert-tfbs (101 bases, gc-windows); zeng-tfbs (101 bases, shuffle), as the 690 ENCODE sets
            circulate; or dnabert-mouse-tfbs, which is the same.
        length: Bases of a window; of an even length one more is left of the summit; the protocol's, if not given.
        negatives: Kinds of negatives; the protocol's, if not given.
    """

    peaks: Location
    protocol: str = "dnabert-tfbs"
    length: int | None = None
    negatives: tuple[Negative, ...] = ()


class Tfbs(Task):
    """The task of a job."""

    name = "tfbs"
    labels = ("background", "bound")

    def __init__(self, job: TfbsJob):
        super().__init__(job, job.peaks, PROTOCOLS, job.protocol)
        piped = str(job.peaks) == "-" or Path(job.peaks).parent.name == "fd"
        self.set_name = self.name if piped else peak_set_name(file_name(job.peaks))
        self.length = self.settings["length"] if job.length is None else job.length
        if self.length < 1:
            raise InputError(f"A window of {self.length} bases is impossible: give 1 or more.")
        self.kinds = (job.negatives or self.settings["negatives"],)
        self.rules = {
            "positives": f"{self.length} bases from {self.length // 2} left of the summit, of the forward strand "
            "unless the strand column says -"
        }

    def read(self, path: Path, notes: Notes) -> dict[str, ContigSites]:
        name = str(self.annotation)
        # Only what is needed of each: lists of all columns would be many objects.
        peaks: dict[str, list[tuple[int, int]]] = defaultdict(list)
        windows: dict[str, set[tuple[int, bool]]] = defaultdict(set)
        without = at_end = 0
        for peak in read_bed(path, notes.left_out, name, summits=True):
            peaks[peak.contig].append((peak.start, peak.end))
            windows[peak.contig].add((peak.center - self.length // 2, peak.strand == "-"))
            without += peak.summit is None
            at_end += peak.summit == peak.end - peak.start
        number = sum(map(len, peaks.values()))
        notes.left_out.check_some_left(number, f"peaks in {name}")
        notes.read["peaks without summit, of which the middle was taken"] = without
        notes.read["peaks with the summit at their end, of which the last base was taken"] = at_end
        notes.read["peaks"] = number
        notes.read["distinct windows"] = sum(map(len, windows.values()))
        return {contig: self._sites(own, sorted(windows[contig])) for contig, own in peaks.items()}

    def _sites(self, peaks: list[tuple[int, int]], windows: list[tuple[int, bool]]) -> ContigSites:
        intervals = peaks + [(start, start + self.length) for start, _ in windows]
        return ContigSites(
            start=np.array([start for start, _ in windows], np.int64),
            reverse=np.array([reverse for _, reverse in windows], bool),
            label=np.ones(len(windows), np.int8),
            avoided=Regions(intervals, self.job.negative_distance),
        )
