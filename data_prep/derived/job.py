"""What all of `prepare promoters`, `splice` and `tfbs` are asked alike; contradictions fail here."""

import dataclasses

from dnabert_jax.errors import InputError
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
        for fails, message in (
            (not self.fasta, "No sequence file is named: name at least one."),
            (self.seed < 0, f"The seed is {self.seed}: it must not be negative."),
            (
                min(self.validation_fraction, self.test_fraction) < 0
                or self.validation_fraction + self.test_fraction >= 1,
                f"The fractions for validation, {self.validation_fraction:g}, and test, {self.test_fraction:g}, must "
                "not be negative and leave something for training.",
            ),
            (
                bool(self.validation_contigs) != bool(self.test_contigs),
                "Give --validation-contigs and --test-contigs, or neither: a model must not be chosen on the test.",
            ),
            (bool(both), f"Both splits have the contigs {', '.join(sorted(both))}: give each to one."),
            (self.locus_distance < 0, f"A locus distance of {self.locus_distance} is impossible: give 0 or more."),
            (self.negative_distance < 0, f"A distance of {self.negative_distance} is impossible: give 0 or more."),
            (not 0 <= self.gc_tolerance <= 1, f"A GC tolerance of {self.gc_tolerance:g} is no share: give 0 to 1."),
            (
                self.negative_ratio is not None and self.negative_ratio <= 0,
                f"{self.negative_ratio} negatives for each positive are impossible: give more than 0.",
            ),
            (
                self.maximum_per_label is not None and self.maximum_per_label < 1,
                f"At most {self.maximum_per_label} examples of a label are impossible: give 1 or more.",
            ),
        ):
            if fails:
                raise InputError(message)
