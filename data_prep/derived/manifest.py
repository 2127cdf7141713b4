"""manifest.json of a derived data set: every choice, and all counts."""

import dataclasses
from typing import Any

from dnabert_jax.data.manifest import EXAMPLES_FORMAT

FILE_NAME = "manifest.json"
TABLE = "examples.tsv.gz"


@dataclasses.dataclass(frozen=True)
class DerivedManifest:
    """A whole data set.

    Attributes:
        name: of the data set: its peak file without endings, or its task.
        choices: every setting in force, by its flag's name.
        rules: what they mean, in words.
        sources: name, size and SHA-256 of each file that was read.
        labels: names in the order of their numbers, the negatives' first.
        left_out: positives that are no example, and duplicates, by reason.
        left_out_examples: the first few of each reason.
        remarks: what is unusual about the annotation.
        missing: negatives that were not found, by kind.
        contigs: number of positives on each contig that the sequence does not have (`absent`), and the names that
            were taken for one another (`renamed`).
        assembly: how many introns have GT and AG, if there are introns.
        splits: examples of each split, by label, group and origin.
        gc_content: mean share of C and G of the examples of each origin.
        loci: their number, and the share of the examples in the largest.
        files: SHA-256 of each other file, by name.
    """

    name: str
    task: str
    protocol: str
    choices: dict[str, Any]
    rules: dict[str, str]
    sources: list[dict[str, Any]]
    labels: tuple[str, ...]
    read: dict[str, int]
    left_out: dict[str, int]
    missing: dict[str, int]
    contigs: dict[str, dict[str, Any]]
    assembly: dict[str, int | float]
    splits: dict[str, dict[str, dict[str, int]]]
    gc_content: dict[str, float]
    loci: dict[str, int | float]
    files: dict[str, str]
    left_out_examples: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    format: str = EXAMPLES_FORMAT
