"""`prepare genome`: rows hold windows of the input and nothing else, the same bytes every time."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from data_prep import sources
from data_prep.genome import prepare_genome
from data_prep.genome_job import GenomeJob
from dnabert_jax.data.manifest import FILE_NAME, HELDOUT, TRAIN, Manifest, read_manifest
from dnabert_jax.data.rows import open_rows
from dnabert_jax.errors import InputError
from dnabert_jax.io.fasta import Block
from dnabert_jax.io.genome import read_blocks
from dnabert_jax.sample import HELDOUT_FASTA, TRAIN_FASTA
from dnabert_jax.sequence.kmers import KmerTokenizer
from dnabert_jax.sequence.vocabulary import CLS, SEP


def random_dna(length: int, seed: int = 0) -> str:
    return "".join(np.random.default_rng(seed).choice(list("ACGT"), length))


def sequences(directory: Path, split: str) -> list[str]:
    """The DNA of every sequence of a split, in row order."""
    files = open_rows(directory, split)
    flat = files.read(np.arange(len(files))).reshape(-1)
    ends = np.flatnonzero(flat == SEP)
    return [
        KmerTokenizer(files.manifest.k).decode(flat[begin + 1 : end])
        for begin, end in zip(np.flatnonzero(flat == CLS), ends, strict=True)
    ]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("k", [3, 6])
def test_every_sequence_is_a_window_of_the_input(fasta: Path, tmp_path: Path, k: int, packed: bool) -> None:
    manifest = prepare_genome(
        GenomeJob((fasta,), tmp_path / "out", k=k, rows="packed" if packed else "single", heldout_fraction=0.2)
    )
    text = fasta.read_text().upper()
    for name, split in manifest.splits.items():
        found = sequences(tmp_path / "out", name)
        assert all(sequence in text for sequence in found)
        assert len(found) == split.sequences
        assert sum(len(sequence) - k + 1 for sequence in found) == split.kmers
        assert packed or split.rows == split.sequences
        assert min(len(sequence) - k + 1 for sequence in found) >= 5


def test_train_and_heldout_parts_share_no_base(fasta: Path, tmp_path: Path) -> None:
    """Every base of the random genome is in one place only, so that a shared base would be a shared 20-mer."""
    prepare_genome(GenomeJob((fasta,), tmp_path / "out", heldout_fraction=0.3))
    trained = {s[i : i + 20] for s in sequences(tmp_path / "out", TRAIN) for i in range(len(s) - 19)}
    heldout = {s[i : i + 20] for s in sequences(tmp_path / "out", HELDOUT) for i in range(len(s) - 19)}
    assert trained
    assert heldout
    assert not trained & heldout
    bases = read_manifest(tmp_path / "out").splits
    # Of 5,000 and 809 certain bases the last 30 % are held out.
    assert bases[HELDOUT].bases == 1500 + 242
    assert bases[TRAIN].bases == 3500 + 567


def test_the_same_input_and_seed_give_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        prepare_genome(GenomeJob((HELDOUT_FASTA,), tmp_path / name, seed=seed, rows_per_shard=64))
    contents = [
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).iterdir())} for name in ("a", "b", "c")
    ]
    assert contents[0] == contents[1]
    assert contents[0].keys() == contents[2].keys()
    assert all(contents[0][name] != contents[2][name] for name in contents[0] if name.startswith(("train", "manifest")))


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_the_number_of_processes_does_not_change_a_byte(fasta: Path, tmp_path: Path) -> None:
    """Over several blocks of several files, some of them cut more than once."""
    for processes in (1, 2, 3):
        prepare_genome(
            GenomeJob(
                (fasta, TRAIN_FASTA, HELDOUT_FASTA), tmp_path / str(processes), weights=(0.2, 0.7, 0.1),
                reverse_complement=True, rows_per_shard=1000,
            ),
            processes,
        )  # fmt: skip
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3")
    assert len(contents(tmp_path / "1")) > 4


def test_weights_set_the_shares_of_the_files(fasta: Path, tmp_path: Path) -> None:
    """The two files have 5,809 and 50,000 certain bases; the first is to give four times what the second gives."""
    manifest = prepare_genome(
        GenomeJob((fasta, HELDOUT_FASTA), tmp_path / "out", weights=(0.8, 0.2), heldout_fraction=0.0)
    )
    repetitions = [source["repetitions"] for source in manifest.sources]
    assert repetitions == pytest.approx([4 * 50_000 / 5809, 1.0])
    found = sequences(tmp_path / "out", TRAIN)
    first = [sequence for sequence in found if sequence in fasta.read_text().upper()]
    kmers = [sum(len(sequence) - 5 for sequence in part) for part in (first, found)]
    assert kmers[0] / kmers[1] == pytest.approx(0.8, abs=0.03)
    # Each repetition is cut anew: few sequences come twice, most of them full windows at the start of a run.
    assert len(set(first)) / len(first) > 0.85


def test_a_repetition_may_be_a_part(tmp_path: Path) -> None:
    """Cut one and a half times, a file gives three fifths of what two files of the same size give."""
    for name, seed in (("a.fa", 1), ("b.fa", 2)):
        (tmp_path / name).write_text(f">one\n{random_dna(100_000, seed)}\n")
    job = GenomeJob((tmp_path / "a.fa", tmp_path / "b.fa"), tmp_path / "out", weights=(0.6, 0.4), heldout_fraction=0.0)
    assert [source["repetitions"] for source in prepare_genome(job).sources] == pytest.approx([1.5, 1.0])
    text = (tmp_path / "a.fa").read_text()
    found = sequences(tmp_path / "out", TRAIN)
    kmers = [sum(len(sequence) - 5 for sequence in part) for part in ([s for s in found if s in text], found)]
    assert kmers[0] / kmers[1] == pytest.approx(0.6, abs=0.03)


def test_weights_that_ask_for_too_much_are_refused(fasta: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.fa"
    short.write_text(">a\n" + "ACGTT" * 10)
    with pytest.raises(InputError, match=r"The weights ask for .*short\.fa [0-9,]+ times"):
        prepare_genome(GenomeJob((fasta, short), tmp_path / "out", weights=(0.01, 0.99)))


def test_short_records_share_rows_and_the_last_of_them_are_held_out(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    contigs = ["".join(random.choice(list("ACGT"), 100)) for _ in range(400)]
    path = tmp_path / "draft.fa"
    path.write_text("".join(f">{number}\n{contig}\n" for number, contig in enumerate(contigs)))
    manifest = prepare_genome(GenomeJob((path,), tmp_path / "out", k=6))
    train, heldout = manifest.splits[TRAIN], manifest.splits[HELDOUT]
    assert heldout.bases == 400
    assert train.bases == 400 * 100 - 400
    assert manifest.dropped["ambiguous_bases"] == 0
    assert train.kmers + 2 * train.sequences > 0.95 * train.rows * 512
    for name in (TRAIN, HELDOUT):
        for sequence in sequences(tmp_path / "out", name):
            assert any(sequence in contig for contig in (contigs[396:] if name == HELDOUT else contigs[:396]))


def test_weights_count_what_is_left_of_soft_masked_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    letters = ["".join(rng.choice(list("ACGT"), 200_000)) for _ in range(2)]
    masked, plain = tmp_path / "masked.fa", tmp_path / "plain.fa"
    masked.write_text(f">a\n{letters[0][:180_000].lower()}{letters[0][180_000:]}\n")
    plain.write_text(f">b\n{letters[1]}\n")
    job = GenomeJob((masked, plain), tmp_path / "out", weights=(0.5, 0.5), lower_case="drop", k=3)
    assert [source["repetitions"] for source in prepare_genome(job).sources] == [pytest.approx(10), 1]


def test_what_is_trained_on_is_not_held_out_too(fasta: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.fa"
    copy.write_bytes(fasta.read_bytes())
    with pytest.raises(InputError, match=r"copy\.fa is held out, and the same as .*genome\.fa"):
        prepare_genome(GenomeJob((fasta,), tmp_path / "out", heldout_fasta=(copy,)))
    other = tmp_path / "other.fa"
    other.write_text(">elsewhere\n" + "ACGT" * 20)
    with pytest.raises(InputError, match="'elsewhere' is in no file to train on"):
        prepare_genome(GenomeJob((fasta,), tmp_path / "out", heldout_fasta=(other,), heldout_records=("elsewhere",)))


def test_a_weight_is_never_a_reason_to_leave_sequence_out(fasta: Path, tmp_path: Path) -> None:
    manifest = prepare_genome(GenomeJob((fasta, HELDOUT_FASTA), tmp_path / "out", weights=(0.01, 0.99)))
    assert min(source["repetitions"] for source in manifest.sources) == 1


def test_half_of_the_windows_may_be_turned_to_the_other_strand(tmp_path: Path) -> None:
    path = tmp_path / "one.fa"
    text = random_dna(20_000)
    path.write_text(f">a\n{text}\n")
    prepare_genome(GenomeJob((path,), tmp_path / "out", reverse_complement=True, heldout_fraction=0.1))
    complement = str.maketrans("ACGT", "TGCA")
    found = sequences(tmp_path / "out", TRAIN)
    turned = [sequence for sequence in found if sequence not in text]
    assert all(sequence.translate(complement)[::-1] in text for sequence in turned)
    assert 0.3 < len(turned) / len(found) < 0.7
    assert all(sequence in text for sequence in sequences(tmp_path / "out", HELDOUT))


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, fasta: Path) -> None:
    def append(phase: str, letters: int, total: int | None) -> None:
        if phase == "write":
            fasta.write_text(fasta.read_text() + "ACGT\n")

    with pytest.raises(InputError, match="changed while it was read"):
        prepare_genome(GenomeJob((fasta,), tmp_path / "out"), progress=append)
    assert list(tmp_path.iterdir()) == [fasta]


@pytest.mark.parametrize("letter", ["N", "X"])
def test_a_file_that_changes_behind_the_survey_is_refused(
    tmp_path: Path, fasta: Path, letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changed when the survey has read it, and before it ends."""
    content = fasta.read_text()
    readings = itertools.count()

    def read_and_change(path: Path, location: str) -> Iterator[Block]:
        yield from read_blocks(path, location)
        if next(readings) == 0:
            fasta.write_text(content.replace("A", letter, 1))

    monkeypatch.setattr(sources, "read_blocks", read_and_change)
    message = (
        "changed while it was read" if letter == "N" else r"genome\.fa changed while it was read: a part of it has 'X'"
    )
    with pytest.raises(InputError, match=message):
        prepare_genome(GenomeJob((fasta,), tmp_path / "out"))
    assert list(tmp_path.iterdir()) == [fasta]


