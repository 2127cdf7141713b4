"""A data set that TensorFlow Datasets wrote gives the rows, batches and runs that our own files give."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter

from dnabert_jax.config import ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest, checked_manifest
from dnabert_jax.data.rows import open_rows
from dnabert_jax.data.tfds_rows import DATASET_INFO, ArrayRecordShard
from dnabert_jax.data.tfrecord import encode_rows
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.data_prep.verify import verify_directory
from dnabert_jax.errors import InputError
from dnabert_jax.interop.export import export_model
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.training.loop import pretrain
from dnabert_jax.training.saved_model import read_saved_model
from dnabert_jax.typed_json import read_json

Tensor, Encoding = tfds.features.Tensor, tfds.features.Encoding
ROW = Tensor(shape=(64,), dtype=np.uint16, encoding=Encoding.BYTES)


class Kmers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The rows of a prepared directory, as a user of TFDS would store them."""

    VERSION = tfds.core.Version("1.2.0")

    def __init__(self, rows: Path, out: Path):
        self.rows = rows
        super().__init__(data_dir=out, file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        features, metadata = tfds.features.FeaturesDict({"input_ids": ROW}), tfds.core.MetadataDict(k=3)
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True, metadata=metadata)

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict:
        return {name: self._generate_examples(name) for name in (TRAIN, HELDOUT)}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        rows = open_rows(self.rows, split)
        yield from enumerate({"input_ids": row} for row in rows.read(np.arange(len(rows))))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "rows"
    prepare_genome(GenomeJob((HELDOUT_FASTA,), out, k=3, row_length=64, rows_per_shard=500, heldout_fraction=0.1))
    return out


@pytest.fixture(scope="module")
def written(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    builder = Kmers(prepared, tmp_path_factory.mktemp("tfds"))
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return Path(builder.data_dir)


@pytest.fixture
def own(written: Path, tmp_path: Path) -> Path:
    """A copy of the data set to spoil."""
    return Path(shutil.copytree(written, tmp_path / "own"))


def shards(directory: Path) -> list[Path]:
    return sorted(directory.glob("*train*array_record*"))


@pytest.mark.parametrize("split", [TRAIN, HELDOUT])
def test_rows_are_read_in_any_order_by_many_threads(prepared: Path, written: Path, split: str) -> None:
    ours, theirs = open_rows(prepared, split), open_rows(written, split)
    assert len(theirs.entry.shards) == 3
    assert len(ours) == len(theirs)
    wanted = [np.random.default_rng(seed).integers(0, len(ours), 50) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        for indices, rows in zip(wanted, pool.map(theirs.read, wanted), strict=True):
            assert np.array_equal(rows, ours.read(indices))


def test_the_manifest_says_what_is_known_and_no_more(prepared: Path, own: Path) -> None:
    """Even beside the manifest of other files, which convert_format copies."""
    shutil.copy(prepared / "manifest.json", own)
    ours, theirs = open_rows(prepared, TRAIN).manifest, open_rows(own, TRAIN).manifest
    rows = [{name: split.rows for name, split in manifest.splits.items()} for manifest in (ours, theirs)]
    assert (theirs.k, theirs.row_length, rows[1]) == (ours.k, ours.row_length, rows[0])
    assert theirs.sources[0]["name"] == "kmers/1.2.0"


def test_a_changed_file_is_another_data_set(own: Path) -> None:
    manifest = open_rows(own, TRAIN).manifest
    assert open_rows(own, HELDOUT).manifest == manifest
    before = checked_manifest(own, manifest)
    assert checked_manifest(own, before) == before
    path = shards(own)[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert checked_manifest(own, manifest).digest() != before.digest()


@pytest.mark.slow
def test_a_run_trains_resumes_and_exports_from_it(own: Path, tmp_path: Path, small_model: ModelConfig) -> None:
    config = PretrainConfig(
        model=small_model,
        optimizer=OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=2, schedule_steps=20),
        global_batch=8, steps=4, log_every=2, evaluate_every=4, evaluation_rows=16, checkpoint_every=2,
    )  # fmt: skip
    result = pretrain(config, own, tmp_path / "run")
    assert result.evaluation is not None
    assert 0 < result.evaluation.loss < 10
    recorded = read_json(Manifest, tmp_path / "run" / "data.json")
    assert recorded == checked_manifest(own, open_rows(own, TRAIN).manifest)
    assert pretrain(dataclasses.replace(config, steps=5), own, tmp_path / "run", resume=True).step == 5
    export_model(read_saved_model(tmp_path / "run"), tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "kmers/1.2.0" in card
    assert "not recorded" in card
    shards(own)[0].write_bytes(shards(own)[1].read_bytes())
    with pytest.raises(InputError, match="The data differ"):
        pretrain(dataclasses.replace(config, steps=6), own, tmp_path / "run", resume=True)


def test_a_flipped_bit_is_found_by_the_record_it_is_in_and_no_wrong_row_is_given(prepared: Path, own: Path) -> None:
    entry, path = open_rows(own, TRAIN).entry.shards[0], shards(own)[0]
    rows = open_rows(prepared, TRAIN).read(np.arange(entry.rows))
    whole = path.read_bytes()
    found = set()
    for position in np.random.default_rng(0).integers(0, 40_000, 60).tolist():
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << position % 8]) + whole[position + 1 :])
        read, damage = ArrayRecordShard(path, entry.rows, 64).inspect(np.arange(entry.rows))
        right = (read == rows).all(axis=1)
        assert sorted(damage) == np.flatnonzero(~right).tolist()
        if damage:
            number = min(damage)
            found.add(number)
            assert "Riegeli" in damage[number]
            with pytest.raises(InputError, match=rf"{path.name}: record {number} is damaged: .*; build"):
                open_rows(own, TRAIN).read(np.arange(entry.rows))
            assert f"{path}: record {number} is damaged: {damage[number]}." in verify_directory(own)
    assert len(found) > 10


