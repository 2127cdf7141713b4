"""Examples to files: a table, and array_record shards that TensorFlow Datasets opens."""

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from array_record.python.array_record_module import ArrayRecordWriter

from data_prep.derived.examples import Examples
from data_prep.tfds_metadata import TFDS_FEATURES, dataset_info
from dnabert_jax.data.tfrecord import example
from dnabert_jax.sequence.kmers import text_of
from dnabert_jax.storage import write_text

COLUMNS = ("split", "chrom", "start", "end", "strand", "label", "group", "origin", "sequence")

ROWS_PER_SHARD = 65_536


class Names(NamedTuple):
    """What the numbers in examples stand for; `task` is the data set's own name."""

    task: str
    contigs: Sequence[str]
    labels: Sequence[str]
    groups: Sequence[str]
    origins: Sequence[str]


def write_table(path: Path, examples: Examples, split: Sequence[str], names: Names) -> None:
    """The examples as gzip TSV with COLUMNS; start and end are 0-based, half-open, on the forward strand."""
    # Without name and time, so that the same table has the same bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
        file.write(("\t".join(COLUMNS) + "\n").encode())
        for row, name in zip(_rows(examples, names), split, strict=True):
            file.write(("\t".join([name, *map(str, row.values())]) + "\n").encode())


def _rows(examples: Examples, names: Names) -> Any:
    """Yields each example as a dictionary of COLUMNS but the split."""
    length = examples.codes.shape[1]
    for number in range(len(examples)):
        start = int(examples.start[number])
        yield {
            "chrom": names.contigs[examples.contig[number]],
            "start": start,
            "end": start + length,
            "strand": "-" if examples.reverse[number] else "+",
            "label": names.labels[examples.label[number]],
            "group": names.groups[examples.group[number]],
            "origin": names.origins[examples.origin[number]],
            "sequence": text_of(examples.codes[number]),
        }


def write_array_record(
    directory: Path,
    examples: Examples,
    split: Sequence[str],
    names: Names,
    description: str,
    progress: Callable[[int], object],
) -> None:
    """One or more array_record files a split, and TFDS's metadata: `tfds.builder_from_directory(directory)`."""
    splits = {}
    rows = list(_rows(examples, names))
    for name in dict.fromkeys(split):
        own = [row for row, other in zip(rows, split, strict=True) if other == name]
        shards = [own[first : first + ROWS_PER_SHARD] for first in range(0, len(own), ROWS_PER_SHARD)]
        size = 0
        for number, shard in enumerate(shards):
            path = directory / f"{name}-{number:05d}-of-{len(shards):05d}.array_record"
            writer = ArrayRecordWriter(str(path), "group_size:1")
            for row in shard:
                record = example({**row, "label": names.labels.index(row["label"])})
                size += len(record)
                writer.write(record)
            writer.close()
            progress(len(shard))
        splits[name] = [len(shard) for shard in shards], size
    info = dataset_info(names.task, description, "array_record", splits)
    for file_name, value in (("dataset_info.json", info), ("features.json", _features(names.labels))):
        write_text(directory / file_name, json.dumps(value, indent=2) + "\n")
    write_text(directory / "label.labels.txt", "".join(f"{label}\n" for label in names.labels))


def _features(labels: Sequence[str]) -> dict[str, Any]:
    text = {"pythonClassName": f"{TFDS_FEATURES}.text_feature.Text", "text": {}}
    number = {
        "pythonClassName": f"{TFDS_FEATURES}.scalar.Scalar",
        "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
    }
    label = {
        "pythonClassName": f"{TFDS_FEATURES}.class_label_feature.ClassLabel",
        "classLabel": {"numClasses": str(len(labels))},
    }
    kinds = {"label": label, "start": number, "end": number}
    return {
        "pythonClassName": f"{TFDS_FEATURES}.features_dict.FeaturesDict",
        "featuresDict": {"features": {name: kinds.get(name, text) for name in COLUMNS[1:]}},
    }
