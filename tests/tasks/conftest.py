"""Small tables of random DNA."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


@pytest.fixture
def dna() -> Callable[..., list[str]]:
    """Makes random sequences of different lengths."""

    def make(count: int, shortest: int = 8, longest: int = 30, seed: int = 0) -> list[str]:
        draw = random.Random(seed)  # noqa: S311
        return ["".join(draw.choices("ACGT", k=draw.randint(shortest, longest))) for _ in range(count)]

    return make


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines of a table, given as the values of each row."""

    def make(name: str, *rows: Sequence[object]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = "\t" if ".tsv" in name else ","
        path.write_text("".join(mark.join(map(str, row)) + "\n" for row in rows))
        return path

    return make
