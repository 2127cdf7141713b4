"""What the three jobs refuse, each with one sentence, and nothing left behind."""

import dataclasses
import re
from pathlib import Path

import pytest

from dnabert_jax.data_prep.derived.promoters import Promoters
from dnabert_jax.data_prep.derived.splice import Splice
from dnabert_jax.data_prep.derived.task import DerivedJob
from dnabert_jax.data_prep.derived.tfbs import Tfbs
from dnabert_jax.errors import InputError
from tests.data_prep.derived.conftest import Assembly, Derived, gtf_text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fasta": ()}, "No sequence file is named"),
        ({"seed": -1}, "The seed is -1"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave something for training"),
        ({"test_contigs": ("a",)}, "a model must not be chosen on the test"),
        ({"test_contigs": ("a",), "validation_contigs": ("a", "b")}, "Both splits have the contigs a"),
        ({"locus_distance": -1}, "A locus distance of -1"),
        ({"negative_distance": -1}, "A distance of -1"),
        ({"gc_tolerance": 2.0}, "A GC tolerance of 2 is no share"),
        ({"negative_ratio": 0.0}, "0.0 negatives for each positive"),
        ({"maximum_per_label": 0}, "At most 0 examples"),
    ],
)
def test_contradictions(tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        DerivedJob(**{"fasta": (tmp_path,), "out": tmp_path, **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"protocol": "x"}, "There is no protocol 'x': choose one of dnabert-prom-300, dnabert-prom-core."),
        ({"first_offset": -20}, "does not show whether there is a TATA box: it must hold -34 to -19"),
        ({"other_negatives": ("tata-windows",)}, "tata-windows are for --tata-negatives"),
        ({"gene_types": ("x",)}, "type x. Its types are protein_coding (42)"),
        ({"test_contigs": ("chr3",), "validation_contigs": ("chr9",)}, "The contig 'chr9' is unknown"),
        ({"locus_distance": 100_000}, "The examples make 3 loci, too few or too large for the split"),
        ({"gtf": Path("none.gtf")}, "none.gtf does not exist"),
        ({"fasta": (Path("none.fa"),)}, "none.fa is not a file that this machine sees"),
    ],
)
def test_bad_promoter_jobs(derived: Derived, tmp_path: Path, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        derived(Promoters, **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">I\nACGT\n", "120 windows of .*(chr1, chr2, chr3, ...).*records of the sequence are I"),
        (">CHR1\nACGT\n>1\nACGT\n>x\n", "CHR1 and 1.*: 40 (chr1, ...)"),
        (">chr1\nACGT\n>chr1\nACGT\n", "Two records are named 'chr1'"),
        (">chr1\nACGT\n", "40 (chr1:280-381, chr1:.*another build"),
        (None, "contig chr1 .*: chr1, 1"),
    ],
)
def test_contigs_that_do_not_fit(
    peaks: Path, derived: Derived, tmp_path: Path, content: str | None, message: str
) -> None:
    fasta = tmp_path / "a.fa"
    fasta.write_text(content or ">chr1\nACGT\n")
    if content is None:
        peaks.write_text(peaks.read_text() + peaks.read_text().replace("chr1", "1"))
    with pytest.raises(InputError, match=re.escape(message).replace(r"\.\*", ".*")):
        derived(Tfbs, fasta=(fasta,))


def test_splice_jobs_that_cannot_be(assembly: Assembly, derived: Derived, tmp_path: Path) -> None:
    gtf, fasta = tmp_path / "a.gtf", tmp_path / "a.fa"
    gtf.write_text(gtf_text([dataclasses.replace(gene, exons=gene.exons[:1]) for gene in assembly.genes]))
    fasta.write_text("".join(f">{name}\nA{text}\n" for name, text in assembly.sequences.items()))
    for task, settings, message in (
        (Splice, {"gtf": gtf}, "has no introns: its transcripts have one exon each"),
        (Splice, {"length": 401}, "A window of 401 bases has no border in its middle"),
        (Tfbs, {"length": 0}, "A window of 0 bases is impossible"),
        (Splice, {"fasta": (fasta,), "all_sites": True}, r"Only \d\.\d% of the 84 introns of .* begin with GT"),
    ):
        with pytest.raises(InputError, match=message):
            derived(task, **settings)
