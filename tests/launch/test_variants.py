"""`dnabert-jax variants`: the VCF file and the table have all records, scores or a reason; other readers read them."""

import csv
import gzip
import random
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pysam
import pytest
from flax import nnx

from dnabert_jax import DNABERT
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interpret.variants import scoring
from dnabert_jax.io.vcf import InfoField
from dnabert_jax.model.classification import BertForSequenceClassification
from dnabert_jax.training.saved_model import Description, SavedModel, write_saved_model
from launch.cli import run

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=24)
TASK = TaskConfig("single_label_classification", ("no", "yes"))
CONTIG = "".join(random.Random(2).choices("ACGT", k=50))  # noqa: S311
OTHER = str.maketrans("ACGT", "CGTA")
HEADER = '##fileformat=VCFv4.2\n##INFO=<ID=AF,Number=A,Type=Float,Description="x">\n'
HEADER += "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tS\n"


def line(position: int, alt: str, info: str = ".", ref: str = "", contig: str = "1") -> str:
    ref = ref or CONTIG[position - 1]
    return f"{contig}\t{position}\trs{position}\t{ref}\t{alt}\t.\tlow\t{info}\tGT\t0/1\n"


def other(position: int) -> str:
    return CONTIG[position - 1].translate(OTHER)


RECORDS = [
    line(20, other(20), "AF=0.5"),
    line(21, f"{other(21)},<DEL>", "AF=0.1,0.2;UNDECLARED"),
    line(22, "A", ref=other(22)),
    line(5, "A", contig="chr9"),
    line(30, f"{CONTIG[29]}GG,*"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants")

    @jax.jit
    def initial() -> Any:
        return nnx.to_pure_dict(nnx.state(BertForSequenceClassification(CONFIG, TASK, rngs=nnx.Rngs(0)), nnx.Param))

    rng = np.random.default_rng(0)
    parameters = jax.tree.map(lambda x: np.asarray(x + 0.5 * rng.normal(size=x.shape), np.float32), initial())
    write_saved_model(folder / "model", SavedModel(Description(CONFIG, TASK, {}), 0, parameters))
    (folder / "g.fa").write_text(f">chr1 hg\n{CONTIG.lower()}\n>chr2\nACGT\n")
    (folder / "x.vcf").write_text(HEADER + "".join(RECORDS))
    return folder


def variants(folder: Path, *flags: str | Path, vcf: str | Path = "x.vcf", fasta: str | Path = "g.fa") -> int:
    files = ["--vcf", folder / vcf, "--fasta", folder / fasta, "--model", folder / "model", "--window", "15"]
    return run(["variants", *map(str, (*files, *flags))])


@pytest.mark.parametrize("name", ["y.vcf", "y.vcf.gz"])
def test_every_record_comes_back_with_scores_or_a_reason(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert variants(folder, "--out", tmp_path / name, "--strands", "forward") == 0
    printed = capsys.readouterr().out
    assert "5 records, 7 alternative alleles: 3 scored." in printed
    for sentence in (
        "contig is not in the genome: 1",
        "REF is not what the genome has: 1",
        "symbolic allele, breakend or overlapping deletion: 2",
    ):
        assert f"Left out, {sentence}." in printed
    with (tmp_path / "y.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    scores = ["reference", "alternative", "difference", "log_odds_ratio"]
    assert list(rows[0]) == ["contig", "position", "id", "ref", "alt", *scores, "left_out"]
    assert [row["position"] for row in rows] == ["20", "21", "21", "22", "5", "30", "30"]
    window = CONTIG[12:27]
    model = DNABERT.from_pretrained(folder / "model")
    before, after = model.predict([window, window[:7] + other(20) + window[8:]])[:, 1]
    assert float(rows[0]["reference"]) == pytest.approx(before, abs=1e-5)
    assert float(rows[0]["alternative"]) == pytest.approx(after, abs=1e-5)
    # What was there stays to the byte: without our fields, the file is the one that was given.
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "rt") as file:
        lines = file.readlines()
    kept = [own for own in lines if "ID=DNABERT" not in own]
    columns = [own.split("\t") for own in kept]
    for own in columns[3:]:
        own[7] = ";".join(field for field in own[7].split(";") if not field.startswith("DNABERT")) or "."
    assert "".join("\t".join(own) for own in columns) == HEADER + "".join(RECORDS)


def test_other_readers_find_the_declared_fields(folder: Path, tmp_path: Path) -> None:
    assert variants(folder, "--out", tmp_path / "y.vcf.gz") == 0
    with (tmp_path / "y.tsv").open() as file:
        rows = iter(list(csv.DictReader(file, delimiter="\t")))
    with pysam.VariantFile(str(tmp_path / "y.vcf.gz")) as file:
        declared = {name: field for name, field in file.header.info.items() if name.startswith("DNABERT")}
        assert {field.number for field in declared.values()} == {"A"}
        assert "label yes" in declared["DNABERT_REFERENCE"].description
        for record in file:
            for number in range(len(record.alts or ())):
                row = next(rows)
                for name in ("reference", "alternative", "difference", "log_odds_ratio"):
                    values = record.info.get(f"DNABERT_{name.upper()}")
                    found = None if values is None else values[number]
                    assert found == (pytest.approx(float(row[name]), rel=1e-4) if row[name] else None)
                reasons = record.info.get("DNABERT_LEFT_OUT")
                own = None if reasons is None else reasons[number]
                assert (own in (None, ".")) == (not row["left_out"])
    assert next(rows, None) is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("chr1\t5\t.\tA\tC\n", "is no VCF file"),
        ("", "is no VCF file"),
        (HEADER, "has no variant"),
        (HEADER + "1\tx\t.\tA\tC\t.\t.\t.\tGT\t0\n", "Line 4 of"),
        (HEADER + "\n1\t5\t.\tA\tC\n", "Line 5 of"),
        (HEADER + line(5, "A", contig="chr9"), "has none of the contigs of"),
        (HEADER.replace("ID=AF", "ID=DNABERT_REFERENCE") + RECORDS[0], "has the field DNABERT_REFERENCE already"),
        (HEADER + f"1\t{2**63}\t.\tA\tC\t.\t.\t.\tGT\t0\n", "Line 4 of"),
        (f"##é\n{HEADER}".encode("latin-1"), "bad.vcf is no text"),
        (HEADER.encode("utf-16"), "bad.vcf is no text"),
        (gzip.compress(b"BCF\x02\x02\xff\xfe", mtime=0), "a BCF file"),
        (gzip.compress((HEADER + RECORDS[0]).encode(), mtime=0)[:-9], "cannot be read as a VCF file"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, sentence: str
) -> None:
    (tmp_path / "bad.vcf").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert variants(folder, "--out", tmp_path / "y.vcf", vcf=tmp_path / "bad.vcf") == 2
    error = capsys.readouterr().err
    assert "dnabert-jax: error: " in error
    assert sentence in error
    assert [path.name for path in tmp_path.iterdir()] == ["bad.vcf"]


def test_each_line_keeps_its_end(folder: Path, tmp_path: Path) -> None:
    given = (HEADER + "".join(RECORDS)).replace("\n", "\r\n").encode()
    # One of another kind, a lone CR that ends no line, a blank line, and none at the end.
    given = given.replace(b"AF=0.5\tGT\t0/1\r\n", b"AF=0.5\tGT\t0/1 a\rb\n\r\n").removesuffix(b"\r\n")
    (tmp_path / "x.vcf").write_bytes(given)
    assert variants(folder, "--out", tmp_path / "y.vcf", vcf=tmp_path / "x.vcf") == 0
    found = (tmp_path / "y.vcf").read_bytes()
    kept = re.sub(rb"##INFO=<ID=DNABERT.*\r\n", b"", found)
    kept = re.sub(rb"DNABERT[^\t]*", b".", kept).replace(b";.", b"")
    assert kept == given.replace(b"\n\r\n", b"\n")


def test_a_label_with_quotes_is_escaped(folder: Path, tmp_path: Path) -> None:
    text = str(InfoField("DNABERT_X", "Float", 'of "a\\b"'))
    assert text == r'##INFO=<ID=DNABERT_X,Number=A,Type=Float,Description="of \"a\\b\"">'
    (tmp_path / "x.vcf").write_text(HEADER.replace("#CHROM", f"{text}\n#CHROM") + RECORDS[0])
    with pysam.VariantFile(str(tmp_path / "x.vcf")) as file:
        assert file.header.info["DNABERT_X"].number == "A"
        assert len(list(file)) == 1


def test_the_index_of_the_genome_is_used(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(folder / "g.fa", tmp_path / "g.fa")
    pysam.faidx(str(tmp_path / "g.fa"))
    assert variants(folder, "--out", tmp_path / "y.vcf", fasta=tmp_path / "g.fa") == 0
    assert "3 scored." in capsys.readouterr().out
    (tmp_path / "g.fa").write_text(f">chr1 hg\nA{CONTIG.lower()}\n>chr2\nACGT\n")
    assert variants(folder, "--out", tmp_path / "z.vcf", fasta=tmp_path / "g.fa") == 2
    assert "cannot be read by its index" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("z.")]


def test_scores_that_are_not_finite_are_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scoring, "weighted_difference", lambda before, after: np.full_like(before, np.nan))
    assert variants(folder, "--out", tmp_path / "y.vcf") == 1
    # HEADER has three lines.
    assert f"Line 4 of {folder / 'x.vcf'} (1:20" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--out", "y.bcf"], "must end in .vcf or .vcf.gz"),
        (["--out", "y.vcf", "--table", "y.txt"], "must end in .tsv"),
        (["--out", "x.vcf"], "exists already"),
        (["--out", "y.vcf", "--scores", "likelihood"], "this has none"),
        (["--out", "y.vcf", "--vcf", "none.vcf"], "is not a file on disk"),
    ],
)
def test_bad_flags_are_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flags: list[str], sentence: str
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.iterdir())
    assert variants(folder, *flags) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before
