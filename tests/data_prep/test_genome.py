"""`prepare genome`: rows hold windows of the input and nothing else, the same bytes every time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import tensorflow_datasets as tfds

from dnabert_jax.data.manifest import HELDOUT, TRAIN, Manifest, read_manifest
from dnabert_jax.data.rows import open_rows
from dnabert_jax.data_prep import genome_job, sources
from dnabert_jax.data_prep.genome import prepare_genome
from dnabert_jax.data_prep.genome_job import GenomeJob
from dnabert_jax.data_prep.verify import verify_directory
from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import Block
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA
from dnabert_jax.sequence.bases import base_codes, decode_bases, reverse_complement
from dnabert_jax.sequence.vocabulary import CLS, NUM_SPECIAL
from tests.data_prep.conftest import contents
from tests.random_models import random_dna

Prepare = Callable[..., Manifest]


@pytest.fixture
def prepare(fasta: Path, tmp_path: Path) -> Prepare:
    def make(*files: Path, processes: int = 1, out: str = "out", **settings: object) -> Manifest:
        return prepare_genome(GenomeJob(files or (fasta,), tmp_path / out, **settings), processes)

    return make


def sequences(directory: Path, split: str) -> list[str]:
    """The DNA of every sequence of a split, in row order."""
    files = open_rows(directory, split)
    flat = files.read(np.arange(len(files))).reshape(-1)
    parts = np.split(flat, np.flatnonzero(flat == CLS))[1:]
    return [files.manifest.tokenizer.decode(part[part >= NUM_SPECIAL]) for part in parts]


@pytest.mark.parametrize("rows", ["packed", "single"])
@pytest.mark.parametrize(
    "settings", [{"k": 3}, {"k": 6}, {"tokens": "6-mers"}, {"tokens": "6-mers", "windows": "full"}]
)
def test_every_sequence_is_a_window_of_the_input(
    fasta: Path, tmp_path: Path, prepare: Prepare, settings: dict[str, object], rows: str
) -> None:
    manifest = prepare(**settings, rows=rows, row_length=128, heldout_fraction=0.2)
    tokenizer = manifest.tokenizer
    text = fasta.read_text().upper()
    for name, split in manifest.splits.items():
        windows = sequences(tmp_path / "out", name)
        assert all(window in text for window in windows)
        assert len(windows) == split.sequences
        counts = [(len(window) - tokenizer.overlap + 1) // tokenizer.stride for window in windows]
        assert sum(counts) == split.kmers
        assert [tokenizer.stretch(count) for count in counts] == [len(window) for window in windows]
        assert rows == "packed" or split.rows == split.sequences
        assert min(counts) >= 5
    assert list(verify_directory(tmp_path / "out")) == []


def test_train_and_heldout_parts_share_no_base(tmp_path: Path, prepare: Prepare) -> None:
    """Every base of the random genome is in one place only, so that a shared base would be a shared 20-mer."""
    splits = prepare(heldout_fraction=0.3).splits
    trained, heldout = (
        {window[i : i + 20] for window in sequences(tmp_path / "out", split) for i in range(len(window) - 19)}
        for split in (TRAIN, HELDOUT)
    )
    assert trained
    assert heldout
    assert not trained & heldout
    # Of 5,000 and 809 certain bases the last 30 % are held out.
    assert (splits[HELDOUT].bases, splits[TRAIN].bases) == (1500 + 242, 3500 + 567)


def test_the_number_of_processes_does_not_change_a_byte(fasta: Path, tmp_path: Path, prepare: Prepare) -> None:
    """Over several blocks of several files, some of them cut more than once."""
    settings = {"weights": (0.2, 0.7, 0.1), "reverse_complement": True, "rows_per_shard": 1000}
    for out, processes, seed in (("1", 1, 0), ("2", 2, 0), ("3", 3, 0), ("other", 1, 1)):
        prepare(fasta, TRAIN_FASTA, HELDOUT_FASTA, processes=processes, out=out, seed=seed, **settings)
    made = contents(tmp_path / "1")
    assert made == contents(tmp_path / "2") == contents(tmp_path / "3")
    assert len(made) > 4
    other = contents(tmp_path / "other")
    assert made.keys() == other.keys()
    assert all(made[name] != other[name] for name in made if name.startswith(("train", "manifest")))


@pytest.mark.parametrize(
    ("bases", "weights", "repetitions"),
    [((5000, 50_000), (0.8, 0.2), (40, 1)), ((100_000, 100_000), (0.6, 0.4), (1.5, 1)), ((5000, 50_000), None, (1, 1))],
)
def test_weights_set_the_shares_of_the_files(
    tmp_path: Path, prepare: Prepare, bases: tuple, weights: tuple | None, repetitions: tuple
) -> None:
    files = [tmp_path / "a.fa", tmp_path / "b.fa"]
    for number, (file, length) in enumerate(zip(files, bases, strict=True)):
        file.write_text(f">a\n{random_dna(length, number)}\n")
    manifest = prepare(*files, weights=weights or (), heldout_fraction=0.0)
    assert [source["repetitions"] for source in manifest.sources] == pytest.approx(repetitions)
    windows, text = sequences(tmp_path / "out", TRAIN), files[0].read_text()
    first = [window for window in windows if window in text]
    share = sum(len(window) - 5 for window in first) / sum(len(window) - 5 for window in windows)
    assert share == pytest.approx(weights[0] if weights else bases[0] / sum(bases), abs=0.03)
    # Each repetition is cut anew: few sequences come twice, most of them full windows at the start of a run.
    assert len(set(first)) / len(first) > 0.85


def test_weights_count_what_is_left_of_soft_masked_files(tmp_path: Path, prepare: Prepare) -> None:
    masked, plain, text = tmp_path / "masked.fa", tmp_path / "plain.fa", random_dna(200_000)
    masked.write_text(f">a\n{text[:180_000].lower()}{text[180_000:]}\n")
    plain.write_text(f">b\n{text[::-1]}\n")
    manifest = prepare(masked, plain, weights=(0.5, 0.5), lower_case="drop", k=3)
    assert [source["repetitions"] for source in manifest.sources] == [pytest.approx(10), 1]
    assert manifest.dropped["lower_case_bases"] == 180_000


def test_short_records_share_rows_and_the_last_of_them_are_held_out(tmp_path: Path, prepare: Prepare) -> None:
    contigs = [random_dna(100, seed) for seed in range(400)]
    path = tmp_path / "draft.fa"
    path.write_text("".join(f">{number}\n{contig}\n" for number, contig in enumerate(contigs)))
    manifest = prepare(path)
    train, heldout = manifest.splits[TRAIN], manifest.splits[HELDOUT]
    assert (train.bases, heldout.bases, manifest.dropped["ambiguous_bases"]) == (400 * 100 - 400, 400, 0)
    assert train.kmers + 2 * train.sequences > 0.95 * train.rows * 512
    for name, sources_of_split in ((TRAIN, contigs[:396]), (HELDOUT, contigs[396:])):
        for window in sequences(tmp_path / "out", name):
            assert any(window in contig for contig in sources_of_split)


def test_half_of_the_windows_may_be_turned_to_the_other_strand(tmp_path: Path, prepare: Prepare) -> None:
    path, text = tmp_path / "one.fa", random_dna(20_000)
    path.write_text(f">a\n{text}\n")
    prepare(path, reverse_complement=True, heldout_fraction=0.1)
    windows = sequences(tmp_path / "out", TRAIN)
    turned = [window for window in windows if window not in text]
    assert all(window in decode_bases(reverse_complement(base_codes(text.encode()))) for window in turned)
    assert 0.3 < len(turned) / len(windows) < 0.7
    assert all(window in text for window in sequences(tmp_path / "out", HELDOUT))


@pytest.mark.parametrize("letter", ["N", "X"])
@pytest.mark.parametrize("module", [sources, genome_job])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, fasta: Path, prepare: Prepare, module: ModuleType, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed when the survey has read it, and before it ends; or by the end of the second reading."""

    def read_and_change(path: Path, location: str) -> Iterator[Block]:
        yield from read_blocks(path, location)
        fasta.write_text(fasta.read_text().replace("A", letter, 1))

    monkeypatch.setattr(module, "read_blocks", read_and_change)
    with pytest.raises(InputError, match=r"genome\.fa changed while it was read"):
        prepare()
    assert list(tmp_path.iterdir()) == [fasta]