def test_files_of_several_species_may_share_names(tmp_path: Path) -> None:
    """FILE:NAME holds out the record of one file alone."""
    for name, seed in (("human.fa", 1), ("mouse.fa", 2)):
        (tmp_path / name).write_text(f">chr1\n{random_dna(2000, seed)}\n>chr2\n{random_dna(1000, seed + 10)}\n")
    files = (tmp_path / "human.fa", tmp_path / "mouse.fa")
    both = prepare_genome(GenomeJob(files, tmp_path / "both", heldout_records=("chr2",)))
    one = prepare_genome(GenomeJob(files, tmp_path / "one", heldout_records=("mouse.fa:chr2",)))
    assert both.splits[HELDOUT].bases == 2000
    assert one.splits[HELDOUT].bases == 1000


def test_the_manifest_tells_what_was_done(fasta: Path, tmp_path: Path) -> None:
    manifest = prepare_genome(GenomeJob((fasta,), tmp_path / "out", heldout_records=("b",), seed=7))
    assert read_manifest(tmp_path / "out") == manifest
    assert json.loads((tmp_path / "out" / FILE_NAME).read_text())["k"] == 6
    assert (manifest.k, manifest.row_length, manifest.seed, manifest.packed) == (6, 512, 7, True)
    assert manifest.dropped["ambiguous_bases"] == 6
    assert manifest.dropped["lower_case_bases"] == 0
    # The run of 9 bases, and fewer than 10 at the end of each of the three longer ones.
    assert 9 <= manifest.dropped["uncut_bases"] < 9 + 3 * 10
    assert manifest.sources[0]["name"] == "genome.fa"
    assert manifest.sources[0]["records"] == 2
    assert manifest.policies["heldout"] == "record b"
    assert manifest.splits[HELDOUT].bases == 809
    assert manifest.splits[TRAIN].bases == 5000


