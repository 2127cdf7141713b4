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

import re
from pathlib import Path

import numpy as np
import pandas as pd
from Bio import SeqIO
from scipy.stats import pearsonr, spearmanr

from benchmarks.alternation import flags

_HEADING = re.compile(r"(\S+) \S+ chr\w+:(\d+)-(\d+)$")
_KEY = ["contig", "position", "ref", "alt"]
"""Columns that say which substitution of which element a row is about; the place is counted from 1 in the element."""


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
    measured = read_measured(arguments.measured, elements, arguments.release, arguments.barcodes)
    if arguments.what == "vcf":
        arguments.out.mkdir()
        write_vcf(arguments.out, elements, measured)
        print(f"{len(measured):,} substitutions in {len(elements)} elements, in {arguments.out}.")
    for path in arguments.scored:
        print(correlations(path, measured), flush=True)


def read_elements(path: Path) -> dict[str, tuple[int, str]]:
    """Returns the first place in the genome, from 1, and the bases of each element."""
    elements = {}
    for record in SeqIO.parse(path, "fasta"):
        heading = _HEADING.match(record.description)
        if not heading:
            raise SystemExit(f"{path} has a record {record.description!r}, which does not say where it is.")
        elements[heading[1]] = int(heading[2]), str(record.seq)
    return elements


def read_measured(path: Path, elements: dict[str, tuple[int, str]], release: str, barcodes: int) -> pd.DataFrame:
    """Returns substitutions and their effects."""
    rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    rows = rows[(rows.Release == release) & (rows.Barcodes.astype(int) >= barcodes) & rows.Alt.isin([*"ACGT"])]
    places = rows.Pos.astype(int) - rows.Element.map({name: start for name, (start, _) in elements.items()}) + 1
    columns = {"contig": rows.Element, "position": places, "ref": rows.Ref, "alt": rows.Alt}
    return pd.DataFrame({**columns, "effect": rows.Coefficient.astype(float)}).drop_duplicates(_KEY, keep="last")


def write_vcf(out: Path, elements: dict[str, tuple[int, str]], substitutions: pd.DataFrame) -> None:
    """Writes elements.fa, in which each element is a contig, and variants.vcf."""
    fasta = "".join(f">{name}\n{bases}\n" for name, (_, bases) in elements.items())
    (out / "elements.fa").write_text(fasta, encoding="utf-8")
    contigs = [f"##contig=<ID={name},length={len(bases)}>" for name, (_, bases) in elements.items()]
    columns = "#CHROM POS ID REF ALT QUAL FILTER INFO".replace(" ", "\t")
    rows = (f"{contig}\t{place}\t.\t{ref}\t{alt}\t.\t.\t." for contig, place, ref, alt, _ in substitutions.values)
    lines = ["##fileformat=VCFv4.2", *contigs, columns, *rows]
    (out / "variants.vcf").write_text("\n".join(lines) + "\n", encoding="utf-8")


def correlations(path: Path, measured: pd.DataFrame) -> str:
    """Returns a Markdown table, a row for each element and one for their mean, of each score of a file."""
    rows = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    scores = [name for name in rows.columns if name not in (*_KEY, "id", "left_out")]
    rows = rows[rows.left_out == ""].astype({"position": int} | dict.fromkeys(scores, float))
    lines = [f"{path}: Spearman, Pearson with the effect; Spearman with its size.", ""]
    lines += [f"| element | substitutions | {' | '.join(scores)} |", f"|---|---:|{'---:|' * len(scores)}"]
    rows, by_element = rows.merge(measured, on=_KEY), []
    for element, group in rows.groupby("contig", sort=False):
        by_element.append([_three(group.effect.to_numpy(), group[name].to_numpy()) for name in scores])
        lines.append(_row(str(element), len(group), by_element[-1]))
    lines.append(_row("**mean**", len(rows), np.mean(by_element, axis=0)))
    return "\n".join(lines) + "\n"


def _three(effect: np.ndarray, score: np.ndarray) -> tuple[float, float, float]:
    """Of a constant score there is no correlation: it counts as none."""
    if np.ptp(score) == 0:
        return 0.0, 0.0, 0.0
    found = spearmanr(effect, score), pearsonr(effect, score), spearmanr(np.abs(effect), score)
    return found[0].statistic, found[1].statistic, found[2].statistic


def _row(name: str, count: int, of_scores: "list[tuple[float, float, float]] | np.ndarray") -> str:
    cells = ("{:+.3f}, {:+.3f}; {:+.3f}".format(*three) for three in of_scores)
    return f"| {name} | {count:,} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
