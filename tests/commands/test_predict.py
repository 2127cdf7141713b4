"""`dnabert-jax predict` and `embed`: each row is what DNABERT says of its sequence alone, in the source's order."""

import csv
import gzip
import io
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from Bio.Seq import reverse_complement

from dnabert_jax import DNAModel
from dnabert_jax.commands.cli import run
from dnabert_jax.commands.sequence_source import OpenSource
from dnabert_jax.config import ModelConfig, TaskConfig
from tests.commands.conftest import Capture, Fails, Patch, write_classifier, write_encoder
from tests.random_models import random_dna

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=40)
BOUND = TaskConfig("single_label_classification", ("unbound", "bound"))
TASK = TaskConfig("single_label_classification", ("donor", "acceptor", "neither"))
SEQUENCES = [random_dna((38, 8, 23)[number % 3], number) for number in range(14)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, and the sequences as FASTA and as a table."""
    folder = tmp_path_factory.mktemp("predict")
    write_classifier(folder / "model", CONFIG, TASK)
    records = (f">s{number} about it\n{sequence}\n" for number, sequence in enumerate(SEQUENCES))
    (folder / "x.fa").write_text("".join(records))
    with (folder / "x.csv").open("w") as file:
        csv.writer(file).writerows([["name", "seq"], *([f'a\t"{number}', own] for number, own in enumerate(SEQUENCES))])
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> DNAModel:
    return DNAModel.from_pretrained(folder / "model")


def command(name: str, folder: Path, *flags: str | Path) -> list[str]:
    return [name, "--model", str(folder / "model"), *map(str, flags)]


def read_text(path: Path, delimiter: str) -> tuple[list[str], list[list[str]]]:
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return header, rows


def test_every_format_has_the_rows_of_the_model_in_order(folder: Path, model: DNAModel, tmp_path: Path) -> None:
    expected = np.stack([model.predict(sequence) for sequence in SEQUENCES])
    assert len(set(expected.argmax(axis=1))) > 1
    assert run(command("predict", folder, "--fasta", folder / "x.fa", "--out", tmp_path / "x.parquet")) == 0
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pydict()
    assert list(table) == ["id", "prediction", "p_donor", "p_acceptor", "p_neither"]
    assert table["id"] == [f"s{number}" for number in range(len(SEQUENCES))]
    assert table["prediction"] == [TASK.labels[number] for number in expected.argmax(axis=1)]
    found = np.array([table[f"p_{label}"] for label in TASK.labels], np.float32).T
    np.testing.assert_allclose(found, expected, atol=1e-6)
    for name, delimiter in (("x.tsv", "\t"), ("x.csv.gz", ",")):
        flags = ["--table", folder / "x.csv", "--id", "name", "--out", tmp_path / name]
        assert run(command("predict", folder, *flags)) == 0
        header, rows = read_text(tmp_path / name, delimiter)
        assert header == ["name", "seq", *list(table)[1:]]
        assert [row[:2] for row in rows] == [[f'a\t"{number}', own] for number, own in enumerate(SEQUENCES)]
        assert [row[2] for row in rows] == table["prediction"]
        # Not one bit of them is lost as text.
        assert np.array_equal(np.array([row[3:] for row in rows], np.float32), found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.csv.gz", "x.parquet", "x.tsv"]
    flags = ["--fasta", folder / "x.fa", "--strands", "both", "--out", tmp_path / "both.csv"]
    assert run(command("predict", folder, *flags)) == 0
    both = np.array([row[2:] for row in read_text(tmp_path / "both.csv", ",")[1]], np.float32)
    np.testing.assert_allclose(both, model.predict(SEQUENCES, strands="both"), atol=1e-6)


def test_columns_of_the_input_come_first_and_short_sequences_are_left_out(
    folder: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "x.fa").write_text(f">tiny\nAC\n>ok\n{SEQUENCES[0]}\n")
    (tmp_path / "x.tsv").write_text(f"gene\tsequence\nMYC\tAC\nBRCA1\t{SEQUENCES[0]}\n")
    for source, columns, row in (
        (["--fasta", "x.fa"], ["id"], ["ok"]),
        (["--table", "x.tsv"], ["id", "gene", "sequence"], ["1", "BRCA1", SEQUENCES[0]]),
        (["--table", "x.tsv", "--keep", "sequence", "--id", "gene"], ["gene", "sequence"], ["BRCA1", SEQUENCES[0]]),
    ):
        out = tmp_path / f"{len(columns)}.tsv"
        assert run(command("predict", folder, source[0], tmp_path / source[1], *source[2:], "--out", out)) == 0
        header, rows = read_text(out, "\t")
        assert header[: len(columns) + 1] == [*columns, "prediction"]
        assert [line[: len(columns)] for line in rows] == [row]
        assert re.search(r"Left out .* 1 \((record 'tiny'|row 1)", capsys.readouterr().out)
    again = command("predict", folder, "--table", tmp_path / "3.tsv", "--out", tmp_path / "again.tsv")
    assert run(again) == 2, "it has a column named prediction"
    assert run([*again, "--keep", "gene"]) == 0


def test_a_table_and_a_genome_browser_have_the_predictions_of_intervals(folder: Path, tmp_path: Path) -> None:
    """tests/tasks/datasets/test_unlabelled.py has what becomes of other lines."""
    lengths = {"lengths": {"minimum": 20, "median": 21, "maximum": 22}}
    write_classifier(tmp_path / "model", CONFIG, BOUND, finetuning=lengths)
    genome = random_dna(90, 1)
    (tmp_path / "g.fa").write_text(f">chr1\n{genome}\n")
    (tmp_path / "x.narrowPeak").write_text("chr1\t10\t60\tpeak\t0\t-\t1\t1\t1\t30\nchrUn\t0\t9\n")
    files = ["--bed", tmp_path / "x.narrowPeak", "--genome", tmp_path / "g.fa", "--summit", "--out"]
    for name in ("x.bed", "x.tsv"):
        assert run(command("predict", tmp_path, *files, tmp_path / name)) == 0
    probability = DNAModel.from_pretrained(tmp_path / "model").predict(reverse_complement(genome[30:51]))[1]
    expected = ["chr1", "30", "51", "peak", f"{1000 * probability:.0f}", "-"]
    assert (tmp_path / "x.bed").read_text() == "\t".join(expected) + "\n", "as long as the training sequences"
    header, (row,) = read_text(tmp_path / "x.tsv", "\t")
    assert header[:6] == ["#chrom", "start", "end", "name", "strand", "prediction"]
    assert row[:5] == [*expected[:4], "-"]
    assert float(row[-1]) == pytest.approx(probability, abs=1e-6)
    assert run(command("predict", folder, *files, tmp_path / "y.bed")) == 2, "the model has three classes"


def test_inputs_may_come_through_a_pipe(folder: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    assert run(command("predict", folder, "--fasta", folder / "x.fa", "--out", tmp_path / "x.tsv")) == 0
    os.mkfifo(tmp_path / "pipe")
    content = gzip.compress((folder / "x.fa").read_bytes())
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content))
    writer.start()
    assert run(command("predict", folder, "--fasta", tmp_path / "pipe", "--out", tmp_path / "y.tsv")) == 0
    writer.join()
    with (folder / "x.fa").open() as standard_input:
        monkeypatch.setattr("sys.stdin", standard_input)
        assert run(command("predict", folder, "--fasta", "-", "--out", tmp_path / "z.tsv")) == 0
    assert len({(tmp_path / name).read_text() for name in ("x.tsv", "y.tsv", "z.tsv")}) == 1


@pytest.mark.parametrize(("pooling", "dtype"), [("mean", "float16"), ("bases", "float32")])
def test_vectors_are_read_by_others(folder: Path, model: DNAModel, tmp_path: Path, pooling: Any, dtype: str) -> None:
    flags = ["--fasta", folder / "x.fa", "--pooling", pooling, "--dtype", dtype, "--layer", "-1", "--out"]
    for name in ("x.npz", "x.parquet"):
        assert run(command("embed", folder, *flags, tmp_path / name)) == 0
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["embeddings"].dtype == dtype
        rows = arrays["embeddings"]
        if pooling == "bases":
            assert np.diff(arrays["offsets"]).tolist() == [len(sequence) for sequence in SEQUENCES]
            rows = np.split(rows, arrays["offsets"][1:-1])
        ids = arrays["ids"].tolist()
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet").to_pydict()
    assert ids == table["id"] == [f"s{number}" for number in range(len(SEQUENCES))]
    expected = model.embed(SEQUENCES, pooling)
    for vectors in (rows, [np.array(vector) for vector in table["embedding"]]):
        for ours, theirs in zip(vectors, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-6 if dtype == "float32" else 2e-3, rtol=0)


def test_bad_input_leaves_no_file(folder: Path, tmp_path: Path, fails: Fails) -> None:
    for name in ("x.fa", "x.csv"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "long.fa").write_text(f">ok\nACGTACGT\n>big\n{random_dna(41, 0)}\n")
    (tmp_path / "x.bed").write_text("s1\t0\t8\n")
    (tmp_path / "header.csv").write_text("name,seq\n")
    (tmp_path / "short.fa").write_text(">tiny\nAC\n>tinier\nA\n")
    write_encoder(tmp_path / "encoder", CONFIG)
    for flags, value in (
        ("--out x.tsv", "--fasta"),
        ("--out x.tsv --fasta x.fa --table x.csv", "--fasta and --table"),
        ("--out x.tsv --bed x.fa", "--genome"),
        ("--out x.tsv --table x.csv --width 9", "--width"),
        ("--out x.tsv --bed x.bed --genome x.fa --summit", "--width"),
        ("--out x.tsv --bed x.bed --genome x.fa --width -9", "-9"),
        ("--out x.tsv --fasta x.fa --keep name", "--keep"),
        ("--out x.tsv --fasta x.fa --id name", "--table"),
        *((f"--out {name} --fasta x.fa", name) for name in ("x.bed", "x.txt", "x.parquet.gz", "x.csv", "x.npy")),
        *((f"--out x.tsv --fasta {name}.fa", value) for name, value in (("none", "none.fa"), ("long", "(big) has 39"))),
        ("--out x.npz --fasta short.fa", "'tiny'"),
        ("--out x.tsv --fasta x.fa --model encoder", "encoder"),
        ("--out x.tsv --table header.csv", "rows of header.csv"),
    ):
        name = "embed" if "x.np" in flags else "predict"
        assert value in fails(*command(name, folder, *flags.split()), within=tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: Patch, number: int) -> None:
    whole = OpenSource.__iter__

    def interrupted(source: OpenSource) -> Iterator[Any]:
        for row in whole(source):
            yield row
            assert [path.suffix for path in tmp_path.iterdir()] == [".partial"]
            os.kill(os.getpid(), number)

    monkeypatch.setattr(OpenSource, "__iter__", interrupted)
    assert run(command("predict", folder, "--fasta", folder / "x.fa", "--out", tmp_path / "x.tsv")) == 128 + number
    assert list(tmp_path.iterdir()) == []
