"""A contig is found by the name that another file has for it."""

import pytest

from dnabert_jax.io.contigs import ContigNames, contig_key

HG19 = ("chr1", "chr22", "chrX", "chrM", "chrMT", "chrUn_gl000220")


@pytest.mark.parametrize(
    ("contigs", "name", "candidates"),
    [
        (HG19, "chr22", ["chr22"]),
        (HG19, "22", ["chr22"]),
        (HG19, "MT", ["chrMT"]),
        (HG19, "M", ["chrM"]),
        (HG19, "chrM", ["chrM"]),
        (HG19, "Mt", ["chrM", "chrMT"]),
        (HG19, "chrUn_GL000220", ["chrUn_gl000220"]),
        (HG19, "chr2", []),
        (("1", "MT"), "chrM", ["MT"]),
        (("Chr1", "ChrM"), "Mt", ["ChrM"]),
        (("chr1", "1", "CHR1"), "1", ["1"]),
        (("chr1", "CHR1"), "1", ["chr1", "CHR1"]),
    ],
)
def test_the_contig_of_a_name(contigs: tuple[str, ...], name: str, candidates: list[str]) -> None:
    names = ContigNames(contigs)
    assert names.candidates(name) == candidates
    assert names.find(name) == (candidates[0] if len(candidates) == 1 else None)
    assert {contig_key(contig) for contig in candidates} <= {contig_key(name)}
    assert all(contig in names.why_not(name) for contig in candidates if len(candidates) > 1)
