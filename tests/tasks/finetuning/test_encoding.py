"""Labelled sequences as ids: what is too long is refused or cut, and batches take few shapes that hold all there is."""

import numpy as np
import pytest

from dnabert_jax.config import ModelConfig, TaskConfig
from dnabert_jax.errors import InputError
from dnabert_jax.sequence.vocabulary import NUM_SPECIAL
from dnabert_jax.tasks.datasets.labelled import LabelledSplit
from dnabert_jax.tasks.datasets.sequences import Sequences
from dnabert_jax.tasks.finetuning.config import FinetuneConfig
from dnabert_jax.tasks.finetuning.encoding import batch_shape, encode_split, windowed_task

MODEL = ModelConfig(k=3, hidden_size=8, num_layers=1, num_heads=2, intermediate_size=8, max_positions=42)
TASK = TaskConfig("single_label_classification", ("no", "yes"))


def split_of(*lengths: int) -> LabelledSplit:
    draw = np.random.default_rng(0)
    sequences = Sequences.of([(draw.integers(0, 4, sum(lengths)).astype(np.uint8), np.array(lengths))])
    numbers = np.arange(len(lengths))
    return LabelledSplit(sequences, (numbers % 2).astype(np.int32), numbers + 1, "x.csv")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # 40 k-mers are a window; 100 are 3 of these, as neighbours share 5.
        ({}, (40, 5, 3)),
        ({"overlap": 0}, (40, 0, 3)),
        ({"window": 20}, (20, 2, 6)),
        ({"window": 20, "overlap": 10}, (20, 10, 9)),
    ],
)
def test_a_task_has_as_many_windows_as_its_longest_sequence(settings: dict, expected: tuple[int, int, int]) -> None:
    config = FinetuneConfig(long="mean", **settings)
    task = windowed_task(TASK, config, MODEL, [split_of(30, 50), split_of(102)])
    assert (task.window, task.overlap, task.split) == expected
    assert (task.long, task.labels) == ("mean", TASK.labels)
    assert windowed_task(TASK, FinetuneConfig(), MODEL, [split_of(102)]) == TASK


def test_what_is_too_long_is_refused_unless_it_is_read_in_windows() -> None:
    assert encode_split(split_of(42, 20), TASK, MODEL).lengths.tolist() == [42, 20]
    with pytest.raises(InputError, match=r"Row 2 of x\.csv .* 43 .* 42.* --long"):
        encode_split(split_of(20, 43), TASK, MODEL)


@pytest.mark.parametrize("long", ["none", "mean", "concatenation"])
def test_rows_of_any_batch_hold_all_kmers_and_their_shapes_are_few(long: str) -> None:
    lengths = list(range(3, 43)) if long == "none" else list(range(3, 400))
    data = split_of(*lengths)
    task = windowed_task(TASK, FinetuneConfig(long=long), MODEL, [data])
    encoded = encode_split(data, task, MODEL)
    shapes = set()
    for longest in range(len(lengths)):
        shape = batch_shape(task, int(encoded.lengths[longest]), MODEL)
        shapes.add(shape)
        chosen = np.array([longest // 2, longest])
        for row, number in zip(encoded.rows(chosen, shape), chosen, strict=True):
            ids = encoded.ids[encoded.offsets[number] : encoded.offsets[number + 1]]
            assert set(row[row >= NUM_SPECIAL].tolist()) == set(ids[1:-1].tolist())
    if long == "concatenation":
        assert {windows for windows, _ in shapes} == {task.split}
    # Lengths of what is a single window, and a few numbers of full ones.
    assert len(shapes) <= 6 + (task.split - 1).bit_length()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"window": 20}, "--long"),
        ({"overlap": 0}, "--long"),
        ({"long": "mean", "overlap": -1}, "overlap is -1"),
        ({"long": "mean", "window": 9, "overlap": 9}, "overlap is 9"),
        ({"long": "mean", "window": 41}, "window is 41"),
    ],
)
def test_windows_are_of_long_sequences_and_overlap_by_less_than_they_have(settings: dict, name: str) -> None:
    with pytest.raises(InputError, match=name):
        windowed_task(TASK, FinetuneConfig(**settings), MODEL, [split_of(102)])
