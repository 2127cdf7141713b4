"""TensorFlow Datasets opens a derived set, and reads the table's rows, without TensorFlow."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data_prep.derived.derive import derive
from data_prep.derived.promoters import Promoters, PromotersJob
from data_prep.derived.splits import SPLITS
from data_prep.derived.table import COLUMNS
from dnabert_jax.data.tfrecord import example, feature
from tests.data_prep.derived.conftest import Assembly, table

PROGRAM = """
import json, sys
import tensorflow_datasets as tfds
builder = tfds.builder_from_directory(sys.argv[1])
def plain(value):
    return value.decode() if isinstance(value, bytes) else int(value)
sources = {split: builder.as_data_source(split) for split in builder.info.splits}
rows = {
    split: [{name: plain(value) for name, value in source[i].items()} for i in range(len(source))]
    for split, source in sources.items()
}
labels = builder.info.features["label"].names
print(json.dumps({"rows": rows, "labels": labels, "tensorflow": "tensorflow" in sys.modules}))
"""


def test_tfds_reads_the_table(assembly: Assembly, tmp_path: Path) -> None:
    job = PromotersJob(fasta=(assembly.fasta,), gtf=assembly.gtf, out=tmp_path / "out")
    derive(Promoters(job))
    result = subprocess.run([sys.executable, "-c", PROGRAM, str(job.out)], capture_output=True, text=True, check=True)
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["labels"] == ["background", "promoter"]
    assert not found["tensorflow"] or importlib.util.find_spec("tensorflow")
    expected = {split: [] for split in SPLITS}
    for row in table(job.out):
        expected[row.pop("split")].append(row)
        row |= {"label": found["labels"].index(row["label"]), "start": int(row["start"]), "end": int(row["end"])}
    assert found["rows"] == expected
    assert list(COLUMNS[1:]) == ["chrom", "start", "end", "strand", "label", "group", "origin", "sequence"]


def test_examples_are_those_of_tfds() -> None:
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({"a": tfds.features.Text(), "b": tfds.features.Scalar(np.int64)})
    for number in (0, 127, 128, 248_956_422, 2**40):
        row = {"a": "ACGT" * 100, "b": number}
        read = features.deserialize_example_np(example(feature(*entry) for entry in row.items()))
        assert (read["a"], read["b"]) == (row["a"].encode(), number)


@pytest.mark.parametrize("rows_per_shard", [7])
def test_several_shards(
    assembly: Assembly, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_per_shard: int
) -> None:
    import tensorflow_datasets as tfds

    from data_prep.derived import table as module

    monkeypatch.setattr(module, "ROWS_PER_SHARD", rows_per_shard)
    job = PromotersJob(fasta=(assembly.fasta,), gtf=assembly.gtf, out=tmp_path / "out")
    derive(Promoters(job))
    builder = tfds.builder_from_directory(str(job.out))
    expected = [row["sequence"] for row in table(job.out) if row["split"] == "train"]
    source = builder.as_data_source("train")
    assert [source[place]["sequence"].decode() for place in range(len(source))] == expected
    assert len(list(job.out.glob("train-*.array_record"))) == -(-len(expected) // rows_per_shard)
