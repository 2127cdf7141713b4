"""The order of rows is a pure function of (seed, row number), whoever reads it from wherever."""

from pathlib import Path

import numpy as np
import pytest

from dnabert_jax.data.manifest import TRAIN
from dnabert_jax.data.pipeline import shuffled_rows, training_batches
from dnabert_jax.data.rows import open_rows
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.errors import InputError
from dnabert_jax.sample import HELDOUT_FASTA


@pytest.mark.parametrize("num_rows", [1, 2, 7, 100])
def test_an_epoch_is_a_permutation_and_the_next_another(num_rows: int) -> None:
    first, second = (shuffled_rows(np.arange(e * num_rows, (e + 1) * num_rows), num_rows, seed=3) for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(num_rows))
    if num_rows == 100:
        assert first.tolist() != second.tolist()
        assert first.tolist() != shuffled_rows(np.arange(num_rows), num_rows, seed=4).tolist()
        assert first.tolist() != list(range(num_rows))


def test_any_places_may_be_asked_for_across_epochs() -> None:
    whole = shuffled_rows(np.arange(30), 10, seed=0)
    wanted = np.array([7, 24, 3, 10, 9])
    assert shuffled_rows(wanted, 10, seed=0).tolist() == whole[wanted].tolist()


def test_batches_do_not_depend_on_where_reading_starts_or_on_who_reads_which_rows(sample_rows: Path) -> None:
    files = open_rows(sample_rows, TRAIN)
    whole = list(training_batches(files, 8, np.arange(8), seed=1, start=0, stop=6))
    assert len(whole) == 6
    assert np.array_equal(list(training_batches(files, 8, np.arange(8), 1, 4, 6)), whole[4:])
    # As on a pod, where the rows of one process are not neighbours.
    for rows in ([0, 2, 5], [7], [1, 3, 4, 6]):
        part = list(training_batches(files, 8, np.array(rows), seed=1, start=0, stop=6))
        assert np.array_equal(part, [batch[rows] for batch in whole])


def test_rows_are_found_in_the_right_shard(tmp_path: Path) -> None:
    for name, rows_per_shard in (("one", 1 << 16), ("many", 100)):
        prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / name, k=4, row_length=64, rows_per_shard=rows_per_shard))
    one, many = (open_rows(tmp_path / name, TRAIN) for name in ("one", "many"))
    assert len(many.entry.shards) > 5
    indices = np.random.default_rng(0).permutation(len(one))
    assert np.array_equal(one.read(indices), many.read(indices))


def test_a_split_that_is_not_there_is_refused(sample_rows: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'"):
        open_rows(sample_rows, "test")
