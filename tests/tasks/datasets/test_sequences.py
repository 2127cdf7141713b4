"""Whole columns parsed at once equal what `encode` makes of each row; what is wrong is named with its row."""

import numpy as np
import pyarrow as pa
import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import base_codes
from dnabert_jax.sequence.kmers import KmerTokenizer, split_kmers
from dnabert_jax.tasks.datasets.sequences import SequenceParser, Sequences
from tests.tasks.conftest import dna


def parse(texts: list[str | None], k: int = 3, batch: int = 4) -> Sequences:
    parser = SequenceParser("x.csv", KmerTokenizer(k))
    arrays = [pa.array(texts[first : first + batch], pa.string()) for first in range(0, len(texts), batch)]
    return Sequences.of(parser.parse(array) for array in arrays)


@pytest.mark.parametrize("k", [1, 2, 3, 6])
@pytest.mark.parametrize("batch", [1, 4, 100])
def test_raw_dna_and_kmers_give_the_codes_of_each_row(k: int, batch: int) -> None:
    rows = [*dna(20, shortest=k), "ACGTNNRYacgtn"]
    for texts in (rows, [f" {row}\n" for row in rows], [split_kmers(row, k) for row in rows]):
        # A single letter a k-mer is told from raw DNA by its spaces, and by nothing in a row of one.
        parsed = parse([text for text in texts if k > 1 or len(text.strip()) > 1], k, batch)
        expected = [base_codes(row.encode()) for row in rows if k > 1 or len(row) > 1]
        assert [codes.tolist() for codes in parsed] == [codes.tolist() for codes in expected]


def test_any_white_space_between_kmers_and_slices_of_columns() -> None:
    assert parse(["ACG  CGT\tGTA "])[0].tolist() == base_codes(b"ACGTA").tolist()
    codes, lengths = SequenceParser("x.csv", KmerTokenizer(3)).parse(pa.array(["CCCC", "ACGT", "GGGGG", "TTTT"])[1:3])
    assert (codes.tolist(), lengths.tolist()) == (base_codes(b"ACGTGGGGG").tolist(), [4, 5])


def test_selections_share_the_bases() -> None:
    rows = dna(30)
    rows[7], rows[29] = "ACGTNACGT", "ACGTACGR"
    parsed = parse(rows)
    order = np.array([29, 3, 28, 0, 11, 7])
    chosen = parsed.select(order)
    assert chosen.codes is parsed.codes
    assert [codes.tolist() for codes in chosen] == [base_codes(rows[row].encode()).tolist() for row in order]
    assert chosen.ambiguous().tolist() == [row in (7, 29) for row in order]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["ACGT"] * 6 + ["ACXT"], "Row 7 .*'X' .* 3"),
        (["ACGT", "ACéT"], "Row 2 .*'ACéT'"),
        (["ACGT"] * 5 + [None], "Row 6 "),
        (["ACGT", "AC"], "Row 2 .* 2 .* 3"),
        (["ACGT"] * 5 + ["ACG CGT"], "Row 6 .* k-mers .* raw DNA"),
        (["ACG", "ACG CGT", "ACGT"], "Row 3 .* raw DNA .* k-mers"),
        (["ACG CGT", "ACGT CGTA"], "Row 2 .* 1 .*'ACGT'.* 4 .* 3"),
        (["ACG CGT", "ACG CG"], "Row 2 .* 2 .*'CG'"),
        (["ACG CGT GTA", "ACG CGT TTT TTT"], "Row 2 .* 3 "),
        (["ACG CGT", "ACX CXT"], "Row 2 .*'X' .* 3"),
    ],
)
def test_what_is_no_sequence_is_named_with_its_row(rows: list[str | None], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        parse(rows)
    assert "x.csv" in str(caught.value)
