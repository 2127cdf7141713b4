"""Measured substitutions become a VCF file, and scores of it are correlated with what was measured, by element."""

import gzip
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER = "Chrom\tPos\tRef\tAlt\tBarcodes\tCoefficient\tElement\tRelease\n"
ROWS = [
    ("1", "101", "A", "C", "10", "0.5", "E.1", "GRCh37"),
    ("1", "103", "G", "T", "99", "-1.5", "E.1", "GRCh37"),
    ("1", "104", "T", "A", "99", "0.1", "E.1", "GRCh37"),
    ("1", "104", "T", "-", "99", "3", "E.1", "GRCh37"),  # a deletion
    ("1", "104", "T", "G", "9", "3", "E.1", "GRCh37"),  # too few barcodes
    ("1", "203", "T", "G", "99", "3", "E.1", "GRCh38"),  # another genome
    ("NA", "NA", "NA", "NA", "99", "3", "E.1", "GRCh37"),
]


def program(folder: Path, *arguments: str) -> str:
    measured = ["--measured", str(folder / "measured.tsv.gz"), "--fasta", str(folder / "elements.fa")]
    command = [sys.executable, "-m", "benchmarks.reporter_assays", *arguments, *measured]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_substitutions_and_their_correlation(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "measured.tsv.gz", "wt") as file:
        file.write(HEADER + "".join("\t".join(row) + "\n" for row in ROWS))
    (tmp_path / "elements.fa").write_text(">E.1 hg19 chr1:101-105\nACG\nTA\n>F hg19 chr2:7-8\nAC")
    assert program(tmp_path, "vcf", "--out", str(tmp_path / "out")).startswith("3 substitutions in 2 elements")
    assert (tmp_path / "out/elements.fa").read_text() == ">E.1\nACGTA\n>F\nAC\n"
    rows = [line.split("\t") for line in (tmp_path / "out/variants.vcf").read_text().splitlines() if line[0] != "#"]
    assert [row[:2] + row[3:5] for row in rows] == [
        ["E.1", "1", "A", "C"], ["E.1", "3", "G", "T"], ["E.1", "4", "T", "A"]
    ]  # fmt: skip

    columns = ["contig", "position", "id", "ref", "alt", "left_out", "size", "same"]
    scored = [[*row[:5], "", size, "2"] for row, size in zip(rows, ("1", "5", "0.2"), strict=True)]
    (tmp_path / "scored.tsv").write_text("".join("\t".join(line) + "\n" for line in [columns, *scored]))
    printed = program(tmp_path, "correlate", str(tmp_path / "scored.tsv")).splitlines()
    (row,) = [line for line in printed if line.startswith("| E.1 |")]
    # Of 0.5, -1.5, 0.1 with 1, 5, 0.2: ranks 3, 1, 2 with 2, 3, 1; sizes rank as the scores do.
    assert row.startswith("| E.1 | 3 | -0.500, -0.9")
    assert row.endswith("; +1.000 | +0.000, +0.000; +0.000 |")
