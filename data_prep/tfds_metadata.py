"""The three files beside the shards by which TensorFlow Datasets opens them: `tfds.builder_from_directory(DIR)`.

Their form is that of `tfds.folder_dataset.write_metadata` (tensorflow-datasets 4.9), written without it, so that
preparing data needs no TensorFlow.
"""

import json

from dnabert_jax.data.manifest import Manifest
from dnabert_jax.data.tfrecord import FEATURE, RecordLayout

_FEATURES = "tensorflow_datasets.core.features"


def tfds_metadata(manifest: Manifest) -> dict[str, bytes]:
    """The contents of features.json, dataset_info.json, and metadata.json with k and the manifest's digest, by name."""
    stride = RecordLayout(manifest.row_length).stride
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
                "numBytes": str(split.rows * stride),
            }
            for name, split in manifest.splits.items()
        ],
    }
    metadata = {"k": manifest.k, "manifest_sha256": manifest.digest()}
    files = {"features.json": features, "dataset_info.json": info, "metadata.json": metadata}
    return {name: (json.dumps(content, indent=2) + "\n").encode() for name, content in files.items()}
