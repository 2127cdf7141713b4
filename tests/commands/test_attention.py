"""`dnabert-jax attention`: each file has what the library says of each sequence, and a track has it on the genome."""

import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyBigWig
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.commands.attention import _Completeness
from dnabert_jax.commands.cli import run
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.attribution import Integrated, gradient_times_input, integrated_gradients
from dnabert_jax.interpret.mutagenesis import mutation_effects
from dnabert_jax.interpret.score_files import read_score_file
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.sequence.bases import base_codes
from tests.commands.conftest import dna, reverse_complement, write_classifier, write_encoder

CONFIG = ModelConfig(k=3, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32, max_positions=24)
TASK = TaskConfig("single_label_classification", ("no", "yes"))

SEQUENCES = [dna(20, 0), "ACNACG"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, one without its classifier, and sequences as FASTA and as intervals of a genome."""
    folder = tmp_path_factory.mktemp("attention")
    write_classifier(folder / "model", CONFIG, TASK)
    write_encoder(folder / "bare", CONFIG)
    (folder / "x.fa").write_text("".join(f">s{number}\n{own}\n" for number, own in enumerate(SEQUENCES)))
    (folder / "long.fa").write_text(f">big\n{dna(25, 0)}\n")
    (folder / "g.fa").write_text(f">chr1\n{dna(60, 1)}\n>2\n{dna(30, 2)}\n")
    lines = ["chr2\t5\t25\tone\t0\t-", "chr1\t30\t50", "chr1\t50\t70", "chr1\t2\t22", "1\t40\t60\ttwo\t0\t-"]
    (folder / "x.bed").write_text("".join(line + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> DNAModel:
    return DNAModel.from_pretrained(folder / "model")


def attention(folder: Path, *flags: str | Path, model: str = "model") -> list[str]:
    return ["attention", "--model", str(folder / model), *map(str, flags)]


NAMED = [(f"s{number}", text) for number, text in enumerate(SEQUENCES)]


def by_library(model: DNAModel, method: str) -> list[np.ndarray]:
    target = choose_target(model, "It", "no", "probability")
    if method == "attention":
        return [scores for _, scores in attention_scores(model, NAMED)]
    if method == "gradient-x-input":
        return [scores for _, scores in gradient_times_input(model, NAMED, target)]
    if method == "integrated-gradients":
        return [row.scores for row in integrated_gradients(model, NAMED, target, steps=3)]
    mutated = zip(mutation_effects(model, NAMED, target), SEQUENCES, strict=True)
    return [row.scores(base_codes(text.encode())) for row, text in mutated]


METHODS = {
    "attention": [],
    "gradient-x-input": ["--label", "no", "--scale", "probability"],
    "integrated-gradients": ["--label", "no", "--scale", "probability", "--steps", "3"],
    "mutagenesis": ["--label", "no", "--scale", "probability"],
}


@pytest.mark.parametrize("method", METHODS)
def test_files_have_what_the_library_says(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    expected = np.concatenate(by_library(model, method))
    for name in ("x.tsv", "x.npz"):
        flags = ["--method", method, *METHODS[method], "--fasta", folder / "x.fa", "--out", tmp_path / name]
        assert run(attention(folder, *flags)) == 0
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


def test_sums_that_miss_are_said_with_the_steps_to_try(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--method", "integrated-gradients", "--fasta", folder / "x.fa"]
    for steps in (1, 30):
        integrals = list(integrated_gradients(model, NAMED, choose_target(model, "It"), steps=steps))
        assert run(attention(folder, *flags, "--steps", str(steps), "--out", tmp_path / f"{steps}.npz")) == 0
        printed = capsys.readouterr().out
        worst = max(integrals, key=lambda row: row.relative_gap)
        assert f"{worst.relative_gap:.2%} of it ({worst.name})" in printed
        beyond = sum(row.relative_gap > 0.05 for row in integrals)
        assert (beyond > 0) == (steps == 1) == ("--steps 4" in printed) == (f"5%: {beyond}" in printed)
    # A sum of which there is no share, as output and baseline are the same.
    completeness = _Completeness()
    completeness.add(Integrated("one", np.ones(2, np.float32), 0.5, 0.5))
    sentence, advice = completeness.notes(50, "float32")
    assert re.search(r"\b2 .*\(one\).* 0\b", sentence)
    assert "5%: 1" in advice


def test_a_track_has_the_mean_of_intervals_in_the_direction_of_the_genome(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--bed", folder / "x.bed", "--genome", folder / "g.fa"]
    assert run(attention(folder, *files, "--out", tmp_path / "x.bw")) == 0
    printed = capsys.readouterr().out
    assert re.search(r"Left out .*: 1 \(.*x\.bed", printed)
    assert "70 bases of the genome; 10 of them lie in several intervals and have the mean" in printed
    one, two = dna(60, 1), dna(30, 2)
    cut = [reverse_complement(two[5:25]), one[30:50], one[2:22], reverse_complement(one[40:60])]
    scores = [row for _, row in attention_scores(model, (("", text) for text in cut))]
    expected = {"chr1": np.full((2, 60), np.nan), "2": np.full((2, 30), np.nan)}
    expected["2"][0, 5:25] = scores[0][::-1]
    expected["chr1"][0, 30:50], expected["chr1"][0, 2:22] = scores[1:3]
    expected["chr1"][1, 40:60] = scores[3][::-1]
    track = pyBigWig.open(str(tmp_path / "x.bw"))
    assert track.chroms() == {"chr1": 60, "2": 30}
    for record, rows in expected.items():
        covered = ~np.isnan(rows).all(axis=0)
        values = np.array(track.values(record, 0, rows.shape[1]))
        assert np.array_equal(~np.isnan(values), covered)
        np.testing.assert_allclose(values[covered], np.nanmean(rows[:, covered], axis=0), atol=1e-6)
    track.close()
    assert [path.name for path in tmp_path.iterdir()] == ["x.bw"]


def test_tfmodisco_gets_the_contributions(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a b.modisco"
    flags = ["--label", "no", "--scale", "probability", "--fasta", folder / "x.fa", "--out", out]
    assert run(attention(folder, "--method", "mutagenesis", *flags)) == 0
    printed = capsys.readouterr().out
    assert "zeros: 1." in printed
    files = f"-s '{out}/ohe.npz' -a '{out}/contributions.npz' -o '{out}/modisco_results.h5'"
    assert f"  modisco motifs {files} -n 20000 -w 20 -t 20 -g 0 -z 12\n" in printed
    one_hot, contributions = (np.load(out / name)["arr_0"] for name in ("ohe.npz", "contributions.npz"))
    rows = (one_hot * contributions).sum(axis=1)
    for row, text, scores in zip(rows, SEQUENCES, by_library(model, "mutagenesis"), strict=True):
        certain = [place for place, letter in enumerate(text) if letter != "N"]
        # Against the mean over all four bases, where the score is against that over the three others.
        np.testing.assert_allclose(row[certain], 3 / 4 * scores[certain], atol=1e-6)


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ("--fasta x.fa --out y.modisco", "--method"),
        ("--fasta x.fa --out y.bw", "--genome"),
        ("--fasta x.fa --out y.txt", "y.txt"),
        ("--fasta x.fa --out x.bed", ".npz, .bw or .modisco"),
        ("--fasta x.fa --label yes --out y.tsv", "--label"),
        ("--fasta x.fa --method mutagenesis --steps 9 --out y.tsv", "--steps"),
        ("--fasta x.fa --method mutagenesis --label b --out y.npz", "'b'"),
        ("--fasta long.fa --out y.tsv", "sequence 1 (big) has 23 "),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_file(
    folder: Path, fails: Callable[..., str], flags: str, word: str
) -> None:
    assert word in fails(*attention(folder, *flags.split()), within=folder)


def test_what_is_missing_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    bare = attention(folder, "--fasta", folder / "x.fa", "--out", tmp_path / "x.tsv", model="bare")
    assert "--method gradient-x-input" in fails(*bare, "--method", "gradient-x-input")
    assert run(bare) == 0
    monkeypatch.setitem(sys.modules, "pyBigWig", None)
    track = attention(folder, "--bed", folder / "x.bed", "--genome", folder / "g.fa", "--out", tmp_path / "x.bw")
    assert "(the extra bigwig)" in fails(*track)
