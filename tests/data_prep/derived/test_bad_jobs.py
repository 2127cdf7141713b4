"""What the three jobs refuse, each with one sentence, and nothing left behind."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from dnabert_jax.data_prep.derived.tasks import Promoters, Splice, Tfbs
from dnabert_jax.errors import InputError
from tests.data_prep.derived.conftest import Assembly, Derived, gtf_text


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        (Promoters, {"fasta": ()}, "sequence file"),
        (Promoters, {"seed": -1}, "-1"),
        (Promoters, {"validation_fraction": 0.5, "test_fraction": 0.5}, "0.5"),
        (Promoters, {"test_contigs": ("a",)}, "--validation-contigs"),
        (Promoters, {"test_contigs": ("a",), "validation_contigs": ("a", "b")}, "contigs a:"),
        (Promoters, {"locus_distance": -1}, "locus distance of -1"),
        (Promoters, {"negative_distance": -1}, "-1"),
        (Promoters, {"gc_tolerance": 2.0}, "GC tolerance of 2"),
        (Promoters, {"negative_ratio": 0.0}, "0.0"),
        (Promoters, {"maximum_per_label": 0}, " 0 "),
        (Promoters, {"protocol": "x"}, "'x': choose one of dnabert-prom-300, dnabert-prom-core"),
        (Promoters, {"first_offset": -20}, "-34 to -19"),
        (Promoters, {"other_negatives": ("tata-windows",)}, "--tata-negatives"),
        (Promoters, {"gene_types": ("x",)}, "type x. Its types are protein_coding (42)"),
        (Promoters, {"test_contigs": ("chr3",), "validation_contigs": ("chr9",)}, "'chr9'"),
        (Promoters, {"test_contigs": ("chr3",), "validation_contigs": ("chr1", "chr2")}, "'train'"),
        (Promoters, {"locus_distance": 100_000}, "3 loci"),
        (Promoters, {"gtf": Path("none.gtf")}, "none.gtf"),
        (Promoters, {"fasta": (Path("none.fa"),)}, "none.fa"),
        (Splice, {"length": 401}, "401"),
        (Tfbs, {"length": 0}, " 0 "),
    ],
)
def test_settings_without_sense(
    task: type, settings: dict[str, Any], message: str, derived: Derived, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        derived(task, **settings)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (">I\nACGT\n", "120 windows of .*(chr1, chr2, chr3, ...).*records of the sequence are I"),
        (">CHR1\nACGT\n>1\nACGT\n>x\n", "CHR1 and 1.*: 40 (chr1, ...)"),
        (">chr1\nACGT\n>chr1\nACGT\n", "'chr1'"),
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


def test_annotation_without_introns_or_of_another_assembly(
    assembly: Assembly, derived: Derived, tmp_path: Path
) -> None:
    gtf, fasta = tmp_path / "a.gtf", tmp_path / "a.fa"
    gtf.write_text(gtf_text([dataclasses.replace(gene, exons=gene.exons[:1]) for gene in assembly.genes]))
    fasta.write_text("".join(f">{name}\nA{text}\n" for name, text in assembly.sequences.items()))
    for settings, message in (({"gtf": gtf}, "a.gtf"), ({"fasta": (fasta,), "all_sites": True}, r"\d\.\d% of the 84 ")):
        with pytest.raises(InputError, match=message):
            derived(Splice, **settings)
