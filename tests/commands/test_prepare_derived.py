"""`prepare promoters`, `splice` and `tfbs` as they are called: what is printed, where things go, and bad input."""

import gzip
import io
import json
import os
import threading
from pathlib import Path

import pytest

from dnabert_jax import storage
from dnabert_jax.commands.cli import run
from tests.commands.conftest import Capture, Fails, Patch
from tests.data_prep.conftest import contents
from tests.data_prep.derived.conftest import Gene, gtf_text, table
from tests.random_models import random_dna


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A directory with a random genome, 30 genes of two exons and 30 peaks in it."""
    (tmp_path / "g.fa").write_text(f">22\n{random_dna(130_000)}\n")
    starts = range(2000, 122_000, 4000)
    exons = [((start, start + 100), (start + 200, start + 300)) for start in starts]
    for name, number in (("g", 2), ("one-exon", 1)):
        genes = [Gene("chr22", "+-"[n % 2], spans[:number], tata=False) for n, spans in enumerate(exons)]
        (tmp_path / f"{name}.gtf").write_text(gtf_text(genes))
    (tmp_path / "empty").write_text("# nothing\n")
    (tmp_path / "g.bed").write_text("".join(f"chr22\t{start}\t{start + 100}\n" for start in starts) + "chrZ\t1\t9\n")
    return tmp_path


def test_promoters(files: Path, capsys: Capture, fails: Fails) -> None:
    out = files / "out"
    command = ["prepare", "promoters", "--fasta", str(files / "g.fa"), "--gtf", str(files / "one-exon.gtf")]
    assert run([*command, "--protocol", "dnabert-prom-core", "--other-negatives", "shuffle", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    assert "contigs by another name in the sequence: chr22 is 22" in printed.out
    assert "30 distinct start sites" in printed.out
    assert "read: 130kbase" in printed.err
    rows = table(out)
    assert {(row["chrom"], len(row["sequence"])) for row in rows} == {("22", 70)}
    assert f"{sum(row['split'] == 'test' and row['label'] == 'promoter' for row in rows)} promoter" in printed.out
    assert json.loads((out / "manifest.json").read_text())["protocol"] == "dnabert-prom-core"
    assert f"Next: dnabert-jax finetune --model MODEL --data {out} " in printed.out
    for command in (["prepare", "verify"], ["pretrain", "--preset", "tiny", "--out", str(files / "run"), "--data"]):
        assert "has labelled examples, and no rows for pre-training" in fails(*command, str(out))


def test_files_on_a_store_through_pipes_and_on_standard_input(
    store: type, files: Path, capsys: Capture, fails: Fails,
    monkeypatch: Patch,
) -> None:  # fmt: skip
    black = b"22\t1990\t2010\n"
    for name in ("g.fa", "g.bed"):
        storage.upload(files / name, f"store://bucket/{name}")
    storage.write("store://bucket/black.bed", black)
    command = ["prepare", "tfbs", "--fasta", "store://bucket/g.fa", "--peaks", "store://bucket/g.bed"]
    command += ["--blacklist", "store://bucket/black.bed", "--out"]
    assert run([*command, "store://bucket/out"]) == 0
    printed = capsys.readouterr().out
    assert "1 (chrZ)" in printed
    assert "1 (22:2000-2101)" in printed
    assert run([*command, str(files / "local")]) == 0
    made = contents(files / "local")
    assert {name: storage.read(f"store://bucket/out/{name}") for name in storage.names("store://bucket/out")} == made
    assert {"examples.tsv.gz", "manifest.json", "dataset_info.json"} <= made.keys()
    assert "exists already" in fails(*command, "store://bucket/out")
    os.mkfifo(files / "pipe")
    peaks = gzip.compress((files / "g.bed").read_bytes())
    threading.Thread(target=(files / "pipe").write_bytes, args=(peaks,)).start()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(black)))
    command = ["prepare", "tfbs", "--fasta", str(files / "g.fa"), "--peaks", str(files / "pipe"), "--blacklist", "-"]
    assert run([*command, "--out", str(files / "piped")]) == 0
    assert (files / "piped/examples.tsv.gz").read_bytes() == made["examples.tsv.gz"]


def test_a_folder_of_peaks(files: Path, capsys: Capture, fails: Fails) -> None:
    peaks, out = files / "peaks", files / "suite"
    peaks.mkdir()
    (peaks / "empty.bed").write_text("# nothing\n")
    command = ["prepare", "tfbs", "--fasta", str(files / "g.fa"), "--peaks", str(peaks), "--out", str(out)]
    assert str(peaks / "empty.bed") in fails(*command)
    (peaks / "good.bed").write_bytes((files / "g.bed").read_bytes())
    assert run(command) == 0
    printed = capsys.readouterr()
    assert f"  empty: There are no peaks in {peaks / 'empty.bed'}." in printed.out
    assert f"Next: dnabert-jax evaluate suite --data {out} " in printed.out
    assert "sets: 100%" in printed.err
    assert len(table(out / "good")) == 60


def test_bad_input(files: Path, fails: Fails) -> None:
    for command, value in (
        ("splice --gtf no.gtf", "no.gtf"),
        ("splice --gtf . --protocol x", "'x'"),
        ("promoters --gtf empty", "empty"),
        ("genome --processes 0", "0 processes"),
    ):
        assert value in fails("prepare", *command.split(), "--fasta", "g.fa", "--out", "out", within=files)
