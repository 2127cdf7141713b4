"""The jobs of `prepare promoters`, `splice` and `tfbs`, and the task of each.

A task tells the engine (`derive.py`) where its positives are and of which kinds its negatives are.
"""

import abc
import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Int8, Int64, UInt8

from dnabert_jax.config import require
from dnabert_jax.data_prep.derived import negatives
from dnabert_jax.data_prep.derived.contigs import COMPLEMENT, ContigSites, Examples, Place, Regions, joined
from dnabert_jax.data_prep.derived.negatives import PROPOSALS, PROPOSALS_PER_NEGATIVE, motif_places, usable
from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import read_bed
from dnabert_jax.io.gtf import Transcript, of_gene_types, read_transcripts
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.peak_index import peak_set_name
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.storage import Location, file_name

DECOY_DISTANCE = 20
"""Bases that a decoy keeps from every annotated splice site of its strand: alternative ones are mostly nearer."""

KIND_RULES = {
    "gc-windows": "windows of the genome of the same length and, within --gc-tolerance, GC content, on the strand and "
    "the contig of their positive; they do not overlap one another",
    "shuffle": "each positive with its dinucleotides in another order, of all such orders a uniformly drawn one "
    "(Altschul and Erickson); in the split of its positive",
    "substitution": "each positive in 20 parts, of which 12 at random are replaced by uniformly drawn bases "
    "(DeePromoter); in the split of its positive",
    "tata-windows": "windows of the genome with the TATA motif where their promoter has it, on its strand and "
    "contig, wherever that is away from start sites",
    "decoys": "GT where a donor, AG where an acceptor has it, inside of a transcript, on its strand, at least "
    f"{DECOY_DISTANCE} bases from every annotated splice site of that strand; off its middle a window may have one",
}
"""Describes each kind of negatives, for the manifest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DerivedJob:
    """Sources, splits and output of a derivation; the command line takes its flags and their help from here.

    Attributes:
        fasta: Sequence files of the genome: FASTA, plain, gzip or bgzip, or .2bit; local, or URLs such as gs://...
        out: Directory to make, local or the URL of one; must not exist.
        seed: Of negatives and splits; the same input and seed give the same bytes.
        validation_fraction: Share of the examples, by loci, to choose models on.
        test_fraction: Share of the examples, by loci, to measure the chosen model on.
        validation_contigs: Contigs for validation, instead of loci; needs --test-contigs.
        test_contigs: Contigs for the test, instead of loci; needs --validation-contigs.
        locus_distance: Examples with fewer bases than this between them are of one locus, which is never split.
        blacklist: BED files, plain or gzip, of regions that no example may touch.
        negative_ratio: Negatives of each kind for each positive; the protocol's, if not given.
        negative_distance: Bases that a negative window of the genome keeps from every site of the annotation or peak.
        gc_tolerance: Largest difference of GC content between a gc-windows negative and its positive.
        maximum_per_label: Examples of a label at most, chosen at random; the protocol's, if not given.
    """

    fasta: tuple[Location, ...]
    out: Location
    seed: int = 0
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    validation_contigs: tuple[str, ...] = ()
    test_contigs: tuple[str, ...] = ()
    locus_distance: int = 1000
    blacklist: tuple[Location, ...] = ()
    negative_ratio: float | None = None
    negative_distance: int = 1000
    gc_tolerance: float = 0.02
    maximum_per_label: int | None = None

    def __post_init__(self) -> None:
        both = set(self.validation_contigs) & set(self.test_contigs)
        validation, test = self.validation_fraction, self.test_fraction
        ratio, most = self.negative_ratio, self.maximum_per_label
        require(len(self.fasta) > 0, "No sequence file is named: name at least one.")
        require(self.seed >= 0, f"The seed is {self.seed}: it must not be negative.")
        require(
            min(validation, test) >= 0 and validation + test < 1,
            f"The fractions for validation, {validation:g}, and test, {test:g}, must not be negative and leave "
            "something for training.",
        )
        require(
            bool(self.validation_contigs) == bool(self.test_contigs),
            "Give --validation-contigs and --test-contigs, or neither: a model must not be chosen on the test.",
        )
        require(not both, f"Both splits have the contigs {', '.join(sorted(both))}: give each to one.")
        require(self.locus_distance >= 0, f"A locus distance of {self.locus_distance} is impossible: give 0 or more.")
        require(self.negative_distance >= 0, f"A distance of {self.negative_distance} is impossible: give 0 or more.")
        require(0 <= self.gc_tolerance <= 1, f"A GC tolerance of {self.gc_tolerance:g} is no share: give 0 to 1.")
        require(ratio is None or ratio > 0, f"{ratio} negatives for each positive are impossible: give more than 0.")
        require(most is None or most >= 1, f"At most {most} examples of a label are impossible: give 1 or more.")


@dataclasses.dataclass
class Notes:
    """Counts for a manifest: `read` from the annotation, `left_out` of it, and negatives that are `missing`."""

    read: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: LeftOut = dataclasses.field(default_factory=LeftOut)
    missing: Counter[str] = dataclasses.field(default_factory=Counter)


class Task(abc.ABC):
    """A kind of data set.

    Attributes:
        set_name: of the data set.
        labels: names; that of the negatives first.
        groups: names of what positives, and their negatives, are told apart by; ("-",) if by nothing.
        annotation: of the sites: GTF, or peaks.
        kinds: of negatives, for each group.
        ratio: negatives of each kind for each positive.
        maximum: examples of a label at most, if so.
        rules: what else was done, in words.
    """

    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    groups: ClassVar[tuple[str, ...]] = ("-",)
    length: int
    kinds: tuple[tuple[str, ...], ...]
    rules: dict[str, str]

    def __init__(self, job: DerivedJob, annotation: Location, protocols: dict[str, dict[str, Any]], name: str):
        if name not in protocols:
            raise InputError(f"There is no protocol {name!r}: choose one of {', '.join(protocols)}.")
        self.job, self.annotation, self.protocol, self.set_name = job, annotation, name, self.name
        settings = {"negative_ratio": 1.0, "maximum_per_label": None, **protocols[name]}
        given = {flag: value for flag in settings if (value := getattr(job, flag)) not in (None, ())}
        self.settings = settings | given
        self.ratio, self.maximum = self.settings["negative_ratio"], self.settings["maximum_per_label"]

    @abc.abstractmethod
    def read(self, path: Path, notes: Notes) -> dict[str, ContigSites]:
        """Returns the sites by contig, as the annotation names it; raises InputError if there are none."""

    def unfit(
        self, codes: UInt8[np.ndarray, "n l"], label: Int8[np.ndarray, " n"]
    ) -> dict[str, Bool[np.ndarray, " n"]]:
        """Returns which positives are left out for what they are, by reason."""
        return {}

    def group(self, codes: UInt8[np.ndarray, "n l"]) -> Int8[np.ndarray, " n"]:
        """Returns the number of each positive's group."""
        return np.zeros(len(codes), np.int8)

    @property
    def origins(self) -> tuple[str, ...]:
        """Returns where examples come from: the annotation, or a kind of negative."""
        return ("annotation", *dict.fromkeys(kind for kinds in self.kinds for kind in kinds))

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        """Returns negatives of a kind, at most one for each template; see KIND_RULES."""
        if kind == "gc-windows":
            return self.windows(place, templates, negatives.gc_windows(place, templates.codes, self.job.gc_tolerance))
        if kind == "shuffle":
            return dataclasses.replace(templates, codes=negatives.dinucleotide_shuffle(templates.codes, place.rng))
        rows = [negatives.substitute_parts(row, place.rng) for row in templates.codes]
        return dataclasses.replace(templates, codes=np.array(rows, np.uint8).reshape(-1, self.length))

    def windows(self, place: Place, templates: Examples, starts: dict[int, int]) -> Examples:
        """Returns the templates that other windows were found for, by their numbers, moved there."""
        numbers = sorted(starts)
        moved, start = templates.take(np.array(numbers, np.int64)), np.array([starts[n] for n in numbers], np.int64)
        return dataclasses.replace(moved, start=start, codes=place.contig.cut(start, moved.reverse, self.length))


