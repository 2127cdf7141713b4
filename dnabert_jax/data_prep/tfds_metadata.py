"""The three files beside the shards by which TensorFlow Datasets opens them: `tfds.builder_from_directory(DIR)`.

Their form is that of `tfds.folder_dataset.write_metadata` (tensorflow-datasets 4.9), written without it, so that
preparing data needs no TensorFlow.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from dnabert_jax.data.manifest import Manifest
from dnabert_jax.data.tfrecord import FEATURE, RecordLayout

TFDS_FEATURES = "tensorflow_datasets.core.features"


def tfds_metadata(manifest: Manifest) -> dict[str, bytes]:
    """Returns features.json, dataset_info.json, and metadata.json with k and the manifest's digest, by name."""
    stride = RecordLayout(manifest.row_length).stride
    row = {"dtype": "uint16", "encoding": "bytes", "shape": {"dimensions": [str(manifest.row_length)]}}
    features = features_dict({FEATURE: {"pythonClassName": f"{TFDS_FEATURES}.tensor_feature.Tensor", "tensor": row}})
    token = manifest.tokenizer.unit.removesuffix("s")
    description = f"Rows of {manifest.row_length} {token} ids for masked-language-model pre-training."
    splits = {
        name: ([shard.rows for shard in split.shards], split.rows * stride) for name, split in manifest.splits.items()
    }
    info = dataset_info("genome", description, "tfrecord", splits)
    metadata = {name: value for name, value in json.loads(manifest.text).items() if name in ("k", "tokens")}
    metadata["manifest_sha256"] = manifest.digest()
    files = {"features.json": features, "dataset_info.json": info, "metadata.json": metadata}
    return {name: (json.dumps(content, indent=2) + "\n").encode() for name, content in files.items()}


def features_dict(features: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what features.json says, given each feature by name."""
    return {"pythonClassName": f"{TFDS_FEATURES}.features_dict.FeaturesDict", "featuresDict": {"features": features}}


def dataset_info(
    name: str, description: str, file_format: str, splits: Mapping[str, tuple[Sequence[int], int]]
) -> dict[str, Any]:
    """Returns what dataset_info.json says, given the number of examples in each shard of a split and its bytes."""
    return {
        "name": name,
        "version": "1.0.0",
        "description": description,
        "fileFormat": file_format,
        "splits": [
            {
                "name": split,
                "filepathTemplate": "{SPLIT}-{SHARD_INDEX}-of-{NUM_SHARDS}.{FILEFORMAT}",
                "shardLengths": [str(length) for length in lengths],
                "numBytes": str(size),
            }
            for split, (lengths, size) in splits.items()
        ],
    }
