"""Intervals of a BED file are the bases of the genome there, in the order of the file."""

import tempfile
from pathlib import Path

import pytest

from dnabert_jax.errors import InputError
from dnabert_jax.sequence.bases import decode_bases
from dnabert_jax.tasks.datasets.intervals import open_intervals

COMPLEMENT = str.maketrans("ACGT", "TGCA")
GENOME = {"chr1": "ACGTTGCAAACCCGGGTTTACG", "chr2": "GATTACAGATTACA", "chr3": "AAAAAAA"}


@pytest.fixture
def genome(tmp_path: Path) -> Path:
    path = tmp_path / "genome.fa"
    path.write_text("".join(f">{name} about it\n{bases[:9]}\n{bases[9:]}\n" for name, bases in GENOME.items()))
    return path


def bed(folder: Path, *lines: str) -> Path:
    path = folder / "x.bed"
    path.write_text("".join(line + "\n" for line in lines))
    return path


def read(path: Path, genome: Path, width: int = 0, summit: bool = False) -> list[tuple[str, str]]:
    """Returns names and bases."""
    with open_intervals(path, genome, 3, width, summit) as intervals:
        sequences = list(intervals.sequences())
        assert len(sequences) == intervals.count == len(list(intervals))
        return [(sequence.name, decode_bases(sequence.codes)) for sequence in sequences]


def test_intervals_on_their_strand_with_their_columns(genome: Path, tmp_path: Path) -> None:
    path = bed(tmp_path, "track name=x", "chr2\t7\t14\tlast\t0\t-", "", "chr1\t0\t6", "chr1 2 9 . 0 +")
    assert read(path, genome) == [
        ("last", GENOME["chr2"][7:14].translate(COMPLEMENT)[::-1]),
        ("chr1:0-6(.)", GENOME["chr1"][0:6]),
        ("chr1:2-9(+)", GENOME["chr1"][2:9]),
    ]
    with open_intervals(path, genome, 3) as intervals:
        assert [sequence.fields for sequence in intervals.sequences()] == [
            ("chr2", "7", "14", "last", "-"), ("chr1", "0", "6", ".", "."), ("chr1", "2", "9", ".", "+"),
        ]  # fmt: skip


def test_contigs_by_another_name_keep_the_name_of_the_file(genome: Path, tmp_path: Path) -> None:
    path = bed(tmp_path, "2\t0\t4", "chr1\t0\t4\there", "2\t4\t9")
    expected = [("2:0-4(.)", GENOME["chr2"][:4]), ("here", GENOME["chr1"][:4]), ("2:4-9(.)", GENOME["chr2"][4:9])]
    assert read(path, genome) == expected
    with open_intervals(path, genome, 3) as intervals:
        assert [interval.contig for interval in intervals] == ["chr2", "chr1", "chr2"]
        assert intervals.contig_lengths == {"chr1": 22, "chr2": 14}


def test_what_cannot_be_used_is_left_out_and_counted(genome: Path, tmp_path: Path) -> None:
    lines = ["chrUn\t0\t6", "chr3\t3\t8", "chr1\t16\t22", "chr2\t0\t2", "chrUn\t9\t12"]
    with open_intervals(bed(tmp_path, *lines), genome, 3) as intervals:
        assert [sequence.name for sequence in intervals.sequences()] == ["chr1:16-22(.)"]
        assert sorted(intervals.left_out.counts.values()) == [1, 1, 2]
        listed = " ".join(intervals.left_out.sentences())
    assert all(f"line {number} of" in listed for number in (1, 2, 4, 5))
    lines.remove("chr1\t16\t22")
    with pytest.raises(InputError, match=r"chrUn:0-6.*x\.bed"), open_intervals(bed(tmp_path, *lines), genome, 3):
        pass


@pytest.mark.parametrize(
    ("width", "summit", "place"),
    [
        (5, False, (8, 13)),  # the middle of 5 to 16 is 10
        (4, False, (8, 12)),
        (5, True, (5, 10)),
        (30, True, None),
    ],
)
def test_intervals_are_brought_to_one_width(
    width: int, summit: bool, place: tuple[int, int] | None, genome: Path, tmp_path: Path
) -> None:
    path = bed(tmp_path, "chr1\t5\t16\tp\t9\t.\t5.1\t2\t1\t2")
    if place is None:
        with pytest.raises(InputError, match=r"x\.bed"):
            read(path, genome, width, summit)
    else:
        assert read(path, genome, width, summit) == [("p", GENOME["chr1"][slice(*place)])]


def test_the_copy_of_the_genome_holds_the_named_contigs_and_is_removed(
    genome: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    with open_intervals(bed(tmp_path, "chr2\t0\t4", "chr3\t0\t4"), genome, 3) as intervals:
        next(intervals.sequences())
        assert [file.stat().st_size for file in scratch.rglob("genome")] == [14 + 7]
    assert list(scratch.iterdir()) == []
