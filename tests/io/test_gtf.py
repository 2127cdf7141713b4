"""Transcripts of annotation in the styles of GENCODE, Ensembl, NCBI, UCSC, BRAKER and GFF3."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dnabert_jax.data_prep.derived.tasks import intron_ends, one_a_gene
from dnabert_jax.errors import InputError
from dnabert_jax.io.gtf import of_gene_types, read_transcripts
from dnabert_jax.io.left_out import LeftOut


def line(feature: str, first: int | str, last: int | str, strand: str, text: str) -> str:
    return "\t".join(["1", "x", feature, str(first), str(last), ".", strand, ".", text])


def annotation(text: str) -> str:
    """Lines of `feature first last strand attributes`, as they stand in a file."""
    return "".join(f"{line(*words.split(' ', 4))}\n" for words in text.splitlines())


def test_coordinates_introns_and_attributes(write: Callable[..., Path]) -> None:
    ids = 'gene_id "G"; transcript_id "T"; gene_biotype "lincRNA"; tag "basic"; tag "Ensembl_canonical";'
    # Exons of a reverse transcript come from right to left; there is no transcript line.
    text = f"""\
gene 1 999 - gene_id "G";
exon 301 400 - {ids}
exon 201 270 - {ids}
exon 101 180 - {ids}
exon 1 10 . transcript_id "U"
CDS 301 400 - {ids}
transcript 51 60 + transcript_id "V"
"""
    notes = LeftOut()
    first, second = read_transcripts(write("a.gtf", annotation(text)), "a", notes)
    assert (first.start, first.end, first.tss, first.gene, first.gene_type) == (100, 400, 399, "G", "lincRNA")
    assert (first.canonical, second.canonical) == (True, False)
    assert (second.start, second.tss, second.gene, second.gene_type) == (50, 50, "V", "")
    # The gap of 20 bases is no intron.
    assert first.introns() == [(270, 300)]
    assert notes.total == 1
    # On the reverse strand the donor is at the right.
    assert intron_ends([first]).tolist() == [[270, 1, 1], [298, 1, 0]]
    first.reverse = False
    assert intron_ends([first, first]).tolist() == [[270, 0, 0], [298, 0, 1]]
    assert of_gene_types([first, second], ("lincRNA",), "a", notes) == [first]
    assert of_gene_types([first, second], (), "a", notes) == [first, second]
    assert any("lincRNA (1)" in remark for remark in notes.remarks)
    with pytest.raises(InputError, match=r"rRNA.*lincRNA \(1\), unknown \(1\)"):
        of_gene_types([first, second], ("rRNA",), "a", notes)
    with pytest.raises(InputError, match="--gene-types"):
        of_gene_types([second], ("rRNA",), "a", notes)


def test_one_transcript_a_gene(write: Callable[..., Path]) -> None:
    text = """\
transcript 10 90 + gene_id "P"; transcript_id "P.1";
transcript 10 90 - gene_id "M"; transcript_id "M.1";
transcript 10 90 + gene_id "C"; transcript_id "C.1";
transcript 5 95 + gene_id "P"; transcript_id "P.2";
transcript 5 95 - gene_id "M"; transcript_id "M.2";
transcript 20 80 + gene_id "C"; transcript_id "C.2"; tag "MANE_Select";
"""
    transcripts = read_transcripts(write("a.gtf", annotation(text)), "a", LeftOut())
    assert [transcript.tss for transcript in one_a_gene(transcripts)] == [4, 94, 19]


TWO_GENES = [("P", 0, 900, False, "protein_coding"), ("M", 1999, 2900, True, "protein_coding")]
"""Gene, start, end, strand and type of what each file says in another way."""

GTF = """\
gene 1 900 + gene_id "P"; gene_type "protein_coding";
transcript 1 900 + note "like; gene_id M; transcript_id M.1"; gene_id "P"; transcript_id "P.1";
exon 1 900 + gene_id "P"; transcript_id "P.1";
exon 2000 2400 - gene_id "M"; transcript_id "M.1"; gene_biotype "protein_coding";  # comment
exon 2500 2900 - gene_id "M"; transcript_id "M.1"; product "a; b";
"""
STYLES = {
    "typed CDS": """\
gene 1 900 + gene_id "P";
CDS 1 300 + gene_id "P"; gene_type "protein_coding";
CDS 2000 2400 - gene_id "M"; gene_biotype "protein_coding";
CDS 2500 2900 - gene_id "M"; gene_biotype "protein_coding";
""",
    "NCBI, a bacterium": """\
gene 1 900 + gene_id "P"; transcript_id ""; gene_biotype "protein_coding"; \n\
CDS 1 897 + gene_id "P"; transcript_id "unassigned_transcript_1"; product "x"; \n\
start_codon 1 3 + gene_id "P"; transcript_id "unassigned_transcript_1"; \n\
gene 2000 2900 - gene_id "M"; transcript_id ""; gene_biotype "protein_coding"; \n\
CDS 2003 2900 - gene_id "M"; transcript_id "unassigned_transcript_2"; \n""",
    "NCBI, unknown transcripts": """\