DONOR, ACCEPTOR = 0, 1


def by_contig(transcripts: Iterable[Transcript]) -> defaultdict[str, list[Transcript]]:
    """Returns the transcripts of each contig."""
    grouped = defaultdict(list)
    for transcript in transcripts:
        grouped[transcript.contig].append(transcript)
    return grouped


def intron_ends(transcripts: Sequence[Transcript]) -> Int64[np.ndarray, "d 3"]:
    """Returns each distinct end of introns, sorted: start of its two bases, strand (1: reverse), DONOR or ACCEPTOR."""
    ends = {
        (left if (side == 0) != transcript.reverse else right, transcript.reverse, side)
        for transcript in transcripts
        for left, right in ((start, end - 2) for start, end in transcript.introns())
        for side in (DONOR, ACCEPTOR)
    }
    return np.array(sorted(ends), np.int64).reshape(-1, 3)


def _transcripts(
    task: Task, path: Path, notes: Notes, types: tuple[str, ...], without: str
) -> tuple[list[Transcript], list[Transcript]]:
    """Returns all transcripts of the annotation, and those of the gene types.

    Args:
        without: what becomes of genes without transcripts.
    """
    name = str(task.annotation)
    everything = read_transcripts(path, name, notes.left_out)
    chosen = of_gene_types(everything, types, name, notes.left_out)
    notes.read.update({"transcripts": len(everything), "transcripts of the gene types": len(chosen)})
    if number := sum(transcript.is_gene for transcript in chosen):
        notes.read[f"genes without transcripts, {without}"] = number
    return everything, chosen


