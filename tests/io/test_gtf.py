"""Transcripts of GTF files in the styles of GENCODE, Ensembl and UCSC."""

from collections import Counter
from pathlib import Path

import pytest

from data_prep.derived.introns import intron_ends
from data_prep.derived.promoters import one_a_gene
from dnabert_jax.errors import InputError
from dnabert_jax.io.gtf import of_gene_types, read_transcripts


def line(feature: str, first: int, last: int, strand: str, text: str) -> str:
    return "\t".join(["1", "x", feature, str(first), str(last), ".", strand, ".", text])


def test_coordinates_introns_and_attributes(tmp_path: Path) -> None:
    ids = 'gene_id "G"; transcript_id "T"; gene_biotype "lincRNA"; tag "basic"; tag "Ensembl_canonical";'
    path = tmp_path / "a.gtf"
    path.write_text(
        "\n".join(
            [
                line("gene", 1, 999, "-", 'gene_id "G";'),
                # Exons of a reverse transcript come from right to left; there is no transcript line.
                line("exon", 301, 400, "-", ids),
                line("exon", 201, 270, "-", ids),
                line("exon", 101, 180, "-", ids),
                line("exon", 1, 10, ".", 'transcript_id "U"'),
                line("CDS", 301, 400, "-", ids),
                line("transcript", 51, 60, "+", 'transcript_id "V"'),
            ]
        )
    )
    left_out: Counter[str] = Counter()
    first, second = read_transcripts(path, "a", left_out)
    assert (first.start, first.end, first.tss, first.gene, first.gene_type) == (100, 400, 399, "G", "lincRNA")
    assert (first.canonical, second.canonical) == (True, False)
    assert (second.start, second.tss, second.gene, second.gene_type) == (50, 50, "V", "")
    # The gap of 20 bases is no intron.
    assert first.introns() == [(270, 300)]
    assert sum(left_out.values()) == 1
    # On the reverse strand the donor is at the right.
    assert intron_ends([first]).tolist() == [[270, 1, 1], [298, 1, 0]]
    first.reverse = False
    assert intron_ends([first, first]).tolist() == [[270, 0, 0], [298, 0, 1]]
    assert of_gene_types([first, second], ("lincRNA",), "a") == [first]
    assert of_gene_types([first, second], (), "a") == [first, second]
    with pytest.raises(InputError, match=r"no transcript of gene type rRNA; it has lincRNA \(1\), none \(1\)"):
        of_gene_types([first, second], ("rRNA",), "a")


def test_one_transcript_a_gene(tmp_path: Path) -> None:
    def text(gene: str, number: int, tag: str = "") -> str:
        return f'gene_id "{gene}"; transcript_id "{gene}.{number}"; {tag}'

    path = tmp_path / "a.gtf"
    rows = [line("transcript", 10, 90, s, text(g, 1)) for g, s in (("P", "+"), ("M", "-"), ("C", "+"))]
    rows += [line("transcript", 5, 95, s, text(g, 2)) for g, s in (("P", "+"), ("M", "-"))]
    rows += [line("transcript", 20, 80, "+", text("C", 2, 'tag "MANE_Select";'))]
    path.write_text("\n".join(rows))
    assert [found.tss for found in one_a_gene(read_transcripts(path, "a", Counter()))] == [4, 94, 19]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("#\n", "a has no transcripts"),
        (line("gene", 1, 9, "+", "gene_id 1"), "a has no transcripts"),
        (line("exon", 1, 9, "+", "ID=exon:1;Parent=T"), "no transcript_id.*it looks like GFF3"),
        (line("exon", 1, 9, "+", 'gene_id "1"'), "Line 1 of a has no transcript_id"),
        (line("exon", 9, 1, "+", 'transcript_id "1"'), "no interval"),
        (line("exon", 0, 1, "+", 'transcript_id "1"'), "no interval"),
        ("1\tx\texon\t1\t9\t.\t+\t.", "Line 1 of a has 8 columns separated by tabs, where GTF has 9"),
    ],
)
def test_bad_annotation(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.gtf"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_transcripts(path, "a", Counter())
