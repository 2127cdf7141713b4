"""`dnabert-jax variants`: the VCF file and the table have all records, scores or a reason; other readers read them."""

import gzip
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pysam
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interpret.variants import scoring
from dnabert_jax.io.vcf import InfoField
from tests.commands.conftest import Capture, Fails, Patch, table, write_classifier

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=24)
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


def write_model(directory: Path, problem: str = "single_label_classification", **provenance: Any) -> None:
    labels = ("x",) if problem == "regression" else ("no", "yes")
    write_classifier(directory, CONFIG, TaskConfig(problem, labels), **provenance)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variants")
    write_model(folder / "model")
    (folder / "g.fa").write_text(f">chr1 hg\n{CONTIG.lower()}\n>chr2\nACGT\n")
    (folder / "x.vcf").write_text(HEADER + "".join(RECORDS))
    assert run(variants(folder, "--out", folder / "scored.vcf.gz")) == 0
    return folder


def variants(folder: Path, *flags: object, vcf: Any = "x.vcf", model: Any = "model", window: str = "15") -> list[str]:
    files = ["--vcf", folder / vcf, "--fasta", folder / "g.fa", "--model", folder / model]
    return ["variants", *map(str, (*files, *(["--window", window] if window else []), *flags))]


def without_ours(annotated: bytes) -> bytes:
    """What remains of an annotated VCF file without the fields that were added."""
    kept = []
    for own in annotated.splitlines(keepends=True):
        columns = own.split(b"\t")
        if len(columns) > 7 and not own.startswith(b"#"):
            end = columns[7][len(columns[7].rstrip(b"\r\n")) :]
            fields = columns[7].removesuffix(end).split(b";")
            columns[7] = (b";".join(field for field in fields if not field.startswith(b"DNABERT")) or b".") + end
        if not own.startswith(b"##INFO=<ID=DNABERT"):
            kept.append(b"\t".join(columns))
    return b"".join(kept)


@pytest.mark.parametrize("name", ["y.vcf", "y.vcf.gz"])
def test_records_come_back_with_scores_or_a_reason(folder: Path, tmp_path: Path, capsys: Capture, name: str) -> None:
    assert run(variants(folder, "--out", tmp_path / name, "--strands", "forward")) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\b5\b.*\b7\b.*\b3\b", printed)
    assert "chr9:5" in printed
    for reason, count in (("REF.*genome", 1), ("symbolic", 2)):
        assert re.search(rf"{reason}.*: {count} ", printed)
    rows = table(tmp_path / "y.tsv")
    scores = ["reference", "alternative", "effect", "effect_log_odds", "difference", "log_odds_ratio"]
    assert list(rows[0]) == ["contig", "position", "id", "ref", "alt", "label", *scores, "left_out"]
    assert [row["position"] for row in rows] == ["20", "21", "21", "22", "5", "30", "30"]
    window = CONTIG[12:27]
    model = DNAModel.from_pretrained(folder / "model")
    before, after = model.predict([window, window[:7] + other(20) + window[8:]])[:, 1]
    assert float(rows[0]["reference"]) == pytest.approx(before, abs=1e-5)
    assert float(rows[0]["alternative"]) == pytest.approx(after, abs=1e-5)
    opened = gzip.open if name.endswith(".gz") else open
    with opened(tmp_path / name, "rb") as file:
        assert without_ours(file.read()) == (HEADER + "".join(RECORDS)).encode()


@pytest.mark.parametrize("label", ["no", "x"])
def test_effects_have_the_sign_of_the_change(folder: Path, tmp_path: Path, label: str) -> None:
    write_model(tmp_path / "x", "regression")
    model = tmp_path / "x" if label == "x" else "model"
    assert run(variants(folder, "--out", tmp_path / "y.vcf", "--label", label, model=model)) == 0
    tables = (table(path) for path in (tmp_path / "y.tsv", folder / "scored.tsv"))
    rows, scored = ([row for row in rows if not row["left_out"]] for rows in tables)
    assert [row["label"] for row in rows] == [label] * 3
    for row, yes in zip(rows, scored, strict=True):
        before, after, effect = (float(row[name]) for name in ("reference", "alternative", "effect"))
        assert effect == pytest.approx(after - before, abs=1e-12)
        if label == "x":
            assert row["difference"] == row["effect"]
            assert "effect_log_odds" not in row
        else:
            odds = math.log(after / (1 - after)) - math.log(before / (1 - before))
            assert float(row["effect_log_odds"]) == pytest.approx(odds, abs=1e-9)
            assert effect == pytest.approx(-float(yes["effect"]), abs=1e-6)