def test_files_of_several_species_may_share_names(tmp_path: Path, prepare: Prepare) -> None:
    """FILE:NAME holds out the record of one file alone."""
    files = (tmp_path / "human.fa", tmp_path / "mouse.fa")
    for seed, file in enumerate(files):
        file.write_text(f">chr1\n{random_dna(2000, seed)}\n>chr2\n{random_dna(1000, seed + 10)}\n")
    for record, bases in (("chr2", 2000), ("mouse.fa:chr2", 1000)):
        assert prepare(*files, out=record, heldout_records=(record,)).splits[HELDOUT].bases == bases


def test_the_manifest_tells_what_was_done(tmp_path: Path, prepare: Prepare) -> None:
    manifest = prepare(heldout_records=("b",), seed=7)
    assert read_manifest(tmp_path / "out") == manifest
    assert (manifest.k, manifest.row_length, manifest.seed, manifest.packed) == (6, 512, 7, True)
    assert (manifest.dropped["ambiguous_bases"], manifest.dropped["lower_case_bases"]) == (6, 0)
    # The run of 9 bases, and fewer than 10 at the end of each of the three longer ones.
    assert 9 <= manifest.dropped["uncut_bases"] < 9 + 3 * 10
    assert (manifest.sources[0]["name"], manifest.sources[0]["records"]) == ("genome.fa", 2)
    assert manifest.policies["heldout"] == "record b"
    assert (manifest.splits[HELDOUT].bases, manifest.splits[TRAIN].bases) == (809, 5000)
    assert list(prepare(out="all", heldout_fraction=0.0).splits) == [TRAIN]


