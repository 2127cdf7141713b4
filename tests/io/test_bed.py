"""Intervals of the BED family as people have them, and what a collection's index says of its peak files."""

import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnabert_jax.errors import InputError
from dnabert_jax.io.bed import Interval, read_bed
from dnabert_jax.io.left_out import LeftOut
from dnabert_jax.io.peak_index import PeakFile, read_peak_index

NARROW = "chr1\t100\t160\tpeak\t9\t-\t5.1\t12.3\t9.8\t20"


def intervals(tmp_path: Path, text: str | bytes, *, summits: bool = False) -> tuple[list[Interval], LeftOut]:
    path, notes = tmp_path / "x.bed", LeftOut()
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_bed(path, notes, "x.bed", summits=summits)), notes


@pytest.mark.parametrize(
    ("line", "name", "strand", "remarked"),
    [
        ("chr1 100 160\tp", "p", "+", False),
        (" chr1\t100\t160\tp q", "p q", "+", False),
        ("chr1 \t100\t160 ", "", "+", False),
        ("chr1\t100\t160\tp\t0\t- ", "p", "-", False),
        ("chr1\t100\t160\t\t\t", "", "+", True),
        ("chr1\t100\t160\tp\t0\t*", "p", "+", True),
        ("chr1\t100\t160\tp\t0\t-1", "p", "+", True),
        ("chr1\t100\t160\tp\t0\tgene", "p", "+", True),
        # bedtools intersect -wo of BED3 and BED3; closest where there is nothing, of BED3 and of BED4.
        ("chr1\t100\t160\tchr1\t90\t120\t20", "", "+", True),
        ("chr1\t100\t160\t.\t-1\t-1", "", "+", True),
        ("chr1\t100\t160\tp\t.\t-1\t-1", "p", "+", True),
        # SEACR: total signal, highest signal, where.
        ("chr1\t100\t160\t500.5\t9.1\tchr1:110-115", "500.5", "+", True),
        (NARROW, "peak", "-", False),
    ],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("track name=x\nbrowser position chr1:1-9\n# x\n\n", "\n \n"),
        ("\ufeffseqnames start end\n", "\r\n"),
        ('# MACS\n"Chr"\t"Start"\t"End"\tname\r\n', "\r"),
    ],
)
def test_every_line_is_one_interval(
    line: str, name: str, strand: str, remarked: bool, before: str, after: str, tmp_path: Path
) -> None:
    found, notes = intervals(tmp_path, before + line + "\n" + line + after)
    lines = [before.count("\n") + 1, before.count("\n") + 2]
    assert [interval[:7] for interval in found] == [("chr1", 100, 160, name, strand, None, number) for number in lines]
    assert all(len(interval.columns) == len(found[0].columns) for interval in found)
    assert (len(notes.remarks), notes.total) == (int(remarked), 0)
    assert all(f"{lines[0]}" in remark and "x.bed" in remark for remark in notes.remarks)


CONTIGS, NAMES = st.sampled_from(["chr1", "22", "HLA-A*01:01"]), st.text("ab_.1\udce4", min_size=1)
PLACES = st.tuples(CONTIGS, st.integers(0, 10**9), st.integers(1, 10**6), NAMES, st.sampled_from("+-."))