def test_lower_case_can_be_dropped(fasta: Path, tmp_path: Path) -> None:
    manifest = prepare_genome(GenomeJob((fasta,), tmp_path / "out", lower_case="drop", heldout_fraction=0.0))
    assert manifest.dropped["lower_case_bases"] == 2000
    assert list(manifest.splits) == [TRAIN]
    assert manifest.splits[TRAIN].bases == 3000 + 809


def test_packed_rows_of_the_sample_hold_the_sequences_that_the_presets_count_on(tmp_path: Path) -> None:
    """config.py says that 1,280 rows hold about the paper's 2,000 sequences."""
    manifest: Manifest = prepare_genome(GenomeJob((TRAIN_FASTA,), tmp_path / "out"))
    train = manifest.splits[TRAIN]
    assert 1280 * train.sequences / train.rows == pytest.approx(2000, rel=0.03)
    assert (train.kmers + 2 * train.sequences) / (train.rows * 512) > 0.98


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (">a\nNNNNNNNNNNNNNNNNN\n", {}, "no window to train on"),
        (">a\nACGTACGTA\n", {}, "no window to train on"),
        (f">a\n{'acgt' * 10}\n", {"lower_case": "drop"}, "in upper case"),
        (">a\nACGTACGTACGT\n>a\nACGTACGTACGT\n", {}, "Two records of .* are named 'a'"),
        (">a\nACGTACXTACGT\n", {}, "Record 'a' of .*'X' at position 7"),
        (f">a\n{'ACGT' * 10}\n", {"heldout_records": ("b",)}, "held-out record 'b'"),
        (f">a\n{'ACGT' * 10}\n", {"heldout_fraction": 0.1}, "held-out part .* gives no window"),
        (f">a\n{'ACGT' * 10}\n", {"heldout_fraction": 1.0}, "fraction is 1.0"),
        (f">a\n{'ACGT' * 10}\n", {"weights": (0.9,)}, "weights sum to 0.9"),
        (f">a\n{'ACGT' * 10}\n", {"weights": (0.5, 0.5)}, "2 weights are given for 1 files"),
    ],
)
def test_bad_input_leaves_nothing_behind(tmp_path: Path, content: str, settings: dict, message: str) -> None:
    path = tmp_path / "in.fa"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        prepare_genome(GenomeJob((path,), tmp_path / "out", **settings))
    assert list(tmp_path.iterdir()) == [path]


def test_work_needs_a_process(fasta: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 processes"):
        prepare_genome(GenomeJob((fasta,), tmp_path / "out"), processes=0)
