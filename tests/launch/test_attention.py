"""`dnabert-jax attention`: each file has what the library says of each sequence, and a track has it on the genome."""

import csv
import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyBigWig
import pytest

from dnabert_jax import DNAModel
from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.interpret.attention import attention_scores
from dnabert_jax.interpret.attribution import Integrated, gradient_times_input, integrated_gradients
from dnabert_jax.interpret.mutagenesis import mutation_effects
from dnabert_jax.interpret.target import choose_target
from dnabert_jax.sequence.bases import base_codes
from launch.attention import _Completeness
from launch.cli import run
from tests.launch.conftest import dna, reverse_complement, write_classifier, write_encoder

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
        return [one.scores for one in integrated_gradients(model, NAMED, target, steps=3)]
    return [
        one.scores(base_codes(text.encode()))
        for one, text in zip(mutation_effects(model, NAMED, target), SEQUENCES, strict=True)
    ]


@pytest.mark.parametrize("method", ["attention", "gradient-x-input", "integrated-gradients", "mutagenesis"])
def test_files_have_what_the_library_says(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    expected = by_library(model, method)
    flags = ["--method", method, "--fasta", folder / "x.fa"]
    if method != "attention":
        flags += ["--label", "no", "--scale", "probability"]
    if method == "integrated-gradients":
        flags += ["--steps", "3"]
    for name in ("x.tsv", "x.npz"):
        assert run(attention(folder, *flags, "--out", tmp_path / name)) == 0
    printed = capsys.readouterr().out
    assert "Scored the bases of 2 sequences, 1 of them with letters such as N" in printed
    assert ("sum to output - baseline to within" in printed) == (method == "integrated-gradients")
    effects = ["effect_A", "effect_C", "effect_G", "effect_T"] * (method == "mutagenesis")
    with (tmp_path / "x.tsv").open() as file:
        header, *rows = csv.reader(file, delimiter="\t")
    label = ["label"] * (method != "attention")
    assert header == ["id", "position", "base", "score", *effects, *label]
    assert [row[0] for row in rows] == ["s0"] * 20 + ["s1"] * 6
    assert [int(row[1]) for row in rows] == [*range(20), *range(6)]
    assert "".join(row[2] for row in rows) == "".join(SEQUENCES)
    np.testing.assert_allclose([float(row[3]) for row in rows], np.concatenate(expected), atol=1e-6)
    with np.load(tmp_path / "x.npz") as arrays:
        assert sorted(arrays) == sorted(["bases", "ids", "offsets", "scores", *["effects"] * bool(effects), *label])
        assert not label or ({row[-1] for row in rows}, str(arrays["label"])) == ({"no"}, "no")
        assert arrays["ids"].tolist() == ["s0", "s1"]
        assert arrays["bases"].tobytes().decode() == "".join(SEQUENCES)
        for (first, end), own in zip(itertools.pairwise(arrays["offsets"]), expected, strict=True):
            np.testing.assert_allclose(arrays["scores"][first:end], own, atol=1e-6)
        if effects:
            found = np.array([[float(value) for value in row[4:8]] for row in rows])
            np.testing.assert_allclose(arrays["effects"], found, atol=1e-6)
            assert found[0, "ACGT".index(SEQUENCES[0][0])] == 0


def test_a_sum_of_which_there_is_no_share_is_said_too() -> None:
    completeness = _Completeness()
    completeness.add(Integrated("one", np.ones(2, np.float32), 0.5, 0.5))
    told, advice = completeness.notes(50, "float32")
    assert told.endswith("to within 2 at worst (one), and of one it is 0.")
    assert "by more than 5%: 1." in advice


def test_sums_that_miss_are_said_with_the_steps_to_try(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--method", "integrated-gradients", "--fasta", folder / "x.fa"]
    found = {
        steps: list(integrated_gradients(model, NAMED, choose_target(model, "It"), steps=steps)) for steps in (1, 30)
    }
    for steps, integrals in found.items():
        assert run(attention(folder, *flags, "--steps", str(steps), "--out", tmp_path / f"{steps}.npz")) == 0
        printed = capsys.readouterr().out
        worst = max(integrals, key=lambda one: one.relative_gap)
        assert f"to within {worst.relative_gap:.2%} of it ({worst.name})" in printed
        bad = sum(one.relative_gap > 0.05 for one in integrals)
        assert (bad > 0) == (steps == 1)
        assert (f"by more than 5%: {bad}. Their scores are not to be relied on: try --steps 4." in printed) == (bad > 0)
        assert ("try --steps" in printed) == (bad > 0)


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
    scores = [own for _, own in attention_scores(model, (("", text) for text in cut))]
    expected = {"chr1": np.full((2, 60), np.nan), "2": np.full((2, 30), np.nan)}
    expected["2"][0, 5:25] = scores[0][::-1]
    expected["chr1"][0, 30:50] = scores[1]
    expected["chr1"][0, 2:22] = scores[2]
    expected["chr1"][1, 40:60] = scores[3][::-1]
    track = pyBigWig.open(str(tmp_path / "x.bw"))
    assert track.chroms() == {"chr1": 60, "2": 30}
    for record, rows in expected.items():
        found = np.array(track.values(record, 0, rows.shape[1]))
        covered = ~np.isnan(rows).all(axis=0)
        assert np.array_equal(~np.isnan(found), covered)
        np.testing.assert_allclose(found[covered], np.nanmean(rows[:, covered], axis=0), atol=1e-6)
    track.close()
    assert [path.name for path in tmp_path.iterdir()] == ["x.bw"]


@pytest.mark.parametrize("method", ["gradient-x-input", "mutagenesis"])
def test_tfmodisco_gets_the_contributions(
    folder: Path, model: DNAModel, tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    out = tmp_path / "a b.modisco"
    flags = ["--label", "no", "--scale", "probability", "--fasta", folder / "x.fa", "--out", out]
    assert run(attention(folder, "--method", method, *flags)) == 0
    printed = capsys.readouterr().out
    assert "shorter than the longest, followed by zeros: 1." in printed
    files = f"-s '{out}/ohe.npz' -a '{out}/contributions.npz' -o '{out}/modisco_results.h5'"
    assert f"  modisco motifs {files} -n 20000 -w 20 -t 20 -g 0 -z 12\n" in printed
    one_hot, contributions = (np.load(out / name)["arr_0"] for name in ("ohe.npz", "contributions.npz"))
    padded = [text.ljust(20) for text in SEQUENCES]
    assert np.array_equal(one_hot, [[[own == base for own in text] for base in "ACGT"] for text in padded])
    own = (one_hot * contributions).sum(axis=1)
    for row, text, scores in zip(own, SEQUENCES, by_library(model, method), strict=True):
        certain = [place for place, letter in enumerate(text) if letter != "N"]
        share = 3 / 4 if method == "mutagenesis" else 1
        np.testing.assert_allclose(row[certain], share * scores[certain], atol=1e-6)
    if method == "mutagenesis":
        np.testing.assert_allclose(contributions.sum(axis=1), 0, atol=1e-6)
        assert (contributions[0] != 0).all()
        assert not contributions[1, :, 6:].any()
    else:
        assert not contributions[one_hot == 0].any()


def test_motifs_are_sought_where_the_scores_are_high(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {f"p{number}": dna(17 + number % 8, number) for number in range(60)}
    texts |= {name: text[:9] + "N" + text[10:] for name, text in list(texts.items())[::4]}
    (tmp_path / "p.fa").write_text("".join(f">{name} of chr1\n{text}\n" for name, text in texts.items()))
    (tmp_path / "n.fa").write_text("".join(f">n{number}\n{'A' * 24}\n" for number in range(9)))
    assert run(attention(folder, "--fasta", tmp_path / "p.fa", "--out", tmp_path / "x.npz")) == 0
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["ids"].tolist() == list(texts)
        assert arrays["offsets"].tolist() == [0, *itertools.accumulate(map(len, texts.values()))]
        scores = np.split(arrays["scores"].astype(float), arrays["offsets"][1:-1])
    regions = []
    for (name, text), own in zip(texts.items(), scores, strict=True):
        high = "".join("x" if score > own.mean() else "." for score in own)
        regions += [(name, *found.span(), text[slice(*found.span())]) for found in re.finditer("x{5,}", high)]
    words = [region for region in regions if "N" not in region[-1]]
    assert 10 < len(words) < len(regions)
    # Each word is a motif of its own, and a window of five bases lies within it.
    every = ["--pval-cutoff", "1", "--min-n-motif", "1", "--align-cond", "99", "--window-size", "5", "--no-logos"]
    files = [f"--{flag}={tmp_path / name}" for flag, name in {"scores": "x.npz", "positives": "p.fa"}.items()]
    files += [f"--negatives={tmp_path / 'n.fa'}", f"--out={tmp_path / 'motifs'}"]
    assert run(["motifs", *files, *every, "--over-minimum", "0"]) == 0
    count = f"Regions of high score: {len(regions)}, with {len({word for *_, word in words})} different words."
    assert count in capsys.readouterr().out
    found = []
    for line in (tmp_path / "motifs" / "instances.bed").read_text().splitlines():
        name, start, _, word, *_ = line.split("\t")
        first = int(start) - (len(word) - 4) // 2
        found.append((name, first, first + len(word), word))
    assert sorted(found) == sorted(words)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--fasta", "x.fa", "--out", "y.modisco"], "attention is none: give another --method"),
        (["--fasta", "x.fa", "--out", "y.bw"], "needs --bed and --genome"),
        (["--fasta", "x.fa", "--out", "y.txt"], "must end in .tsv"),
        (["--fasta", "x.fa", "--out", "x.bed"], ".csv.gz or .parquet, or .npz, .bw or .modisco."),
        (["--fasta", "x.fa", "--layer", "2", "--out", "y.tsv"], "layer is 2: the first is 1 or -1"),
        (["--fasta", "x.fa", "--head", "1", "--rollout", "--out", "y.tsv"], "name no head"),
        (["--fasta", "x.fa", "--label", "yes", "--out", "y.tsv"], "--label"),
        (["--fasta", "x.fa", "--method", "mutagenesis", "--steps", "9", "--out", "y.tsv"], "--steps"),
        (["--fasta", "x.fa", "--method", "mutagenesis", "--label", "b", "--out", "y.npz"], "has no label 'b'"),
        (["--fasta", "long.fa", "--out", "y.tsv"], "sequence 1 (big) has 23 "),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_leaves_no_file(
    folder: Path, fails: Callable[..., str], flags: list[str], sentence: str
) -> None:
    assert sentence in fails(*attention(folder, *flags), within=folder)


def test_what_is_missing_is_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    flags: list[Any] = ["--fasta", folder / "x.fa", "--out", tmp_path / "x.tsv"]
    bare = attention(folder, *flags, model="bare")
    assert "--method gradient-x-input needs a classifier" in fails(*bare, "--method", "gradient-x-input")
    assert run(bare) == 0
    monkeypatch.setitem(sys.modules, "pyBigWig", None)
    track = attention(folder, "--bed", folder / "x.bed", "--genome", folder / "g.fa", "--out", tmp_path / "x.bw")
    assert "(the extra bigwig)" in fails(*track)
