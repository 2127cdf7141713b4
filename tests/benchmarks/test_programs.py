"""The benchmarks run and print a table; what they measure is not asserted."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.alternation import check_results, compare
from benchmarks.training_step import IGNORED, padded_batches
from dnabert_jax.sample import HELDOUT_FASTA

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
