"""What all of `prepare promoters`, `splice` and `tfbs` are asked alike; contradictions fail here."""

import dataclasses

from dnabert_jax.config import require
from dnabert_jax.storage import Location


@dataclasses.dataclass(frozen=True, kw_only=True)
class DerivedJob:
    """What to derive from, how to split, and where to; the command line takes its flags and their help from here.

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