gene 1 900 + gene_id "P"; transcript_id ""; gene_biotype "protein_coding"; \n\
exon 1 900 + gene_id "P"; transcript_id "unknown_transcript_1"; \n\
gene 2000 2900 - gene_id "M"; transcript_id ""; gene_biotype "protein_coding"; \n\
exon 2000 2900 - gene_id "M"; transcript_id "unknown_transcript_1"; \n""",
    "BRAKER": """\
gene 1 900 + P
transcript 1 900 + P.1
exon 1 900 + transcript_id "P.1"; gene_id "P";
CDS 1 900 + transcript_id "P.1"; gene_id "P";
transcript 2000 2900 - M.1
CDS 2000 2900 - transcript_id "M.1"; gene_id "M";
""",
    "GFF3": """\
mRNA 1 900 + ID=P.1;Parent=P
exon 1 900 + Parent=P.1;Note=5" end
gene 2000 2900 - ID=M;biotype=protein_coding
primary_transcript 2000 2900 - ID=M.0;Parent=M
miRNA 2000 2900 - ID=M.1;Parent=M.0
exon 2000 2400 - ID=e1;Parent=M.1,M.0
five_prime_UTR 2000 2400 - Parent=M.1
""",
    "GFF3 of Prokka": "CDS 1 900 + ID=P;locus_tag=x\nCDS 2000 2900 - ID=M;locus_tag=y\n",
}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(annotation(GTF), id="GTF"),
        pytest.param("\ufeff#!genome-build x\r\n" + annotation(GTF).replace("\n", "\r\n"), id="byte-order mark"),
        pytest.param(annotation(GTF).replace(' "', '="'), id="equals signs"),
        pytest.param(annotation(GTF).replace("\t", " "), id="spaces"),
        pytest.param(annotation(GTF) + "##FASTA\n>1\nACGT\n", id="sequence behind"),
        *(pytest.param(annotation(text), id=style) for style, text in STYLES.items()),
    ],
)
def test_every_style_gives_the_same_genes(text: str, write: Callable[..., Path]) -> None:
    genes = {
        (transcript.gene, transcript.start, transcript.end, transcript.reverse, transcript.gene_type)
        for transcript in read_transcripts(write("a", text), "a", LeftOut())
    }
    assert sorted(genes) == sorted(TWO_GENES)


def test_the_types_of_a_bacterium_stay_apart(write: Callable[..., Path]) -> None:
    text = """\
gene 1 900 + gene_id "P"; gene_biotype "protein_coding"; \n\
CDS 1 897 + gene_id "P"; \n\
gene 2000 2076 - gene_id "R"; gene_biotype "tRNA"; \n\
exon 2000 2076 - gene_id "R"; transcript_id "u"; transcript_biotype "tRNA"; \n"""
    notes = LeftOut()
    transcripts = read_transcripts(write("a", annotation(text)), "a", notes)
    for kind, tss in (("protein_coding", 0), ("tRNA", 2075)):
        assert [transcript.tss for transcript in of_gene_types(transcripts, (kind,), "a", notes)] == [tss]
    assert [transcript.is_gene for transcript in transcripts] == [False, True]
    assert notes.remarks == []


def test_identifiers_with_semicolons_and_genes_without_a_type_but_coding_parts(
    write: Callable[..., Path],
) -> None:
    notes = LeftOut()
    ids = 'gene_id "g;1"; transcript_id "t;1"; tag "a;b";'
    text = annotation(f"exon 1 9 + {ids}\nCDS 1 9 + {ids}")
    (transcript,) = read_transcripts(write("a", text), "a", notes)
    assert (transcript.gene, transcript.gene_type, len(notes.remarks)) == ("g;1", "protein_coding", 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (line("UTR", 1, 9, "+", "gene_id 1"), "a"),
        (line("exon", 1, 9, ".", 'transcript_id "1"'), "line 1 of a(?!.*column 3)"),
        (line("exon", 1, 9, "+", 'gene_id "1"'), "Line 1 of a .*'gene_id"),
        (line("exon", 0, 1, "+", 'transcript_id "1"'), "Line 1 of a .*'0'"),
        (line("exon", 1, int("9" * 4000), "+", 'transcript_id "1"'), "Line 1 of a .*'999"),
        (line("exon", 1, 9, "+", 'transcript_id "1"').replace("\t9", "\t\uff19"), "Line 1 of a .*'\uff19'"),
        (line("exon", 1, 9, "+", 'transcript_id "1"').replace("\t9", "\t1e3"), "Line 1 of a .*'1e3'"),
        ("1\tx\texon\t1\t9\t.\t+\t.", "Line 1 of a has 8 columns"),
    ],
)
def test_bad_annotation(write: Callable[..., Path], content: str, message: str) -> None:
    path = write("a", content)
    with pytest.raises(InputError, match=message):
        read_transcripts(path, "a", LeftOut())
