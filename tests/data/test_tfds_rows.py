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

from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from data_prep.verify import verify_directory
from dnabert_jax.config import ModelConfig, OptimizerConfig, PretrainConfig
from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest, checked_manifest
from dnabert_jax.data.pipeline import training_batches
from dnabert_jax.data.rows import open_rows, read_source
from dnabert_jax.data.tfds_rows import DATASET_INFO, ArrayRecordShard
from dnabert_jax.data.tfrecord import encode_rows
from dnabert_jax.errors import InputError
from dnabert_jax.interop.export import export_model
from dnabert_jax.sample import HELDOUT_FASTA
from dnabert_jax.training.loop import pretrain
from dnabert_jax.training.saved_model import read_saved_model
from dnabert_jax.typed_json import read_json
from launch.prepare import describe

ROW = tfds.features.Tensor(shape=(64,), dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)
FEATURES = {"input_ids": ROW}
K = {"k": 3}


class Kmers(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The rows of a prepared directory, as a user of TFDS would store them."""

    VERSION = tfds.core.Version("1.2.0")

    def __init__(self, rows: Path, features: dict, metadata: dict | None, **arguments):
        self.rows, self.row_features = rows, features
        self.row_metadata = None if metadata is None else tfds.core.MetadataDict(metadata)
        super().__init__(**arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(self.row_features),
            disable_shuffling=True,
            metadata=self.row_metadata,
        )

    def _split_generators(self, _: tfds.download.DownloadManager) -> dict:
        return {name: self._generate_examples(name) for name in (TRAIN, HELDOUT)}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        rows = open_rows(self.rows, split)
        for number, row in enumerate(rows.read(np.arange(len(rows)))):
            yield number, {name: row.astype(self.row_features[name].np_dtype) for name in self.row_features}


def write(rows: Path, out: Path, features: dict = FEATURES, metadata: dict | None = K) -> Path:
    builder = Kmers(rows, features, metadata, data_dir=out, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=3))
    return Path(builder.data_dir)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "rows"
    prepare_genome(GenomeJob((HELDOUT_FASTA,), out, k=3, row_length=64, rows_per_shard=500, heldout_fraction=0.1))
    return out


@pytest.fixture(scope="module")
def written(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(prepared, tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def own(written: Path, tmp_path: Path) -> Path:
    """A copy of the data set to spoil."""
    return Path(shutil.copytree(written, tmp_path / "own"))


def shards(directory: Path) -> list[Path]:
    return sorted(directory.glob("*train*array_record*"))


def test_batches_are_those_of_our_own_files(prepared: Path, written: Path) -> None:
    assert len(shards(written)) == 3
    ours, theirs = (
        list(training_batches(open_rows(directory, TRAIN), 8, np.array([0, 3, 7]), seed=2, start=5, stop=200))
        for directory in (prepared, written)
    )
    assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("split", [TRAIN, HELDOUT])
def test_rows_are_read_in_any_order_by_many_threads(prepared: Path, written: Path, split: str) -> None:
    ours, theirs = open_rows(prepared, split), open_rows(written, split)
    assert len(ours) == len(theirs)
    wanted = [np.random.default_rng(seed).integers(0, len(ours), 50) for seed in range(64)]
    with ThreadPoolExecutor(8) as pool:
        for indices, rows in zip(wanted, pool.map(theirs.read, wanted), strict=True):
            assert np.array_equal(rows, ours.read(indices))


def test_the_manifest_says_what_is_known_and_no_more(prepared: Path, written: Path) -> None:
    ours, theirs = open_rows(prepared, TRAIN).manifest, open_rows(written, TRAIN).manifest
    assert (theirs.k, theirs.row_length) == (ours.k, ours.row_length)
    assert {name: split.rows for name, split in theirs.splits.items()} == {
        name: split.rows for name, split in ours.splits.items()
    }
    assert theirs.sources[0]["name"] == "kmers/1.2.0"
    assert "not recorded" in describe(theirs)
    assert "not recorded" not in describe(ours)


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


def test_a_manifest_copied_by_convert_format_does_not_hide_the_array_records(prepared: Path, own: Path) -> None:
    shutil.copy(prepared / "manifest.json", own)
    assert read_source(own)[1] is ArrayRecordShard
    assert len(open_rows(own, TRAIN)) == len(open_rows(prepared, TRAIN))


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
        read, damage = ArrayRecordShard(path, entry.rows, 64).inspect(0, entry.rows)
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


@pytest.mark.parametrize(
    "features",
    [
        {"input_ids": tfds.features.Tensor(shape=(64,), dtype=np.uint16)},
        {"input_ids": tfds.features.Tensor(shape=(64,), dtype=np.uint16, encoding=tfds.features.Encoding.ZLIB)},
        {"input_ids": tfds.features.Tensor(shape=(64,), dtype=np.int32, encoding=tfds.features.Encoding.BYTES)},
        {"input_ids": tfds.features.Tensor(shape=(None,), dtype=np.uint16, encoding=tfds.features.Encoding.BYTES)},
        {"tokens": ROW},
        {"input_ids": ROW, "labels": ROW},
    ],
    ids=["int64_list", "zlib", "int32", "any_length", "another_name", "two"],
)
def test_features_of_another_kind_are_refused(prepared: Path, tmp_path: Path, features: dict) -> None:
    directory = write(prepared, tmp_path, features)
    with pytest.raises(InputError, match=r"features\.json has other features .* encoding=tfds.features.Encoding.BYTES"):
        open_rows(directory, TRAIN)


def test_records_of_another_form_than_the_features_say_are_refused(
    prepared: Path, written: Path, tmp_path: Path
) -> None:
    directory = write(prepared, tmp_path, {"input_ids": tfds.features.Tensor(shape=(64,), dtype=np.uint16)})
    shutil.copy(written / "features.json", directory)
    with pytest.raises(InputError, match=r"00000-of-00003: record 4 is damaged: it is no Example of 64 ids in bytes"):
        open_rows(directory, TRAIN).read(np.array([4]))


@pytest.mark.parametrize("metadata", [None, {"colour": "red"}, {"k": "3"}])
def test_a_data_set_that_does_not_say_k_is_refused(prepared: Path, tmp_path: Path, metadata: dict | None) -> None:
    directory = write(prepared, tmp_path, metadata=metadata)
    with pytest.raises(InputError, match=r"metadata\.json does not say k: .*MetadataDict\(k=6\)"):
        open_rows(directory, TRAIN)


def change_info(**fields: object) -> Callable[[Path], object]:
    def change(directory: Path) -> None:
        path = directory / DATASET_INFO
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return change


def cut(length: int) -> Callable[[Path], object]:
    return lambda directory: shards(directory)[1].write_bytes(shards(directory)[1].read_bytes()[:length])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change_info(fileFormat="tfrecord"), "no manifest.json.*array_record is read, not tfrecord"),
        (change_info(fileFormat="punched_cards"), "cannot open"),
        (change_info(version="first"), "cannot open"),
        (change_info(colour="red"), "cannot open"),
        (change_info(splits=[{"name": "train"}]), "no split 'train'"),
        (change_info(splits="train"), "cannot open"),
        (lambda directory: (directory / DATASET_INFO).write_text("{"), "cannot open"),
        (lambda directory: (directory / "features.json").write_text("{"), "cannot open"),
        (lambda directory: (directory / "features.json").unlink(), "cannot open"),
        (lambda directory: (directory / "metadata.json").write_text("{"), "cannot open"),
        (lambda directory: (directory / "metadata.json").write_text("[1]"), "cannot open"),
        (lambda directory: shards(directory)[1].unlink(), "00001-of-00003 is missing"),
        (cut(0), "00001-of-00003 has 0 readable records"),
        (cut(65536), "00001-of-00003 has 0 readable records"),
        (cut(-1), "00001-of-00003 has 0 readable records"),
        (
            lambda directory: shutil.copy(next(directory.glob("*heldout*00000-of*")), shards(directory)[1]),
            "not from this data set",
        ),
        (lambda directory: (directory / DATASET_INFO).unlink(), "no manifest.json.*no dataset_info.json"),
    ],
)
def test_what_is_damaged_is_one_sentence(own: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(own)
    with pytest.raises(InputError, match=message) as error:
        open_rows(own, TRAIN)
    assert "\n" not in str(error.value)


def test_a_split_that_is_not_there_is_refused(written: Path) -> None:
    with pytest.raises(InputError, match="no split 'test': it has train, heldout"):
        open_rows(written, "test")


def test_the_extra_to_install_is_named(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match="the extra tfds"):
        open_rows(written, TRAIN)