def test_other_readers_find_the_declared_fields(folder: Path) -> None:
    rows = iter(table(folder / "scored.tsv"))
    with pysam.VariantFile(str(folder / "scored.vcf.gz")) as file:
        declared = {name: field for name, field in file.header.info.items() if name.startswith("DNABERT")}
        # A record without an ALT has a reason too, which would be one value too many for A.
        assert {name for name, field in declared.items() if field.number != "A"} == {"DNABERT_LEFT_OUT"}
        assert "label yes" in declared["DNABERT_REFERENCE"].description
        for record, number in ((each, number) for each in file for number in range(len(each.alts))):
            row = next(rows)
            values = {name: record.info.get(name, [None] * 2)[number] for name in declared}
            assert (values.pop("DNABERT_LEFT_OUT") in (None, ".")) == (not row["left_out"])
            for name, value in values.items():
                cell = row[name.removeprefix("DNABERT_").lower()]
                assert value == (pytest.approx(float(cell), rel=1e-4) if cell else None)
    assert next(rows, None) is None


def test_bad_input_leaves_no_file(folder: Path, tmp_path: Path, fails: Fails) -> None:
    for content, value in (
        ("chr1\t5\t.\tA\tC\n", "line 1"),
        ("", ""),
        (HEADER, ""),
        *((f"{HEADER}1\t{number}\t.\tA\tC\t.\t.\t.\tGT\t0\n", number) for number in ("x", "٥", str(2**63))),
        (HEADER + "\n1\t5\t.\tA\tC\n", "Line 5 of"),
        (HEADER + RECORDS[0].replace("\t", " "), "Line 4 of"),
        (HEADER + RECORDS[0] + HEADER.replace("\tS", "\tT") + RECORDS[1], "Line 7 of"),
        (HEADER + line(5, "A", contig="chr9") + line(5, "A", contig="chr8"), "chr8:5"),
        (HEADER + line(22, "A", ref=other(22)) + line(20, "<DEL>"), "2"),
        (HEADER.replace("ID=AF", "ID=DNABERT_EFFECT") + RECORDS[0], "DNABERT_EFFECT"),
        (gzip.compress(b"BCF\x02\x02\xff\xfe", mtime=0), "BCF"),
    ):
        (tmp_path / "bad.vcf").write_bytes(content if isinstance(content, bytes) else content.encode())
        error = fails(*variants(folder, "--out", tmp_path / "y.vcf", vcf=tmp_path / "bad.vcf"), within=tmp_path)
        assert "bad.vcf" in error
        assert value in error


