"""VCF files come back byte for byte, and what is added to them is what pysam reads."""

import tempfile
from pathlib import Path

import pysam
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.io.vcf import InfoField, VcfRecord, annotated, read_vcf, vcf_writer

DNA = st.text("ACGTN", min_size=1, max_size=5)
INFO = st.lists(st.sampled_from(["AF=0.5", "DB", "AN=2"]), unique=True).map(lambda fields: ";".join(fields) or ".")
RECORDS = st.lists(
    st.tuples(
        st.sampled_from(["chr1", "X", "HLA-A*01:01"]), st.integers(1, 10**6).map(str),
        st.sampled_from([".", "rs1"]), DNA,
        st.one_of(st.just("."), st.lists(DNA, min_size=1, max_size=3).map(",".join)), st.just("."),
        st.sampled_from([".", "PASS"]), INFO, st.just("GT"), st.sampled_from(["0/1", "./."]),
    ),
    max_size=6,
)  # fmt: skip
FIELDS = [("INFO", "AF", "A", "Float"), ("INFO", "DB", "0", "Flag"), ("INFO", "AN", "1", "Integer")]
HEADER = [
    "##fileformat=VCFv4.3",
    *(f"##contig=<ID={contig}>" for contig in ("chr1", "X", "HLA-A*01:01")),
    *(
        f'##{column}=<ID={name},Number={number},Type={kind},Description="-">'
        for column, name, number, kind in (*FIELDS, ("FORMAT", "GT", "1", "String"))
    ),
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tsample",
]


def written(parts: list[str | VcfRecord], path: Path, score: bool) -> None:
    """Writes what was read, with a score for each alternative allele if asked to."""
    fields = [InfoField("SCORE", "A", "Float", "Of the allele")] if score else []
    header, records = [], []
    for part in parts:
        (records if isinstance(part, VcfRecord) else header).append(part)
    with path.open("wb") as file, vcf_writer(file, path, header, fields) as write:
        for number, record in enumerate(records):
            scores = [f"{number}.{place}" for place in range(len(record.alternatives))]
            write(annotated(record, {"SCORE": scores} if score and scores else {}))


@given(RECORDS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_lines_come_back_byte_for_byte(records: list[tuple[str, ...]], end: str, ends: bool) -> None:
    lines = [*HEADER, *map("\t".join, records)]
    text = end.join(lines) + (end if ends or not records else "")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "x.vcf")
        path.write_bytes(text.encode())
        parts = list(read_vcf(path))
        assert [part.position for part in parts if isinstance(part, VcfRecord)] == [int(each[1]) for each in records]
        written(parts, Path(directory, "y.vcf"), score=False)
        assert Path(directory, "y.vcf").read_bytes() == text.encode()


@given(RECORDS, st.sampled_from(["y.vcf", "y.vcf.gz"]))
def test_scores_are_read_by_pysam_beside_all_that_was_there(records: list[tuple[str, ...]], name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path, scored = Path(directory, "x.vcf"), Path(directory, name)
        path.write_text("\n".join([*HEADER, *map("\t".join, records), ""]))
        written(list(read_vcf(path)), scored, score=True)
        with pysam.VariantFile(str(path)) as before, pysam.VariantFile(str(scored)) as after:
            for number, (old, new) in enumerate(zip(before, after, strict=True)):
                scores = new.info.pop("SCORE", ())
                assert [round(value, 1) for value in scores] == [
                    number + place / 10 for place in range(len(new.alts or ()))
                ]
                assert str(new) == str(old)
