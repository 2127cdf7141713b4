"""Scores of variants beside measured effects: saturation mutagenesis of promoters and enhancers (Kircher et al. 2019).

    python -m benchmarks.reporter_assays vcf --measured elements.tsv.gz --fasta elements.fa --out assays
    dnabert-jax variants --vcf assays/variants.vcf --fasta assays/elements.fa --model MODEL --out assays/scored.vcf
    python -m benchmarks.reporter_assays correlate --measured elements.tsv.gz --fasta elements.fa assays/scored.tsv

The table is the authors' (github.com/kircherlab/MPRA_SaturationMutagenesis): Chrom, Pos, Ref, Alt, Barcodes, ...,
Coefficient (log2 of the alternative's expression over the reference's), pValue, Element, Release. Records of the FASTA
file are named `>ELEMENT build chrom:start-end`, from 1. Substitutions only, of at least --barcodes barcodes.

Correlations are Spearman's and Pearson's over the substitutions of one element, with the measured coefficient and with
its size: a score that has no direction, such as a distance, can only go with the size.
"""

import csv
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from Bio import SeqIO
from scipy.stats import pearsonr, spearmanr

from benchmarks.alternation import flags

_HEADING = re.compile(r"(\S+) \S+ chr\w+:(\d+)-(\d+)$")
_FIELDS = {"contig", "position", "id", "ref", "alt", "left_out"}


class Substitution(NamedTuple):
    """One of an element: the place is counted from 1 in the element."""

    element: str
    place: int
    reference: str
    alternative: str


def main() -> None:
    """Writes the files, or prints the table."""
    parser = flags(__doc__)
    parser.add_argument("what", choices=["vcf", "correlate"])
    parser.add_argument("scored", nargs="*", type=Path, help="tables of `dnabert-jax variants`, to correlate")
    parser.add_argument("--measured", type=Path, required=True, help="table of measured effects")
    parser.add_argument("--fasta", type=Path, required=True, help="sequences of the elements")
    parser.add_argument("--release", default="GRCh37", help="rows of the table that are taken (%(default)s)")
    parser.add_argument("--barcodes", type=int, default=10, help="of a substitution at least (%(default)s)")
    parser.add_argument("--out", type=Path, help="directory to make, of vcf")
    arguments = parser.parse_intermixed_args()
    elements = read_elements(arguments.fasta)
    measured = dict(read_measured(arguments.measured, elements, arguments.release, arguments.barcodes))
    if arguments.what == "vcf":
        arguments.out.mkdir()
        write_vcf(arguments.out, elements, list(measured))
        print(f"{len(measured):,} substitutions in {len(elements)} elements, in {arguments.out}.")
    for path in arguments.scored:
        print(correlations(path, measured), flush=True)


def read_elements(path: Path) -> dict[str, tuple[int, str]]:
    """The first place in the genome, from 1, and the bases of each element."""
    elements = {}
    for record in SeqIO.parse(path, "fasta"):
        found = _HEADING.match(record.description)
        if not found:
            raise SystemExit(f"{path} has a record {record.description!r}, which does not say where it is.")
        elements[found[1]] = int(found[2]), str(record.seq)
    return elements


def read_measured(
    path: Path, elements: dict[str, tuple[int, str]], release: str, barcodes: int
) -> Iterator[tuple[Substitution, float]]:
    """Substitutions and their coefficients."""
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            if row["Release"] == release and int(row["Barcodes"]) >= barcodes and row["Alt"] in set("ACGT"):
                place = int(row["Pos"]) - elements[row["Element"]][0] + 1
                yield Substitution(row["Element"], place, row["Ref"], row["Alt"]), float(row["Coefficient"])


def write_vcf(out: Path, elements: dict[str, tuple[int, str]], substitutions: list[Substitution]) -> None:
    """Writes elements.fa, in which each element is a contig, and variants.vcf."""
    fasta = "".join(f">{name}\n{bases}\n" for name, (_, bases) in elements.items())
    (out / "elements.fa").write_text(fasta, encoding="utf-8")
    contigs = [f"##contig=<ID={name},length={len(bases)}>" for name, (_, bases) in elements.items()]
    columns = "#CHROM POS ID REF ALT QUAL FILTER INFO".replace(" ", "\t")
    rows = (f"{own.element}\t{own.place}\t.\t{own.reference}\t{own.alternative}\t.\t.\t." for own in substitutions)
    lines = ["##fileformat=VCFv4.2", *contigs, columns, *rows]
    (out / "variants.vcf").write_text("\n".join(lines) + "\n", encoding="utf-8")


def correlations(path: Path, measured: dict[Substitution, float]) -> str:
    """A Markdown table, a row for each element and one for their mean, of each score of a file."""
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    scores = [name for name in rows[0] if name not in _FIELDS]
    by_element: dict[str, list[tuple[float, ...]]] = {}
    for row in rows:
        own = Substitution(row["contig"], int(row["position"]), row["ref"], row["alt"])
        if own in measured and not row["left_out"]:
            values = measured[own], *(float(row[name]) for name in scores)
            by_element.setdefault(own.element, []).append(values)
    lines = [f"{path}: Spearman, Pearson with the effect; Spearman with its size.", ""]
    lines += [f"| element | substitutions | {' | '.join(scores)} |", f"|---|---:|{'---:|' * len(scores)}"]
    found = []
    for element, substitutions in by_element.items():
        effect, *columns = np.array(substitutions).T
        found.append([_three(effect, column) for column in columns])
        lines.append(_row(element, len(substitutions), found[-1]))
    lines.append(_row("**mean**", sum(map(len, by_element.values())), np.mean(found, axis=0)))
    return "\n".join(lines) + "\n"


def _three(effect: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    """Of a constant score there is no correlation: it counts as none."""
    if np.ptp(score) == 0:
        return 0.0, 0.0, 0.0
    own = spearmanr(effect, score), pearsonr(effect, score), spearmanr(np.abs(effect), score)
    return own[0].statistic, own[1].statistic, own[2].statistic


def _row(name: str, count: int, of_scores: "list[tuple[float, float, float]] | np.ndarray") -> str:
    return f"| {name} | {count:,} | " + " | ".join("{:+.3f}, {:+.3f}; {:+.3f}".format(*own) for own in of_scores) + " |"


if __name__ == "__main__":
    main()
