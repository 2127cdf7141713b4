"""A synthetic assembly: three contigs, genes on both strands with introns GT ... AG, and peaks, all known."""

import csv
import dataclasses
import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from Bio.Seq import reverse_complement

from dnabert_jax.data_prep.derived.derive import DerivedManifest, derive
from dnabert_jax.data_prep.derived.table import TABLE
from dnabert_jax.data_prep.derived.tasks import Promoters, PromotersJob, Splice, SpliceJob, Tfbs, TfbsJob

JOBS = {Promoters: PromotersJob, Splice: SpliceJob, Tfbs: TfbsJob}


@dataclasses.dataclass(frozen=True)
class Gene:
    """Exons 0-based, half-open, from left to right; an intron between two."""

    contig: str
    strand: str
    exons: tuple[tuple[int, int], ...]
    tata: bool

    @property
    def tss(self) -> int:
        return self.exons[0][0] if self.strand == "+" else self.exons[-1][1] - 1


class Assembly(NamedTuple):
    """Sequences by contig, genes, and the files that hold them."""

    sequences: dict[str, str]
    genes: list[Gene]
    fasta: Path
    gtf: Path

    def window(self, contig: str, start: int, strand: str, end: int | str) -> str:
        text = self.sequences[contig][start : int(end)]
        return text if strand == "+" else reverse_complement(text)


def _plant(letters: list[str], strand: str, tss: int, offset: int, text: str) -> None:
    """Writes text so that its first base is `offset` from the TSS in the direction of the strand."""
    first = tss + offset if strand == "+" else tss - offset - len(text) + 1
    letters[first : first + len(text)] = text if strand == "+" else reverse_complement(text)


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    rng = np.random.default_rng(5)
    letters = {name: list(rng.choice(list("ACGT"), 60_000)) for name in ("chr1", "chr2", "chr3")}
    genes = []
    for contig, own in letters.items():
        for number in range(14):
            begin = 1500 + 4000 * number
            strand = "+-"[number % 2]
            exons = ((begin, begin + 200), (begin + 500, begin + 650), (begin + 900, begin + 1100))
            gene = Gene(contig, strand, exons, tata=number % 3 == 0)
            for (_, left), (right, _) in itertools.pairwise(exons):
                own[left : left + 2] = "GT" if strand == "+" else "CT"
                own[right - 2 : right] = "AG" if strand == "+" else "AC"
            # No box but those planted.
            _plant(own, strand, gene.tss, -40, "GCGC" * 8)
            if gene.tata:
                _plant(own, strand, gene.tss, -31, "TATAAA")
            genes.append(gene)
    sequences = {name: "".join(own) for name, own in letters.items()}
    directory = tmp_path_factory.mktemp("assembly")
    fasta, gtf = directory / "genome.fa", directory / "genes.gtf"
    records = (f">{name} a title\n{text.lower()[:100]}{text[100:]}\n" for name, text in sequences.items())
    fasta.write_text("".join(records))
    gtf.write_text(gtf_text(genes))
    return Assembly(sequences, genes, fasta, gtf)


def gtf_text(genes: list[Gene]) -> str:
    lines = ["##format: gtf"]
    for number, gene in enumerate(genes):
        text = f'gene_id "G{number}"; transcript_id "G{number}.1"; gene_type "protein_coding";'
        spans = [("transcript", gene.exons[0][0], gene.exons[-1][1]), *(("exon", *exon) for exon in gene.exons)]
        lines += [
            "\t".join([gene.contig, "test", feature, str(start + 1), str(end), ".", gene.strand, ".", text])
            for feature, start, end in spans
        ]
    return "\n".join(lines) + "\n"


Row = dict[str, str]


def table(directory: Path) -> list[Row]:
    with gzip.open(directory / TABLE, "rt") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def place(row: Row) -> tuple[str, int, str]:
    return row["chrom"], int(row["start"]), row["strand"]


def peak_lines(first: int, step: int, summit: int = 30, contigs: tuple[str, ...] = ("chr1", "2", "chr3")) -> str:
    """Peaks of 200 bases every `step` bases on every contig."""
    starts = range(first, 59_000, step)
    return "".join(f"{contig}\t{s}\t{s + 200}\t.\t0\t.\t1\t-1\t-1\t{summit}\n" for contig in contigs for s in starts)


@pytest.fixture
def peaks(tmp_path: Path) -> Path:
    path = tmp_path / "peaks.narrowPeak"
    path.write_text(peak_lines(300, 1500, contigs=("chr1", "chr2", "chr3")))
    return path


Derived = Callable[..., tuple[DerivedManifest, list[Row]]]


@pytest.fixture
def derived(assembly: Assembly, peaks: Path, tmp_path: Path) -> Derived:
    """Derives a set of a task from the assembly, as settings of its job say."""

    def make(task: type, out: str = "out", **settings: object) -> tuple[DerivedManifest, list[Row]]:
        sites = {"peaks": peaks} if task is Tfbs else {"gtf": assembly.gtf}
        job = JOBS[task](**{"fasta": (assembly.fasta,), "out": tmp_path / out, **sites, **settings})
        return derive(task(job)), table(job.out)

    return make