PromoterNegative = Literal["tata-windows", "gc-windows", "substitution", "shuffle"]

TATA_MOTIF, TATA_FIRST, TATA_LAST = "TATAWA", -34, -24
"""A promoter has a TATA box if this motif begins at one of these offsets from the TSS, which is offset 0."""

_PROMOTER_PROTOCOLS: dict[str, dict[str, Any]] = {
    name: {**offsets, "tata_negatives": ("tata-windows",), "other_negatives": ("substitution",)}
    for name, offsets in {
        "dnabert-prom-300": {"first_offset": -249, "last_offset": 50},
        "dnabert-prom-core": {"first_offset": -34, "last_offset": 35},
    }.items()
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromotersJob(DerivedJob):
    """Promoters and what is none.

    Attributes:
        gtf: Annotation of the same assembly, GTF or GFF3, plain or gzip, - for standard input.
        protocol: dnabert-prom-300 (offsets -249 to +50 from the TSS, which is 0) or dnabert-prom-core (-34 to +35).
        first_offset: First base of a window, from the TSS; the protocol's, if not given.
        last_offset: Last base of a window, from the TSS; the protocol's, if not given.
        tss: One start site a gene (of the transcript tagged Ensembl_canonical or MANE_Select, else the outermost), or
            each distinct one of all transcripts.
        gene_types: Types of genes to take (gene_type or gene_biotype of the annotation); all if none is given.
        tata_negatives: Kinds of negatives for promoters with a TATA box; the protocol's, if not given.
        other_negatives: Kinds of negatives for the others; the protocol's, if not given.
    """

    gtf: Location
    protocol: str = "dnabert-prom-300"
    first_offset: int | None = None
    last_offset: int | None = None
    tss: Literal["gene", "transcript"] = "gene"
    gene_types: tuple[str, ...] = ("protein_coding",)
    tata_negatives: tuple[PromoterNegative, ...] = ()
    other_negatives: tuple[PromoterNegative, ...] = ()


class Promoters(Task):
    """The task of a job."""

    name = "promoters"
    labels = ("background", "promoter")
    groups = ("TATA", "non-TATA")

    def __init__(self, job: PromotersJob):
        super().__init__(job, job.gtf, _PROMOTER_PROTOCOLS, job.protocol)
        self._tss, self._gene_types = job.tss, job.gene_types
        self.first, last = self.settings["first_offset"], self.settings["last_offset"]
        self.length = last - self.first + 1
        self.kinds = (self.settings["tata_negatives"], self.settings["other_negatives"])
        if self.first > TATA_FIRST or last < TATA_LAST + len(TATA_MOTIF) - 1:
            raise InputError(
                f"A window from {self.first:+} to {last:+} does not show whether there is a TATA box: it must hold "
                f"{TATA_FIRST} to {TATA_LAST + len(TATA_MOTIF) - 1}."
            )
        if "tata-windows" in self.kinds[1]:
            raise InputError("tata-windows are for --tata-negatives: the other promoters have no TATA box to match.")
        self.rules = {
            "positives": f"offsets {self.first:+} to {last:+} from the TSS, whose base has offset 0 (the convention of "
            f"EPDnew: {self.length} bases), of one TSS a {job.tss}",
            "tata": f"{TATA_MOTIF} begins at an offset from {TATA_FIRST} to {TATA_LAST}",
        }

    def read(self, path: Path, notes: Notes) -> dict[str, ContigSites]:
        everything, chosen = _transcripts(self, path, notes, self._gene_types, "whose own ends were taken")
        if self._tss == "gene":
            chosen = one_a_gene(chosen)
        around = by_contig(everything)
        sites = {contig: self._sites(own, around[contig]) for contig, own in by_contig(chosen).items()}
        notes.read["distinct start sites"] = sum(len(own.start) for own in sites.values())
        return sites

    def _sites(self, chosen: list[Transcript], everything: list[Transcript]) -> ContigSites:
        start_sites = sorted({(transcript.tss, transcript.reverse) for transcript in chosen})
        windows = [self._start(transcript.tss, transcript.reverse) for transcript in everything]
        return ContigSites(
            start=np.array([self._start(tss, reverse) for tss, reverse in start_sites], np.int64),
            reverse=np.array([reverse for _, reverse in start_sites]),
            label=np.ones(len(start_sites), np.int8),
            avoided=Regions([(start, start + self.length) for start in windows], self.job.negative_distance),
            dinucleotides=intron_ends(everything),
        )

    def _start(self, tss: int, reverse: bool) -> int:
        return tss - (self.first + self.length - 1) if reverse else tss + self.first

    def group(self, codes: UInt8[np.ndarray, "n l"]) -> Int8[np.ndarray, " n"]:
        return np.array([self._box(row) is None for row in codes], bool).astype(np.int8)

    def _box(self, codes: UInt8[np.ndarray, " l"]) -> int | None:
        """Returns where in a window its leftmost TATA box begins, or None."""
        begin = TATA_FIRST - self.first
        region = codes[begin : begin + TATA_LAST - TATA_FIRST + len(TATA_MOTIF)]
        places = motif_places(region, TATA_MOTIF)
        return begin + int(places[0]) if len(places) else None

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        if kind != "tata-windows":
            return super().negatives(kind, place, templates)
        offsets: Int64[np.ndarray, " t"] = np.array([self._box(row) for row in templates.codes], np.int64)
        starts = negatives.motif_windows(place, TATA_MOTIF, offsets, templates.reverse, self.length)
        return self.windows(place, templates, starts)


def one_a_gene(transcripts: Sequence[Transcript]) -> list[Transcript]:
    """Returns, for each gene (on a contig and strand), the canonical transcript, else the one that starts outermost."""
    best: dict[tuple[str, str, bool], Transcript] = {}

    def rank(transcript: Transcript) -> tuple[bool, int]:
        return not transcript.canonical, -transcript.tss if transcript.reverse else transcript.tss

    for transcript in transcripts:
        key = (transcript.gene, transcript.contig, transcript.reverse)
        best[key] = min(best.get(key, transcript), transcript, key=rank)
    return list(best.values())


SpliceNegative = Literal["decoys", "gc-windows", "substitution", "shuffle"]

_SPLICE_PROTOCOLS: dict[str, dict[str, Any]] = {
    "dnabert-splice": {"length": 400, "negatives": ("decoys",), "negative_ratio": 0.5, "maximum_per_label": 10_000}
}

_BASES = {DONOR: "GT", ACCEPTOR: "AG"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpliceJob(DerivedJob):
    """Donors, acceptors, and neither.

    Attributes:
        gtf: Annotation of the same assembly, GTF or GFF3, plain or gzip, - for standard input.
        protocol: dnabert-splice: 400 bases, at most 10,000 a label, GT and AG decoys.
        length: Bases of a window, even: the border of exon and intron is in its middle; the protocol's, if not given.
        gene_types: Types of genes to take (gene_type or gene_biotype of the annotation); all if none is given.
        negatives: Kinds of negatives; the protocol's, if not given. --negative-ratio is for a positive of either label.
        all_sites: Take donors that are not GT and acceptors that are not AG as well.
    """

    gtf: Location
    protocol: str = "dnabert-splice"
    length: int | None = None
    gene_types: tuple[str, ...] = ("protein_coding",)
    negatives: tuple[SpliceNegative, ...] = ()
    all_sites: bool = False


class Splice(Task):
    """The task of a job."""

    name = "splice"
    labels = ("neither", "donor", "acceptor")

    def __init__(self, job: SpliceJob):
        super().__init__(job, job.gtf, _SPLICE_PROTOCOLS, job.protocol)
        self._gene_types, self._all_sites = job.gene_types, job.all_sites
        self.length, self.kinds = self.settings["length"], (self.settings["negatives"],)
        if self.length < 4 or self.length % 2:
            raise InputError(f"A window of {self.length} bases has no border in its middle: give an even length.")
        half = self.length // 2
        self.rules = {
            "positives": f"a donor has {half} bases of its exon, then the intron; an acceptor {half} of the intron, "
            "then the exon",
            "sites": "as annotated" if job.all_sites else "only donors GT and acceptors AG, as decoys have these too",
        }

    def read(self, path: Path, notes: Notes) -> dict[str, ContigSites]:
        everything, chosen = _transcripts(self, path, notes, self._gene_types, "which have no splice sites")
        around, inside = (by_contig(t for t in some if not t.is_gene) for some in (everything, chosen))
        sites = {contig: self._sites(own, inside[contig]) for contig, own in around.items()}
        for label in (1, 2):
            number = sum(int((own.label == label).sum()) for own in sites.values())
            notes.read[f"distinct {self.labels[label]}s"] = number
        sites = {contig: own for contig, own in sites.items() if len(own.start)}
        if not sites:
            raise InputError(f"{self.annotation} has no introns: its transcripts have one exon each, or no exon lines.")
        return sites

    def _sites(self, everything: list[Transcript], chosen: list[Transcript]) -> ContigSites:
        place, reverse, side = intron_ends(chosen).T
        # The border is left of the two bases of a donor, right of those of an acceptor, in the direction of the strand.
        border = place + 2 * ((reverse == 1) != (side == ACCEPTOR))
        every = intron_ends(everything)
        starts = every[:, 0] - self.length // 2
        return ContigSites(
            start=border - self.length // 2,
            reverse=reverse == 1,
            label=(1 + side).astype(np.int8),
            avoided=Regions(np.stack([starts, starts + self.length], axis=1), self.job.negative_distance),
            dinucleotides=every,
            spans=np.array([(t.start, t.end, t.reverse) for t in chosen], np.int64).reshape(-1, 3),
        )

    def unfit(
        self, codes: UInt8[np.ndarray, "n l"], label: Int8[np.ndarray, " n"]
    ) -> dict[str, Bool[np.ndarray, " n"]]:
        if self._all_sites:
            return {}
        return {
            f"they are {self.labels[1 + side]}s and not {bases}": (label == 1 + side)
            & (codes[:, self._place(side) :][:, :2] != base_codes(bases.encode())).any(axis=1)
            for side, bases in _BASES.items()
        }

    def _place(self, side: int) -> int:
        """Returns where in a window the two bases of a donor or acceptor are."""
        return self.length // 2 - 2 * (side == ACCEPTOR)

    def negatives(self, kind: str, place: Place, templates: Examples) -> Examples:
        if kind != "decoys":
            return super().negatives(kind, place, templates)
        parts = []
        for side in (DONOR, ACCEPTOR):
            for reverse in (False, True):
                own = templates.take((templates.label == 1 + side) & (templates.reverse == reverse))
                starts = self._decoys(place, side, reverse, len(own))
                parts.append(self.windows(place, own, dict(enumerate(starts))))
        return joined(parts)

    def _decoys(self, where: Place, side: int, reverse: bool, count: int) -> list[int]:
        """Returns the starts of up to `count` different windows, the first at random places that suit."""
        contig, sites = where.contig, where.sites
        spans = sites.spans[sites.spans[:, 2] == reverse]
        lengths = spans[:, 1] - spans[:, 0]
        annotated = sites.dinucleotides[sites.dinucleotides[:, 1] == reverse, 0]
        near = Regions(annotated[:, None] + [0, 2], DECOY_DISTANCE)
        # Of the two bases, from the window's start on the forward strand.
        offset = self.length - self._place(side) - 2 if reverse else self._place(side)
        bases = base_codes(_BASES[side].encode())
        bases = COMPLEMENT[bases[::-1]] if reverse else bases
        starts: dict[int, None] = {}
        for _ in range(0, PROPOSALS_PER_NEGATIVE * count, PROPOSALS):
            span = where.rng.choice(len(spans), PROPOSALS, p=lengths / lengths.sum())
            two = spans[span, 0] + where.rng.integers(0, np.maximum(lengths[span] - 1, 1))
            start = two[~near.overlap(two, 2)] - offset
            start = start[usable(contig, start, self.length, [where.blacklist])]
            windows = contig.cut(start, np.zeros(len(start), bool), self.length)
            starts |= dict.fromkeys(start[(windows[:, offset : offset + 2] == bases).all(axis=1)].tolist())
            if len(starts) >= count:
                break
        return list(starts)[:count]


TfbsNegative = Literal["gc-windows", "shuffle", "substitution"]

_SHUFFLED = {"length": 101, "negatives": ("shuffle",)}

_TFBS_PROTOCOLS: dict[str, dict[str, Any]] = {
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
    negatives: tuple[TfbsNegative, ...] = ()


class Tfbs(Task):
    """The task of a job."""

    name = "tfbs"
    labels = ("background", "bound")

    def __init__(self, job: TfbsJob):
        super().__init__(job, job.peaks, _TFBS_PROTOCOLS, job.protocol)
        piped = str(job.peaks) == "-" or Path(job.peaks).parent.name == "fd"
        self.set_name = self.name if piped else peak_set_name(file_name(job.peaks))
        self.length, self.kinds = self.settings["length"], (self.settings["negatives"],)
        if self.length < 1:
            raise InputError(f"A window of {self.length} bases is impossible: give 1 or more.")
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
