"""Examples to files: a table, and array_record shards that TensorFlow Datasets opens."""

import gzip
import itertools
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordWriter

from dnabert_jax.data.tfrecord import example, feature
from dnabert_jax.data_prep.derived.contigs import Examples
from dnabert_jax.data_prep.derived.tasks import Task
from dnabert_jax.data_prep.tfds_metadata import TFDS_FEATURES, dataset_info, features_dict
from dnabert_jax.sequence.bases import decode_bases
from dnabert_jax.storage import write_text

TABLE = "examples.tsv.gz"
COLUMNS = ("split", "chrom", "start", "end", "strand", "label", "group", "origin", "sequence")

ROWS_PER_SHARD = 65_536

_GZIP_LEVEL = 4
"""Level 9 takes twenty times as long for DNA, and saves one byte in thirteen."""

_RECORD_OPTIONS = "group_size:1,uncompressed"
"""Each record alone, to be read at random; to compress so few bytes takes six times as long, and saves one in nine."""


def write_examples(
    directory: Path,
    examples: Examples,
    split: Sequence[str],
    task: Task,
    contigs: Sequence[str],
    progress: Callable[[int], object],
) -> None:
    """Writes the table, one or more array_record files a split, and TFDS's metadata.

    The table has COLUMNS; start and end are 0-based, half-open, on the forward strand. The other files are what
    `tfds.builder_from_directory(directory)` opens.
    """
    length, letters = examples.codes.shape[1], decode_bases(examples.codes.ravel())
    columns: dict[str, Sequence[int | str]] = {
        "chrom": [contigs[number] for number in examples.contig],
        "start": examples.start.tolist(),
        "end": (examples.start + length).tolist(),
        "strand": ["-" if reverse else "+" for reverse in examples.reverse],
        "label": [task.labels[label] for label in examples.label],
        "group": [task.groups[number] for number in examples.group],
        "origin": [task.origins[number] for number in examples.origin],
        "sequence": [letters[first : first + length] for first in range(0, len(letters), length)],
    }
    rows = zip(split, *(map(str, columns[name]) for name in COLUMNS[1:]), strict=True)
    text = "".join("\t".join(row) + "\n" for row in (COLUMNS, *rows))
    # Without name and time, so that the same table has the same bytes.
    (directory / TABLE).write_bytes(gzip.compress(text.encode(), _GZIP_LEVEL, mtime=0))
    columns["label"] = examples.label.tolist()
    features = []
    for name, values in sorted(columns.items()):
        # Most columns have few values.
        known = {value: feature(name, value) for value in set(values)}
        features.append(map(known.__getitem__, values))
    records = map(example, zip(*features, strict=True))
    splits = {}
    # The examples come split by split.
    for name, total in Counter(split).items():
        lengths = [min(ROWS_PER_SHARD, total - first) for first in range(0, total, ROWS_PER_SHARD)]
        size = 0
        for number, length in enumerate(lengths):
            path = directory / f"{name}-{number:05d}-of-{len(lengths):05d}.array_record"
            writer = ArrayRecordWriter(str(path), _RECORD_OPTIONS)
            for record in itertools.islice(records, length):
                size += len(record)
                writer.write(record)
            writer.close()
            progress(length)
        splits[name] = lengths, size
    description = f"{task.name}, {task.protocol}: see manifest.json"
    info = dataset_info(task.set_name, description, "array_record", splits)
    for file_name, value in (("dataset_info.json", info), ("features.json", _features(task.labels))):
        write_text(directory / file_name, json.dumps(value, indent=2) + "\n")
    write_text(directory / "label.labels.txt", "".join(f"{label}\n" for label in task.labels))


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
    return features_dict({name: kinds.get(name, text) for name in COLUMNS[1:]})