@given(st.lists(PLACES), st.integers(3, 6), st.sampled_from("\t "), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_intervals_of_any_width_of_bed_are_those_that_were_written(
    places: list[tuple], width: int, separator: str, end: str, packed: bool
) -> None:
    rows = [(contig, start, start + length, name, 0, strand)[:width] for contig, start, length, name, strand in places]
    text = end.join(separator.join(map(str, row)) for row in rows).encode("utf-8", "surrogateescape")
    with tempfile.NamedTemporaryFile() as file:
        file.write(gzip.compress(text) if packed else text)
        file.flush()
        found = list(read_bed(Path(file.name)))
    for number, (interval, row) in enumerate(zip(found, rows, strict=True), 1):
        name = row[3] if width > 3 and row[3] != "." else ""
        strand = "-" if width > 5 and row[5] == "-" else "+"
        assert interval[:7] == (*row[:3], name, strand, None, number)


@pytest.mark.parametrize(
    ("lines", "center", "has_summit"),
    [
        ([NARROW], 120, True),
        (["chrom\tstart\tend\tname\tscore\tstrand\tsignalValue\tpValue\tqValue\tpeak", NARROW], 120, True),
        ([NARROW + "\tmore\t1\t2"], 120, True),
        (["chr1\t100\t160\tpeak\t9\t-\t5\t12\t-1\t20\t2\t0"], 120, True),  # whole numbers, and two counts
        ([NARROW[:-2] + "60"], 159, True),  # one base too far
        ([NARROW[:-2] + "-1"], 130, False),
        ([NARROW[:-2]], 130, False),
        (["chr1\t150\t151\tsummit\t9.9"], 150, True),  # of MACS
        ([NARROW[:-3]], 130, False),  # broadPeak
        # BED12, gappedPeak, and BED of ten columns with other things in them.
        (["chr1\t100\t160\tx\t0\t+\t100\t160\t0,0,0\t1\t60,\t0,"], 130, False),
        (["chr1\t100\t160\tx\t0\t.\t100\t160\t0\t2\t10,10\t0,50\t5.1\t3.3\t2.2"], 130, False),
        (["chr1\t100\t160\tx\t0\t+\t160\t160\t0\t2\t10,20,\t0,40,"], 130, False),
        (["chr1\t100\t160\tx\t0\t.\t0\t0\t0\t2\t10,20\t0,40\t5.1\t3.3\t2.2"], 130, False),
        (["chr1\t100\t160\tx\t0\t+\t120\t148\t0\t7"], 130, False),
        (["chr1\t100\t160\tx\t0\t+\tCTCF\tK562\tlab\t7"], 130, False),
        # bedtools intersect -wo of BED6 and BED3, in a genome of Ensembl; closest -d where there is nothing.
        (["1\t100\t160\tx\t0\t+\t1\t90\t120\t20"], 130, False),
        (["chr1\t100\t160\tx\t0\t+\t.\t-1\t-1\t0"], 130, False),
        # MACS counts from 1.
        (["# MACS", "chr\tstart\tend\tlength\tabs_summit\tname", "chr1\t101\t160\t60\t121\tpeak"], 120, True),
        # So does R.
        (["seqnames\tstart\tend\twidth\tstrand", "chr1\t101\t160\t60\t-"], 130, False),
        (["chr\tstart\tend\tlength\tabs_summit\tname", "chr1\t100\t160\t60\t120\tpeak"], 120, True),
    ],
)
def test_the_summit_or_the_middle(lines: list[str], center: int, has_summit: bool, tmp_path: Path) -> None:
    (interval,), notes = intervals(tmp_path, "\n".join(lines), summits=True)
    assert (interval.center, interval.summit is not None) == (center, has_summit)
    assert interval[1:3] == (100, 160) or lines[0].startswith("chr1\t150")
    assert len(notes.remarks) == (not has_summit)
    (again,), notes = intervals(tmp_path, "\n".join(lines))
    assert (again.summit, notes.remarks) == (None, [])


@pytest.mark.parametrize("text", ["20.0", "-5", "61", "二"])
def test_a_summit_outside_of_its_peak_is_an_error_where_summits_are_read(text: str, tmp_path: Path) -> None:
    lines = f"{NARROW}\n{NARROW[:-2]}{text}"
    with pytest.raises(InputError, match=rf"2 of x.bed .*'{text}'"):
        intervals(tmp_path, lines, summits=True)
    assert len(intervals(tmp_path, lines)[0]) == 2


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("chr1\t100", "2 columns"),
        ("chr1\t1,000\t1,060", "'1,000'"),
        ("chr1\t1e+03\t1060", r"'1e\+03'"),
        ("chr1\t1000\t1060\u00a0", "'1060"),
        ('"chr1"\t"1000"\t"1060"', "'\"1000\"'"),
        ("chr1\t" + "9" * 5000 + "\t1060", "'9+'"),
        ("chr1\t\uff11000\t1060", "'\uff11000'"),
        ("chr1\t1060\t1000", "1060 .*1000"),
        ("peak1\tchr1\t1000\t1060\t+", "'chr1'.*HOMER"),
        ("chrom\tstart\tend", "'start'"),  # not the first line
    ],
)
def test_what_is_not_an_interval_is_named_with_file_line_and_value(line: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"2 of x.bed .*{value}"):
        intervals(tmp_path, f"chr1\t1\t2\n{line}\n")
    if not line.startswith("chrom"):
        with pytest.raises(InputError, match=f"1 of x.bed .*{value}"):
            intervals(tmp_path, line)


def test_lines_without_an_interval_and_intervals_without_bases_are_left_out_and_listed(tmp_path: Path) -> None:
    found, notes = intervals(tmp_path, ".\t-1\t-1\t.\t-1\t.\nchr1\t-5\t60\nchr1\t7\t7\n")
    assert [interval[:3] for interval in found] == [("chr1", -5, 60)]
    assert sorted(notes.examples.values()) == [["line 1 of x.bed"], ["line 3 of x.bed"]]


def test_fields_are_read_by_key_in_any_order(write: Callable[..., Path]) -> None:
    path = write(
        "files.txt",
        "# comment\nwgEncodeAwgTfbsHaibA549Atf3UniPk.narrowPeak.gz\tproject=wgEncode; cell=A549; lab=HudsonAlpha; "
        "treatment=EtOH_0.02pct; antibody=ATF3_v2; factor=ATF3; md5sum=04B555; size=168KB\n\n"
        "b.bed\tMD5SUM=ff; treatment=None;antibody=CTCF ;cell=K562\nc.narrowPeak\t\n",
    )
    assert read_peak_index(path) == {
        "wgEncodeAwgTfbsHaibA549Atf3UniPk": PeakFile(
            "wgEncodeAwgTfbsHaibA549Atf3UniPk.narrowPeak.gz", "A549", "ATF3", "EtOH_0.02pct", "HudsonAlpha", "04b555"
        ),
        "b": PeakFile("b.bed", "K562", "CTCF", md5="ff"),
        "c": PeakFile("c.narrowPeak"),
    }


@pytest.mark.parametrize("line", ["a.narrowPeak cell=K562", "a.narrowPeak\tcell", "\tcell=K562", "b.bed.gz\tcell=A549"])
def test_a_line_of_another_form_or_of_a_set_listed_before_is_named(write: Callable[..., Path], line: str) -> None:
    with pytest.raises(InputError, match=r"\b2\b.*files\.txt"):
        read_peak_index(write("files.txt", f"b.bed\tcell=K562\n{line}\n"))