def test_many_mismatches_ask_for_the_build_of_the_genome(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    right, wrong = [line(at, other(at)) for at in (20, 21)], [line(at, "A", ref=other(at)) for at in (22, 23, 24)]
    for name, records, asked in ("a", right + wrong[:2], False), ("b", right + wrong, True):
        (tmp_path / f"{name}.vcf").write_text(HEADER + "".join(records))
        assert run(variants(folder, "--out", tmp_path / f"{name}-out.vcf", vcf=tmp_path / f"{name}.vcf")) == 0
        assert ("3 of 5" in capsys.readouterr().out) == asked


_ALL = HEADER + "".join(RECORDS)
_BF = '##INFO=<ID=BF,Number=1,Type=Float,Description="y">\n'
_BF_HEADER = HEADER.replace("#CHROM", f"{_BF}#CHROM")
_LATIN = line(20, other(20), info="NOTE=Sj\udcf6gren")
_SPACED = line(21, f"{other(21)} , <DEL>", ref=f"{CONTIG[20]} ")
AS_PEOPLE_HAVE_THEM = {
    "latin-1": HEADER + _LATIN + RECORDS[1],
    "latin-1 header": f"##Universit\udce4t\n{_ALL}",
    "mixed ends": HEADER + RECORDS[0].replace("\n", "\r") + RECORDS[1].replace("\n", "\r\n") + RECORDS[2],
    "tabs at ends": HEADER + RECORDS[0].replace("\n", "\t\n") + RECORDS[1].replace("\n", "\t\n"),
    "tab at header's end": _ALL.replace("\tS\n", "\tS\t\n"),
    "blank header": _ALL.replace("#CHROM", "\n#CHROM"),
    "lower case": _ALL.replace("#CHROM", "#chrom").replace("INFO\t", "Info\t"),
    "header with spaces": HEADER.replace("\t", " ") + RECORDS[0] + RECORDS[1],
    "spaces around values": HEADER + RECORDS[0].replace("1\t20", "1 \t20") + _SPACED,
    "byte-order mark": "\ufeff" + _ALL,
    "blank lines": HEADER + RECORDS[0] + "\n" + RECORDS[1] + "\t\n",
    "joined files": HEADER + RECORDS[0] + _BF_HEADER + RECORDS[1],
}
# What the second header declares is before the line of columns.
COMES_BACK = {"byte-order mark": _ALL, "blank lines": HEADER + RECORDS[0] + RECORDS[1]}
COMES_BACK["joined files"] = _BF_HEADER + RECORDS[0] + RECORDS[1]


@pytest.mark.parametrize("name", AS_PEOPLE_HAVE_THEM)
def test_files_as_people_have_them_are_scored_and_come_back(folder: Path, tmp_path: Path, name: str) -> None:
    content = AS_PEOPLE_HAVE_THEM[name].encode("utf-8", "surrogateescape")
    (tmp_path / "x.vcf").write_bytes(gzip.compress(content) if len(name) % 2 else content)
    assert run(variants(folder, "--out", tmp_path / "y.vcf", vcf=tmp_path / "x.vcf")) == 0
    expected = COMES_BACK.get(name, AS_PEOPLE_HAVE_THEM[name])
    assert without_ours((tmp_path / "y.vcf").read_bytes()) == expected.encode("utf-8", "surrogateescape")
    rows = table(tmp_path / "y.tsv")
    assert len(rows) >= 3
    for row, plain in zip(rows, table(folder / "scored.tsv"), strict=False):
        assert (row["contig"], row["ref"], row["alt"]) == (plain["contig"], plain["ref"], plain["alt"])
        assert float(row["effect"] or "nan") == pytest.approx(float(plain["effect"] or "nan"), abs=1e-6, nan_ok=True)


def test_the_window_is_the_length_of_the_training_sequences(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    write_model(tmp_path / "model", finetuning={"lengths": {"minimum": 13, "median": 15, "maximum": 19}})
    for window, lengths, warned in (("", True, False), ("15", False, False), ("13", False, False), ("9", True, True)):
        out = tmp_path / f"w{window}.vcf"
        assert run(variants(folder, "--out", out, model=tmp_path / "model", window=window)) == 0
        printed = capsys.readouterr().out
        assert ("13 to 19 bases" in printed, "Warning" in printed) == (lengths, warned)
    assert table(tmp_path / "w.tsv") == table(tmp_path / "w15.tsv")
    assert run(variants(folder, "--out", tmp_path / "c.vcf", window="")) == 2
    assert "--window" in capsys.readouterr().err


def test_a_label_with_quotes_is_escaped() -> None:
    text = str(InfoField("DNABERT_X", "A", "Float", 'of "a\\b"'))
    assert text == r'##INFO=<ID=DNABERT_X,Number=A,Type=Float,Description="of \"a\\b\"">'


def test_infinite_scores_leave_no_file(folder: Path, tmp_path: Path, monkeypatch: Patch, capsys: Capture) -> None:
    monkeypatch.setattr(scoring, "weighted_difference", lambda before, after: np.full_like(before, np.nan))
    assert run(variants(folder, "--out", tmp_path / "y.vcf")) == 1
    # HEADER has three lines.
    assert f"Line 4 of {folder / 'x.vcf'} (1:20" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_bad_flags_are_one_sentence(folder: Path, fails: Fails) -> None:
    for flags, value in (
        ("--out y.bcf", "y.bcf"),
        ("--out y.vcf --table y.txt", "y.txt"),
        ("--out x.vcf", "x.vcf"),
        ("--out y.vcf --scores effect likelihood", "likelihood"),
        ("--out y.vcf --vcf none.vcf", "none.vcf"),
    ):
        assert value in fails(*variants(folder, *flags.split()), within=folder)
