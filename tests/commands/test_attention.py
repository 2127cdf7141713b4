"""`dnabert-jax attention`: each file has what the library says of each sequence, and a track has it on the genome."""

import csv
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyBigWig
import pytest
from Bio.Seq import reverse_complement

from dnabert_jax import DNAModel
from dnabert_jax.commands.attention import completeness_notes
from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.attribution import gradient_times_input, integrated_gradients
from dnabert_jax.interpret.mutagenesis import mutation_effects
from dnabert_jax.interpret.score_files import read_score_file
from dnabert_jax.interpret.target import choose_target
from tests.commands.conftest import Capture, Fails, Patch, write_classifier, write_encoder
from tests.random_models import random_dna

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=24)
TASK = TaskConfig("single_label_classification", ("no", "yes"))

SEQUENCES = [random_dna(20, 0), "ACNACG"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, one without its classifier, and sequences as FASTA and as intervals of a genome."""
    folder = tmp_path_factory.mktemp("attention")
    write_classifier(folder / "model", CONFIG, TASK)
    write_encoder(folder / "bare", CONFIG)
    (folder / "x.fa").write_text("".join(f">s{number}\n{own}\n" for number, own in enumerate(SEQUENCES)))
    (folder / "long.fa").write_text(f">big\n{random_dna(25, 0)}\n")
    (folder / "g.fa").write_text(f">chr1\n{random_dna(60, 1)}\n>2\n{random_dna(30, 2)}\n")
    lines = ["chr2\t5\t25\tone\t0\t-", "chr1\t30\t50", "chr1\t50\t70", "chr1\t2\t22", "1\t40\t60\ttwo\t0\t-", ""]
    (folder / "x.bed").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> DNAModel:
    return DNAModel.from_pretrained(folder / "model")


def attention(folder: Path, *flags: str | Path, model: str = "model") -> list[str]:
    return ["attention", "--model", str(folder / model), *map(str, flags)]


NAMED = [(f"s{number}", text) for number, text in enumerate(SEQUENCES)]
METHODS: dict[str, Callable[..., Iterable[np.ndarray]]] = {
    "attention": lambda model, _: (scores for _, scores in attention_scores(model, NAMED)),
    "gradient-x-input": lambda model, target: (scores for _, scores in gradient_times_input(model, NAMED, target)),
    "integrated-gradients": lambda model, target: (
        row.scores for row in integrated_gradients(model, NAMED, target, steps=3)
    ),
    "mutagenesis": lambda model, target: (row.scores for row in mutation_effects(model, NAMED, target)),
}


@pytest.mark.parametrize("method", METHODS)
def test_files_are_as_the_library(folder: Path, model: DNAModel, tmp_path: Path, capsys: Capture, method: str) -> None:
    expected = np.concatenate(list(METHODS[method](model, choose_target(model, "It", "no", "probability"))))
    flags = ["--label", "no", "--scale", "probability"] * (method != "attention")
    flags += ["--steps", "3"] * (method == "integrated-gradients")
    for name in ("x.tsv", "x.npz"):
        files = ["--fasta", folder / "x.fa", "--out", tmp_path / name]
        assert run(attention(folder, "--method", method, *flags, *files)) == 0
    printed = capsys.readouterr().out
    assert "2 sequences, 1 of them with letters such as N" in printed
    assert ("output - baseline" in printed) == (method == "integrated-gradients")
    with (tmp_path / "x.tsv").open() as file:
        header, *rows = csv.reader(file, delimiter="\t")
    effects = ["effect_A", "effect_C", "effect_G", "effect_T"] * (method == "mutagenesis")
    label = ["label"] * (method != "attention")
    assert header == ["id", "position", "base", "score", *effects, *label]
    places = [(f"s{number}", str(place)) for number, text in enumerate(SEQUENCES) for place in range(len(text))]
    assert [(row[0], row[1]) for row in rows] == places
    assert "".join(row[2] for row in rows) == "".join(SEQUENCES)
    np.testing.assert_allclose([float(row[3]) for row in rows], expected, atol=1e-6)
    arrays = read_score_file(tmp_path / "x.npz", with_bases=True)
    assert (arrays.names, arrays.bases, arrays.label) == (("s0", "s1"), "".join(SEQUENCES), "no" * bool(label))
    assert not label or {row[-1] for row in rows} == {"no"}
    np.testing.assert_allclose(np.concatenate(arrays.by_name(["s0", "s1"], np.array([20, 6]))), expected, atol=1e-6)
    assert (arrays.effects is None) == (not effects)
    if effects:
        np.testing.assert_allclose(arrays.effects, np.array([row[4:8] for row in rows], np.float64), atol=1e-6)
        assert arrays.effects[0, "ACGT".index(SEQUENCES[0][0])] == 0


def test_sums_that_miss_are_said(folder: Path, model: DNAModel, tmp_path: Path, capsys: Capture) -> None:
    flags = ["--method", "integrated-gradients", "--fasta", folder / "x.fa"]
    for steps in (1, 30):
        integrals = list(integrated_gradients(model, NAMED, choose_target(model, "It"), steps=steps))
        assert run(attention(folder, *flags, "--steps", str(steps), "--out", tmp_path / f"{steps}.npz")) == 0
        printed = capsys.readouterr().out
        worst = max(integrals, key=lambda row: row.relative_gap)
        assert f"{worst.relative_gap:.2%} of it ({worst.sequence.name})" in printed
        beyond = sum(row.relative_gap > 0.05 for row in integrals)
        assert (beyond > 0) == (steps == 1) == ("--steps 4" in printed) == (f"5%: {beyond}" in printed)
    # A sum of which there is no share, as output and baseline are the same.
    sentence, advice = completeness_notes([(2.0, math.inf, "one")], 50, "float32")
    assert re.search(r"\b2 .*\(one\).* 0\b", sentence)
    assert "5%: 1" in advice


def test_a_track_is_in_the_direction_of_the_genome(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: Capture
) -> None:
    """tests/interpret/test_score_files.py has the means where intervals overlap."""
    files = ["--bed", folder / "x.bed", "--genome", folder / "g.fa"]
    assert run(attention(folder, *files, "--out", tmp_path / "x.bw")) == 0
    printed = capsys.readouterr().out
    assert re.search(r"Left out .*: 1 \(.*x\.bed", printed)
    assert re.search("70 bases .* 10 of them", printed)
    ((_, expected),) = attention_scores(model, [("", reverse_complement(random_dna(30, 2)[5:25]))])
    with pyBigWig.open(str(tmp_path / "x.bw")) as track:
        np.testing.assert_allclose(track.values("2", 5, 25), expected[::-1], atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["x.bw"]


def test_tfmodisco_gets_the_contributions(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "a b.modisco"
    assert run(attention(folder, "--method", "gradient-x-input", "--fasta", folder / "x.fa", "--out", out)) == 0
    printed = capsys.readouterr().out
    assert "zeros: 1." in printed
    files = f"-s '{out}/ohe.npz' -a '{out}/contributions.npz' -o '{out}/modisco_results.h5'"
    assert f"  modisco motifs {files} -n 20000 -w 20 -t 20 -g 0 -z 12\n" in printed
    assert {"ohe.npz", "contributions.npz", "sequences.tsv"} == {path.name for path in out.iterdir()}


def test_bad_input_is_one_sentence_and_leaves_no_file(folder: Path, fails: Fails) -> None:
    for flags, word in (
        ("--fasta x.fa --out y.modisco", "--method"),
        ("--fasta x.fa --out y.bw", "--genome"),
        ("--fasta x.fa --out y.txt", "y.txt"),
        ("--fasta x.fa --out x.bed", ".npz, .bw or .modisco"),
        ("--fasta x.fa --label yes --out y.tsv", "--label"),
        ("--fasta x.fa --method mutagenesis --steps 9 --out y.tsv", "--steps"),
        ("--fasta x.fa --method mutagenesis --label b --out y.npz", "'b'"),
        ("--fasta long.fa --out y.tsv", "sequence 1 (big) has 23 "),
    ):
        assert word in fails(*attention(folder, *flags.split()), within=folder)


def test_what_is_missing_is_said(folder: Path, tmp_path: Path, monkeypatch: Patch, fails: Fails) -> None:
    bare = attention(folder, "--fasta", folder / "x.fa", "--out", tmp_path / "x.tsv", model="bare")
    assert "--method gradient-x-input" in fails(*bare, "--method", "gradient-x-input")
    assert run(bare) == 0
    monkeypatch.setitem(sys.modules, "pyBigWig", None)
    track = attention(folder, "--bed", folder / "x.bed", "--genome", folder / "g.fa", "--out", tmp_path / "x.bw")
    assert "(the extra bigwig)" in fails(*track)