def test_packed_rows_of_the_sample_hold_the_sequences_that_the_presets_count_on(prepare: Prepare) -> None:
    """config.py says that 1,280 rows hold about the paper's 2,000 sequences."""
    train = prepare(TRAIN_FASTA).splits[TRAIN]
    assert 1280 * train.sequences / train.rows == pytest.approx(2000, rel=0.03)
    assert (train.kmers + 2 * train.sequences) / (train.rows * 512) > 0.98


def test_tfds_opens_the_directory_without_tensorflow(sample_rows: Path) -> None:
    info = tfds.builder_from_directory(str(sample_rows)).info
    assert info.metadata == {"k": 3, "manifest_sha256": read_manifest(sample_rows).digest()}
    for name, split in read_manifest(sample_rows).splits.items():
        assert [path.name for path in info.splits[name].filepaths] == [shard.name for shard in split.shards]
        assert info.splits[name].shard_lengths == [shard.rows for shard in split.shards]


DNA = f">a\n{'ACGT' * 10}\n"


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (">a\nNNNNNNNNNNNNNNNNN\n", {}, "no window to train on"),
        (">a\nACGTACGTA\n", {}, "no window to train on"),
        (DNA.lower(), {"lower_case": "drop"}, "in upper case"),
        (DNA + DNA, {}, "Two records of .* are named 'a'"),
        (">a\nACGTACXTACGT\n", {}, "Record 'a' of .*'X' at position 7"),
        (DNA, {"heldout_records": ("b",)}, "held-out record 'b'"),
        (DNA, {"heldout_records": ("other",), "heldout_fasta": ("other.fa",)}, "'other' is in no file to train on"),
        (DNA, {"heldout_fasta": ("in.fa",)}, r"in\.fa is held out, and the same as .*in\.fa"),
        (DNA, {"heldout_fraction": 0.1}, "held-out part .* gives no window"),
        (DNA, {"heldout_fraction": 1.0}, "fraction is 1.0"),
        (DNA, {"weights": (0.9,)}, "weights sum to 0.9"),
        (DNA, {"weights": (0.5, 0.5)}, "2 weights are given for 1 files"),
        (DNA, {"fasta": ("in.fa", "other.fa"), "weights": (1e-5, 1 - 1e-5)}, r"ask for .*other\.fa [0-9,]+ times"),
    ],
)
def test_bad_input_leaves_nothing_behind(
    tmp_path: Path, content: str, settings: dict, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.fa").write_text(content)
    Path("other.fa").write_text(">other\n" + "ACGTT" * 20)
    with pytest.raises(InputError, match=message):
        prepare_genome(GenomeJob(**{"fasta": ("in.fa",), "out": tmp_path / "out", **settings}))
    assert {path.name for path in tmp_path.iterdir()} == {"in.fa", "other.fa"}