def test_verify_finds_nothing_where_nothing_is_and_rows_that_are_none(own: Path) -> None:
    assert list(verify_directory(own)) == []
    entry, path = open_rows(own, TRAIN).entry.shards[1], shards(own)[1]
    rows = ArrayRecordShard(path, entry.rows, 64).read(np.arange(entry.rows))
    rows[7, 1] = 69
    writer = ArrayRecordWriter(str(path), "group_size:1")
    for number, record in enumerate(encode_rows(rows)):
        example = record[12:-4].tobytes()
        if number == 8:
            example = example.replace(b"input_ids", b"other_ids")
        writer.write(example + b"\0" * (number == 9))
    writer.close()
    assert list(verify_directory(own)) == [
        f"{path}: record 7 is no row: an id is outside of the vocabulary.",
        f"{path}: record 8 is damaged: it is no Example of 64 ids in bytes.",
        f"{path}: record 9 is damaged: it is no Example of 64 ids in bytes.",
    ]


def info(**fields: object) -> Callable[[Path], object]:
    """What changes the metadata of a data set."""
    return lambda directory: (directory / DATASET_INFO).write_text(
        json.dumps(json.loads((directory / DATASET_INFO).read_text()) | fields)
    )


def file(name: str, content: str | None) -> Callable[[Path], object]:
    """What writes a file of a data set, or removes it."""
    return lambda directory: (directory / name).unlink() if content is None else (directory / name).write_text(content)


def features(**kinds: tfds.features.FeatureConnector) -> Callable[[Path], object]:
    return lambda directory: tfds.features.FeaturesDict(kinds).save_config(str(directory))


def cut(length: int) -> Callable[[Path], object]:
    return lambda directory: shards(directory)[1].write_bytes(shards(directory)[1].read_bytes()[:length])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (info(fileFormat="tfrecord"), "no manifest.json.*array_record is read, not tfrecord"),
        (info(fileFormat="punched_cards"), "cannot open"),
        (info(splits=[{"name": "train"}]), "no split 'train'"),
        *((file(name, "{"), "cannot open") for name in (DATASET_INFO, "features.json", "metadata.json")),
        (file("features.json", None), "cannot open"),
        *(
            (features(**kinds), r"features\.json has other features .* encoding=tfds.features.Encoding.BYTES")
            for kinds in (
                {"input_ids": Tensor(shape=(64,), dtype=np.uint16)},
                {"input_ids": Tensor(shape=(64,), dtype=np.uint16, encoding=Encoding.ZLIB)},
                {"input_ids": Tensor(shape=(64,), dtype=np.int32, encoding=Encoding.BYTES)},
                {"input_ids": Tensor(shape=(None,), dtype=np.uint16, encoding=Encoding.BYTES)},
                {"tokens": ROW},
                {"input_ids": ROW, "labels": ROW},
            )
        ),
        *((file("metadata.json", text), "does not say k: .*k=6") for text in (None, '{"colour": "red"}', '{"k": "3"}')),
        (lambda directory: shards(directory)[1].unlink(), "00001-of-00003 is missing"),
        (cut(0), "00001-of-00003 has 0 readable records"),
        (cut(-1), "00001-of-00003 has 0 readable records"),
        (
            lambda directory: shutil.copy(next(directory.glob("*heldout*00000-of*")), shards(directory)[1]),
            "not from this data set",
        ),
        (file(DATASET_INFO, None), "no manifest.json.*no dataset_info.json"),
    ],
)
def test_what_is_damaged_is_one_sentence(own: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(own)
    with pytest.raises(InputError, match=message) as error:
        open_rows(own, TRAIN)
    assert "\n" not in str(error.value)


def test_the_extra_to_install_is_named(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match="the extra tfds"):
        open_rows(written, TRAIN)
