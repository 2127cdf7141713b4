"""The three files beside the shards by which TensorFlow Datasets opens them: `tfds.builder_from_directory(DIR)`.

Their form is that of `tfds.folder_dataset.write_metadata` (tensorflow-datasets 4.9), written without it, so that
preparing data needs no TensorFlow.
"""

import json
from pathlib import Path
from typing import Any

from dnabert_jax.data.manifest import Manifest
from dnabert_jax.data.tfrecord import FEATURE

_FEATURES = "tensorflow_datasets.core.features"


def write_tfds_metadata(directory: Path, manifest: Manifest) -> None:
    """Writes features.json, dataset_info.json, and metadata.json with k."""
    row = {"dtype": "uint16", "encoding": "bytes", "shape": {"dimensions": [str(manifest.row_length)]}}
    features = {
        "pythonClassName": f"{_FEATURES}.features_dict.FeaturesDict",
        "featuresDict": {
            "features": {FEATURE: {"pythonClassName": f"{_FEATURES}.tensor_feature.Tensor", "tensor": row}}
        },
    }
    info = {
        "name": "genome",
        "version": "1.0.0",
        "description": f"Rows of {manifest.row_length} {manifest.k}-mer ids for masked-language-model pre-training.",
        "fileFormat": "tfrecord",
        "splits": [
            {
                "name": name,
                "filepathTemplate": "{SPLIT}-{SHARD_INDEX}-of-{NUM_SHARDS}.{FILEFORMAT}",
                "shardLengths": [str(shard.rows) for shard in split.shards],
                "numBytes": str(sum((directory / shard.name).stat().st_size for shard in split.shards)),
            }
            for name, split in manifest.splits.items()
        ],
    }
    _write(directory / "features.json", features)
    _write(directory / "dataset_info.json", info)
    _write(directory / "metadata.json", {"k": manifest.k})


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")
