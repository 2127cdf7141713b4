"""The order of rows is a pure function of (seed, row number), whoever reads it from wherever."""

from pathlib import Path

import numpy as np
import pytest

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.data.manifest import TRAIN, read_manifest
from dnabert_jax.data.pipeline import RowFiles, shuffled_rows, training_batches
from dnabert_jax.errors import InputError
from dnabert_jax.sample import HELDOUT_FASTA


@pytest.mark.parametrize("num_rows", [1, 2, 7, 100])
def test_an_epoch_is_a_permutation_and_the_next_another(num_rows: int) -> None:
    first, second = (shuffled_rows(range(e * num_rows, (e + 1) * num_rows), num_rows, seed=3) for e in (0, 1))
    assert sorted(first) == sorted(second) == list(range(num_rows))
    if num_rows == 100:
        assert first.tolist() != second.tolist()
        assert first.tolist() != shuffled_rows(range(num_rows), num_rows, seed=4).tolist()
        assert first.tolist() != list(range(num_rows))


def test_a_block_may_cross_the_end_of_an_epoch() -> None:
    whole = shuffled_rows(range(30), 10, seed=0)
    assert shuffled_rows(range(7, 24), 10, seed=0).tolist() == whole[7:24].tolist()


def test_batches_do_not_depend_on_where_reading_starts_or_on_the_number_of_processes(sample_rows: Path) -> None:
    files = RowFiles(sample_rows, TRAIN)
    whole = list(training_batches(files, 8, seed=1, start=0, stop=6))
    assert len(whole) == 6
    assert np.array_equal(list(training_batches(files, 8, seed=1, start=4, stop=6)), whole[4:])
    for processes in (2, 4):
        parts = [list(training_batches(files, 8, 1, 0, 6, process, processes)) for process in range(processes)]
        assert np.array_equal([np.concatenate(blocks) for blocks in zip(*parts, strict=True)], whole)


def test_rows_are_found_in_the_right_shard(tmp_path: Path) -> None:
    for name, rows_per_shard in (("one", 1 << 16), ("many", 100)):
        prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / name, k=4, row_length=64, rows_per_shard=rows_per_shard))
    one, many = (RowFiles(tmp_path / name, TRAIN) for name in ("one", "many"))
    assert len(many.entry.shards) > 5
    indices = np.random.default_rng(0).permutation(len(one))
    assert np.array_equal(one.read(indices), many.read(indices))


def test_what_does_not_divide_is_refused(sample_rows: Path) -> None:
    with pytest.raises(InputError, match="does not divide over 3 processes"):
        training_batches(RowFiles(sample_rows, TRAIN), 8, 0, 0, 1, 0, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("{}", "cannot be read"),
        ('{"format": "other"}', "format 'other'"),
        (None, "no manifest"),
    ],
)
def test_a_directory_without_a_sound_manifest_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_manifest(tmp_path)


def test_a_split_that_is_not_there_is_refused(sample_rows: Path) -> None:
    with pytest.raises(InputError, match="no split 'test'"):
        RowFiles(sample_rows, "test")
