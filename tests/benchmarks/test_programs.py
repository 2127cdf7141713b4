"""The benchmarks run and print a table; what they measure is not asserted, but what two of them compute is."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import attention_at_sites
from benchmarks.alternation import check_results, compare
from benchmarks.training_step import IGNORED, padded_batches
from dnabert_jax.sample import HELDOUT_FASTA
from tests.interpret.conftest import write_scores
from tests.interpret.motifs.conftest import probabilities, random_known, write_meme

ROOT = Path(__file__).parents[2]


def test_rates_are_compared_round_by_round() -> None:
    calls: list[str] = []
    ways = {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}
    table = compare(ways, {"a": 1.0, "b": 1.0}, "x", rounds=3)
    assert calls == ["a", "b"] * 4
    rows = [line for line in table.splitlines() if line.startswith(("| a |", "| b |"))]
    assert len(rows) == 2
    assert rows[1].endswith("| 1 |")


@pytest.mark.parametrize(
    ("together", "shapes"), [(None, [(3, 5)]), (2, [(2, 4), (1, 5)]), (1, [(1, 3), (1, 4), (1, 5)])]
)
def test_a_peer_gets_each_packed_sequence_once(together: int | None, shapes: list[tuple[int, int]]) -> None:
    ids = np.array([[2, 7, 8, 3, 2, 9, 3, 0], [2, 10, 11, 12, 3, 0, 0, 0]])
    labels = np.where(ids > 8, ids + 100, IGNORED)
    batches = padded_batches({"input_ids": ids, "labels": labels}, together)
    assert [batch["input_ids"].shape for batch in batches] == shapes
    found = []
    for batch in batches:
        for row, kept, answers in zip(batch["input_ids"], batch["attention_mask"] > 0, batch["labels"], strict=True):
            assert not row[~kept].any()
            assert (answers[~kept] == IGNORED).all()
            found.append((row[kept].tolist(), answers[kept].tolist()))
    no = IGNORED
    assert found == [
        ([2, 9, 3], [no, 109, no]),
        ([2, 7, 8, 3], [no, no, no, no]),
        ([2, 10, 11, 12, 3], [no, 110, 111, 112, no]),
    ]


def test_sides_that_compute_different_results_are_not_compared() -> None:
    check_results(2.0, "peer", 2.00001, 1e-4)
    for other in (2.001, float("nan")):
        with pytest.raises(SystemExit, match="peer"):
            check_results([2.0, 1.0], "peer", [2.0, other], 1e-4)


BY_HAND = {
    "kmer_ids": f"--fasta {HELDOUT_FASTA} --k 4",
    "training_step": "--preset tiny --rows 2 --rounds 1 --peers PEER",
    "embedding": "--preset tiny --rows 2 --rounds 1",
    "finetuning": "--jobs 2 --sequences 32 --rounds 1 --peers transformers",
    "integration_steps": "--sequences 1 --bases 8 --steps 2",
    "mutagenesis": "--preset tiny --bases 12 --rounds 1",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "flags"),
    [
        ("prepare_genome", f"--fasta {HELDOUT_FASTA} --processes 1 --rounds 1"),
        ("input_pipeline", "--data ROWS --batch 8 --batches 4"),
        *(pytest.param(*program, marks=pytest.mark.by_hand) for program in BY_HAND.items()),
    ],
)
def test_a_program_prints_its_table(sample_rows: Path, program: str, flags: str) -> None:
    words = [{"ROWS": str(sample_rows), "PEER": "by length"}.get(word, word) for word in flags.split()]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    command = [sys.executable, "-m", f"benchmarks.{program}", *words]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    assert "cores" in result.stdout.splitlines()[0]
    assert "|---|---|---|" in result.stdout


SITE, TURNED = "GGAAGTGC", "GCACTTCC"
WITH_SITES = [f"TTNTT{SITE}TTT", f"TT{TURNED}TTTTTTTT".lower(), "T" * 20]
STARTS = [5, 2]


@pytest.mark.usefixtures("uncompiled_memelite")
def test_the_ratio_is_of_the_means_within_and_beside_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_meme(tmp_path / "known.meme", {**random_known(2), "MA1": probabilities(SITE)})
    (tmp_path / "x.fa").write_text("".join(f">s{row}\n{text}\n" for row, text in enumerate(WITH_SITES)))
    scores = [np.ones(len(text), np.float32) for text in WITH_SITES]
    for own, start, inside in zip(scores, STARTS, (4, 0.5), strict=False):
        own[start : start + len(SITE)] = inside
    write_scores(tmp_path / "x.npz", ["s0", "s1", "s2"], [*map(str.upper, WITH_SITES)], scores=np.concatenate(scores))
    words = ["--fasta", "x.fa", "--database", "known.meme", "--motif", "MA1", "x.npz"]
    monkeypatch.chdir(tmp_path)
    # Of 4 and 0.5: quartiles lie a quarter of the way between.
    for more, found in (([], "| x.npz | 2.25 (1.38 - 3.12) | 50% |"), (["--share", "2"], "0 of 3 sequences")):
        monkeypatch.setattr("sys.argv", ["attention_at_sites", *words, *more])
        attention_at_sites.main()
        assert found in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["attention_at_sites", *words, "--motif", "MA2"])
    with pytest.raises(SystemExit, match="MA2"):
        attention_at_sites.main()


MEASURED = "Chrom\tPos\tRef\tAlt\tBarcodes\tCoefficient\tElement\tRelease\n"
ROWS = [
    ("1", "101", "A", "C", "10", "0.5", "E.1", "GRCh37"),
    ("1", "103", "G", "T", "99", "-1.5", "E.1", "GRCh37"),
    ("1", "104", "T", "A", "99", "0.1", "E.1", "GRCh37"),
    ("1", "104", "T", "-", "99", "3", "E.1", "GRCh37"),  # a deletion
    ("1", "104", "T", "G", "9", "3", "E.1", "GRCh37"),  # too few barcodes
    ("1", "203", "T", "G", "99", "3", "E.1", "GRCh38"),  # another genome
    ("NA", "NA", "NA", "NA", "99", "3", "E.1", "GRCh37"),
]


def program(folder: Path, *arguments: str) -> str:
    measured = ["--measured", str(folder / "measured.tsv.gz"), "--fasta", str(folder / "elements.fa")]
    command = [sys.executable, "-m", "benchmarks.reporter_assays", *arguments, *measured]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_substitutions_and_their_correlation(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "measured.tsv.gz", "wt") as file:
        file.write(MEASURED + "".join("\t".join(row) + "\n" for row in ROWS))
    (tmp_path / "elements.fa").write_text(">E.1 hg19 chr1:101-105\nACG\nTA\n>F hg19 chr2:7-8\nAC")
    assert program(tmp_path, "vcf", "--out", str(tmp_path / "out")).startswith("3 substitutions in 2 elements")
    assert (tmp_path / "out/elements.fa").read_text() == ">E.1\nACGTA\n>F\nAC\n"
    rows = [line.split("\t") for line in (tmp_path / "out/variants.vcf").read_text().splitlines() if line[0] != "#"]
    assert [row[:2] + row[3:5] for row in rows] == [
        ["E.1", "1", "A", "C"], ["E.1", "3", "G", "T"], ["E.1", "4", "T", "A"]
    ]  # fmt: skip

    columns = ["contig", "position", "id", "ref", "alt", "left_out", "size", "same"]
    scored = [[*row[:5], "", size, "2"] for row, size in zip(rows, ("1", "5", "0.2"), strict=True)]
    (tmp_path / "scored.tsv").write_text("".join("\t".join(line) + "\n" for line in [columns, *scored]))
    printed = program(tmp_path, "correlate", str(tmp_path / "scored.tsv")).splitlines()
    (row,) = [line for line in printed if line.startswith("| E.1 |")]
    # Of 0.5, -1.5, 0.1 with 1, 5, 0.2: ranks 3, 1, 2 with 2, 3, 1; sizes rank as the scores do.
    assert row.startswith("| E.1 | 3 | -0.500, -0.9")
    assert row.endswith("; +1.000 | +0.000, +0.000; +0.000 |")
