"""The benchmarks run and print a table; what they measure is not asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.alternation import compare
from dnabert_jax.sample import HELDOUT_FASTA

ROOT = Path(__file__).parents[2]


def test_rates_are_compared_round_by_round() -> None:
    calls: list[str] = []
    table = compare(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, {"a": 1.0, "b": 1.0}, "x", rounds=3
    )
    assert calls == ["a", "b"] * 4
    rows = [line for line in table.splitlines() if line.startswith(("| a |", "| b |"))]
    assert len(rows) == 2
    assert rows[1].endswith("| 1 |")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["kmer_ids", "--fasta", str(HELDOUT_FASTA), "--k", "4"],
        ["prepare_genome", "--fasta", str(HELDOUT_FASTA), "--processes", "1", "--rounds", "1"],
        ["input_pipeline", "--data", "ROWS", "--batch", "8", "--batches", "4"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_program_prints_its_table(sample_rows: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-m", f"benchmarks.{arguments[0]}", *arguments[1:]]
    command = [str(sample_rows) if argument == "ROWS" else argument for argument in command]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert "cores" in result.stdout.splitlines()[0]
    assert "|---|---|---|" in result.stdout
