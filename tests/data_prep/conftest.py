"""A small genome: two records, N inside, half of one in lower case, an ambiguity letter at the end."""

from pathlib import Path

import pytest

from tests.random_models import random_dna


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def fasta(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text(
        f">a\n{random_dna(3000, 1)}NNNN{random_dna(2000, 2).lower()}\n>b\n{random_dna(9)}N{random_dna(800, 3)}R\n"
    )
    return path
